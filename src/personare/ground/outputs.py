"""What is written must not be what is read: one check before anything is made."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from personare.errors import UnwritableOutput

T = TypeVar("T")

Named = tuple[str, Path]
"""A file and what it is, for messages: ("the portrait", Path("me.jpg"))."""


class Clash(NamedTuple, Generic[T]):
    """An output that is another file of the same work.

    output: whose it is, and where.
    other: the same of the other file.
    read: whether the other is an input, not an output.
    """

    output: tuple[T, Path]
    other: tuple[T, Path]
    read: bool


def check_apart(outputs: Iterable[Named], inputs: Iterable[Named]) -> None:
    """Raises UnwritableOutput if an output is one of the inputs, or two outputs are one file."""
    if (clash := first_clash(outputs, inputs)) is None:
        return
    (what, path), (other, same) = clash.output, clash.other
    text = str(path) if str(path).isprintable() else repr(str(path))
    also = "" if str(path) == str(same) else f", which is {str(same)!r}"
    raise UnwritableOutput(
        f"{what} would be written over {other}: {text}{also}", hint="write to another file"
    )


def first_clash(outputs: Iterable[tuple[T, Path]], inputs: Iterable[tuple[T, Path]]) -> Clash[T] | None:
    """The first output that is an input or an earlier output; None if all are apart.

    A file that exists is known by its device and number: links and names that differ only in
    case, where the disk takes them for one, are seen through. Files that do not exist yet are
    compared by name, as the least particular disk would.
    """
    read: dict[Hashable, tuple[T, Path]] = {}
    for given in inputs:
        read.setdefault(_identity(given[1]), given)
    written: dict[Hashable, tuple[T, Path]] = {}
    for output in outputs:
        identity, name = _identity(output[1]), name_on_any_disk(output[1])
        if identity in read:
            return Clash(output, read[identity], True)
        if (other := written.get(identity) or written.get(name)) is not None:
            return Clash(output, other, False)
        written[identity] = written[name] = output
    return None


def name_on_any_disk(path: Path) -> str:
    """Equal for two paths that some file system takes for one; links are followed."""
    try:
        real = os.path.realpath(path)
    except ValueError:  # a NUL character: whoever opens it says so
        real = str(path)
    return unicodedata.normalize("NFC", real).casefold()


def _identity(path: Path) -> Hashable:
    try:
        status = path.stat()
    except (OSError, ValueError):  # not there yet
        return name_on_any_disk(path)
    return status.st_dev, status.st_ino
