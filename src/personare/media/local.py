"""Local files, checked before anything parses them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from personare.errors import UnreadableMedia


def open_local(path: Path) -> BinaryIO:
    """Open a regular, non-empty file for reading; a path is always a local file, never a URL.

    Raises UnreadableMedia for what is missing, a folder, a device or pipe, empty, or not
    permitted.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableMedia(f"{shown(path)} is a folder, not a file", hint="name a file inside it")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableMedia(f"{shown(path)} is not a regular file", hint="save it to a file first")
        if status.st_size == 0:
            raise UnreadableMedia(
                f"{shown(path)} is empty (0 bytes)", hint="give a file with something in it"
            )
        return path.open("rb")
    except FileNotFoundError:
        raise UnreadableMedia(f"{shown(path)} does not exist", hint="check the path") from None
    except PermissionError as error:
        raise UnreadableMedia(f"{shown(path)} may not be read", hint="check its permissions") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableMedia(f"{shown(path)} cannot be opened: {reason}", hint="check the path") from error
    except ValueError as error:  # a NUL character in the path
        raise UnreadableMedia(f"{shown(path)} is not a path: {error}", hint="check the path") from error


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """The whole file, which is never read further than `most_bytes`: what is written to it
    meanwhile, or a device behind it, cannot fill the memory.

    Raises UnreadableMedia as `open_local`, for a file that is larger, and for one whose reading
    fails.
    """
    with open_local(path) as file:
        try:
            data = file.read(most_bytes + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableMedia(f"{shown(path)} cannot be read: {reason}", hint="check the disk") from error
    if len(data) > most_bytes:
        raise UnreadableMedia(
            f"{shown(path)} is larger than {_size_text(most_bytes)}, the limit for a file of this kind",
            hint="check that it is the right file, or split it",
        )
    return data


def shown(path: Path) -> str:
    """The path for a one-line message: as it is, or quoted and escaped if it has characters
    that do not print.
    """
    text = str(path)
    return text if text.isprintable() else repr(text)


def _size_text(size: int) -> str:
    return f"{size / 1e6:g} MB" if size >= 1_000_000 else f"{size} bytes"
