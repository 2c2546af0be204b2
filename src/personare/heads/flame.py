"""The FLAME head (Li et al. 2017): 5023 vertices that an expression, a shape and turning joints
move.

Its file is under a licence of its own and never fetched: see `flame_file`. Axes: x to image
right, y up, z to the viewer, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import LicenceNotAccepted, WeightsMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from personare.weights.finder import Weights

COMPONENT = "flame"
VERTICES, SHAPES, EXPRESSIONS = 5023, 300, 100
JOINTS = ("head", "neck", "jaw", "left eye", "right eye")
_HEAD, _JAW = 0, 2
_PARENTS = (-1, 0, 1, 1, 1)
_LANDMARKS = 105
_TINY = 1e-8

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]


def flame_file(weights: Weights) -> Path:
    """FLAME_with_eye.pt on this machine. Raises LicenceNotAccepted with the way to it."""
    located = weights.find(COMPONENT)
    if located is None:
        from personare.weights.finder import how_to_get

        raise LicenceNotAccepted(
            "showing FLAME motion needs FLAME_with_eye.pt, which everybody has to fetch himself: its "
            "licence allows non-commercial research by those who have registered",
            hint=how_to_get(weights.missing(COMPONENT), weights.folder),
        )
    return located


@dataclass(frozen=True, slots=True, eq=False)
class Flame:
    """The model.

    faces: int32 [m, 3].
    template: float32 [5023, 3], the mean head.
    shapes, expressions: float32 [5023, 3, 300] and [5023, 3, 100], displacements at weight 1.
    pose_shapes: float32 [36, 5023, 3], displacements by the rotations of all joints but the
        first.
    joints: float32 [5, 5023], where the joints are, from the vertices.
    weights: float32 [5023, 5], which joint moves a vertex.
    landmark_faces, landmark_places: int32 [105] and float32 [105, 3], faces and barycentric
        places of points of the 468-point face.
    landmarks: int32 [105], their numbers there.
    """

    faces: Ints
    template: Floats
    shapes: Floats
    expressions: Floats
    pose_shapes: Floats
    joints: Floats
    weights: Floats
    landmark_faces: Ints
    landmark_places: Floats
    landmarks: Ints

    @classmethod
    def read(cls, path: Path) -> Flame:
        """From FLAME_with_eye.pt; nothing in it is executed. Raises WeightsMismatch."""
        from personare.weights.loading import read_checkpoint

        held = read_checkpoint(path)
        try:
            return cls._of(held["flame_model"], held["lmk_embeddings_mediapipe"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise WeightsMismatch(
                f"{path} is not FLAME_with_eye.pt: {' '.join(reason.split())[:200]}",
                hint="FLAME 2020 as its authors give it is another file: the one with eyes lies in the "
                "assets of GAGAvatar",
            ) from None

    @classmethod
    def _of(cls, model: Mapping[str, Any], embedding: Mapping[str, Any]) -> Flame:
        directions = _floats(model, "shapedirs", (VERTICES, 3, SHAPES + EXPRESSIONS))
        parents = np.asarray(model["kintree_table"])[0]
        if tuple(parents[1:].tolist()) != _PARENTS[1:]:
            raise ValueError(f"its joints hang on one another as {parents.tolist()}")
        faces = _numbers(model, "f", (-1, 3), VERTICES)
        return cls(
            faces=faces,
            template=_floats(model, "v_template", (VERTICES, 3)),
            shapes=np.ascontiguousarray(directions[..., :SHAPES]),
            expressions=np.ascontiguousarray(directions[..., SHAPES:]),
            pose_shapes=np.ascontiguousarray(
                _floats(model, "posedirs", (VERTICES, 3, 9 * (len(JOINTS) - 1))).transpose(2, 0, 1)
            ),
            joints=_floats(model, "J_regressor", (len(JOINTS), VERTICES)),
            weights=_floats(model, "weights", (VERTICES, len(JOINTS))),
            landmark_faces=_numbers(embedding, "lmk_face_idx", (_LANDMARKS,), len(faces)),
            landmark_places=_floats(embedding, "lmk_b_coords", (_LANDMARKS, 3)),
            landmarks=_numbers(embedding, "landmark_indices", (_LANDMARKS,), 478),
        )


class FlameHead:
    """One person's head: a shape, for any number of frames."""

    def __init__(self, model: Flame, shape: Floats | None = None, scale: float = 1.0) -> None:
        """shape: float32 [300]; None is the mean head. scale: of all vertices."""
        self.model, self._scale = model, np.float32(scale)
        at_rest = model.template if shape is None else model.template + model.shapes @ shape
        self._at_rest = np.asarray(at_rest, np.float32)
        self._expressions = model.expressions.reshape(-1, EXPRESSIONS)
        # Joints are linear in the vertices: those of an expression need no vertices.
        self._joints = model.joints.astype(np.float64) @ self._at_rest
        self._joints_of_expressions = np.einsum(
            "jv,vce->jce", model.joints.astype(np.float64), model.expressions.astype(np.float64)
        )
        self._pose_shapes = model.pose_shapes.reshape(len(model.pose_shapes), -1)

    def vertices(self, expression: Floats, head: Floats | None, jaw: Floats) -> Floats:
        """float32 [5023, 3] of one frame.

        expression: [100].
        head, jaw: their turns [3], axis times angle; None leaves the head straight.
        """
        joints = self._joints + self._joints_of_expressions @ expression.astype(np.float64)
        rotations = np.tile(np.eye(3), (len(JOINTS), 1, 1))
        rotations[_JAW] = rotation(jaw)
        moved = self._at_rest + (self._expressions @ expression).reshape(-1, 3)
        # Joints that stand still displace nothing.
        away = (rotations[_JAW] - np.eye(3)).ravel().astype(np.float32)
        moved += (away @ self._pose_shapes[9 * (_JAW - 1) : 9 * _JAW]).reshape(-1, 3)
        if head is not None:
            rotations[_HEAD] = rotation(head)
        transforms = _chained(rotations, joints).astype(np.float32).reshape(len(JOINTS), 12)
        blended = (self.model.weights @ transforms).reshape(-1, 3, 4)
        made = np.einsum("vij,vj->vi", blended[..., :3], moved) + blended[..., 3]
        return np.asarray(made * self._scale, np.float32)

    def landmarks(self, vertices: Floats) -> Floats:
        """The embedded points of the 468-point face, float32 [105, 3]."""
        model = self.model
        corners = vertices[model.faces[model.landmark_faces]]
        return np.asarray(np.einsum("nc,ncx->nx", model.landmark_places, corners), np.float32)


