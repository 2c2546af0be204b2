"""The face model (BFM 2009 with the expressions of Guo et al.): coefficients become vertices,
and vertices places in a picture of 224 px. Its file is licence-gated and never fetched.

Lengths are decimetres; x right, y up, z towards the camera, which stands at z = 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.nerffacespeech.networks.config import (
    ANGLES,
    EXPRESSION,
    IDENTITY,
    PLACE,
    TEXTURE,
)
from personare.errors import WeightsMismatch

if TYPE_CHECKING:
    from torch import Tensor

PICTURE_PX, FOCAL_PX, CAMERA_AT = 224, 1015.0, 10.0
EVERY = 4
"""Of the vertices this one is a point of reference."""
REACH = 0.1
"""What the half of a picture is in the field's plane, as published; it is 0.105 in truth."""
LARGEST_BYTES = 1 << 30
_LANDMARKS = 68


@dataclass(frozen=True)
class FaceModel:
    """shape, texture: float32 [N, 3], the mean face (its middle at 0) and its colours, 0 to
    255. identity, expression, colours: float32 [3 N, 80 | 64 | 80], one standard deviation
    each.
    triangles: int32 [F, 3]. faces_at: int64 [N, 8] the triangles at each vertex, F for none.
    landmarks: int64 [68]. skin: float32 [N].
    """

    shape: NDArray[np.float32]
    texture: NDArray[np.float32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    colours: NDArray[np.float32]
    triangles: NDArray[np.int32]
    faces_at: NDArray[np.int64]
    landmarks: NDArray[np.int64]
    skin: NDArray[np.float32]

    @classmethod
    def read(cls, path: Path) -> FaceModel:
        """From BFM_model_front.mat. Raises WeightsMismatch for anything else."""
        from scipy.io import loadmat

        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise ValueError("it is larger than a face model can be")
            held = loadmat(path, appendmat=False, variable_names=_NAMES)
            return cls.of(held)
        except OSError as error:
            raise WeightsMismatch(f"cannot read {path}: {error.strerror or error}", hint=_HINT) from None
        except Exception as error:  # scipy raises all sorts for a damaged file
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise WeightsMismatch(f"{path} is not the face model: {reason}", hint=_HINT) from None

    @classmethod
    def of(cls, held: Any) -> FaceModel:
        """From the arrays of its file. Raises ValueError, KeyError."""
        missing = [name for name in _NAMES if name not in held]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        vertices = np.asarray(held["meanshape"]).size // 3
        triangles = _whole(held["tri"], (-1, 3)) - 1
        model = cls(
            shape=_centred(_numbers(held["meanshape"], (vertices, 3))),
            texture=_numbers(held["meantex"], (vertices, 3)),
            identity=_numbers(held["idBase"], (3 * vertices, 80)),
            expression=_numbers(held["exBase"], (3 * vertices, 64)),
            colours=_numbers(held["texBase"], (3 * vertices, 80)),
            triangles=triangles.astype(np.int32),
            faces_at=_whole(held["point_buf"], (vertices, 8)) - 1,
            landmarks=_whole(held["keypoints"], (_LANDMARKS,)) - 1,
            skin=_numbers(held["skinmask"], (vertices,)),
        )
        for what, indices, count in (
            ("a triangle", model.triangles, vertices),
            ("a landmark", model.landmarks, vertices),
            ("a vertex", model.faces_at, len(triangles) + 1),
        ):
            if indices.size and not (indices.min() >= 0 and indices.max() < count):
                raise ValueError(f"{what} refers to what is not there")
        return model

    def __len__(self) -> int:
        return len(self.shape)

    @cached_property
    def reference_rows(self) -> NDArray[np.int64]:
        """The vertices that are points of reference."""
        return np.arange(0, len(self), EVERY)

    def shapes(
        self, coefficients: NDArray[np.float32], rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Of coefficients [B, 257], before the head turns: [B, n, 3]."""
        at = slice(None) if rows is None else rows
        identity = self.identity.reshape(-1, 3, 80)[at].reshape(-1, 80)
        expression = self.expression.reshape(-1, 3, 64)[at].reshape(-1, 64)
        moved = coefficients[:, IDENTITY] @ identity.T + coefficients[:, EXPRESSION] @ expression.T
        return np.asarray(self.shape[at] + moved.reshape(len(coefficients), -1, 3), np.float32)

    def projected(
        self, coefficients: NDArray[np.float32], rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Places [B, n, 2] in a picture of 224 px: x to the right, y up."""
        place = coefficients[:, None, PLACE]
        turned = self.shapes(coefficients, rows) @ turns(coefficients[:, ANGLES]) + place
        away = CAMERA_AT - turned[..., 2:]
        return np.asarray(FOCAL_PX * turned[..., :2] / away + PICTURE_PX / 2, np.float32)

    def references(self, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """The points of reference [B, n, 2] in the field's plane, y and z."""
        return in_plane(self.projected(coefficients, self.reference_rows), PICTURE_PX)

    def textures(self, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colours of the vertices without light, 0 to 255: [B, N, 3]."""
        tinted = (coefficients[:, TEXTURE] @ self.colours.T).reshape(len(coefficients), -1, 3)
        return np.asarray(self.texture + tinted, np.float32)


class ExpressionPlane:
    """Where a person's points of reference go with an expression, with all that stays computed
    once.
    """

    def __init__(self, model: FaceModel, coefficients: NDArray[np.float32]) -> None:
        """coefficients: float32 [257] of the person, without his expression."""
        still = coefficients.copy()[None]
        still[:, EXPRESSION] = 0
        rows = model.reference_rows
        turn = turns(still[:, ANGLES])[0]
        self._still = model.shapes(still, rows)[0] @ turn + still[0, PLACE]  # (n, 3)
        basis = model.expression.reshape(-1, 3, 64)[rows]  # (n, 3, 64)
        self._basis = np.einsum("nck,cd->ndk", basis, turn).reshape(-1, 64).astype(np.float32)

    def __call__(self, expression: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [64] -> [n, 2] in the field's plane."""
        points = self._still + (self._basis @ expression).reshape(-1, 3)
        places = FOCAL_PX * points[:, :2] / (CAMERA_AT - points[:, 2:]) + PICTURE_PX / 2
        return in_plane(places.astype(np.float32), PICTURE_PX)


def turns(angles: NDArray[np.float32]) -> NDArray[np.float32]:
    """[B, 3] radians -> [B, 3, 3] for points as rows, as `rays.rotations`."""
    import torch

    from personare.engines.nerffacespeech.networks.rays import rotations

    return np.asarray(rotations(torch.from_numpy(np.array(angles))).numpy(), np.float32)


def in_plane(places: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Pixels of a picture of that side become places in the field's plane."""
    return np.asarray(-REACH + 2 * REACH * places / side, np.float32)


def torso_points(labels: NDArray[np.uint8], side: int = 512) -> NDArray[np.float32]:
    """Where hair, neck and clothes are, [n, 2] in the field's plane: every fourth of their
    pixels, row by row. labels: uint8 [H, W] of the segmentation.
    """
    rows, columns = np.nonzero(np.isin(labels, TORSO_CLASSES))
    points = in_plane(np.stack([columns, rows], 1).astype(np.float32)[::EVERY], side)
    return points * np.array([1, -1], np.float32)


TORSO_CLASSES, MOUTH_CLASSES = (10, 14, 15), (7, 8, 9)
"""Of the segmentation's 16 classes."""


def nearest(points: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.int32]:
    """Which reference [P, 2] is nearest to each point [N, 2], the first of several: int32 [N].
    A k-d tree on float64: a table of all distances would take gigabytes.
    """
    from scipy.spatial import cKDTree

    _, found = cKDTree(references.astype(np.float64)).query(points.astype(np.float64))
    return np.asarray(found, np.int32)


def as_tensors(model: FaceModel, device: Any) -> dict[str, Tensor]:
    """Its arrays by name as tensors."""
    import torch

    names = ("shape", "texture", "identity", "expression", "colours", "faces_at", "skin")
    return {name: torch.from_numpy(np.ascontiguousarray(getattr(model, name))).to(device) for name in names}


_NAMES = (
    "meanshape",
    "idBase",
    "exBase",
    "meantex",
    "texBase",
    "tri",
    "point_buf",
    "keypoints",
    "skinmask",
)
_HINT = "it must be BFM_model_front.mat as Deep3DFaceRecon makes it; --set mode=latent needs no face model"


def _numbers(held: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    made = np.asarray(held)
    if made.dtype.kind not in "fiu" or made.size != int(np.prod(shape)):
        raise ValueError(f"an array of {made.dtype} {made.shape} where {shape} belongs")
    made = made.reshape(shape).astype(np.float64)
    if not np.isfinite(made).all():
        raise ValueError("an array with NaN")
    return made.astype(np.float32)


def _whole(held: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    made = np.asarray(held)
    if made.dtype.kind not in "fiu":
        raise ValueError(f"indices of {made.dtype}")
    return made.reshape(shape).astype(np.int64)


def _centred(shape: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(shape - shape.astype(np.float64).mean(axis=0), np.float32)
