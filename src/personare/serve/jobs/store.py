"""The rows of jobs. Every change is one statement, written before anybody is told."""

from __future__ import annotations

import json
import math
import secrets
import shutil
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from personare.serve.database import Database
from personare.serve.problems import Problem
from personare.work.queue import Waiting

Kind = Literal["clip", "avatar", "photo"]
Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
OPEN = ("queued", "in_progress")
TRIES = 3
DAY_SECONDS = 86400.0
_LOOKED_AT = 32
"""How far down the queue a crew looks for something that it can do now."""


@dataclass(frozen=True, slots=True)
class Row:
    """A job as it is kept.

    place, fills: see work.queue.Waiting.
    inputs: field of the order -> file in the job's folder.
    digest: of what was asked for, files by content; key: the Idempotency-Key, if one came.
    error: code, message and hint.
    bytes: of its folder.
    """

    id: str
    kind: Kind
    caller: str
    status: Status
    progress: int
    stage: str
    created: float
    started: float | None
    done: float | None
    attempts: int
    request: dict[str, Any]
    inputs: dict[str, str]
    place: str
    fills: bool
    key: str | None
    digest: str
    report: dict[str, Any] | None
    error: dict[str, str] | None
    bytes: int

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


def new_id() -> str:
    """Not to be guessed: 96 bits."""
    return f"job_{secrets.token_hex(12)}"


