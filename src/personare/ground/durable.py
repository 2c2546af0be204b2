"""Files that appear only when they are complete: written beside, flushed to disk, renamed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

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
    part = target.parent / f".{target.name[-120:]}.{secrets.token_hex(6)}.part"
    lock = FileLock(f"{part}.lock")
    with lock:
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


def remove_abandoned_parts(folder: Path, name: str | None = None) -> int:
    """Delete `.part` files in `folder` (of `name` only, if given) whose writer no longer lives,
    and their locks; how many there were.
    """
    with suppress(OSError):
        found = [match for path in folder.iterdir() if (match := _PART.match(path.name))]
        parts = {match["part"] for match in found if name is None or match["name"] == name[-120:]}
        return sum(_abandoned(folder / part) for part in sorted(parts))
    return 0


def _abandoned(part: Path) -> bool:
    """Whether nobody writes this part any more; it is gone then."""
    with suppress(OSError, Timeout), FileLock(f"{part}.lock", timeout=0):
        part.unlink(missing_ok=True)
        Path(f"{part}.lock").unlink(missing_ok=True)  # while it is held, as in waiting.py
        return True
    return False


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
