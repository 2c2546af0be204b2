"""FLAME motion becomes pictures of the mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.artalk.options import ArTalkOptions
from personare.engines.artalk.shape import read_shape
from personare.heads.flame import Flame, FlameHead, flame_file
from personare.heads.flame_mesh import MeshPicture
from personare.types import Image
from personare.weights.finder import Weights

Floats = NDArray[np.float32]
EXPRESSION, HEAD, JAW = slice(0, 100), slice(100, 103), slice(103, 106)


class MeshLook:
    """Draws one head; holds buffers, so for one thread.

    Raises LicenceNotAccepted where there is no FLAME head, WeightsMismatch for another file, and
    what a shape that cannot be read raises.
    """

    def __init__(self, options: ArTalkOptions, weights: Weights) -> None:
        model = Flame.read(flame_file(weights))
        self._head = FlameHead(model, None if options.shape is None else read_shape(options.shape))
        self._picture = MeshPicture(model.faces, len(model.template), options.size)
        self.size = (options.size, options.size)

    def draw(self, row: Floats) -> Image:
        """uint8 [S, S, 3] of a frame of motion [106]; the motion stays as it is."""
        return self._picture.draw(self._head.vertices(row[EXPRESSION], row[HEAD], row[JAW]))
