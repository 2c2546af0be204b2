"""Uploads: kept for a while under a name of ours, given to jobs as links."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from blake3 import blake3

from personare.serve.database import Database
from personare.serve.problems import Problem, disk_is_full
from personare.serve.settings import Limits

Purpose = Literal["portrait", "speech", "guide", "motion", "sound"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
FILE_ID = re.compile(r"file_[0-9a-f]{24}")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
_CLIPS = (".mp4", ".mov", ".webm", ".mkv", ".m4v", ".avi")
SOUNDS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma")
SUFFIXES = frozenset((*_PICTURES, *_CLIPS, *SOUNDS, ".json", ".csv", ".npz", ".pt"))
"""Of a client's file name, what becomes part of ours; some readers go by it."""
_VIDEOS = frozenset((*_CLIPS, ".gif", ".webp", ".avif", ".png"))
"""Also pictures that may move."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody sent. filename: as they call it, for people only. created: seconds
    since 1970. digest: of its bytes.
    """

    id: str
    caller: str
    purpose: Purpose
    filename: str
    suffix: str
    bytes: int
    digest: str
    created: float


def most_bytes(limits: Limits, purpose: Purpose, suffix: str) -> int:
    """How large a file may be for a purpose."""
    if purpose == "motion":
        return limits.motion_bytes
    if purpose == "guide" or (purpose == "portrait" and suffix in _VIDEOS):
        return limits.video_bytes
    return limits.portrait_bytes if purpose == "portrait" else limits.speech_bytes


class FileShelf:
    """The uploads of a service, in `folder`."""

    def __init__(self, folder: Path, database: Database, limits: Limits) -> None:
        self.folder = folder
        self._database, self._limits = database, limits
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, caller: str, purpose: Purpose, filename: str, source: BinaryIO) -> Upload:
        """Copy a file that has arrived. Raises Problem: 413 too large, 422 empty, 507 no space."""
        suffix = Path(filename.replace("\\", "/")).suffix.lower()
        suffix = suffix if suffix in SUFFIXES else ""
        most = most_bytes(self._limits, purpose, suffix)
        upload_id = f"file_{secrets.token_hex(12)}"
        target = self.folder / f"{upload_id}{suffix}"
        hasher, size = blake3(), 0
        try:
            with target.open("xb") as copy:
                for block in _blocks(source):
                    size += len(block)
                    if size > most:
                        raise Problem(
                            413, f"a {purpose} may have {most:,} bytes at most", "send a smaller one"
                        )
                    if shutil.disk_usage(self.folder).free < self._limits.free_bytes:
                        raise disk_is_full()
                    hasher.update(block)
                    copy.write(block)
            if size == 0:
                raise Problem(422, f"the {purpose} is empty", "send a file with something in it")
            name = "".join(c for c in filename if c.isprintable())[-255:]
            upload = Upload(upload_id, caller, purpose, name, suffix, size, hasher.hexdigest(), time.time())
            self._database.rows(
                "insert into files values(?,?,?,?,?,?,?,?)",
                (upload.id, caller, purpose, name, suffix, size, upload.digest, upload.created),
            )
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return upload

    def get(self, upload_id: str, caller: str) -> Upload:
        """Raises Problem 404, also for the upload of another caller."""
        row = self._database.row("select * from files where id=? and caller=?", (upload_id, caller))
        if row is None:
            raise Problem(404, "there is no such file", "uploads are kept for a while only: send it again")
        return _upload(row)

    def page(self, caller: str, limit: int) -> list[Upload]:
        """The newest of a caller."""
        rows = self._database.rows(
            "select * from files where caller=? order by created desc limit ?", (caller, limit)
        )
        return [_upload(row) for row in rows]

    def path(self, upload: Upload) -> Path:
        """Where it is."""
        return self.folder / f"{upload.id}{upload.suffix}"

    def link(self, upload: Upload, target: Path) -> None:
        """The same file a second time, for a job, which may outlive the upload."""
        try:
            os.link(self.path(upload), target)
        except OSError:  # a file system without links
            try:
                shutil.copyfile(self.path(upload), target)
            except OSError as error:
                target.unlink(missing_ok=True)
                raise Problem(404, "this file is no longer there", "send it again") from error

    def remove(self, upload: Upload) -> None:
        """Forget it; jobs that use it are not disturbed."""
        self._database.rows("delete from files where id=?", (upload.id,))
        self.path(upload).unlink(missing_ok=True)

    def sweep(self, before: float) -> int:
        """Remove those that are older, and files that belong to none; how many."""
        old = self._database.rows("select * from files where created<?", (before,))
        for row in old:
            self.remove(_upload(row))
        known = {row["id"] for row in self._database.rows("select id from files")}
        for path in self.folder.iterdir():
            with suppress(OSError):
                if path.name.partition(".")[0] not in known and path.stat().st_mtime < before:
                    path.unlink()
        return len(old)


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(**{name: row[name] for name in row.keys()})  # noqa: SIM118
