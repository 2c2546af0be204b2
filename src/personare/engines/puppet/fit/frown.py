"""How the corners of the mouth fall and rise: as far as faces do it, whatever the photo's own
expression is.

On a photo that smiles, corners pulled down by a frown's way would still be above the middle of
the lips, and a weaker smile reads as a smile. So a frown also takes away what the photo has of
one, and so do puckered lips; a smile takes the photo's frown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.lip_colours import LOWER_ROWS, UPPER_ROWS
from personare.heads import Head468
from personare.motion import UNIT

Floats = NDArray[np.float32]

PUCKER = UNIT["mouthPucker"]
CORNERS = {"Right": (61, 78), "Left": (291, 308)}
MIDDLE_COLUMN = 5
FROWN_GAIN = 1.5
"""The bundled head's corners fall by .05 eye distances, those of ARKit faces by about .08."""
SNEER_GAIN = 1.9
"""Wings of the nose rise by .03 there, those of faces by twice as much."""
LEVEL, SMILE_RISES, FROWN_FALLS = 0.010, 0.075, 0.070
"""Height of the corners above the middle of shut lips, in eye distances: of a face without
expression, what mouthSmile 1 adds, and what mouthFrown 1 takes.
"""
TAKEN, TAKEN_BY_PUCKER = 0.85, 0.35
"""Share of the photo's own smile or frown that goes with the opposite unit at 1; with puckered
lips less: a smile that came and went with every "oo" would make the mouth restless.
"""


def frown_deltas(head: Head468, shut: Floats) -> tuple[list[int], Floats]:
    """Units and their deltas float32 [7, 468, 3] in eye distances, in the head's own axes.

    shut: the face's points with its lips shut, in those axes, float32 [468, 3] in eye
    distances.
    """
    units = [PUCKER]
    deltas = [head.deltas[PUCKER].copy()]
    for side, corners in CORNERS.items():
        frown, smile, sneer = (UNIT[name + side] for name in ("mouthFrown", "mouthSmile", "noseSneer"))
        rise = float(shut[list(corners), 1].mean() - shut[UPPER_ROWS[0, MIDDLE_COLUMN], 1]) - LEVEL
        falls = _as_one(FROWN_GAIN * head.deltas[frown])
        smiled = np.float32(TAKEN * min(max(rise / SMILE_RISES, 0), 1)) * _as_one(head.deltas[smile])
        frowned = np.float32(TAKEN * min(max(-rise / FROWN_FALLS, 0), 1)) * falls
        deltas[0] -= smiled * np.float32(TAKEN_BY_PUCKER / TAKEN)
        units += [frown, smile, sneer]
        deltas += [
            falls - smiled,
            head.deltas[smile] - frowned,
            SNEER_GAIN * head.deltas[sneer],
        ]
    return units, np.stack(deltas).astype(np.float32)


def _as_one(delta: Floats) -> Floats:
    """The delta with both inner lips moved alike: a shut mouth stays shut."""
    together = delta.copy()
    for upper, lower, share in zip(UPPER_ROWS, LOWER_ROWS, (1.0, 1.0, 0.6, 0.3), strict=True):
        mean = (delta[UPPER_ROWS[0]] + delta[LOWER_ROWS[0]]) / 2
        for row, inner in ((upper, UPPER_ROWS[0]), (lower, LOWER_ROWS[0])):
            together[row] = delta[row] + np.float32(share) * (mean - delta[inner])
    return together
