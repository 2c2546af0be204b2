"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from personare.errors import InvalidOption


def expanded(path: Path | str) -> Path:
    """The path with a leading ~ or ~user resolved. Raises InvalidOption for a user who has no
    home or does not exist.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InvalidOption(
            f"{str(path)!r}: there is no such user's home folder", hint="write the path out in full"
        ) from None
