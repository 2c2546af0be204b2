"""How far brows move, and which part of them: the same for drawing them and for reading them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RIGHT_LOWER_EDGE, RIGHT_UPPER_EDGE = (55, 65, 52, 53, 46), (107, 66, 105, 63, 70)
LEFT_LOWER_EDGE, LEFT_UPPER_EDGE = (285, 295, 282, 283, 276), (336, 296, 334, 293, 300)
"""The brow's edges from its inner to its outer end; right is at image left."""

INNER_UP, OUTER_UP = 0.13, 0.11
DOWN, TOGETHER = 0.085, 0.038
"""Amplitudes of ARKit faces at unit value 1, in eye distances, at the place where a unit moves
the brow most.
"""
AT_BROW = (0.0, 0.15, 0.30, 0.44, 0.55, 0.65, 0.78)
"""Places along the brow, in eye distances from the middle of the face: it reaches from 0.14 to
0.63.
"""
INNER_UP_AT_BROW = (0.85, 1.0, 0.80, 0.34, 0.08, 0.0, 0.0)
OUTER_UP_AT_BROW = (0.0, 0.10, 0.55, 1.0, 1.0, 0.75, 0.0)
DOWN_AT_BROW = (0.55, 1.0, 0.95, 0.70, 0.42, 0.20, 0.0)
TOGETHER_AT_BROW = (0.0, 1.0, 0.75, 0.35, 0.12, 0.0, 0.0)
"""Share of it at these places."""


def brow_shapes(aside: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
    """Shares of INNER_UP, OUTER_UP, DOWN and TOGETHER at places so far from the middle of the
    face, each [n].
    """
    return tuple(
        np.interp(aside, AT_BROW, shares)
        for shares in (INNER_UP_AT_BROW, OUTER_UP_AT_BROW, DOWN_AT_BROW, TOGETHER_AT_BROW)
    )
