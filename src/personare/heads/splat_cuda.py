"""Gaussian splatting on a CUDA device by gsplat (Ye et al. 2024), where it is installed (extra
[cuda]).

Its rules are close to those of `splat`, not the same: it lets a Gaussian hide up to 0.999, and
ends Gaussians at rims of its own. It would bring quaternions to length 1, which these are not,
so it gets covariances.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from personare.heads.splat import BLUR, FOCAL, NEAREST, Gaussians, splat, view_matrix

Splatter = Callable[[Gaussians, Tensor, int, int], Tensor]
"""(Gaussians, camera [3, 4], width, height) -> picture float32 [C, height, width]"""


def splatter(device: torch.device) -> tuple[Splatter, torch.device]:
    """What splats for a network on a device, and where its Gaussians have to be: gsplat on
    CUDA, if it is installed; else torch on the CPU.
    """
    if device.type == "cuda" and find_spec("gsplat") is not None:
        return splat_with_gsplat, device
    return _on_cpu, torch.device("cpu")


def splat_with_gsplat(gaussians: Gaussians, camera: Tensor, width: int, height: int) -> Tensor:
    """float32 [C, height, width] on the Gaussians' device. camera: [3, 4], on any."""
    from gsplat import rasterization

    means = gaussians.means
    rows, columns = torch.triu_indices(3, 3)
    extents = means.new_zeros(len(means), 3, 3)
    extents[:, rows, columns] = extents[:, columns, rows] = gaussians.covariances
    lens = torch.tensor([[width * FOCAL / 2, 0, width / 2], [0, height * FOCAL / 2, height / 2], [0, 0, 1]])
    colours, _, _ = rasterization(
        means=means,
        quats=None,
        scales=None,
        opacities=gaussians.opacities,
        colors=gaussians.features,
        viewmats=view_matrix(camera.cpu()).T[None].to(means),  # for column vectors
        Ks=lens[None].to(means),
        width=width,
        height=height,
        near_plane=NEAREST,
        eps2d=BLUR,
        packed=False,
        covars=extents,
    )
    picture: Tensor = colours[0].permute(2, 0, 1)
    return picture.contiguous()


def _on_cpu(gaussians: Gaussians, camera: Tensor, width: int, height: int) -> Tensor:
    return splat(gaussians, camera, width, height)[0]
