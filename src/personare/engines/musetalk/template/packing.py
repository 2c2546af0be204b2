"""Many small pictures of one channel in one feature: compressed without loss, each readable
alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]


def packed(pictures: Iterable[Mask]) -> dict[str, NDArray[Any]]:
    """Pictures uint8 [h, w] of any sizes as arrays: bytes uint8 [m], ends int64 [n], sizes
    int32 [n, 2].
    """
    parts: list[bytes] = []
    sizes: list[tuple[int, int]] = []
    for picture in pictures:
        parts.append(zlib.compress(np.ascontiguousarray(picture).tobytes(), 6))
        sizes.append((picture.shape[0], picture.shape[1]))
    return {
        "bytes": np.frombuffer(b"".join(parts), np.uint8),
        "ends": np.cumsum([len(part) for part in parts], dtype=np.int64),
        "sizes": np.array(sizes, np.int32).reshape(-1, 2),
    }


def unpacked(arrays: Mapping[str, NDArray[Any]], row: int) -> Mask:
    """One of them."""
    start = int(arrays["ends"][row - 1]) if row else 0
    data = zlib.decompress(arrays["bytes"][start : int(arrays["ends"][row])].tobytes())
    return np.frombuffer(data, np.uint8).reshape(arrays["sizes"][row])


def tight(mask: Mask) -> tuple[Mask, int, int]:
    """The smallest part of a mask that holds all that is not 0, and the (x, y) at which it
    begins; one pixel if all is 0.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return mask[:1, :1], 0, 0
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], int(columns[0]), int(rows[0])
