"""PoseNet: a pose picture as a summand of the UNet's first features (SPEC d.1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from personare.errors import WeightsMismatch
from personare.weights.loading import load_strictly, unallocated

_WIDTHS = (3, 16, 16, 32, 32, 64, 64, 128)


class PoseNet(nn.Module):
    """Pose pictures [n, 3, H, W] in [-1, 1] -> [n, channels, H/8, W/8].

    The last layer is by far the widest and sees one place at a time: `features` are what is
    worth keeping, `latents` makes the rest of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 3, 3, 1, 1), nn.SiLU()]
        entering = 3
        for width, (kernel, stride) in zip(_WIDTHS[1:], [(4, 2), (3, 1)] * 3 + [(3, 1)], strict=True):
            layers += [nn.Conv2d(entering, width, kernel, stride, 1), nn.SiLU()]
            entering = width
        self.conv_layers = nn.Sequential(*layers)
        self.final_proj = nn.Conv2d(entering, channels, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def features(self, pictures: Tensor) -> Tensor:
        """[n, 128, H/8, W/8]."""
        made: Tensor = self.conv_layers(pictures)
        return made

    def latents(self, features: Tensor) -> Tensor:
        """[n, channels, H/8, W/8]."""
        return self.final_proj(features) * self.scale

    def forward(self, pictures: Tensor) -> Tensor:
        return self.latents(self.features(pictures))


def pose_net_from_state(
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PoseNet:
    """Its width is read off the last layer. Raises WeightsMismatch."""
    if "final_proj.weight" not in state:
        raise WeightsMismatch(f"{source} holds no PoseNet", hint="fetch it again, or the whole checkpoint")
    with unallocated():
        network = PoseNet(int(state["final_proj.weight"].shape[0]))
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    return network
