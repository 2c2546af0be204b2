"""A FLAME head is laid onto a face in a picture: whose shape, what expression, seen from where.

Robust least squares over the points of the 468-point face that are embedded in the head:
Gauss-Newton steps (the points are linear in shape and expression), Huber's weights (1964) for
points that do not fit, and normal priors: 105 points in a plane do not tell 409 numbers.

The camera is that of GAGAvatar: x_view = x R + T, x to the left, y up, z into the scene; half a
square picture is seen at distance FOCAL for each unit of width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.heads.flame import EXPRESSIONS, SHAPES, Flame, Floats, rotation
from personare.heads.head468 import similarity

Doubles = NDArray[np.float64]

FOCAL, SCALE = 12.0, 5.0
"""Of the camera, and of the head that it sees, as GAGAvatar has them."""
_JAW_JOINT = 2
_STEPS, _ENOUGH_PX = 30, 1e-3
_NOISE = 0.003
"""How well a point is known, as a share of the picture's side: 1.5 px of 512."""
_ROBUST = 2.0
"""Times the noise, from where a point that is off counts less."""
_JAW_SPREAD = np.array([0.2, 0.02, 0.02])
"""Radians: a jaw opens, and hardly does anything else."""
_HAIR = 1e-4
_MIRROR = np.diag([-1.0, 1.0, -1.0])
"""Between axes of a picture, x to the right and z to the viewer, and those of the camera."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """shape: float32 [300]. expression: [100]. jaw: [3], axis times angle. camera: float32
    [3, 4] of the head that is SCALE times as large as FLAME's. errors_px: float32 [n], how far
    each point is from its place.
    """

    shape: Floats
    expression: Floats
    jaw: Floats
    camera: Floats
    errors_px: Floats

    @property
    def error_px(self) -> float:
        """The median of the errors."""
        return float(np.median(self.errors_px))


class FlameFit:
    """Lays one FLAME head onto any number of faces."""

    def __init__(self, model: Flame) -> None:
        used = model.landmarks < 468  # irises are no points of the face
        self.points = model.landmarks[used]
        """int32 [n], the points of the 468-point face that are used."""
        corners = model.faces[model.landmark_faces[used]]  # (n, 3)
        places = model.landmark_places[used].astype(np.float64)

        def at_points(values: NDArray[np.floating]) -> Doubles:
            """[5023, ..] -> [n, 3 corners, ..]"""
            return values[corners].astype(np.float64)

        directions = np.concatenate([model.shapes, model.expressions], 2)
        self._places = places
        self._rest, self._directions = at_points(model.template), at_points(directions)
        self._pose_shapes = at_points(
            model.pose_shapes[9 * (_JAW_JOINT - 1) : 9 * _JAW_JOINT].transpose(1, 2, 0)
        )
        self._jaw_weights = at_points(model.weights)[..., _JAW_JOINT]
        joint = model.joints[_JAW_JOINT].astype(np.float64)
        self._joint = joint @ model.template
        self._joint_directions = np.einsum("v,vck->ck", joint, directions, dtype=np.float64)

    def __call__(self, landmarks: Floats, side: float) -> FittedHead:
        """landmarks: float32 [468, 3] px in a square picture of that side, the middle of whose
        first pixel is at (0.5, 0.5); z smaller is nearer.
        """
        seen = landmarks[self.points].astype(np.float64)
        wanted = 1 - 2 * seen[:, :2] / side
        numbers, jaw = np.zeros(SHAPES + EXPRESSIONS), np.zeros(3)
        turn, shift = self._first(seen, side)
        prior = 1 / np.concatenate([np.ones(len(numbers)), _JAW_SPREAD])
        unit = 1 / (2 * _NOISE)
        for _ in range(_STEPS):
            points, moves = self._moved(numbers, jaw)
            placed = points @ turn
            view = placed + shift
            flat = FOCAL * view[:, :2] / view[:, 2:]
            away = unit * (wanted - flat)  # (n, 2)
            slopes = np.zeros((len(view), 2, 3))
            slopes[:, 0, 0] = slopes[:, 1, 1] = FOCAL / view[:, 2]
            slopes[:, :, 2] = -flat / view[:, 2:]
            slopes *= unit
            # A further turn w of the camera moves a point p by w x p.
            turning = slopes @ -_across(placed)
            moving = np.einsum("nij,nkj->nik", slopes @ turn.T, moves)
            jacobian = np.concatenate([moving, turning, slopes], 2).reshape(2 * len(view), -1)
            lengths = np.linalg.norm(away, axis=1) / _ROBUST
            weights = np.repeat(1 / np.maximum(lengths, 1), 2)
            normal = (jacobian.T * weights) @ jacobian
            gradient = (jacobian.T * weights) @ away.ravel()
            now = np.concatenate([numbers, jaw])
            diagonal = np.arange(len(now))
            normal[diagonal, diagonal] += prior**2
            gradient[: len(now)] -= prior**2 * now
            step = np.linalg.solve(normal, gradient)
            numbers, jaw = numbers + step[: len(numbers)], jaw + step[len(numbers) : len(now)]
            jaw[0] = max(jaw[0], 0.0)  # no jaw goes through the upper one
            turn = turn @ rotation(step[-6:-3].astype(np.float32)).T
            shift = shift + step[-3:]
            if np.abs(jacobian @ step).max() * _NOISE * side < _ENOUGH_PX:
                break
        view = self._moved(numbers, jaw)[0] @ turn + shift
        off = (wanted - FOCAL * view[:, :2] / view[:, 2:]) * side / 2
        return FittedHead(
            numbers[:SHAPES].astype(np.float32),
            numbers[SHAPES:].astype(np.float32),
            jaw.astype(np.float32),
            np.column_stack([turn, shift]).astype(np.float32),
            np.linalg.norm(off, axis=1).astype(np.float32),
        )

    def _first(self, seen: Doubles, side: float) -> tuple[Doubles, Doubles]:
        """(turn [3, 3], shift [3]) of the camera that sees the mean head about there."""
        points = self._moved(np.zeros(SHAPES + EXPRESSIONS), np.zeros(3))[0]
        picture = (seen - [side / 2, side / 2, 0]) * [1, -1, -1]
        scale, turned, moved = similarity(points.astype(np.float32), picture.astype(np.float32))
        turn = turned.T.astype(np.float64) @ _MIRROR
        distance = side / 2 * FOCAL / scale
        middle = points.mean(0)
        placed = (scale * turned @ middle + moved) / scale
        shift = np.array([-placed[0], placed[1], distance]) - [*(middle @ turn)[:2], 0.0]
        return turn, shift

    def _moved(self, numbers: Doubles, jaw: Doubles) -> tuple[Doubles, Doubles]:
        """Points [n, 3] of the enlarged head, and how each number, and each axis of the jaw,
        moves them: [n, 403, 3].
        """
        jaws = [jaw, *(jaw + _HAIR * axis for axis in np.eye(3))]
        here, moves = self._turned(numbers, jaw)
        ahead = [self._turned(numbers, turned)[0] for turned in jaws[1:]]
        of_jaw = np.stack([(there - here) / _HAIR for there in ahead], 1)
        return here, np.concatenate([moves, of_jaw], 1)

    def _turned(self, numbers: Doubles, jaw: Doubles) -> tuple[Doubles, Doubles]:
        """(points [n, 3], their moves [n, 400, 3] by shape and expression) with a jaw so
        turned.
        """
        turn = rotation(jaw) - np.eye(3)  # type: ignore[arg-type]
        rest = self._rest + self._directions @ numbers + self._pose_shapes @ turn.ravel()
        joint = self._joint + self._joint_directions @ numbers
        shares = self._jaw_weights[..., None]
        points = rest + shares * ((rest - joint) @ turn.T)
        from_joint = self._directions - self._joint_directions
        moves = self._directions + shares[..., None] * np.einsum("ij,ncjk->ncik", turn, from_joint)
        points, moves = (np.einsum("nc,nc...->n...", self._places, part) for part in (points, moves))
        return SCALE * points, SCALE * moves.transpose(0, 2, 1)


def _across(points: Doubles) -> Doubles:
    """[n, 3, 3], whose product with w is the point's cross product with w."""
    x, y, z = points.T
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, 1) for row in rows], 1)
