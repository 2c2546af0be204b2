"""Random damage, the same for the same seed: bits, lengths, order, and numbers that programs
trip over.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40)
ODD_TEXTS = (
    b"", b"0", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'"', b"\\", b"\0", b"\xff\xfe", b"\xc3\x28",
    b"1" * 400, b"[" * 3000, b"\n" * 50, "\u202e\u0000".encode(), b"../../../../etc/passwd",
)  # fmt: skip


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A sample with one to eight damages. others: samples that parts may come from."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not damaged:
            break
        chance.choice(_DAMAGES)(damaged, chance)
    if others and chance.random() < 0.1:
        other = chance.choice(others)
        cut, paste = chance.randrange(len(damaged) + 1), chance.randrange(len(other) + 1)
        damaged = damaged[:cut] + bytearray(other[paste:])
    return bytes(damaged)


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 4, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    length = min(len(data) - start, chance.choice((1, 2, 4, 16, 256)))
    data[start : start + length] = chance.randbytes(length)


def _number(data: bytearray, chance: random.Random) -> None:
    layout = chance.choice((">I", "<I", ">H", "<H", ">Q", "<Q"))
    size = struct.calcsize(layout)
    if len(data) >= size:
        start = chance.randrange(len(data) - size + 1)
        value = chance.choice(ODD_NUMBERS) & ((1 << 8 * size) - 1)
        data[start : start + size] = struct.pack(layout, value)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _remove(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 2, 8, 100))]


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    part = data[start : start + chance.choice((1, 8, 64, 512))]
    data[start:start] = part * chance.choice((1, 2, 50))


def _insert(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = chance.choice(ODD_TEXTS)


def _zero(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    length = min(len(data) - start, chance.choice((4, 64, 4096)))
    data[start : start + length] = bytes(length)


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _overwrite, _number, _number, _cut, _remove, _repeat, _insert, _zero,
)  # fmt: skip
