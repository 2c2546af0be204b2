"""How the fit sees a face model: places, normals, light of nine spherical harmonics, and the
picture of the mesh, all with gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from personare.engines.nerffacespeech.face_model import (
    CAMERA_AT,
    FOCAL_PX,
    PICTURE_PX,
    FaceModel,
    as_tensors,
)
from personare.engines.nerffacespeech.networks.config import ANGLES, EXPRESSION, IDENTITY, PLACE, TEXTURE
from personare.engines.nerffacespeech.networks.rays import rotations
from personare.heads.rasterise import Rasteriser

_A = (math.pi, 2 * math.pi / math.sqrt(3), 2 * math.pi / math.sqrt(8))
_C = (
    1 / math.sqrt(4 * math.pi),
    math.sqrt(3) / math.sqrt(4 * math.pi),
    3 * math.sqrt(5) / math.sqrt(12 * math.pi),
)
AMBIENT = 0.8
_DEPTH_PX = 1000.0


@dataclass(frozen=True, slots=True)
class Mesh:
    """turned: [N, 3] vertices in the world, z towards the camera. places: [N, 2] in the
    picture, x to the right, y up. colours: [N, 3], 0 to 255, lit.
    """

    turned: Tensor
    places: Tensor
    texture: Tensor
    colours: Tensor


class TorchFace:
    """A face model on a device, of which gradients are asked."""

    def __init__(self, model: FaceModel, device: torch.device | str = "cpu") -> None:
        self.model, self.device = model, torch.device(device)
        self._held = as_tensors(model, self.device)
        self._corners = torch.from_numpy(model.triangles.astype(np.int64)).to(self.device)
        self.skin = self._held["skin"]
        rows = torch.from_numpy(model.landmarks).to(self.device)
        self._landmark_shape = self._held["shape"][rows]
        self._rasteriser = Rasteriser(PICTURE_PX, PICTURE_PX)
        count = len(model.triangles)
        faces = np.repeat(np.arange(count, dtype=np.float32), 3)
        corner = np.tile(np.eye(3, 2, dtype=np.float32), (count, 1))
        self._marks = np.ascontiguousarray(np.column_stack([faces, corner]))
        self._own = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)

    def mean_landmarks(self, angles: Tensor, place: Tensor) -> Tensor:
        """The mean face's 68 landmarks [68, 2] in image pixels (y down) under a pose."""
        turned = self._landmark_shape @ rotations(angles[None])[0] + place
        return _down(_projected(turned))

    def mesh(self, coefficients: Tensor, *, unit_faces: bool = False) -> Mesh:
        """Of coefficients [257]. unit_faces: whether faces of all sizes count alike in a
        vertex's normal.
        """
        held = self._held
        shape = held["shape"] + (
            held["identity"] @ coefficients[IDENTITY] + held["expression"] @ coefficients[EXPRESSION]
        ).view(-1, 3)
        turn = rotations(coefficients[None, ANGLES])[0]
        turned = shape @ turn + coefficients[PLACE]
        texture = held["texture"] + (held["colours"] @ coefficients[TEXTURE]).view(-1, 3)
        normals = self.normals(shape, unit_faces) @ turn
        light = coefficients[227:254].view(3, 9)
        return Mesh(turned, _projected(turned), texture, texture * lit(normals, light))

    def normals(self, shape: Tensor, unit_faces: bool) -> Tensor:
        """Unit normals of the vertices [N, 3]: of the triangles at each, added up."""
        one, two, three = shape[self._corners].unbind(1)
        normal = torch.linalg.cross(one - two, two - three)
        if unit_faces:
            normal = torch.nn.functional.normalize(normal, dim=1)
        normal = torch.cat([normal, torch.zeros_like(normal[:1])])
        return torch.nn.functional.normalize(normal[self._held["faces_at"]].sum(1), dim=1)

    def landmarks(self, mesh: Mesh) -> Tensor:
        """[68, 2] in image pixels, y down."""
        rows = torch.from_numpy(self.model.landmarks).to(self.device)
        return _down(mesh.places[rows])

    def drawn(self, mesh: Mesh) -> tuple[Tensor, NDArray[np.bool_]]:
        """Colours [n, 3], 0 to 255, of the pixels that the mesh covers, row by row, and which
        these are, bool [224, 224]. Gradients reach the vertices' places too.
        """
        with torch.no_grad():
            places = _down(mesh.places).cpu().numpy()
            depth = mesh.turned[:, 2:].cpu().numpy() * _DEPTH_PX
        corners = np.concatenate([places, depth], 1)[self.model.triangles].reshape(-1, 3)
        found = self._rasteriser.draw(np.ascontiguousarray(corners, np.float32), self._own, self._marks)
        covered = self._rasteriser.covered.copy()
        faces = np.rint(found[covered][:, 0]).astype(np.int64).clip(0, len(self._own) - 1)
        rows, columns = np.nonzero(covered)
        middle = torch.from_numpy(np.stack([columns + 0.5, rows + 0.5], 1).astype(np.float32))
        triangle = self._corners[torch.from_numpy(faces).to(self.device)]  # (n, 3)
        share = _shares(_down(mesh.places)[triangle], middle.to(self.device))
        share = share / (CAMERA_AT - mesh.turned[:, 2])[triangle]
        share = share / share.sum(1, keepdim=True)
        return (share[..., None] * mesh.colours[triangle]).sum(1), covered


def lit(normals: Tensor, light: Tensor) -> Tensor:
    """What of a colour is seen: normals [N, 3] under light [3, 9] -> [N, 3]."""
    x, y, z = normals.unbind(1)
    harmonics = torch.stack(
        [
            torch.full_like(x, _A[0] * _C[0]),
            -_A[1] * _C[1] * y,
            _A[1] * _C[1] * z,
            -_A[1] * _C[1] * x,
            _A[2] * _C[2] * x * y,
            -_A[2] * _C[2] * y * z,
            _A[2] * _C[2] * (3 * z * z - 1) / (2 * math.sqrt(3)),
            -_A[2] * _C[2] * x * z,
            _A[2] * _C[2] * (x * x - y * y) / 2,
        ],
        1,
    )
    ambient = torch.zeros_like(light)
    ambient[:, 0] = AMBIENT
    return harmonics @ (light + ambient).T


def _projected(turned: Tensor) -> Tensor:
    return FOCAL_PX * turned[:, :2] / (CAMERA_AT - turned[:, 2:]) + PICTURE_PX / 2


def _down(places: Tensor) -> Tensor:
    """y up becomes y down."""
    return torch.stack([places[..., 0], PICTURE_PX - places[..., 1]], -1)


def _shares(corners: Tensor, middle: Tensor) -> Tensor:
    """Barycentric coordinates [n, 3] of points [n, 2] in triangles [n, 3, 2]."""
    one, two, three = corners.unbind(1)

    def area(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])

    whole = area(one, two, three)
    whole = torch.where(whole.abs() < 1e-6, torch.full_like(whole, 1e-6), whole)
    parts = (area(middle, two, three), area(one, middle, three), area(one, two, middle))
    return torch.stack(parts, 1) / whole[:, None]
