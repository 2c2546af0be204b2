"""Whose head it is: the shape of a FLAME head, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from personare.errors import UnreadableMedia
from personare.heads.flame import SHAPES
from personare.media.local import open_local, shown

Floats = NDArray[np.float32]


def read_shape(path: Path) -> Floats:
    """float32 [300] from a .npy or .pt file of [300] or [1, 300]. Nothing in it is executed.

    Raises UnreadableMedia, WeightsMismatch for another or a hostile .pt file.
    """
    path = path.expanduser()
    with open_local(path) as file:
        if path.suffix.lower() == ".pt":
            from personare.weights.loading import read_checkpoint

            held = np.asarray(read_checkpoint(path))
        else:
            try:
                held = np.load(file, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise UnreadableMedia(
                    f"{shown(path)} is no shape: {error}", hint="give a .npy file"
                ) from None
    is_shape = isinstance(held, np.ndarray) and held.dtype.kind == "f" and held.size == SHAPES
    if not is_shape or not np.isfinite(held).all():
        raise UnreadableMedia(
            f"{shown(path)} does not hold {SHAPES} finite shape values",
            hint="give the shape code of a tracked FLAME head",
        )
    return np.ascontiguousarray(held.reshape(-1), np.float32)


def shape_digest(path: Path) -> str:
    """Names a file's shape. Raises as `read_shape`."""
    return blake3(read_shape(path).tobytes()).hexdigest()
