"""Light that follows the expression: folds that come with a smile, a frown, raised brows, an
open jaw.

A photo's own shading is painted on and cannot know that the face has changed; without a little
of this, an open mouth looks cut in, and lowered brows look slid. Each mark is painted once, at
rest; in a frame it is carried to where its two ends are, and takes away a share of the light
there: of hair in front of it there is little to take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit import brows
from personare.engines.puppet.fit.rig import Rig
from personare.heads import CHIN, MIRROR
from personare.motion import UNIT
from personare.types import Image

Floats = NDArray[np.float32]
Place = tuple[int, int, float]
"""Between two face points: the share of the way from the first to the second, which may lie
beyond either.
"""

LOWER_LIP = 17
LEAST = 0.005
"""Less light lost than this is not drawn."""
STARTS = 0.15
"""Share of a unit's full weight up to which skin stretches but does not fold."""
REACH = 2.4
"""Standard deviations beyond which nothing is drawn."""
FADES, FULLY_RELAXED = 0.35, 0.2
"""Light that a fold gains per weight of smile that is given up, and the weight from which on
the voice deepens it no more.
"""
TINT, TINT_LIMITS = 1.0, (0.65, 1.5)
"""Skin in shade is redder: a channel loses light as the inverse of its share in the skin to
this power. Grey pictures stay grey.
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark on the skin of a face.

    strokes: curves through places, each point after point.
    width: across a stroke, one standard deviation in eye distances.
    taper: share of a stroke's length over which either end fades.
    carried_by: the two face points that it goes with.
    shade: share of the light that is lost.
    units: what deepens it, and at which weight in full; the strongest counts.
    against: what undoes it.
    relaxes: it fades as a smile of the picture does.
    """

    strokes: Sequence[Sequence[Place]]
    width: float
    taper: float
    carried_by: tuple[int, int]
    shade: float
    units: Mapping[str, float]
    against: str | None = None
    relaxes: bool = False

    def mirrored(self) -> Mark:
        """The same on the other side; units of the right side become those of the left."""
        return Mark(
            [[(MIRROR[a], MIRROR[b], share) for a, b, share in stroke] for stroke in self.strokes],
            self.width,
            self.taper,
            (MIRROR[self.carried_by[0]], MIRROR[self.carried_by[1]]),
            self.shade,
            {name.replace("Right", "Left"): full for name, full in self.units.items()},
            self.against,
            self.relaxes,
        )

    def depth(self, curves: Floats) -> float:
        """Share of the light that is lost where it is deepest."""
        raised = max(float(curves[UNIT[name]]) / full for name, full in self.units.items())
        if self.against is not None:
            raised -= float(curves[UNIT[self.against]])
        return self.shade * min(max((raised - STARTS) / (1 - STARTS), 0.0), 1.0)


def _across(*points: tuple[int, int, float]) -> list[Place]:
    """From the right side's points over to the mirrored left side's."""
    there = list(points)
    back = [
        (MIRROR[a], MIRROR[b], share) for a, b, share in reversed(points) if (MIRROR[a], MIRROR[b]) != (a, b)
    ]
    return there + back


