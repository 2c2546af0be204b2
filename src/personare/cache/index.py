"""What is known about the features beside their content: when each was used, how often, and who
pins it.

An SQLite file in WAL mode, shared by all processes. Everything that matters can be rebuilt from
the feature files and the avatars' manifests, so the index is never in the way: deleted or
damaged it is rebuilt, busy it is left for later, and where it cannot be written at all it lives
in memory. SQLite itself sees damage to its pages only: what a row holds is checked in
index_rows.py whenever it is read, and a row that cannot be ours is damage as well.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from filelock import FileLock

from personare.cache.index_rows import (
    DamagedRow,
    Row,
    digest_checksum,
    read_digest,
    read_key,
    read_pin,
    read_row,
)
from personare.cache.keys import FileStamp
from personare.errors import CacheError

log = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_FLUSH_AFTER_SECONDS = 1.0
_MAX_DIGESTS = 4096
_TABLES = (
    "CREATE TABLE IF NOT EXISTS features (key TEXT PRIMARY KEY, stage TEXT NOT NULL, bytes INTEGER NOT NULL,"
    " created REAL NOT NULL, last_used REAL NOT NULL, hits INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pins (shelf TEXT NOT NULL, avatar TEXT NOT NULL, key TEXT NOT NULL,"
    " PRIMARY KEY (shelf, avatar, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS file_digests (path BLOB PRIMARY KEY, stamp TEXT NOT NULL,"
    " digest TEXT NOT NULL, checksum TEXT NOT NULL)",
    "DROP TABLE IF EXISTS digests",  # of earlier versions: without a checksum
)
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the files say, for `Index.reconcile`.

    present: keys of all feature files.
    unknown: rows of those that the index had not.
    shelf: folder of the avatars that were looked at, "" if none.
    pins: avatar -> keys, from its manifest.
    gone: avatars with pins from this shelf that exist no more.
    """

    present: Collection[str]
    unknown: Iterable[Row]
    shelf: str = ""
    pins: Mapping[str, Collection[str]] = field(default_factory=dict)
    gone: Collection[str] = ()


Look = Callable[[Collection[str], Collection[tuple[str, str]]], Surroundings]
"""look(keys in the index, (shelf, avatar) pairs with pins) -> what the files say."""


