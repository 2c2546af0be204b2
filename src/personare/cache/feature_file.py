"""One feature as one file: safetensors with a checksum of the whole file inside its header.

The layout is that of https://huggingface.co/docs/safetensors (any safetensors library opens
it). It is written and mapped here, not by the library, because the library copies every array
it reads into memory, reports a full disk as an error without its errno, and knows no checksum:

    8 bytes     length of the header, little endian
    header      {"__metadata__": {"checksum": "<64 hex>", "feature": "<JSON>"},
                 "<array>": {"dtype", "shape", "data_offsets"}, ...}
    arrays      one after the other, widest elements first, so that every array is aligned

The checksum is blake3 over the file with the checksum's own 64 digits read as zeros: every bit
of the file counts. Same feature, same bytes.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from personare.errors import EngineError
from personare.types import Feature

FORMAT = 1
MAPPED_FROM_BYTES = 1 << 20
"""Smaller files are read, larger ones mapped: a map holds a file descriptor, and thousands of
small ones would use them up.
"""

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_PREFIX = b'{"__metadata__":{"checksum":"'
_CHECKSUM_AT = 8 + len(_PREFIX)
_NO_CHECKSUM = b"0" * 64
_ALIGNMENT = 64
_MAX_HEADER_BYTES = 1 << 24
_MAX_DIMENSIONS = 32


class DamagedFeature(Exception):
    """A feature file that is not what was written; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a feature file says. arrays: name -> (dtype, shape, position of the
    first byte in the file).
    """

    stage: str
    metadata: Mapping[str, Any]
    arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...], int]]


def storable(feature: Feature, stage: str) -> Feature:
    """The feature just as it will be read back: contiguous read-only little-endian arrays,
    metadata of plain JSON values.

    Raises EngineError, naming the stage, for arrays or metadata that a file cannot hold.
    """
    arrays = {}
    for name, given in feature.arrays.items():
        array = np.asarray(given, order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False).view()
        if array.dtype not in _CODES:
            raise EngineError(
                f"stage {stage}: array {name!r} is of {array.dtype}, which a feature cannot hold"
            )
        if array.ndim > _MAX_DIMENSIONS:
            raise EngineError(
                f"stage {stage}: array {name!r} has {array.ndim} axes, more than {_MAX_DIMENSIONS}"
            )
        if name == "__metadata__":
            raise EngineError(f"stage {stage}: an array cannot be named {name!r}")
        array.flags.writeable = False
        arrays[name] = array
    try:
        metadata = json.loads(json.dumps(dict(feature.metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EngineError(f"stage {stage}: its metadata is not JSON: {error}") from None
    return Feature(arrays, metadata)


def write_feature(path: Path, feature: Feature, key: str, stage: str) -> int:
    """Write a `storable` feature to `path`; the number of bytes written. Raises OSError as the
    file system does.
    """
    ordered = sorted(feature.arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    about = json.dumps(
        {"format": FORMAT, "key": key, "stage": stage, "metadata": feature.metadata}, sort_keys=True
    )
    header: dict[str, Any] = {"__metadata__": {"checksum": _NO_CHECKSUM.decode(), "feature": about}}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype], "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > _MAX_HEADER_BYTES:
        raise EngineError(f"stage {stage}: {len(text)} bytes of metadata are more than a feature can hold")
    hasher = blake3()
    with path.open("wb") as file:
        pieces: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
        pieces += [array.reshape(-1).view(np.uint8).data for _, array in ordered]
        for piece in pieces:
            hasher.update(piece)
            file.write(piece)
        file.seek(_CHECKSUM_AT)
        file.write(hasher.hexdigest().encode("ascii"))
    return 8 + len(text) + end


def read_feature(file: BinaryIO, key: str, *, verify: bool) -> tuple[Feature, str]:
    """The feature in an open file and the name of its stage. The arrays are read-only views of
    the mapped file.

    verify: compare the checksum (reads the whole file). Raises DamagedFeature, OSError.
    """
    content = _content(file)
    if verify:
        _compare_checksum(content)
    header = parse_header(content, key)
    try:
        arrays: dict[str, NDArray[Any]] = {
            name: np.ndarray(shape, dtype, buffer=content, offset=begin)
            for name, (dtype, shape, begin) in header.arrays.items()
        }
    except (ValueError, OverflowError):  # a negative axis, or one too long beside one of length 0
        raise DamagedFeature("an array has an impossible shape") from None
    return Feature(arrays, header.metadata), header.stage


def check_feature(path: Path, key: str, stage: str) -> None:
    """Read a whole untrusted file. Raises DamagedFeature unless it is a sound feature of this
    key and stage.
    """
    with path.open("rb") as file:
        _, made_by = read_feature(file, key, verify=True)
    if made_by != stage:
        raise DamagedFeature(f"it is of stage {made_by[:80]!r}")


class Checksum:
    """Compares the checksum of a feature file that goes by block by block, kept or not."""

    def __init__(self) -> None:
        self._hasher = blake3()
        self._start = b""
        self._told: bytes | None = None

    def update(self, block: bytes) -> None:
        """The next bytes of the file."""
        if self._told is None:
            self._start += block
            if len(self._start) < _CHECKSUM_AT + len(_NO_CHECKSUM):
                return
            block, self._told = self._start, self._start[_CHECKSUM_AT:][: len(_NO_CHECKSUM)]
            block = block[:_CHECKSUM_AT] + _NO_CHECKSUM + block[_CHECKSUM_AT + len(_NO_CHECKSUM) :]
        self._hasher.update(block)

    def compare(self) -> None:
        """At the end. Raises DamagedFeature."""
        if self._told is None or self._start[8:_CHECKSUM_AT] != _PREFIX:
            raise DamagedFeature("it does not begin like a feature file")
        if self._told != self._hasher.hexdigest().encode("ascii"):
            raise DamagedFeature("its checksum does not match its content")


def read_stage(file: BinaryIO, key: str) -> str:
    """The name of the stage that made the feature, from the header alone. Raises
    DamagedFeature, OSError.
    """
    return parse_header(_content(file), key).stage


def _content(file: BinaryIO) -> bytes | mmap.mmap:
    size = os.fstat(file.fileno()).st_size
    if size >= MAPPED_FROM_BYTES:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return file.read(MAPPED_FROM_BYTES)


def _compare_checksum(content: bytes | mmap.mmap) -> None:
    behind = _CHECKSUM_AT + len(_NO_CHECKSUM)
    if len(content) <= behind or content[8:_CHECKSUM_AT] != _PREFIX:
        raise DamagedFeature("it does not begin like a feature file")
    whole = memoryview(content)
    hasher = blake3(whole[:_CHECKSUM_AT])
    hasher.update(_NO_CHECKSUM)
    hasher.update(whole[behind:])
    if content[_CHECKSUM_AT:behind] != hasher.hexdigest().encode("ascii"):
        raise DamagedFeature("its checksum does not match its content")


def parse_header(content: bytes | mmap.mmap, key: str) -> Header:
    """The header of a feature file, with every length and position checked against the file.
    Raises DamagedFeature.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, _MAX_HEADER_BYTES):
        raise DamagedFeature("its header is longer than the file")
    try:
        header = json.loads(content[8 : 8 + length].decode("ascii"))
        about = json.loads(header.pop("__metadata__")["feature"])
        named = (about["format"], about["key"])
        stage, metadata = about["stage"], about["metadata"]
        arrays = _parse_arrays(header, 8 + length, len(content))
    except DamagedFeature:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedFeature(f"its header cannot be read ({type(error).__name__})") from None
    if named != (FORMAT, key):
        raise DamagedFeature("it is of another format or belongs to another key")
    if not isinstance(stage, str) or not isinstance(metadata, dict):
        raise DamagedFeature("its header has fields of wrong types")
    return Header(stage, metadata, arrays)


def _parse_arrays(
    described: Mapping[str, Any], start: int, size: int
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    arrays = {}
    position = 0
    for name, array in described.items():
        dtype, shape, offsets = np.dtype(_DTYPES[array["dtype"]]), array["shape"], array["data_offsets"]
        if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int for n in (*shape, *offsets)):
            raise DamagedFeature(f"array {name!r} has an impossible shape")
        begin, end = offsets
        if begin != position or end - begin != math.prod(shape) * dtype.itemsize:
            raise DamagedFeature(f"array {name!r} is not where its header says")
        arrays[name] = (dtype, tuple(shape), start + begin)
        position = end
    if start + position != size:
        raise DamagedFeature("it is shorter or longer than its header says")
    return arrays