CREASE = Mark(
    [_across((182, 194, 0.0), (83, 18, 0.0), (18, 200, 0.1))],
    0.044,
    0.5,
    (LOWER_LIP, CHIN),
    0.13,
    {"jawOpen": 0.40},
)
"""Below the lower lip, as the jaw drops."""
NOSE_FOLD = Mark(
    [[(129, 64, 0.3), (129, 203, 0.5), (203, 206, 0.3), (206, 216, 0.2), (216, 57, 0.25), (212, 57, 0.4)]],
    0.026, 0.40, (129, 212), 0.10,
    {"mouthSmileRight": 0.5, "mouthStretchRight": 0.6, "noseSneerRight": 0.7}, relaxes=True,
)  # fmt: skip
"""From the wing of the nose around the corner of the mouth, as the cheek rises."""
CROWS_FEET = Mark(
    [
        [(130, 113, 0.55), (113, 156, 0.30), (156, 143, 0.10)],
        [(130, 226, 0.60), (226, 35, 0.80), (143, 35, 0.35)],
        [(130, 31, 0.75), (31, 35, 0.45), (111, 35, 0.30)],
    ], 0.013, 0.42, (130, 143), 0.07, {"cheekSquintRight": 0.65},
)  # fmt: skip
"""Beside the eye, as the cheek pushes the lower lid up."""
FURROW = Mark(
    [
        [(8, 55, 0.48), (55, 9, 0.5), (107, 9, 0.55), (55, 151, 0.5)],
        [(8, 285, 0.48), (285, 9, 0.5), (336, 9, 0.55), (285, 151, 0.5)],
    ],
    0.019, 0.42, (55, 285), 0.15, {"browDownLeft": 0.95, "browDownRight": 0.95}, "browInnerUp",
)  # fmt: skip
"""Two short upright folds between lowered brows."""
BROW_SHADOW = Mark(
    [[(55, 221, 0.8), (65, 222, 0.8), (52, 223, 0.8), (53, 224, 0.8)]],
    0.026,
    0.35,
    (55, 53),
    0.16,
    {"browDownRight": 0.95},
)
"""What a lowered brow throws on the lid below it."""
FOREHEAD = Mark(
    [
        _across((104, 105, 0.66), (69, 105, 0.58), (108, 107, 0.50), (151, 9, 0.44)),
        _across((104, 105, 0.28), (69, 105, 0.20), (108, 107, 0.12), (151, 9, 0.06)),
        _across((69, 67, 0.22), (108, 109, 0.20), (151, 10, 0.18)),
    ], 0.014, 0.35, (69, 299), 0.085, {"browOuterUpLeft": 0.8, "browOuterUpRight": 0.8},
)  # fmt: skip
"""Level folds as the whole brow rises."""
GRIEF = Mark(
    [_across((69, 66, 0.62), (108, 107, 0.52), (151, 9, 0.46)), _across((108, 107, 0.22), (151, 9, 0.14))],
    0.014, 0.45, (108, 337), 0.085, {"browInnerUp": 0.85}, "browOuterUpRight",
)  # fmt: skip
"""In the middle of the forehead, as the inner brows alone rise."""
FOREHEAD_MARKS = (FOREHEAD, GRIEF)
BEHIND_GLASSES = (CREASE, NOSE_FOLD, NOSE_FOLD.mirrored(), FURROW, *FOREHEAD_MARKS)
MARKS = (*BEHIND_GLASSES, CROWS_FEET, CROWS_FEET.mirrored(), BROW_SHADOW, BROW_SHADOW.mirrored())
FREE_FOREHEAD = 0.24
"""Hair that hangs nearer to the brows than this, in eye distances, leaves no forehead to fold."""


def marks_on(picture: Image, rig: Rig) -> list[Mark]:
    """Those of the marks for which this face, in its picture uint8 [S, S, 3], has bare skin."""
    bare = [brows.way_to_hair(rig.points, picture, edge, rig.eye_distance_px) for edge in brows.UPPER_EDGES]
    marks = BEHIND_GLASSES if rig.glasses else MARKS
    return [mark for mark in marks if mark not in FOREHEAD_MARKS or min(bare) > FREE_FOREHEAD]


class SkinShade:
    """Darkens skin in place, for one face."""

    def __init__(self, points: Floats, unit_px: float, skin: Floats, marks: Iterable[Mark] = MARKS) -> None:
        """points: of the rig at rest. unit_px: its eye distance. skin: colour float32 [3]."""
        tint = np.clip((float(skin.mean()) / np.maximum(skin, 1)) ** TINT, *TINT_LIMITS).astype(np.float32)
        self._painted = [_Painted(mark, points, unit_px, tint) for mark in marks]

    def draw(self, frame: Image, vertices: Floats, curves: Floats, relaxed: float = 0.0) -> None:
        """frame: uint8 [S, S, 3]. vertices: where the rig's points are in it. curves: float32
        [52]. relaxed: weight of its own smile that the face gives up: the picture's folds
        beside the mouth fade.
        """
        for painted in self._painted:
            depth = painted.mark.depth(curves)
            if painted.mark.relaxes:
                depth = depth * (1 - min(1.0, relaxed / FULLY_RELAXED)) - FADES * relaxed
            if abs(depth) > LEAST:
                painted.draw(frame, vertices, depth)


