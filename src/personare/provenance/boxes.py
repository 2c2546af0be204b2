"""The boxes of an ISO base media file that hold marks: written into our own clips, read from
anybody's.

    moov/meta   keys and values (QuickTime File Format, "Metadata"); also in moov/udta, where
                FFmpeg's use_metadata_tags has them
    uuid        an XMP packet, by itself on top (XMP Specification Part 3, 1.1.3, "MPEG-4")

Both leave the media as it is. Whatever reads a stranger's file walks headers only, down a fixed
path, and stops at limits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from personare.errors import EngineError

XMP = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
C2PA = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481")
MOST_BOXES = 100_000
"""In one container; a day of fragments has 86,400 of them."""
MOST_KEYS = 1000
MOST_VALUE_BYTES = 1 << 20
_MDTA = struct.pack(">I4sII4s", 33, b"hdlr", 0, 0, b"mdta") + bytes(13)
_UTF8 = 1
_HEADER, _LONG_HEADER = 8, 16
_UUID_BYTES = 16
_FULL_BOX = 4
_OFFSETS = {b"stco": ">I", b"co64": ">Q"}
_ABOVE_OFFSETS = {b"trak", b"mdia", b"minf", b"stbl"}


@dataclass(frozen=True, slots=True)
class Box:
    """kind: its four letters. start, body, end: places in the file."""

    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a file says of itself in boxes.

    tags: key -> text of moov/meta.
    xmp: the first XMP packet, if there is one.
    signed: whether there is a C2PA manifest.
    """

    tags: Mapping[str, str]
    xmp: bytes | None
    signed: bool


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places, as far as they make sense; the last may end beyond `end`."""
    for _ in range(MOST_BOXES):
        if start + _HEADER > end:
            return
        file.seek(start)
        head = file.read(_LONG_HEADER)
        if len(head) < _HEADER:
            return
        size, kind = struct.unpack(">I4s", head[:_HEADER])
        body = start + _HEADER
        if size == 1 and len(head) == _LONG_HEADER:
            size, body = struct.unpack(">Q", head[_HEADER:])[0], start + _LONG_HEADER
        stop = end if size == 0 else start + size
        if stop < body:
            return
        yield Box(kind, start, body, stop)
        start = stop


def read_embedded(file: BinaryIO) -> Embedded:
    """The marks in the boxes of a stranger's file; what makes no sense is left out."""
    size = file.seek(0, 2)
    tags: dict[str, str] = {}
    xmp: bytes | None = None
    signed = False
    for box in boxes(file, 0, size):
        if box.kind == b"moov":
            tags |= {key: value for key, value in _read_tags(file, box, size) if key not in tags}
        elif box.kind == b"uuid":
            kind, content = _read(file, box.body, _UUID_BYTES), box.body + _UUID_BYTES
            signed |= kind == C2PA
            if kind == XMP and xmp is None and box.end - content <= MOST_VALUE_BYTES and box.end <= size:
                xmp = _read(file, content, box.end - content)
    return Embedded(tags, xmp, signed)


def with_marks(source: BinaryIO, target: BinaryIO, tags: Mapping[str, str], xmp: bytes) -> None:
    """Copy a clip of our own with these tags in moov/meta and this XMP packet.

    The media stays byte for byte; the places of it that the index tells move by as much as the
    index grows. Raises EngineError for a file that has tags already or is not laid out as our
    writer does.
    """
    size = source.seek(0, 2)
    top = list(boxes(source, 0, size))
    index = [box for box in top if box.kind == b"moov"]
    if len(index) != 1 or top[-1].end != size:
        raise EngineError("the clip cannot be marked: it has no single index")
    moov = index[0]
    held = _read(source, moov.start, moov.end - moov.start)
    grown = _metadata(tags)
    media_behind = any(box.kind == b"mdat" and box.start > moov.start for box in top)
    changed = bytearray(held + grown)
    struct.pack_into(">I", changed, 0, len(changed))
    if moov.body - moov.start != _HEADER:
        raise EngineError("the clip cannot be marked: its index is too large")
    if media_behind:
        _move_chunks(changed, _HEADER, len(held), len(grown))
    source.seek(0)
    _copy(source, target, moov.start)
    target.write(changed)
    source.seek(moov.end)
    # An index of fragments is looked for by its own last bytes, so it has to stay last.
    last = next((box for box in reversed(top) if box.kind == b"mfra"), None)
    until = size if last is None else last.start
    _copy(source, target, until - moov.end)
    target.write(struct.pack(">I4s", _HEADER + _UUID_BYTES + len(xmp), b"uuid") + XMP + xmp)
    if last is not None:
        random_access = bytearray(_read(source, last.start, last.end - last.start))
        _move_fragments(random_access, len(grown))
        target.write(random_access)


