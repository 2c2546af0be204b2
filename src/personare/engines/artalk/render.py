"""FLAME motion becomes pictures: of the mesh, or of an avatar of Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from personare.engines.artalk.options import ArTalkOptions
from personare.engines.artalk.shape import read_shape
from personare.heads.flame import Flame, FlameHead, flame_file
from personare.heads.flame_mesh import MeshPicture
from personare.types import Feature, Image
from personare.weights.finder import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from personare.engines.artalk.networks.style_unet import StyleUNet

Floats = NDArray[np.float32]
EXPRESSION, HEAD, JAW = slice(0, 100), slice(100, 103), slice(103, 106)
GAUSSIAN_SCALE = 5.0
FOREHEAD = np.array([
    2168, 2165, 3068, 2199, 2196, 3720, 2091, 2088, 3524, 625, 628, 3871, 705, 708, 2030, 667, 670,
    3708, 3706, 3729, 3721, 3773, 3789, 3735, 3732, 3786, 3876, 3878, 3913, 3899, 3872, 3874, 3864,
    3865, 3158, 3157, 336, 335, 3153, 3705, 2177, 2176, 3540, 671, 672, 3863, 2134, 16, 17, 2138,
    2139, 2567, 2566, 337, 338, 3154, 3712, 2178, 2179, 3495, 674, 673, 3868, 2135, 27, 18, 1429,
    1430,
])  # fmt: skip
"""Vertices that the tracking of faces lets tremble."""
FOREHEAD_STAYS = np.float32(0.98)


class Look(Protocol):
    """size: (height, width) of the pictures."""

    size: tuple[int, int]

    def draw(self, row: Floats) -> Image:
        """The next frame, uint8 [H, W, 3]."""


class MeshLook:
    """Draws one head; holds buffers, so for one thread.

    Raises LicenceNotAccepted where there is no FLAME head, WeightsMismatch for another file,
    and what a shape that cannot be read raises.
    """

    def __init__(self, options: ArTalkOptions, weights: Weights) -> None:
        model = Flame.read(flame_file(weights))
        self._head = FlameHead(model, None if options.shape is None else read_shape(options, model))
        self._picture = MeshPicture(model.faces, len(model.template), options.size)
        self.size = (options.size, options.size)

    def draw(self, row: Floats) -> Image:
        """uint8 [S, S, 3] of a frame of motion [106]; the motion stays as it is."""
        return self._picture.draw(self._head.vertices(row[EXPRESSION], row[HEAD], row[JAW]))


class GaussianLook:
    """Draws one avatar of `prepare`; its forehead follows slowly, so one run has one of these.

    Raises as `MeshLook`.
    """

    def __init__(self, avatar: Feature, model: Flame, upsampler: StyleUNet, seed: int | None = None) -> None:
        """avatar: of `prepare`. upsampler: makes the picture of the features. seed: of its
        noise; None is the checkpoint's.
        """
        import torch

        from personare.heads.splat import Gaussians
        from personare.heads.splat_cuda import splatter

        arrays = avatar.arrays
        self._head = FlameHead(model, np.array(arrays["shape"], np.float32), GAUSSIAN_SCALE)
        self._upsampler, self.size = upsampler, (upsampler.side, upsampler.side)
        self._noises = upsampler.noises(seed)
        self._device = upsampler.final_linear.weight.device
        self._splat, where = splatter(self._device)
        tensors = {name: torch.from_numpy(np.array(values, np.float32)) for name, values in arrays.items()}
        count = len(tensors["opacities"]) - len(tensors["sheets"])
        means = torch.cat([torch.zeros(count, 3), tensors["sheets"]])
        self.gaussians = Gaussians(
            means, tensors["covariances"], tensors["opacities"], tensors["features"]
        ).to(where)
        self._vertices = self.gaussians.means[:count]  # a view: every frame's are written there
        self._shift = tensors["camera"][:, 3:]
        self._forehead: Floats | None = None

    def draw(self, row: Floats) -> Image:
        """uint8 [S, S, 3] of a frame of motion [106]; the motion stays as it is."""
        import torch

        with torch.inference_mode():
            colours = self.colours(row)[0].clamp(0, 1).permute(1, 2, 0) * 255
            return np.asarray(colours.to(torch.uint8).cpu().numpy())

    def colours(self, row: Floats) -> Tensor:
        """The same as float32 [1, 3, S, S], about from 0 to 1."""
        features = self.features(row)[None].to(self._device)
        made: Tensor = self._upsampler(features, self._noises).sigmoid()
        return made

    def features(self, row: Floats) -> Tensor:
        """The splatted features of a frame, float32 [32, S, S]."""
        import torch

        from personare.engines.artalk.networks.gaussians import camera_of_pose

        self._vertices[:] = torch.from_numpy(self.points(row))
        turn = camera_of_pose(torch.from_numpy(np.array(row[HEAD], np.float32)))
        return self._splat(self.gaussians, torch.cat([turn, self._shift], 1), *self.size[::-1])

    def points(self, row: Floats) -> Floats:
        """Where the head's Gaussians are in a frame, float32 [5023, 3]. The camera turns, the
        head does not; the forehead is the mean of what it was.
        """
        points = self._head.vertices(row[EXPRESSION], None, row[JAW])
        now = points[FOREHEAD]
        if self._forehead is not None:
            now = FOREHEAD_STAYS * self._forehead + (1 - FOREHEAD_STAYS) * now
        points[FOREHEAD] = self._forehead = now
        return points
