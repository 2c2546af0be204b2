"""How brows and forehead move: what browInnerUp, browOuterUp and browDown do to the face
points.

The bundled head moves its brows by a fifth of what faces do, and only a few points of them.
Here a brow goes as one piece: all that lies on it at one place along it moves alike, so its
hair keeps its shape; the forehead above takes the rest up to where the face ends, and the lid
below gives way. Amplitudes are those of ARKit faces at unit value 1, in eye distances.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.light import colours_at
from personare.heads import LEFT_EYE_UPPER, RIGHT_EYE_UPPER
from personare.heads.brow_shapes import (
    DOWN,
    INNER_UP,
    LEFT_LOWER_EDGE,
    LEFT_UPPER_EDGE,
    OUTER_UP,
    RIGHT_LOWER_EDGE,
    RIGHT_UPPER_EDGE,
    TOGETHER,
    brow_shapes,
)
from personare.motion import UNIT
from personare.types import Image

Floats = NDArray[np.float32]

UPPER_EDGES = (RIGHT_UPPER_EDGE, LEFT_UPPER_EDGE)
RIGHT_OUTLINE = (10, 109, 67, 103, 54, 21, 162)
UP_THE_FOREHEAD = (9, 151)
UNITS = [
    UNIT[name]
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight")
]

HIGHEST = 0.165
"""Both together raise a brow by this much."""
FOREHEAD_FADES = 1.3
"""The motion above a brow falls to nothing at the face's outline with this power of what is
left of the way.
"""
LID_FADES = ((0.0, 0.065, 0.105, 0.135, 0.20), (1.0, 0.60, 0.17, 0.04, 0.0))
"""Below a brow: distance from its lower edge, and the share that is left (row below the brow,
crease, edge of the lid).
"""
BRIDGE_FADES = ((0.0, 0.10, 0.20, 0.30), (1.0, 0.62, 0.22, 0.0))
"""The same on the nose, which begins higher."""
FRAMED_FADES, FRAMED_SHARE = ((0.0, 0.02, 0.06), (1.0, 0.8, 0.0)), 0.7
"""Behind glasses, whose frames are just below the brows and stay."""
BRIDGE_WIDTH = (0.10, 0.19)
CLEARANCE = 0.58
"""Share of the way from a brow's lower edge to the upper lid that it may come down: it must not
cover the eye.
"""
LEAST_DOWN = 0.35
HAIR_DIFFERS, HAIR_RUN = 0.34, 0.05
"""Where the forehead differs this much, as a share of its brightness, over this length in eye
distances, it is hair or a hat.
"""
HAIR_STARTS = 0.07
"""Above a brow's upper edge, in eye distances: what is nearer is the brow itself."""
LEAST_FREE, ROOM_TAKEN = 0.12, 0.85
"""A brow rises by at most this share of the way to the hair; a fringe that hangs lower gives
way a little.
"""
STRETCH, LEAST_UP = 0.76, 0.55
"""A brow rises by at most this share of that way, or by that share of what others do: skin
stretched further smears.
"""


