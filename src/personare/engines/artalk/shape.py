"""Whose head the mesh is: the shape of a FLAME head, from a photo, a tracked person, or a file
of its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from personare.engines.artalk.options import ArTalkOptions
from personare.engines.artalk.track import track_photo
from personare.engines.artalk.tracked import is_tracked, read_given, read_tracked
from personare.errors import UnreadableMedia
from personare.heads.flame import SHAPES, Flame
from personare.media.local import open_local, shown
from personare.weights.finder import Weights

Floats = NDArray[np.float32]


def read_shape(options: ArTalkOptions, model: Flame) -> Floats:
    """float32 [300] of the file that the options name: .npy or .pt of [300] or [1, 300], a
    tracked.pt, or a photo. Nothing in it is executed.

    Raises UnreadableMedia for another or a hostile file; as `track_photo` for a photo.
    """
    assert options.shape is not None
    path = options.shape.expanduser()
    open_local(path).close()
    if path.suffix.lower() != ".npy" and not is_tracked(path):
        return track_photo(path, model, options.face)[0].shape
    held = _held(path)
    if isinstance(held, Mapping):
        return read_tracked(path, options.person).shape
    is_shape = isinstance(held, np.ndarray) and held.dtype.kind == "f" and held.size == SHAPES
    if not is_shape or not np.isfinite(held).all():
        raise UnreadableMedia(
            f"{shown(path)} does not hold {SHAPES} finite shape values",
            hint="give a photo, a tracked.pt, or the shape code of a tracked FLAME head",
        )
    return np.ascontiguousarray(held.reshape(-1), np.float32)


def shape_digest(options: ArTalkOptions, weights: Weights) -> str:
    """Names the shape that `read_shape` reads. Raises UnreadableMedia."""
    assert options.shape is not None
    named = blake3(f"{options.person} {options.face} {weights.sha256('flame')}".encode())
    with open_local(options.shape.expanduser()) as file:
        while piece := file.read(1 << 20):
            named.update(piece)
    return named.hexdigest()


def _held(path: Path) -> Any:
    if is_tracked(path):
        held = read_given(path)
        return held if isinstance(held, Mapping) else np.asarray(held)
    with open_local(path) as file:
        try:
            return np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableMedia(f"{shown(path)} is no shape: {error}", hint="give a .npy file") from None
