"""One head's motion for another kind of head: which spaces lead to which, and who takes them
there.

FLAME motion becomes ARKit curves by what it does to a face: the points of the 468-point face
that are embedded in the FLAME head (lips, brows, lids, nose; the chin by its nearest vertices)
are measured as those of a picture are, and `expression` finds the curves by which the bundled
head measures the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.errors import WeightsMismatch
from personare.heads.brow_shapes import LEFT_LOWER_EDGE, LEFT_UPPER_EDGE, RIGHT_LOWER_EDGE, RIGHT_UPPER_EDGE
from personare.heads.expression import Neutral, expression
from personare.heads.flame import Flame, FlameHead, flame_file, rotation
from personare.heads.head468 import (
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LOWER_INNER_LIP,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    UPPER_INNER_LIP,
    head468,
    similarity,
)
from personare.heads.signals import CHIN_POINTS, CORNERS, MOUTH_POINTS, PLACES, SIGNALS
from personare.motion import ARKIT, FLAME, FaceState, Motion, row_of

if TYPE_CHECKING:
    from personare.weights.finder import Weights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SHUT = 0.15
"""Opening of a shut FLAME eye as a share of an open one: its lids close all but for a line."""
MOST_TURNED = 0.6
"""Radians: a photo cannot be turned further, and nobody who speaks to a camera does."""
_GAP_COLUMNS = (2, 3, 5, 7, 8)
_LIDS = ((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER), (LEFT_EYE_UPPER, LEFT_EYE_LOWER))
_BROWS = ((RIGHT_UPPER_EDGE, RIGHT_LOWER_EDGE), (LEFT_UPPER_EDGE, LEFT_LOWER_EDGE))


class Retarget(ABC):
    """Takes motion from one space to another, frame by frame: no frame depends on others."""

    @abstractmethod
    def __call__(self, motion: Motion) -> Motion:
        """The same number of frames at the same rate."""


class FlameToArkit(Retarget):
    """By the points of a FLAME head."""

    def __init__(self, model: Flame) -> None:
        """Raises WeightsMismatch if the head has no points where a face is measured."""
        self._head, self._places = FlameHead(model), {int(n): i for i, n in enumerate(model.landmarks)}
        if lacking := sorted(_measured() - self._places.keys()):
            raise WeightsMismatch(
                f"the FLAME file has no landmarks of the lips, brows or eyes: {len(lacking)} are missing, "
                f"such as {lacking[0]}",
                hint="fetch FLAME_with_eye.pt again",
            )
        still = self._head.vertices(np.zeros(100, np.float32), None, np.zeros(3, np.float32))
        at = self._head.landmarks(still)
        known = [point for point in self._places if point < len(head468().neutral)]
        wanted = head468().neutral[known]
        scale, turn, shift = similarity(at[[self._places[point] for point in known]], wanted)
        self._scale, self._turn, self._shift = np.float32(scale), turn, shift
        placed = self._in_head(still)
        distances = np.linalg.norm(placed[:, None] - head468().neutral[list(CHIN_POINTS)], axis=2)
        self._chin = np.argmin(distances, axis=0)
        rest = self._signals(still)
        corners = rest[PLACES["mouth"]][: 2 * len(CORNERS)].reshape(-1, 2)
        left, right = head468().neutral[list(CORNERS)]
        width = float(np.linalg.norm(corners[0] - corners[1]) / np.linalg.norm(left - right))
        self._neutral = Neutral(rest, np.full(2, SHUT, np.float32), width)

    def __call__(self, motion: Motion) -> Motion:
        rows = [self._row(row) for row in motion.values]
        values = np.stack(rows) if rows else np.zeros((0, ARKIT.width), np.float32)
        return Motion(ARKIT, motion.fps, values)

    def _row(self, row: Floats) -> Floats:
        signals = self._signals(self._head.vertices(row[:100], None, row[103:106]))
        found = expression(signals[None], self._neutral)
        return row_of(FaceState(found.curves[0], 0.0, head_angles(row[100:103]), (0.0, 0.0), (0.0, 0.0)))

    def _in_head(self, points: Floats) -> Floats:
        return np.asarray(self._scale * points @ self._turn.T + self._shift, np.float32)

    def _signals(self, vertices: Floats) -> Floats:
        """What `heads.signals` measures, of a head that looks ahead; irises have no points."""
        at = self._in_head(self._head.landmarks(vertices))[:, :2]
        chin = dict(zip(CHIN_POINTS, self._in_head(vertices[self._chin])[:, :2], strict=True))

        def points(names: tuple[int, ...]) -> Floats:
            return np.stack([chin[n] if n in chin else at[self._places[n]] for n in names])

        signals = np.zeros(SIGNALS, np.float32)
        signals[PLACES["mouth"]] = points(MOUTH_POINTS).ravel()
        gaps = points(UPPER_INNER_LIP) - points(LOWER_INNER_LIP)
        signals[PLACES["gaps"]] = gaps[list(_GAP_COLUMNS), 1]
        brows = [(points(upper[::-1]) + points(lower[::-1])) / 2 for upper, lower in _BROWS]
        signals[PLACES["brows"]] = np.concatenate([brows[0], brows[1]]).ravel()
        for side, (upper, lower) in enumerate(_LIDS):
            above, below = points(upper), points(lower)
            width = np.linalg.norm(above[0] - above[-1])
            middle = slice(3, 6)
            signals[PLACES["openness"]][side] = (above[middle] - below[middle])[:, 1].mean() / width
            corners = (above[0, 1] + above[-1, 1]) / 2
            signals[PLACES["lower_lids"]][side] = below[middle, 1].mean() - corners
        return signals


def head_angles(turn: Floats) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of a FaceState from a turn of a FLAME head, axis times
    angle, of which at most MOST_TURNED is taken.
    """
    far = float(np.linalg.norm(turn))
    turn = turn * np.float32(min(1.0, MOST_TURNED / far)) if far else turn
    mirror = np.diag([1.0, -1.0, 1.0])  # a FaceState's angles are those of a picture, y down
    turned: Doubles = mirror @ rotation(turn) @ mirror
    yaw = np.arcsin(np.clip(-turned[2, 0], -1, 1))
    pitch = np.arctan2(turned[2, 1], turned[2, 2])
    roll = np.arctan2(turned[1, 0], turned[0, 0])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def _measured() -> set[int]:
    """The points that have to be embedded."""
    rows = [*(row for lids in _LIDS for row in lids), *(row for edges in _BROWS for row in edges)]
    mouth = (*MOUTH_POINTS, *UPPER_INNER_LIP, *LOWER_INNER_LIP)
    return {*mouth, *(point for row in rows for point in row)} - set(CHIN_POINTS)


def _flame_to_arkit(weights: Weights) -> Retarget:
    return FlameToArkit(Flame.read(flame_file(weights)))


RETARGETS: Mapping[tuple[str, str], Callable[[Weights], Retarget]] = {
    (FLAME.name, ARKIT.name): _flame_to_arkit,
}
"""(from space, to space) -> opens what takes motion there; may raise WeightsError."""


def open_retarget(space: str, shown: frozenset[str], weights: Weights) -> Retarget | None:
    """What takes motion of a space to one that is shown; None where it is shown as it is, or
    cannot be. Raises WeightsError if a file is missing.
    """
    to = way(space, shown)
    return None if to in (None, space) else RETARGETS[space, to](weights)


def way(space: str, shown: frozenset[str]) -> str | None:
    """The space, of those that are shown, in which motion of `space` can be shown: itself, or
    one that a retarget leads to. None if there is no way.
    """
    if space in shown:
        return space
    return next((to for start, to in RETARGETS if start == space and to in shown), None)