def brow_deltas(
    neutral: Floats, points: Floats, picture: Image, unit_px: float, glasses: bool = False
) -> Floats:
    """Deltas of UNITS in the head's own axes (x to image right, y up), float32 [5, 468, 3] in
    eye distances.

    neutral: the bundled head's points, float32 [468, 3] in eye distances. points: those of this
    face, in pixels of the picture uint8 [H, W, 3]. glasses: nothing below the brows moves, and
    they move less.
    """
    aside = np.abs(neutral[:, 0])
    inner_shape, outer_shape, down_shape, together_shape = brow_shapes(aside)
    deltas = np.zeros((len(UNITS), len(neutral), 3), np.float32)
    inner_up, outer_left, outer_right, down_left, down_right = deltas
    for up, lowered, side, lower, upper, lid in (
        (outer_left, down_left, 1, LEFT_LOWER_EDGE, LEFT_UPPER_EDGE, LEFT_EYE_UPPER),
        (outer_right, down_right, -1, RIGHT_LOWER_EDGE, RIGHT_UPPER_EDGE, RIGHT_EYE_UPPER),
    ):
        free = way_to_hair(points, picture, upper, unit_px)
        reach = _reach(neutral, free, glasses)
        # The middle belongs to both sides by halves.
        share = reach * np.clip(0.5 + side * neutral[:, 0] / 0.10, 0, 1)
        room = _room(points, lower, lid) / unit_px
        rises = np.clip(STRETCH * room / OUTER_UP, LEAST_UP, 1) * np.clip(ROOM_TAKEN * free / HIGHEST, 0, 1)
        inner_up[:, 1] += rises * INNER_UP * inner_shape * share
        up[:, 1] = rises * OUTER_UP * outer_shape * share
        lowered[:, 1] = -np.clip(CLEARANCE * room / DOWN, LEAST_DOWN, 1) * DOWN * down_shape * share
        lowered[:, 0] = -side * TOGETHER * together_shape * share
    return deltas


def way_to_hair(points: Floats, picture: Image, upper: tuple[int, ...], unit_px: float) -> float:
    """From a brow's upper edge to where hair or a hat begins above it, in eye distances; 1 if
    there is none on the forehead.
    """
    edge = points[list(upper[:4]), :2]
    up = points[UP_THE_FOREHEAD[1], :2] - points[UP_THE_FOREHEAD[0], :2]
    up = up / max(float(np.linalg.norm(up)), 1e-3)
    steps = np.arange(HAIR_STARTS, 0.5, 0.01, dtype=np.float32)
    seen = colours_at(picture, edge[:, None] + (steps * unit_px)[:, None] * up)
    # The median of 24 colours; np.median would load numpy.ma, a tenth of a second of each run.
    skin = np.sort(seen[:, :6].reshape(24, -1), axis=0)[11:13].mean(axis=0)
    other = np.abs(seen - skin).max(axis=-1) > HAIR_DIFFERS * max(float(skin.max()), 1.0)
    run = round(HAIR_RUN / 0.01)
    hair = np.lib.stride_tricks.sliding_window_view(other, run, axis=1).all(axis=-1)
    first = np.where(np.asarray(hair).any(axis=1), steps[hair.argmax(axis=1)], 1.0)
    return max(float(np.sort(first)[1]), LEAST_FREE)


def _reach(neutral: Floats, free: float, glasses: bool) -> Floats:
    """How much of the motion of the brow below or above it each point takes, float32 [468]
    0..1.
    """
    aside, height = np.abs(neutral[:, 0]), neutral[:, 1]
    low, high = (
        np.interp(aside, -neutral[list(edge), 0], neutral[list(edge), 1])
        for edge in (RIGHT_LOWER_EDGE, RIGHT_UPPER_EDGE)
    )
    outline = np.interp(aside, -neutral[list(RIGHT_OUTLINE), 0], neutral[list(RIGHT_OUTLINE), 1])
    top = np.minimum(outline, high + free)
    left = np.clip((top - height) / np.maximum(top - high, 0.02), 0, 1)
    forehead = np.where(height > high, left**FOREHEAD_FADES, 1)
    below = np.maximum(low - height, 0)
    nose = np.clip((BRIDGE_WIDTH[1] - aside) / (BRIDGE_WIDTH[1] - BRIDGE_WIDTH[0]), 0, 1)
    lid = np.interp(below, *LID_FADES) * (1 - nose) + np.interp(below, *BRIDGE_FADES) * nose
    if glasses:
        lid = FRAMED_SHARE * np.interp(below, *FRAMED_FADES)
    return np.asarray(forehead * lid, np.float32)


def _room(points: Floats, edge: tuple[int, ...], lid: tuple[int, ...]) -> float:
    """Pixels between the middle of a brow's lower edge and the lid below it."""
    brow, eye = points[list(edge[1:4]), :2].mean(axis=0), points[list(lid[2:7]), :2].mean(axis=0)
    return float(np.linalg.norm(brow - eye))
