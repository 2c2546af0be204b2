"""Avatars as callers see them: those of the shelf, with who made them over HTTP, with which
consent, and what was seen of the photo.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from personare.errors import PersonareError, UnknownName
from personare.perception.portrait import portrait_template
from personare.serve.database import Database
from personare.serve.jobs.requests import AvatarRequest
from personare.serve.problems import Problem
from personare.shelf.manifest import AvatarManifest
from personare.studio.studio import Studio

log = logging.getLogger(__name__)

_PREVIEW_PX, _PREVIEW_QUALITY = 512, 85


@dataclass(frozen=True, slots=True)
class Kept:
    """What is noted of an avatar that was made over HTTP. caller, consent: whose it is. job:
    that prepares it. photo: the report, when it is ready.
    """

    name: str
    caller: str
    job: str | None
    consent: str
    created: float
    photo: dict[str, Any] | None


class AvatarNotes:
    """Notes about avatars. Those of the shelf without a note belong to everybody: a note goes
    only after its avatar, and that of one that is no longer wanted (`wanted` is 0) hides it
    until the worker that prepares it has ended.
    """

    def __init__(self, database: Database, studio: Studio) -> None:
        self._database, self._studio = database, studio

    def reserve(self, request: AvatarRequest, caller: str, job: str) -> None:
        """A name for an avatar that a job prepares. Raises Problem 409 if it is taken."""
        row = self._database.row("select wanted from avatars where name=?", (request.name,))
        if row is not None and not row["wanted"]:
            leaves = f"the avatar {request.name} is being given up"
            raise Problem(409, leaves, "try again in two seconds", headers={"Retry-After": "2"})
        taken = Problem(409, f"there is an avatar named {request.name}", "another name, or DELETE it first")
        if self._manifest(request.name) is not None:
            raise taken
        try:
            self._database.rows(
                "insert into avatars(name,caller,job,consent,created) values(?,?,?,?,?)",
                (request.name, caller, job, request.consent, time.time()),
            )
        except sqlite3.IntegrityError:
            raise taken from None

    def settle(self, name: str, job: str, photo: dict[str, Any] | None) -> None:
        """It is ready. photo: what was seen of it."""
        self._database.rows(
            "update avatars set photo=? where name=? and job=?", (json.dumps(photo), name, job)
        )

    def give_up(self, job: str) -> None:
        """It is no longer wanted, and a worker is still at it: nobody sees it, and its name
        stays taken until `withdraw` or `release`.
        """
        self._database.rows("update avatars set wanted=0 where job=?", (job,))

    def release(self, job: str) -> None:
        """It did not become anything: its name is free again."""
        self._database.rows("delete from avatars where job=?", (job,))

    def withdraw(self, job: str) -> None:
        """It is not wanted, and no worker is at it; it may have been kept already."""
        row = self._database.row("select name from avatars where job=?", (job,))
        if row is None:
            return
        try:
            self._studio.shelf.remove(row["name"])
        except UnknownName:
            pass
        except PersonareError as error:  # it stays hidden; the next start tries again
            log.warning("an avatar that is not wanted cannot be removed: %s", error.message)
            self.give_up(job)
            return
        self.release(job)

    def recover(self) -> None:
        """What a server that ended left undone: avatars that are not wanted go, and so do names
        of jobs that it never wrote.
        """
        rows = self._database.rows(
            "select a.job, a.name, a.wanted, j.id, j.status from avatars a left join jobs j on j.id=a.job"
        )
        for row in rows:
            if not row["wanted"] or row["status"] in ("failed", "cancelled"):
                self.withdraw(row["job"])
            elif row["id"] is None and self._manifest(row["name"]) is None:
                self.release(row["job"])

    def note(self, name: str, caller: str) -> Kept | None:
        """What is noted of it. Raises UnknownName for that of another caller, and for one that
        is no longer wanted.
        """
        row = self._database.row("select * from avatars where name=?", (name,))
        if row is None:
            return None
        if row["caller"] != caller or not row["wanted"]:
            raise UnknownName(f"there is no avatar named {name[:64]!r}", hint="see /v1/avatars")
        return _kept(row)

    def notes(self, caller: str) -> dict[str, Kept | None]:
        """Name -> note of every avatar that a caller may use, those under way as well."""
        rows = self._database.rows("select * from avatars")
        own = {row["name"]: _kept(row) for row in rows if row["caller"] == caller and row["wanted"]}
        hidden = {row["name"] for row in rows}
        found: dict[str, Kept | None] = {
            manifest.name: None for manifest in self._studio.shelf.list() if manifest.name not in hidden
        }
        return found | own

    def manifest(self, name: str, caller: str) -> AvatarManifest:
        """A ready one that a caller may use. Raises UnknownName, InvalidOption, CacheError."""
        self.note(name, caller)
        return self._studio.shelf.load_manifest(name)

    def ready(self, name: str) -> AvatarManifest | None:
        """Its manifest; None if it is not ready."""
        return self._manifest(name)

    def remove(self, name: str, caller: str) -> None:
        """Forget it. Raises UnknownName; Problem 409 while a clip of it waits or is made: by
        then the name could be another's.
        """
        kept = self.note(name, caller)
        waiting = self._database.number(
            "select count(*) from jobs where kind='clip' and status in ('queued','in_progress') "
            "and json_extract(request,'$.avatar')=?",
            (name,),
        )
        if waiting:
            raise Problem(409, f"clips of this avatar wait or are being made: {waiting}", "cancel them first")
        if kept is None or self._manifest(name) is not None:
            self._studio.shelf.remove(name)
        self._database.rows("delete from avatars where name=?", (name,))

    def preview(self, name: str, caller: str) -> bytes:
        """A JPEG of the portrait, 512 px at most. Raises as `manifest`."""
        path = self._studio.shelf.portrait(self.manifest(name, caller))
        return _jpeg(path)

    def _manifest(self, name: str) -> AvatarManifest | None:
        try:
            return self._studio.shelf.load_manifest(name)
        except PersonareError:
            return None


def _jpeg(path: Path) -> bytes:
    picture = next(iter(portrait_template(path)))
    scale = min(1.0, _PREVIEW_PX / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _PREVIEW_QUALITY]
    )
    return encoded.tobytes()


def _kept(row: sqlite3.Row) -> Kept:
    photo = None if row["photo"] is None else json.loads(row["photo"])
    return Kept(row["name"], row["caller"], row["job"], row["consent"], row["created"], photo)