class JobStore:
    """The jobs of a service; `folder` has one for each of them."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self._database = database
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: Row, most_open: int, most_open_each: int, most_a_day: int | None) -> Row:
        """A new job, unless too many wait, or its key was used: then the first one of that key.

        Raises Problem: 429 with Retry-After; 422 for a key with another request.
        """
        with self._database.transaction() as connection:

            def count(condition: str, *values: object) -> int:
                found = connection.execute(f"select count(*) from jobs where {condition}", values).fetchone()
                return int(found[0])

            if row.key is not None:
                found = connection.execute(
                    "select * from jobs where caller=? and key=?", (row.caller, row.key)
                ).fetchone()
                if found is not None:
                    return same(_row(found), row.digest)
            if count("status in ('queued','in_progress')") >= most_open:
                raise _busy("the queue is full")
            if count("status in ('queued','in_progress') and caller=?", row.caller) >= most_open_each:
                raise _busy(f"you have {most_open_each} jobs that wait or are under way")
            connection.execute("delete from asked where created<=?", (row.created - DAY_SECONDS,))
            if most_a_day is not None:
                _check_day(connection, row, most_a_day)
            connection.execute("insert into asked values(?,?)", (row.caller, row.created))
            names = ("id", "kind", "caller", "status", "created", "place", "fills", "key", "digest", "bytes")
            values = [getattr(row, name) for name in names]
            values += [json.dumps(row.request), json.dumps(row.inputs)]
            marks = ",".join("?" * len(values))
            connection.execute(f"insert into jobs({','.join(names)},request,inputs) values({marks})", values)
        return row

    def get(self, job_id: str, caller: str | None = None) -> Row:
        """Raises Problem 404, also for the job of another caller. caller: None for any."""
        found = self._database.row("select * from jobs where id=?", (job_id,))
        if found is None or (caller is not None and found["caller"] != caller):
            raise Problem(404, "there is no such job", "finished jobs are kept for a while only")
        return _row(found)

    def of_key(self, caller: str, key: str | None) -> Row | None:
        """The job that came with an Idempotency-Key; None if none did."""
        if key is None:
            return None
        found = self._database.row("select * from jobs where caller=? and key=?", (caller, key))
        return None if found is None else _row(found)

    def page(
        self, caller: str, *, limit: int, after: str = "", ascending: bool = False, kind: Kind | None = None
    ) -> tuple[list[Row], bool]:
        """Jobs of a caller, and whether there are more. after: the last one of the page before."""
        direction, side = ("asc", ">") if ascending else ("desc", "<")
        condition, values = "caller=?", [caller]
        if kind is not None:
            condition, values = f"{condition} and kind=?", [*values, kind]
        if after:
            self.get(after, caller)
            place = "(select {} from jobs where id=?)"
            condition += f" and (created,rowid){side}({place.format('created')},{place.format('rowid')})"
            values += [after, after]
        rows = self._database.rows(
            f"select * from jobs where {condition} order by created {direction}, rowid {direction} limit ?",
            (*values, limit + 1),
        )
        return [_row(row) for row in rows[:limit]], len(rows) > limit

    def ahead(self, row: Row) -> int:
        """How many are before it in the queue."""
        return self._database.number(
            "select count(*) from jobs where status='queued' and created<?", (row.created,)
        )

    def waiting(self) -> list[Waiting]:
        """The next ones: looks at photos, which take no second; then whoever has most under way
        comes last, the oldest first.
        """
        rows = self._database.rows(
            "select id, place, fills from jobs j where status='queued' order by kind<>'photo', "
            "(select count(*) from jobs r where r.status='in_progress' and r.caller=j.caller), "
            "created, rowid limit ?",
            (_LOOKED_AT,),
        )
        return [Waiting(row["id"], row["place"], bool(row["fills"])) for row in rows]

    def begin(self, job_id: str) -> Row | None:
        """A worker takes it. None: it waits no more."""
        row = self._database.row(
            "update jobs set status='in_progress', attempts=attempts+1, started=? "
            "where id=? and status='queued' returning *",
            (time.time(), job_id),
        )
        return None if row is None else _row(row)

    def advance(self, job_id: str, progress: int, stage: str) -> bool:
        """How far it is; what a caller has seen never falls. Whether anything has changed."""
        return bool(
            self._database.rows(
                "update jobs set progress=max(progress,?), stage=? where id=? and status='in_progress' "
                "and (progress<? or stage<>?) returning id",
                (progress, stage, job_id, progress, stage),
            )
        )

    def complete(self, job_id: str, report: dict[str, Any], size: int) -> bool:
        """It has ended well; False if it was cancelled meanwhile."""
        return bool(
            self._database.rows(
                "update jobs set status='completed', progress=100, stage='', done=?, report=?, bytes=? "
                "where id=? and status='in_progress' returning id",
                (time.time(), json.dumps(report), size, job_id),
            )
        )

    def fail(self, job_id: str, code: str, message: str, hint: str) -> bool:
        """It has ended otherwise; False if it was cancelled meanwhile."""
        error = json.dumps({"code": code, "message": message, "hint": hint})
        return bool(
            self._database.rows(
                "update jobs set status='failed', stage='', done=?, error=? "
                "where id=? and status in ('queued','in_progress') returning id",
                (time.time(), error, job_id),
            )
        )

    def cancel(self, job_id: str) -> Row | None:
        """It is not wanted any more; what it was until now, or None if it has ended."""
        with self._database.transaction() as connection:
            found = connection.execute("select * from jobs where id=?", (job_id,)).fetchone()
            if found is None or found["status"] not in OPEN:
                return None
            connection.execute(
                "update jobs set status='cancelled', stage='', done=? where id=?", (time.time(), job_id)
            )
        return _row(found)

    def wait_again(self, job_id: str, *, blameless: bool = False) -> bool:
        """Its worker is gone: it waits again, three tries in all. False: there were as many."""
        return bool(
            self._database.rows(
                "update jobs set status='queued', stage='', attempts=attempts-? "
                "where id=? and status='in_progress' and (? or attempts<?) returning id",
                (int(blameless), job_id, blameless, TRIES),
            )
        )

    def recover(self) -> list[str]:
        """What a server that was killed had under way waits again; those that were tried three
        times have failed.
        """
        under_way = self._database.rows("select id from jobs where status='in_progress'")
        for row in under_way:
            if not self.wait_again(row["id"]):
                self.fail(row["id"], "worker-lost", f"it was tried {TRIES} times", "try a smaller one")
        return [row["id"] for row in under_way]

    def remove(self, job_id: str) -> None:
        """Forget it, with its files."""
        self._database.rows("delete from jobs where id=?", (job_id,))
        shutil.rmtree(self.folder / job_id, ignore_errors=True)

    def sweep(self, before: float) -> int:
        """Remove those that ended before, and folders that belong to none; how many."""
        old = self._database.rows("select id from jobs where done<?", (before,))
        for row in old:
            self.remove(row["id"])
        known = {row["id"] for row in self._database.rows("select id from jobs")}
        for path in self.folder.iterdir():  # a new one has its folder before its row
            with suppress(OSError):
                if path.name not in known and path.stat().st_mtime < before:
                    shutil.rmtree(path, ignore_errors=True)
        return len(old)

    def counts(self) -> dict[str, int]:
        """Status -> how many."""
        rows = self._database.rows("select status, count(*) from jobs group by status")
        return {row[0]: row[1] for row in rows}

    def kept_bytes(self, caller: str) -> int:
        """Bytes of a caller's jobs and uploads."""
        return sum(
            self._database.number(f"select sum(bytes) from {table} where caller=?", (caller,))
            for table in ("jobs", "files")
        )


def same(first: Row, digest: str) -> Row:
    """The first job of an Idempotency-Key. Raises Problem 422 if it was for another request."""
    if first.digest != digest:
        raise Problem(
            422,
            "this Idempotency-Key was used for another request",
            "a new request needs a new key",
            code="idempotency-key-reused",
        )
    return first


def _check_day(connection: sqlite3.Connection, row: Row, most: int) -> None:
    """Raises Problem 429 if a caller had as many jobs within a day, kept or not."""
    since = row.created - DAY_SECONDS
    found = connection.execute("select created from asked where caller=? order by created", (row.caller,))
    had = [when["created"] for when in found]
    if len(had) >= most:
        raise _busy(f"you have had {most} jobs within a day", math.ceil(had[-most] - since))


def _busy(detail: str, seconds: int = 10) -> Problem:
    return Problem(429, detail, "try again later", headers={"Retry-After": str(seconds)})


def _row(row: sqlite3.Row) -> Row:
    fields = {name: row[name] for name in row.keys()}  # noqa: SIM118
    for name in ("request", "inputs", "report", "error"):
        fields[name] = None if fields[name] is None else json.loads(fields[name])
    return Row(**{**fields, "fills": bool(fields["fills"])})
