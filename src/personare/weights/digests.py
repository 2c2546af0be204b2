"""sha256 of files that are gigabytes long, computed once while they stay the same."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path

from platformdirs import user_cache_path

from personare.errors import WeightsMissing
from personare.ground.durable import replaced_when_complete
from personare.ground.paths import expanded
from personare.types import Progress, no_progress

log = logging.getLogger(__name__)

_TRUSTED_AFTER_SECONDS = 2.0
_BLOCK_BYTES = 1 << 22
_MAX_ENTRIES = 512


def memo_file() -> Path:
    """Where digests are remembered; it may be deleted at any time."""
    return memo_folder() / "weights-digests.json"


def memo_folder() -> Path:
    """Where what is known of files and of this machine is kept; it may be deleted at any time."""
    if place := os.environ.get("PERSONARE_HOME"):
        return expanded(place).absolute()
    return user_cache_path("personare", appauthor=False)


def file_sha256(path: Path, progress: Progress = no_progress) -> str:
    """The sha256 of a file's bytes, 64 hex digits, always read. progress: in bytes. Raises
    WeightsMissing if it cannot be read.
    """
    try:
        total, done, hasher = path.stat().st_size, 0, hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                hasher.update(block)
                done += len(block)
                progress(path.name, done, total)
    except OSError as error:
        raise WeightsMissing(
            f"cannot read {path}: {error.strerror}", hint="check the path and its permissions"
        ) from None
    return hasher.hexdigest()


def remembered_sha256(path: Path, progress: Progress = no_progress) -> str:
    """The same, recalled if the file is unchanged since it was last read: same size, times and
    inode.

    A file younger than 2 s is always read: it could be written once more in the same tick of
    the file system's clock.
    """
    path = path.absolute()
    before = _stamp(path)
    settled = before is not None and before[1] < time.time_ns() - _TRUSTED_AFTER_SECONDS * 1e9
    known = _read_memo().get(str(path))
    if settled and known and known["stamp"] == before:
        return str(known["sha256"])
    digest = file_sha256(path, progress)
    if settled and _stamp(path) == before:
        _remember(str(path), {"stamp": before, "sha256": digest})
    return digest


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _read_memo() -> dict[str, dict[str, object]]:
    """What is remembered; nothing if the memo is missing or damaged."""
    try:
        read = json.loads(memo_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(read, dict):
        return {}
    return {
        path: entry
        for path, entry in read.items()
        if isinstance(entry, dict) and entry.keys() == {"stamp", "sha256"}
    }


def _remember(path: str, entry: dict[str, object]) -> None:
    """Add to the memo. Of two processes that write at once one is forgotten, and reads its file
    again next time.
    """
    memo = _read_memo()
    memo.pop(path, None)
    memo[path] = entry
    target = memo_file()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replaced_when_complete(target) as part:
            part.write_text(json.dumps(dict(list(memo.items())[-_MAX_ENTRIES:])), encoding="utf-8")
    except OSError as error:
        log.info("digests cannot be remembered in %s: %s", target, error.strerror)
