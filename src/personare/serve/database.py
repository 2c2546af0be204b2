"""The one database of a service: SQLite, written ahead (WAL), a connection for all threads."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from personare.errors import UnwritableOutput

_SCHEMA = """
create table if not exists jobs(
  id text primary key, kind text not null, caller text not null,
  status text not null, progress integer not null default 0, stage text not null default '',
  created real not null, started real, done real, attempts integer not null default 0,
  request text not null, inputs text not null, place text not null, fills integer not null,
  key text, digest text not null,
  report text, error text, bytes integer not null default 0);
create unique index if not exists jobs_by_key on jobs(caller, key) where key is not null;
create index if not exists jobs_by_status on jobs(status, created);
create index if not exists jobs_by_caller on jobs(caller, created);
create table if not exists asked(caller text not null, created real not null);
create index if not exists asked_by_caller on asked(caller, created);
create table if not exists files(
  id text primary key, caller text not null, purpose text not null, filename text not null,
  suffix text not null, bytes integer not null, digest text not null, created real not null);
create index if not exists files_by_caller on files(caller, created);
create table if not exists avatars(
  name text primary key, caller text not null, job text, consent text not null,
  created real not null, photo text, wanted integer not null default 1);
"""
_LATER = {"avatars": {"wanted": "integer not null default 1"}}
"""Table -> columns that databases of earlier versions lack."""


class Database:
    """Rows of jobs, uploads and avatars. Every call is one transaction, from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises UnwritableOutput if there can be no such file."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("pragma journal_mode=wal")
            self._connection.execute("pragma synchronous=normal")
            self._connection.executescript(_SCHEMA)
            self._add_later()
        except (OSError, sqlite3.Error) as error:
            raise UnwritableOutput(
                f"{path} cannot be used: {error}", hint="check the folder, or give --data"
            ) from None
        self._lock = threading.Lock()

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """All rows that a statement gives."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first of them, if any."""
        found = self.rows(statement, values)
        return found[0] if found else None

    def number(self, statement: str, values: Sequence[object] = ()) -> int:
        """The first value of the first row; 0 where it is null."""
        found = self.row(statement, values)
        return int(found[0] or 0) if found is not None else 0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Several statements, all or none."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("rollback")
                raise

    def _add_later(self) -> None:
        for table, columns in _LATER.items():
            there = {row["name"] for row in self._connection.execute(f"pragma table_info({table})")}
            for name in columns.keys() - there:
                self._connection.execute(f"alter table {table} add column {name} {columns[name]}")

    def close(self) -> None:
        """Give the file free."""
        with self._lock:
            self._connection.close()
