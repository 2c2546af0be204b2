"""JPEG files whose decoding costs more than their size says: huge ones, and ones that are
scanned again and again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

MOST_SCANNED_PIXELS = 1_500_000_000
"""Pixels times scans: thirty scans of the largest picture, a hundred times what cameras write."""
MOST_PIXELS = 400_000_000
MOST_PIXELS_IN_SCANS = 120_000_000
"""Of pictures in several scans, of which all coefficients are held while they are decoded."""
_SCALES = (1, 2, 4, 8)
_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JpegSize:
    """scans: how often the decoder goes over the picture; 1 for most."""

    width: int
    height: int
    scans: int

    @property
    def too_much_work(self) -> bool:
        return self.scans > 1 and self.width * self.height * self.scans > MOST_SCANNED_PIXELS

    def scale_below(self, max_pixels: int) -> int | None:
        """1, 2, 4 or 8, by which the decoder may shrink the picture to have at most so many
        pixels; None where it is too large for that, too.
        """
        pixels = self.width * self.height
        if pixels > max_pixels and pixels > (MOST_PIXELS_IN_SCANS if self.scans > 1 else MOST_PIXELS):
            return None
        fitting = (s for s in _SCALES if -(-self.width // s) * -(-self.height // s) <= max_pixels)
        return next(fitting, None)


def jpeg_size(file: BinaryIO) -> JpegSize | None:
    """What the markers of a JPEG say (ITU-T T.81, annex B); None for a file that is none, or is
    damaged before its first scan. The file's position is as before.
    """
    before = file.tell()
    try:
        return _size(file)
    finally:
        file.seek(before)


def _size(file: BinaryIO) -> JpegSize | None:
    if file.read(2) != bytes([0xFF, _START]):
        return None
    width = height = components = 0
    progressive = False
    while True:
        marker = _next_marker(file)
        if marker is None or marker == _END:
            return None
        if marker in _WITHOUT_LENGTH:
            continue
        head = file.read(2)
        if len(head) < 2:
            return None
        length = struct.unpack(">H", head)[0] - 2
        if marker in _FRAMES:
            fields = file.read(length)
            if len(fields) < 6:
                return None
            height, width, components = struct.unpack(">HHB", fields[1:6])
            progressive = marker in _PROGRESSIVE
        elif marker == _SCAN:
            if not width or not height:
                return None
            in_scan = file.read(1)
            single = not progressive and in_scan == bytes([components])
            return JpegSize(width, height, 1 if single else 1 + _scans_after(file))
        else:
            file.seek(length, 1)


def _next_marker(file: BinaryIO) -> int | None:
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    return byte[0] if byte else None


def _scans_after(file: BinaryIO) -> int:
    """Markers of scans in the rest of the file. In coded data 255 is always followed by 0."""
    scans, last = 0, b""
    while block := file.read(_BLOCK_BYTES):
        scans += (last + block).count(bytes([0xFF, _SCAN]))
        last = block[-1:]
    return scans
