"""Which clips this machine made: their ids, and how their mouths moved, so that a file that
comes back can be recognised when its marks are lost. Neither pictures nor words are kept.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from personare.provenance.fingerprint import Fingerprint
from personare.provenance.marks import content_of_id
from personare.provenance.settings import marks_folder

log = logging.getLogger(__name__)

FILE = "made.sqlite"
SCHEMA = """CREATE TABLE IF NOT EXISTS made (
    id TEXT PRIMARY KEY, time TEXT NOT NULL, name TEXT NOT NULL, engine TEXT NOT NULL,
    avatar TEXT NOT NULL, portrait TEXT NOT NULL, seconds REAL NOT NULL,
    marks TEXT NOT NULL, reason TEXT NOT NULL, mouth BLOB NOT NULL)"""
_COLUMNS = "id, time, name, engine, avatar, portrait, seconds, marks, reason, mouth"
_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Made:
    """A clip that was made here.

    id: of its content. time: ISO 8601. name: of the file that was written, without its folder.
    portrait: digest of its file. marks: "on" or "off". reason: why they are off.
    """

    id: str
    time: str
    name: str
    engine: str
    avatar: str
    portrait: str
    seconds: float
    marks: str
    reason: str


class Ledger:
    """The clips of this machine; any number of processes may write. One that cannot be read or
    written is reported through logging and stops nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or marks_folder()) / FILE

    def add(self, made: Made, mouth: bytes = b"") -> None:
        """Note a clip; one that was made before keeps its time and how its mouth moved.

        mouth: see `Fingerprint.to_bytes`.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as connection:
                connection.execute(SCHEMA)
                marks = ", ".join("?" * len(_COLUMNS.split(",")))
                connection.execute(
                    f"INSERT INTO made ({_COLUMNS}) VALUES ({marks}) ON CONFLICT(id) DO UPDATE SET "
                    "name = excluded.name, avatar = excluded.avatar, marks = excluded.marks, "
                    "reason = excluded.reason",
                    (
                        made.id, made.time, made.name, made.engine, made.avatar, made.portrait,
                        made.seconds, made.marks, made.reason, mouth,
                    ),
                )  # fmt: skip
        except (sqlite3.Error, OSError) as error:
            log.info("the clip is not noted in %s: %s", self._path, error)

    def find(self, id: str) -> Made | None:
        """The clip of this content."""
        noted = self.noted(id)
        return None if noted is None else noted[0]

    def noted(self, id: str) -> tuple[Made, bytes] | None:
        """All that is noted of a clip, as `add` takes it."""
        return next(self._rows("WHERE id = ?", id), None) if content_of_id(id) else None

    def most_like(self, seen: Fingerprint) -> tuple[Made, float] | None:
        """The clip whose mouth moved most as this one's, if it is that one for all one can
        tell, and how alike they are (1 is the same).
        """
        best: tuple[Made, float] | None = None
        for made, mouth in self._rows("WHERE length(mouth) > 0"):
            likeness = seen.likeness(Fingerprint.of_bytes(mouth))
            if best is None or likeness > best[1]:
                best = made, likeness
        return best if best is not None and best[1] >= Fingerprint.SAME else None

    def _rows(self, where: str, *values: str) -> Iterator[tuple[Made, bytes]]:
        if not self._path.exists():
            return
        try:
            with self._open() as connection:
                for row in connection.execute(f"SELECT {_COLUMNS} FROM made {where}", values):
                    yield Made(*row[:-1]), bytes(row[-1])
        except (sqlite3.Error, OSError, TypeError) as error:
            log.warning("%s cannot be read: %s", self._path, error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=_PATIENCE_SECONDS)) as connection, connection:
            yield connection