class _Painted:
    """A mark painted at rest: the share of its depth at every pixel of a window, and where the
    window is.
    """

    def __init__(self, mark: Mark, points: Floats, unit_px: float, tint: Floats) -> None:
        self.mark = mark
        fine = 0.4 * mark.width * unit_px
        strokes = [
            _curve(
                np.stack([points[a, :2] + share * (points[b, :2] - points[a, :2]) for a, b, share in stroke]),
                fine,
            )
            for stroke in mark.strokes
        ]
        along = np.concatenate(strokes)
        reach = REACH * mark.width * unit_px
        low, high = np.floor(along.min(axis=0) - reach), np.ceil(along.max(axis=0) + reach) + 1
        x, y = (np.arange(a, b, dtype=np.float32) + 0.5 for a, b in zip(low, high, strict=True))
        mask = np.zeros((len(y), len(x)), np.float32)
        for stroke in strokes:
            distance = (x[None, :, None] - stroke[:, 0]) ** 2 + (y[:, None, None] - stroke[:, 1]) ** 2
            nearest = distance.argmin(axis=2)
            share = np.linspace(0, 1, len(stroke), dtype=np.float32)
            fades = np.clip(np.minimum(share, 1 - share) / mark.taper, 0, 1)
            fades = fades * fades * (3 - 2 * fades)
            across = np.exp(-0.5 * distance.min(axis=2) / (mark.width * unit_px) ** 2)
            mask = np.maximum(mask, fades[nearest] * across)
        self._mask = np.ascontiguousarray(mask[..., None] * tint)
        self._corner = (float(low[0]), float(low[1]))
        self._ends = [(float(x), float(y)) for x, y in points[list(mark.carried_by), :2]]

    def draw(self, frame: Image, vertices: Floats, depth: float) -> None:
        # Plain numbers: arrays of two cost more than all the pixels.
        first, second = self.mark.carried_by
        (from_x, from_y), (end_x, end_y) = self._ends
        x, y = end_x - from_x, end_y - from_y
        here_x, here_y = float(vertices[first, 0]), float(vertices[first, 1])
        to_x, to_y = float(vertices[second, 0]) - here_x, float(vertices[second, 1]) - here_y
        size = max(x * x + y * y, 1e-3)
        # The rotation and scale that take one end to end vector to the other, as one complex
        # number.
        c, s = (x * to_x + y * to_y) / size, (x * to_y - y * to_x) / size
        height, width = self._mask.shape[:2]
        left, top = self._corner[0] - from_x, self._corner[1] - from_y
        corners = [(left + dx, top + dy) for dx in (0, width) for dy in (0, height)]
        across, down = ([c * u - s * v for u, v in corners], [s * u + c * v for u, v in corners])
        x0, y0 = max(0, floor(here_x + min(across))), max(0, floor(here_y + min(down)))
        x1, y1 = (
            min(frame.shape[1], ceil(here_x + max(across))),
            min(frame.shape[0], ceil(here_y + max(down))),
        )
        if x1 <= x0 or y1 <= y0:
            return
        # Of pixel numbers, whose middles lie half a pixel further.
        left, top = left + 0.5, top + 0.5
        place = np.array(
            [[c, -s, c * left - s * top + here_x - x0 - 0.5], [s, c, s * left + c * top + here_y - y0 - 0.5]],
            np.float64,
        )
        gain: Floats = np.asarray(cv2.warpAffine(self._mask, place, (x1 - x0, y1 - y0)), np.float32)
        gain *= np.float32(-depth)
        gain += np.float32(1)
        window = frame[y0:y1, x0:x1]
        window[:] = cv2.multiply(window, gain, dtype=cv2.CV_8U)


def _curve(places: Floats, step_px: float) -> Floats:
    """Points [n, 2] along a smooth curve by places [k, 2]: their polygon, its corners cut twice
    (Chaikin 1974), ends kept.
    """
    for _ in range(2):
        cut = np.stack(
            [0.75 * places[:-1] + 0.25 * places[1:], 0.25 * places[:-1] + 0.75 * places[1:]], axis=1
        )
        places = np.concatenate([places[:1], cut.reshape(-1, 2), places[-1:]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    at = np.linspace(0, length[-1], max(3, int(length[-1] / max(step_px, 0.25))))
    return np.stack([np.interp(at, length, places[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)
