"""How the corners of the mouth fall: mouthFrown as deep as faces do it, whatever the photo's own expression is.

On a photo that smiles, corners pulled down by a frown's way would still be above the middle of the lips, and a weaker
smile reads as a smile. So a frown also takes away what the photo has of one, and so do puckered lips.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.lips import LOWER_ROWS, UPPER_INNER, UPPER_ROWS
from personare.heads import Head468
from personare.types import ARKIT_UNITS

Floats = NDArray[np.float32]

PUCKER = ARKIT_UNITS.index("mouthPucker")
CORNERS = {"Right": (61, 78), "Left": (291, 308)}
MIDDLE_COLUMN = 5
FROWN_GAIN = 1.5
"""The carried head's corners fall by .05 eye distances, those of ARKit faces by about .08."""
SNEER_GAIN = 1.3
LEVEL, SMILE_RISES = 0.010, 0.075
"""Height of the corners above the middle of shut lips: of a face that does not smile, and what mouthSmile 1 adds to it, in eye
distances."""
SMILE_TAKEN = 0.85


def frown_deltas(head: Head468, shut: Floats) -> tuple[list[int], Floats]:
    """Units and their deltas float32 [5, 468, 3] in eye distances, in the head's own axes.

    shut: the face's points with its lips shut, in those axes, float32 [468, 3] in eye distances.
    """
    units = [PUCKER]
    deltas = [head.deltas[PUCKER].copy()]
    for side, corners in CORNERS.items():
        frown, smile, sneer = (ARKIT_UNITS.index(name + side) for name in ("mouthFrown", "mouthSmile", "noseSneer"))
        taken = SMILE_TAKEN * own_smile(shut, corners)
        smiled = np.float32(taken) * _as_one(head.deltas[smile])
        deltas[0] -= smiled
        units += [frown, sneer]
        deltas += [
            _as_one(FROWN_GAIN * head.deltas[frown] - smiled),
            SNEER_GAIN * head.deltas[sneer],
        ]
    return units, np.stack(deltas).astype(np.float32)


def own_smile(shut: Floats, corners: tuple[int, int]) -> float:
    """How much of mouthSmile one side of the photo's mouth wears, 0 .. 1."""
    rise = float(shut[list(corners), 1].mean() - shut[UPPER_INNER[MIDDLE_COLUMN], 1])
    return float(np.clip((rise - LEVEL) / SMILE_RISES, 0, 1))


def _as_one(delta: Floats) -> Floats:
    """The delta with both inner lips moved alike: a shut mouth stays shut."""
    together = delta.copy()
    for upper, lower, share in zip(UPPER_ROWS, LOWER_ROWS, (1.0, 1.0, 0.6, 0.3), strict=True):
        mean = (delta[UPPER_ROWS[0]] + delta[LOWER_ROWS[0]]) / 2
        for row, inner in ((upper, UPPER_ROWS[0]), (lower, LOWER_ROWS[0])):
            together[row] = delta[row] + np.float32(share) * (mean - delta[inner])
    return together
