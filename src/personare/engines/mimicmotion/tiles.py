"""A long clip in tiles that the network can take, all beginning with the picture itself (SPEC
e.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.errors import InvalidOption


def tiles_of(frames: int, size: int, overlap: int) -> NDArray[np.intp]:
    """Frame numbers of each tile, int [tiles, size]: 0, the picture, then consecutive ones.

    frames: with the picture's own. size: frames of a tile; a shorter clip is one tile. Raises
    InvalidOption unless 1 <= overlap < size.
    """
    if frames <= size:
        return np.arange(frames, dtype=np.intp)[None]
    check_overlap(size, overlap)
    starts = list(range(0, frames - size + 1, size - overlap))
    if starts[-1] + size < frames:
        starts.append(frames - size)
    return np.array([[0, *range(start + 1, start + size)] for start in starts], np.intp)


def check_overlap(size: int, overlap: int) -> None:
    """Raises InvalidOption unless tiles of this size can overlap so far."""
    if not 1 <= overlap < size:
        raise InvalidOption(
            f"tiles of {size} frames cannot overlap by {overlap}",
            hint=f"tile_overlap is between 1 and {size - 1} with tile_size={size}",
        )


def tile_weights(size: int) -> NDArray[np.float32]:
    """How much each frame of a tile counts, float32 [size]: a triangle."""
    ramp = (np.arange(size) + 0.5) * 2 / size
    return np.minimum(ramp, 2 - ramp).astype(np.float32)
