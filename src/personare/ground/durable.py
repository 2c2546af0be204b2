"""Files that appear only when they are complete: written beside, flushed to disk, renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_LONGEST_NAME_BYTES = 120
"""Of the target's name in that of its part, which is 24 bytes longer with its lock: file
systems take 255 bytes, some that encrypt 143 less a few.
"""
_LOCK_SECONDS = 5.0
_PART = re.compile(r"^(?P<part>\.(?P<name>.+)\.[0-9a-f]{12}\.part)(\.lock)?$", re.DOTALL)


@contextmanager
def replaced_when_complete(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that becomes `target` if the block succeeds and vanishes
    if it does not.

    The temporary file keeps the target's folder (so that the rename is atomic) but not its
    suffix. What a killed process left behind for the same target is removed first; a part that
    another live process writes is locked and stays. Raises OSError as the file system does.
    """
    remove_abandoned_parts(target.parent, target.name)
    part = target.parent / f".{_name_end(target.name)}.{secrets.token_hex(6)}.part"
    with _locked(part) as lock:
        try:
            yield part
            with part.open("rb+") as written:
                os.fsync(written.fileno())
            part.replace(target)
            _sync_folder(target.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)


@contextmanager
def _locked(part: Path) -> Iterator[FileLock]:
    """Keeps others from taking this part for abandoned. Raises PermissionError where the folder
    takes no files: some (/proc) never say so, and the lock would be waited for without end.
    """
    lock = FileLock(f"{part}.lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:  # nobody else has this name
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(part)) from None
    try:
        yield lock
    finally:
        lock.release()


def remove_abandoned_parts(folder: Path, name: str | None = None) -> int:
    """Delete `.part` files in `folder` (of `name` only, if given) whose writer no longer lives,
    and their locks; how many there were.
    """
    with suppress(OSError):
        found = [match for path in folder.iterdir() if (match := _PART.match(path.name))]
        parts = {match["part"] for match in found if name is None or match["name"] == _name_end(name)}
        return sum(_abandoned(folder / part) for part in sorted(parts))
    return 0


def _abandoned(part: Path) -> bool:
    """Whether nobody writes this part any more; it is gone then."""
    with suppress(OSError, Timeout), FileLock(f"{part}.lock", timeout=0):
        part.unlink(missing_ok=True)
        Path(f"{part}.lock").unlink(missing_ok=True)  # while it is held, as in waiting.py
        return True
    return False


def _name_end(name: str) -> str:
    """The last letters of a name that take at most _LONGEST_NAME_BYTES in the file system."""
    end = os.fsencode(name)[-_LONGEST_NAME_BYTES:]
    # not in the middle of a letter, which some file systems refuse
    if len(end) == _LONGEST_NAME_BYTES:
        while end and end[0] & 0xC0 == 0x80:
            end = end[1:]
    return os.fsdecode(end)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
