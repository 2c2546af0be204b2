"""The directory of a checkpoint in zip form, checked before anything in the file is believed.

torch writes such files without compression, one member after the other. Whatever is packed,
encrypted, told twice, or reaches into something else is not torch's, and is refused: so no
member is larger than the file, and the sizes of all members together are not either.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from personare.errors import WeightsMismatch
from personare.weights.formats import FETCH_AGAIN
from personare.weights.pickle_limits import Refused

_LARGEST_DIRECTORY = 32 << 20
_HEADER = struct.Struct("<4s22xHH")


class _Bounded(io.RawIOBase):
    """A file that gives no more than a directory's bytes at once: zipfile reads as much as a
    file claims that its directory takes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if size > _LARGEST_DIRECTORY:
            raise Refused("has a directory larger than any checkpoint's")
        return self._file.read(_LARGEST_DIRECTORY if size < 0 else size)


def stored_members(file: BinaryIO, path: Path) -> dict[str, tuple[int, int]]:
    """Name below the checkpoint's own folder -> (position of the first byte, bytes).

    Raises WeightsMismatch for a damaged archive, or one that is no checkpoint; Refused for what
    torch would not have written.
    """
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            infos, behind = archive.infolist(), archive.start_dir
            root = _root(archive.namelist(), path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise WeightsMismatch(f"{path} is damaged or truncated: {error}", hint=FETCH_AGAIN) from None
    members: dict[str, tuple[int, int]] = {}
    last = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Refused("is compressed or encrypted")
        start = _data_start(file, info) if last <= info.header_offset < behind else behind + 1
        if start + info.file_size > behind:
            raise Refused("has members that overlap, or is truncated")
        last = start + info.file_size
        name = info.filename.removeprefix(root)
        if name in members:
            raise Refused(f"holds {name[:80]!r} twice")
        members[name] = start, info.file_size
    return members


def _data_start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    file.seek(info.header_offset)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise Refused("is truncated")
    magic, name, extra = _HEADER.unpack(header)
    if magic != b"PK\x03\x04":
        raise Refused("is damaged: a member is not where its directory says")
    return int(info.header_offset + _HEADER.size + name + extra)


def _root(names: list[str], path: Path) -> str:
    """The folder in which `data.pkl` lies. Raises WeightsMismatch for other zip files."""
    root = next(
        (n.removesuffix("data.pkl") for n in names if n.endswith("/data.pkl") and n.count("/") == 1), None
    )
    if root is not None and f"{root}constants.pkl" not in names:
        return root
    what = (
        "a TorchScript program, not a checkpoint"
        if root is not None
        else "a zip archive without a checkpoint in it"
    )
    raise WeightsMismatch(f"{path} is {what}", hint=FETCH_AGAIN)
