"""gsplat is asked for what `splat` gives: with one that does what its documentation says, on
a CPU. The real one was never run here.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
import torch

from personare.heads import splat_cuda
from personare.heads.splat import Projected, splat
from tests.unit.splat_reference import splatted
from tests.unit.test_heads_splat import CAMERA, HEIGHT, WIDTH, gaussians

pytestmark = pytest.mark.neural


class Documented(ModuleType):
    """gsplat.rasterization: column vectors, x right, y down, z ahead, lenses Ks, the middle of
    a pixel at a half; flattened as in "EWA splatting", blurred by eps2d.
    """

    def __init__(self):
        super().__init__("gsplat")
        self.__spec__ = ModuleSpec("gsplat", None)

    def rasterization(
        self, means, quats, scales, opacities, colors, viewmats, Ks, width, height,
        near_plane, eps2d, packed, covars,
    ):  # fmt: skip
        assert quats is None
        assert scales is None
        assert covars.shape == (len(means), 3, 3)
        turn, shift, lens = viewmats[0, :3, :3], viewmats[0, :3, 3], Ks[0]
        seen = means @ turn.T + shift
        x, y, z = seen.T
        flat = seen @ lens.T
        jacobian = torch.zeros(len(means), 2, 3)
        jacobian[:, 0, 0], jacobian[:, 1, 1] = lens[0, 0] / z, lens[1, 1] / z
        jacobian[:, 0, 2], jacobian[:, 1, 2] = -lens[0, 0] * x / z**2, -lens[1, 1] * y / z**2
        extent = jacobian @ turn @ covars @ turn.T @ jacobian.transpose(1, 2) + eps2d * torch.eye(2)
        inverse = torch.linalg.inv(extent)
        conics = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1)
        radii = (3 * torch.linalg.eigvalsh(extent)[:, 1].sqrt()).ceil() * (z > near_plane)
        places = flat[:, :2] / flat[:, 2:] - 0.5
        given = type("Given", (), {"features": colors, "opacities": opacities})
        picture, through = splatted(
            given, Projected(places, conics, z, radii.long()), width, height, np.zeros(colors.shape[1])
        )
        alphas = torch.from_numpy(1 - through)[None, ..., None]
        return torch.from_numpy(picture).permute(1, 2, 0)[None].float(), alphas, {}


def test_gsplat_gets_what_gives_the_same_picture(monkeypatch):
    monkeypatch.setitem(sys.modules, "gsplat", Documented())
    given = gaussians(80)
    made = splat_cuda.splat_with_gsplat(given, CAMERA, WIDTH, HEIGHT)
    expected, _ = splat(given, CAMERA, WIDTH, HEIGHT)
    assert made.shape == expected.shape
    # Wide Gaussians at the picture's edge are flattened otherwise, and so have other rims.
    off = (made - expected).abs()
    assert float(off.quantile(0.995)) < 1e-4
    assert float(off.mean()) < 1e-3


def test_it_is_chosen_on_cuda_where_it_is_installed(monkeypatch):
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    monkeypatch.setitem(sys.modules, "gsplat", None)
    monkeypatch.setattr(splat_cuda, "find_spec", lambda name: None)
    assert splat_cuda.splatter(cuda)[1] == cpu
    monkeypatch.setattr(splat_cuda, "find_spec", lambda name: Documented().__spec__)
    assert splat_cuda.splatter(cuda) == (splat_cuda.splat_with_gsplat, cuda)
    chosen, where = splat_cuda.splatter(cpu)
    assert where == cpu
    given = gaussians(10)
    assert torch.equal(chosen(given, CAMERA, WIDTH, HEIGHT), splat(given, CAMERA, WIDTH, HEIGHT)[0])