def rotation(turn: Floats) -> Doubles:
    """[3, 3] of an axis times an angle in radians. As published: the angle is that of the turn
    with a hair added, so that the axis of a small turn is not quite a unit vector.
    """
    given = turn.astype(np.float64)
    angle = np.linalg.norm(given + _TINY)
    x, y, z = given / angle
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across)


def _chained(rotations: Doubles, joints: Doubles) -> Doubles:
    """[5, 3, 4]: where each joint takes a vertex at rest."""
    chain = np.zeros((len(JOINTS), 3, 4))
    for joint, parent in enumerate(_PARENTS):
        if parent < 0:
            chain[joint] = np.column_stack([rotations[joint], joints[joint]])
        else:
            turned = chain[parent, :, :3]
            place = turned @ (joints[joint] - joints[parent]) + chain[parent, :, 3]
            chain[joint] = np.column_stack([turned @ rotations[joint], place])
    chain[:, :, 3] -= np.einsum("jab,jb->ja", chain[:, :, :3], joints)
    return chain


def _floats(held: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Floats:
    values = np.asarray(held[name])
    if values.shape != shape or values.dtype.kind != "f":
        raise ValueError(f"{name} is {values.dtype} {list(values.shape)}, not float {list(shape)}")
    kept = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(kept).all():
        raise ValueError(f"{name} has NaN or infinite values")
    return kept


def _numbers(held: Mapping[str, Any], name: str, shape: tuple[int, ...], below: int) -> Ints:
    values = np.asarray(held[name])
    right = values.ndim == len(shape) and all(
        want in (-1, got) for want, got in zip(shape, values.shape, strict=True)
    )
    if not right or values.dtype.kind not in "iu" or not values.size:
        raise ValueError(f"{name} is {values.dtype} {list(values.shape)}, not whole numbers {list(shape)}")
    if values.min() < 0 or values.max() >= below:
        raise ValueError(f"{name} points outside of 0 to {below - 1}")
    return np.ascontiguousarray(values, np.int32)
