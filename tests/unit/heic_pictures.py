"""HEIC pictures, made as tests need them: what reads them in the product cannot write them.

ISO/IEC 23008-12 (HEIF) has the boxes: grid 6.6.2.3, irot 6.5.10, colr in ISO/IEC 14496-12.
"""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def full(kind: bytes, data: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + data)


def write_heic(
    path: Path,
    picture: np.ndarray,
    tile: int | None = None,
    quarter_turns: int = 0,
    major: bytes = b"heic",
    colour: bytes | None = None,
    depth: int = 8,
) -> Path:
    """uint8 [H, W, 3], or uint16 for depth 10, RGB. tile: side of the tiles of a grid; none for
    a single picture. quarter_turns: counter-clockwise, that a viewer has to make. colour: the
    data of a colr box.
    """
    height, width = picture.shape[:2]
    side = (height, width) if tile is None else (tile, tile)
    rows, columns = -(-height // side[0]), -(-width // side[1])
    padding = ((0, rows * side[0] - height), (0, columns * side[1] - width), (0, 0))
    padded = np.pad(picture, padding, "edge")
    coded = []
    for row in range(rows):
        for column in range(columns):
            part = padded[row * side[0] :, column * side[1] :][: side[0], : side[1]]
            config, data = _hevc(part, depth)
            coded.append(data)
    properties = [config, full(b"ispe", struct.pack(">II", side[1], side[0]))]
    properties.append(full(b"ispe", struct.pack(">II", width, height)))
    shared = []
    if quarter_turns:
        properties.append(box(b"irot", bytes([quarter_turns])))
        shared.append(len(properties))
    if colour is not None:
        properties.append(box(b"colr", colour))
        shared.append(len(properties))
    items = [(i + 1, b"hvc1", data, [1, 2]) for i, data in enumerate(coded)]
    primary = 1
    references = b""
    if tile is not None:
        primary = len(items) + 1
        grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
        numbers = [number for number, *_ in items]
        references = full(
            b"iref", box(b"dimg", struct.pack(f">HH{len(numbers)}H", primary, len(numbers), *numbers))
        )
        items.append((primary, b"grid", grid, [3]))
    items = [(n, kind, data, p + (shared if n == primary else [])) for n, kind, data, p in items]
    head = box(b"ftyp", major + bytes(4) + b"mif1heic")
    meta = _meta(items, properties, primary, references, 0)
    meta = _meta(items, properties, primary, references, len(head) + len(meta) + 8)
    path.write_bytes(head + meta + box(b"mdat", b"".join(data for _, _, data, _ in items)))
    return path


def _meta(items: list, properties: list[bytes], primary: int, references: bytes, start: int) -> bytes:
    infos = b"".join(full(b"infe", struct.pack(">HH4s", n, 0, kind) + b"\0", 2) for n, kind, _, _ in items)
    locations = b""
    for number, _, data, _ in items:
        locations += struct.pack(">HHHII", number, 0, 1, start, len(data))
        start += len(data)
    used = b"".join(
        struct.pack(">HB", n, len(places)) + bytes(0x80 * (place == 1) | place for place in places)
        for n, _, _, places in items
    )
    return full(
        b"meta",
        full(b"hdlr", bytes(4) + b"pict" + bytes(13))
        + full(b"pitm", struct.pack(">H", primary))
        + full(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + locations)
        + full(b"iinf", struct.pack(">H", len(items)) + infos)
        + references
        + box(
            b"iprp",
            box(b"ipco", b"".join(properties)) + full(b"ipma", struct.pack(">I", len(items)) + used),
        ),
    )


def _hevc(picture: np.ndarray, depth: int) -> tuple[bytes, bytes]:
    """(hvcC box, the coded picture) as an mp4 has them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx265", rate=25, options={"x265-params": "log-level=none:info=0:bframes=0", "crf": "8"}
        )
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p" if depth == 8 else "yuv420p10le"
        form = "rgb24" if depth == 8 else "rgb48le"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=form)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = file.getvalue()
    at = data.index(b"hvcC") - 4
    config = data[at : at + struct.unpack(">I", data[at : at + 4])[0]]
    at = data.index(b"mdat") - 4
    return config, data[at + 8 : at + struct.unpack(">I", data[at : at + 4])[0]]
