"""What is measured of a face to read its expression: a hundred numbers per picture.

All in the head's own axes and in eye distances, so that neither its turn nor its size matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.heads.head468 import (
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
)

Floats = NDArray[np.float32]

CORNERS = (61, 291)
LIP_COLUMNS = (2, 3, 5, 7, 8)
OUTER_LIPS = tuple(row[i] for row in (UPPER_OUTER_LIP, LOWER_OUTER_LIP) for i in LIP_COLUMNS)
INNER_LIPS = tuple(row[i] for row in (UPPER_INNER_LIP, LOWER_INNER_LIP) for i in LIP_COLUMNS)
CHIN_POINTS = (148, 152, 377, 175, 199)
NOSE_WINGS = (129, 358)
MOUTH_POINTS = (*CORNERS, *OUTER_LIPS, *INNER_LIPS, *CHIN_POINTS, *NOSE_WINGS)
BROW_PLACES = 10
"""Five along either brow, each the mean of its edges; image left first, from the outer end in."""

UPPER_LID, LOWER_LID = slice(11, 14), slice(3, 6)
EYE_CORNERS = (0, 8)
"""Of an eye's contour, see `perception.iris.eyes`."""

_SIZES = {
    "mouth": 2 * len(MOUTH_POINTS),
    "gaps": len(LIP_COLUMNS),
    "brows": 2 * BROW_PLACES,
    "openness": 2,
    "lower_lids": 2,
    "gaze": 4,
}
_ENDS = np.cumsum(list(_SIZES.values()))
PLACES = {
    name: slice(int(end) - size, int(end)) for (name, size), end in zip(_SIZES.items(), _ENDS, strict=True)
}
"""Where each group of signals lies in their array."""
SIGNALS = int(_ENDS[-1])
PARTS = np.repeat(np.array([0, 1, 2, 3, 4, 5]), list(_SIZES.values()))
"""Which are judged together when they are smoothed."""


def signals(face: Floats, lids: Floats, iris: Floats, brows: Floats) -> Floats:
    """The signals of one face, float32 [SIGNALS].

    Arguments in the head's own axes, x to image right, y up, in eye distances.

    face: [468, 2].
    lids: [2, 71, 2], the eye at image left first.
    iris: [2, 5, 2].
    brows: [20, 2], upper and lower edge of the brow at image left from its outer to its inner
        end, then of the other.
    """
    gaps = face[list(UPPER_INNER_LIP)] - face[list(LOWER_INNER_LIP)]
    along = brows.reshape(2, 2, 5, 2).mean(axis=1)
    corners = lids[:, list(EYE_CORNERS)]
    width = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
    openness = (lids[:, UPPER_LID, 1] - lids[:, LOWER_LID, 1]).mean(axis=1) / width
    lower = lids[:, LOWER_LID, 1].mean(axis=1) - corners[..., 1].mean(axis=1)
    gaze = (iris[:, 0] - corners.mean(axis=1)) * [1, -1]
    return np.concatenate(
        [
            face[list(MOUTH_POINTS)].ravel(),
            gaps[list(LIP_COLUMNS), 1],
            along.ravel(),
            openness,
            lower,
            gaze.ravel(),
        ]
    ).astype(np.float32)