class IndexBusy(CacheError):
    """Another process holds the index for longer than we care to wait."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is held by another process", hint="try again when it has finished")


class Index:
    """The index at `path`. Thread-safe; every process opens its own. `look` tells `reconcile`
    what the files say.
    """

    busy_timeout_seconds = 5.0

    def __init__(self, path: Path, look: Look) -> None:
        self.path = path
        self.look = look
        self._lock = RLock()
        self._file_lock = FileLock(f"{path}.lock")
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._in_memory = False
        self._just_deleted = False
        self._touched: dict[str, tuple[int, float]] = {}
        self._flushed_at = 0.0

    def open(self) -> None:
        """Make sure that there is an index before there is a first feature: where it is missing
        then, it was lost.
        """
        with suppress(IndexBusy):
            self._run(lambda _: None)

    def record(self, row: Row) -> None:
        """Enter a feature, or replace what was known of it. A busy index is left as it is:
        `reconcile` catches up.
        """
        with suppress(IndexBusy):
            self._run(
                lambda db: db.execute(
                    "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?, ?)", _values(row)
                )
            )

    def touch(self, key: str, now: float) -> None:
        """Note a use. Notes are gathered and written about once a second; one that cannot be
        written waits or is lost.
        """
        with self._lock:
            hits, _ = self._touched.get(key, (0, 0.0))
            self._touched[key] = (hits + 1, now)
            if abs(now - self._flushed_at) >= _FLUSH_AFTER_SECONDS:
                self._flushed_at = now
                self.flush()

    def knows(self, key: str) -> bool:
        """Whether there is a row for this key; True if the index is too busy to say."""
        try:
            return bool(
                self._run(lambda db: db.execute("SELECT 1 FROM features WHERE key = ?", (key,)).fetchone())
            )
        except IndexBusy:
            return True

    def row(self, key: str) -> Row | None:
        self.flush()
        found = self._run(lambda db: _all(db, "SELECT * FROM features WHERE key = ?", read_row, key))
        return found[0] if found else None

    def rows(self) -> list[Row]:
        """All features, least recently used first."""
        self.flush()
        return self._run(lambda db: _all(db, "SELECT * FROM features ORDER BY last_used, key", read_row))

    def total_bytes(self) -> int:
        (total,) = self._run(lambda db: db.execute("SELECT coalesce(sum(bytes), 0) FROM features").fetchone())
        return int(total)

    def forget(self, keys: Collection[str]) -> None:
        self._run(lambda db: _many(db, "DELETE FROM features WHERE key = ?", [(key,) for key in keys]))

    def pin(self, shelf: str, avatar: str, keys: Collection[str]) -> None:
        """Let these keys, and no others, be pinned by an avatar of a shelf; if busy,
        `reconcile` catches up.
        """
        with suppress(IndexBusy):
            self._run(lambda db: _set_pins(db, shelf, {avatar: keys}, gone=()))

    def unpin(self, shelf: str, avatar: str) -> None:
        with suppress(IndexBusy):
            self._run(lambda db: _set_pins(db, shelf, {}, gone=(avatar,)))

    def pins(self) -> dict[str, tuple[str, ...]]:
        """Key -> names of the avatars that pin it, sorted."""
        pinned: dict[str, tuple[str, ...]] = {}
        query = "SELECT * FROM pins ORDER BY key, avatar"
        for key, avatar in dict.fromkeys(
            (key, name) for _, name, key in self._run(lambda db: _all(db, query, read_pin))
        ):
            pinned[key] = (*pinned.get(key, ()), avatar)
        return pinned

    def recall_digest(self, path: Path, stamp: FileStamp) -> str | None:
        place = os.fsencode(path)
        query = "SELECT * FROM file_digests WHERE path = ? AND stamp = ?"
        with suppress(IndexBusy):
            found = self._run(lambda db: _all(db, query, read_digest, place, str(stamp)))
            return found[0] if found else None
        return None

    def remember_digest(self, path: Path, stamp: FileStamp, digest: str) -> None:
        place, when = os.fsencode(path), str(stamp)
        row = (place, when, digest, digest_checksum(place, when, digest))

        def remember(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?, ?)", row)
            db.execute(
                "DELETE FROM file_digests WHERE rowid <= (SELECT max(rowid) FROM file_digests) - ?",
                (_MAX_DIGESTS,),
            )

        with suppress(IndexBusy):
            self._run(remember)

    def reconcile(self) -> int:
        """Bring the index in line with the files: what a killed process or another machine left
        undone. New rows.
        """
        known = set(self._run(lambda db: _all(db, "SELECT key FROM features", read_key)))
        pins = self._run(lambda db: _all(db, "SELECT * FROM pins", read_pin))
        around = self.look(known, {(shelf, avatar) for shelf, avatar, _ in pins})
        unknown = [_values(row) for row in around.unknown]
        gone = [(key,) for key in known.difference(around.present)]

        def agree(db: sqlite3.Connection) -> None:
            _many(db, "INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?, ?, ?)", unknown)
            _many(db, "DELETE FROM features WHERE key = ?", gone)
            _set_pins(db, around.shelf, around.pins, around.gone)

        self._run(agree)
        return len(unknown)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self.flush()
                self._disconnect()

    def flush(self) -> None:
        """Write the uses that were noted; a busy index keeps them waiting."""
        statement = "UPDATE features SET hits = hits + ?, last_used = max(last_used, ?) WHERE key = ?"
        with self._lock, suppress(IndexBusy):
            if self._touched:
                used = [(hits, when, key) for key, (hits, when) in self._touched.items()]
                self._run(lambda db: _many(db, statement, used), wait=False)
                self._touched.clear()

    def _run(self, action: Callable[[sqlite3.Connection], Result], *, wait: bool = True) -> Result:
        """Do something in one transaction, on a rebuilt index if the present one is damaged.

        Raises IndexBusy if another process holds the index: at once, or after
        `busy_timeout_seconds` if it may wait.
        """
        wait_seconds = self.busy_timeout_seconds if wait else 0.0
        with self._lock:
            while True:
                try:
                    db = self._connected()
                    db.execute(f"PRAGMA busy_timeout = {int(wait_seconds * 1000)}")
                    with _transaction(db):
                        result = action(db)
                    self._just_deleted = False
                    return result
                except (
                    DamagedRow,
                    UnicodeDecodeError,
                ) as damage:  # SQLite's own messages quote what is damaged
                    self._recover(damage, damaged=True)
                except sqlite3.DatabaseError as error:
                    code = getattr(error, "sqlite_errorcode", None)
                    if code is None or self._in_memory:
                        raise
                    if code & 0xFF in _BUSY:
                        raise IndexBusy(self.path) from None
                    self._recover(error, damaged=code & 0xFF in _DAMAGED)

    def _connected(self) -> sqlite3.Connection:
        """The connection; opened anew if there is none or if the file was deleted or replaced
        under us.
        """
        if self._connection is not None and (self._in_memory or _inode(self.path) == self._inode):
            return self._connection
        self._disconnect()
        if self._in_memory:
            self._connection = _open(":memory:")
            return self._connection
        with self._opening():
            self._inode = _inode(self.path)
            self._connection = _open(self.path)
            self._inode = _inode(self.path)
            if self._connection.execute("PRAGMA user_version").fetchone() != (_SCHEMA_VERSION,):
                adopted = self.reconcile()
                self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                if adopted:
                    log.warning(
                        "index %s was missing or damaged; rebuilt from %d feature files", self.path, adopted
                    )
            return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _recover(self, error: Exception, *, damaged: bool) -> None:
        """Delete a damaged index so that it is rebuilt; go on in memory where that does not
        help.
        """
        self._disconnect()
        if damaged and not self._just_deleted:
            self._just_deleted = True
            with suppress(OSError), self._opening():
                if _inode(self.path) == self._inode:
                    for suffix in ("", "-wal", "-shm"):
                        Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                return
        log.info("index %s cannot be kept (%s); going on with one in memory", self.path, error)
        self._in_memory = True

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Only one process at a time opens, fills or deletes an index; where no lock can be
        made, none can be created.
        """
        with ExitStack() as held:
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(self._file_lock)
            yield


def _open(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.text_factory = bytes  # a damaged text may be no UTF-8: index_rows reads it
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        for table in _TABLES:
            db.execute(table)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error, UnicodeDecodeError):
            db.execute("ROLLBACK")
        raise


def _set_pins(
    db: sqlite3.Connection, shelf: str, pins: Mapping[str, Collection[str]], gone: Collection[str]
) -> None:
    _many(
        db, "DELETE FROM pins WHERE shelf = ? AND avatar = ?", [(shelf, avatar) for avatar in (*pins, *gone)]
    )
    _many(
        db,
        "INSERT INTO pins VALUES (?, ?, ?)",
        [(shelf, name, key) for name in pins for key in set(pins[name])],
    )


def _all(
    db: sqlite3.Connection, query: str, read: Callable[[Sequence[Any]], Result], *values: Any
) -> list[Result]:
    """The rows of a query, each read and checked. Raises DamagedRow."""
    return [read(row) for row in db.execute(query, values)]


def _many(db: sqlite3.Connection, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    db.executemany(statement, values)


def _values(row: Row) -> tuple[str, str, int, float, float, int]:
    return row.key, row.stage, row.bytes, row.created, row.last_used, row.hits


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
