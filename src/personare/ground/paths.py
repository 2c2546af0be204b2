"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from personare.errors import InvalidOption


def expanded(path: Path | str) -> Path:
    """The absolute path, `~` and `~NAME` replaced by home folders.

    Raises InvalidOption where there is no such user, or the home folder is not known.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidOption(
            f"{str(path)!r} cannot be found: {error}", hint="write the folder's whole path"
        ) from None