def _metadata(tags: Mapping[str, str]) -> bytes:
    keys, values = b"", b""
    for number, (key, value) in enumerate(tags.items(), 1):
        name, text = key.encode("utf-8"), value.encode("utf-8")
        keys += struct.pack(">I4s", _HEADER + len(name), b"mdta") + name
        data = struct.pack(">I4sII", _HEADER + 8 + len(text), b"data", _UTF8, 0) + text
        values += struct.pack(">II", _HEADER + len(data), number) + data
    table = struct.pack(">I4sII", _HEADER + 8 + len(keys), b"keys", 0, len(tags)) + keys
    listed = struct.pack(">I4s", _HEADER + len(values), b"ilst") + values
    content = _MDTA + table + listed
    return struct.pack(">I4s", _HEADER + len(content), b"meta") + content


def _move_chunks(moov: bytearray, start: int, end: int, by: int) -> None:
    """Add to every chunk offset between two places of an index."""
    while start + _HEADER <= end:
        size, kind = struct.unpack_from(">I4s", moov, start)
        if size < _HEADER or start + size > end:
            raise EngineError("the clip cannot be marked: its index is damaged")
        if kind in _ABOVE_OFFSETS:
            _move_chunks(moov, start + _HEADER, start + size, by)
        elif kind in _OFFSETS:
            layout = _OFFSETS[kind]
            (count,) = struct.unpack_from(">I", moov, start + _HEADER + _FULL_BOX)
            for place in range(count):
                at = start + _HEADER + 2 * _FULL_BOX + place * struct.calcsize(layout)
                moved = struct.unpack_from(layout, moov, at)[0] + by
                if layout == ">I" and moved >= 1 << 32:
                    raise EngineError("the clip cannot be marked: it has just under 4 GB")
                struct.pack_into(layout, moov, at, moved)
        start += size


def _move_fragments(mfra: bytearray, by: int) -> None:
    """Add to every place of a fragment in an index of fragments (tfra, 8.8.10)."""
    start = _HEADER
    while start + _HEADER <= len(mfra):
        size, kind = struct.unpack_from(">I4s", mfra, start)
        if size < _HEADER or start + size > len(mfra):
            raise EngineError("the clip cannot be marked: its index is damaged")
        if kind == b"tfra":
            version = mfra[start + _HEADER]
            lengths, count = struct.unpack_from(">II", mfra, start + _HEADER + 2 * _FULL_BOX)
            layout = ">QQ" if version == 1 else ">II"
            numbers = sum((lengths >> shift & 3) + 1 for shift in (4, 2, 0))
            for place in range(count):
                at = start + _HEADER + 4 * _FULL_BOX + place * (struct.calcsize(layout) + numbers)
                time, moof = struct.unpack_from(layout, mfra, at)
                struct.pack_into(layout, mfra, at, time, moof + by)
        start += size


def _read_tags(file: BinaryIO, moov: Box, size: int) -> Iterator[tuple[str, str]]:
    above = list(boxes(file, moov.body, min(moov.end, size)))
    for data in [box for box in above if box.kind == b"udta"]:  # where FFmpeg has them in MP4
        above += boxes(file, data.body, min(data.end, size))
    for meta in [box for box in above if box.kind == b"meta"]:
        end = min(meta.end, size)
        # as QuickTime has it, or with a version before the first box, as ISO does
        for body in (meta.body, meta.body + _FULL_BOX):
            held = {box.kind: box for box in boxes(file, body, end)}
            if b"keys" in held and b"ilst" in held:
                keys = _read_keys(file, held[b"keys"], size)
                yield from _read_values(file, held[b"ilst"], size, keys)
                return


def _read_keys(file: BinaryIO, table: Box, size: int) -> list[str]:
    names: list[str] = []
    for box in boxes(file, table.body + 2 * _FULL_BOX, min(table.end, size)):
        if len(names) == MOST_KEYS:
            break
        length = min(box.end, size) - box.body
        names.append(_read(file, box.body, length).decode("utf-8", "replace") if length < 256 else "")
    return names


def _read_values(file: BinaryIO, listed: Box, size: int, keys: list[str]) -> Iterator[tuple[str, str]]:
    for number, box in enumerate(boxes(file, listed.body, min(listed.end, size))):
        if number == MOST_KEYS:
            return
        place = struct.unpack(">I", box.kind)[0] - 1
        for data in boxes(file, box.body, min(box.end, size)):
            content, length = data.body + 8, min(data.end, size) - data.body - 8
            if data.kind == b"data" and 0 <= place < len(keys) and 0 <= length <= MOST_VALUE_BYTES:
                yield keys[place], _read(file, content, length).decode("utf-8", "replace")
            break


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(max(0, length))


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0:
        block = source.read(min(length, 1 << 20))
        if not block:
            raise EngineError("the clip cannot be marked: it became shorter meanwhile")
        target.write(block)
        length -= len(block)
