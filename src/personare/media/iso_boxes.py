"""What the boxes of an ISO base media file (mp4, mov, heic, avif) say, before a library parses
them: whether it is a still picture, and whether its tables claim more than the file can hold.

FFmpeg keeps 24 bytes for every sample that a table claims, whether the file has it or not.
ISO/IEC 14496-12 has the boxes: stsz 8.7.3.2, stz2 8.7.3.3, trun 8.8.8, elst 8.6.6; the
QuickTime File Format Specification the compressed one (cmov) and the keys of metadata.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

MOST_SAMPLES = 5_000_000
"""Of all tracks: a day of sound has 4 million packets."""
MOST_EDITED_SAMPLES = 10_000_000
"""Samples times entries of an edit list: each may show every sample again."""
FEW_EDITS = 2
"""As ordinary files have them: one that waits, one that plays."""
MOST_BOXES = 1_000_000
MOST_COMPRESSED_BYTES = 64 << 20

_STILL = {b"heic", b"heix", b"heim", b"heis", b"avif", b"mif1", b"mif2"}
_STILL_SEQUENCES = {b"hevc", b"hevx", b"hevm", b"hevs", b"avis", b"msf1"}
_AVIF = {b"avif", b"avis"}
_FIRST_BOXES = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"moof",
    b"wide",
    b"free",
    b"skip",
    b"styp",
    b"sidx",
    b"pnot",
    b"uuid",
}
_WITHOUT_TABLES = {b"mdat", b"free", b"skip", b"wide", b"ftyp", b"styp"}
_TABLES = re.compile(rb"stsz|stz2|stts|trun|elst|hdlr|cmvd|keys")
_BLOCK_BYTES = 4 << 20
_FIELDS_BYTES = 24
_PER_SAMPLE_FIELDS = 0xF00
_KEY_BYTES = 8
"""The least that a key of metadata takes in the file, and what FFmpeg keeps for each that is
claimed.
"""
_MOST_KEYS_BYTES = 1 << 32
"""FFmpeg refuses more by itself. So the word "keys" in a text is no table: four letters that
print, read as a number, are more.
"""
_SOUND_SAMPLES_PER_BYTE = 2
"""Old QuickTime sound counts samples, not packets: at most this many of them in a byte."""


def still_picture(head: bytes) -> str | None:
    """ "HEIC" or "AVIF" for a file that begins like a container of still pictures; None for all
    others, those of videos among them. head: its first bytes, a few hundred.
    """
    if head[4:8] != b"ftyp" or len(head) < 16:
        return None
    size = min(len(head), struct.unpack(">I", head[:4])[0])
    major = head[8:12]
    compatible = {head[i : i + 4] for i in range(16, size - 3, 4)}
    if major not in _STILL and not (major in _STILL_SEQUENCES and compatible & _STILL):
        return None
    return "AVIF" if ({major} | compatible) & _AVIF else "HEIC"


def claims_too_much(file: BinaryIO) -> bool:
    """Whether an ISO file's tables claim more samples than it has bytes, or than can be meant.
    False for other files. The file's position is as before.
    """
    before = file.tell()
    try:
        size = file.seek(0, 2)
        claims = _Claims(size)
        for number, (kind, start, end) in enumerate(_boxes(file, size)):
            if number > MOST_BOXES:
                return True
            if kind not in _WITHOUT_TABLES:
                _read_tables(file, start, min(size, end), claims)
            if claims.too_much:
                return True
        return False
    finally:
        file.seek(before)


def is_cut_off(file: BinaryIO) -> bool:
    """Whether the last box on top of an ISO file ends beyond the file, whose position is kept."""
    before = file.tell()
    try:
        size = file.seek(0, 2)
        return any(end > size for _, _, end in islice(_boxes(file, size), MOST_BOXES))
    finally:
        file.seek(before)


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the boxes on top, as FFmpeg walks them; the last may end beyond the
    file.
    """
    position = 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        if position == 0 and kind not in _FIRST_BOXES:
            return
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        end = size if length == 0 else position + length
        if end < position + 8:
            return
        yield kind, position, end
        position = end


@dataclass
class _Claims:
    """Counts of what the tables of a file claim so far."""

    file_bytes: int
    samples: int = 0
    largest_table: int = 0
    edits: int = 0
    handler: bytes = b""
    single_samples: bool = False
    sound_too_long: bool = False
    too_many_keys: bool = False

    @property
    def too_much(self) -> bool:
        edited = self.edits * self.largest_table if self.edits > FEW_EDITS else 0
        return (
            self.samples > min(MOST_SAMPLES, self.file_bytes)
            or edited > MOST_EDITED_SAMPLES
            or self.sound_too_long
            or self.too_many_keys
        )

    def add(self, count: int) -> None:
        self.samples += count
        self.largest_table = max(self.largest_table, count)


def _read_tables(file: BinaryIO, start: int, end: int, claims: _Claims) -> None:
    file.seek(start)
    tail = b""
    while start < end:
        block = file.read(min(_BLOCK_BYTES, end - start))
        if not block:
            return
        start += len(block)
        last = start >= end
        _find_tables(tail + block, last, claims)
        if claims.too_much:
            return
        tail = (tail + block)[-_FIELDS_BYTES:]


def _find_tables(data: bytes, last: bool, claims: _Claims) -> None:
    """Boxes are found by their names wherever they are, as parsers find them in places where no
    standard has them. Those at the very end of a block are found in the next one.
    """
    until = len(data) if last else len(data) - _FIELDS_BYTES
    for found in _TABLES.finditer(data):
        kind, at = found[0], found.end()
        if found.start() >= until or at + 12 > len(data):
            continue
        first, second, third = struct.unpack(">III", data[at : at + 12])
        if kind == b"hdlr":
            claims.handler = data[at + 8 : at + 12]
        elif kind == b"stts":
            claims.single_samples = second == 1 and data[at + 12 : at + 16] == b"\0\0\0\1"
        elif kind == b"elst":
            claims.edits = max(claims.edits, second)
        elif kind == b"keys":
            claims.too_many_keys |= claims.file_bytes < second * _KEY_BYTES <= _MOST_KEYS_BYTES
        elif kind == b"cmvd":
            _read_compressed(data[at + 4 :], claims)
        elif kind == b"trun":
            if not first & _PER_SAMPLE_FIELDS:
                claims.add(second)
        elif kind == b"stsz" and claims.handler == b"soun" and claims.single_samples and second:
            claims.sound_too_long = third > _SOUND_SAMPLES_PER_BYTE * claims.file_bytes
        else:  # stsz, stz2
            claims.add(third)


def _read_compressed(data: bytes, claims: _Claims) -> None:
    try:
        tables = zlib.decompressobj().decompress(data, MOST_COMPRESSED_BYTES)
    except zlib.error:
        return
    _find_tables(tables.replace(b"cmvd", b"    "), True, claims)
