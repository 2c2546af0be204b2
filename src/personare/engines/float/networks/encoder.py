"""The appearance encoder with its motion head: a picture becomes what the person looks like,
and how the face is held.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

from personare.engines.float.networks.config import FloatConfig
from personare.networks.stylegan2 import ConvLayer, EqualLinear, ResBlock, Weight


class _Trunk(nn.Module):
    def __init__(self, first: ConvLayer, blocks: list[ResBlock], last: Weight) -> None:
        super().__init__()
        self.convs = nn.ModuleList([first, *blocks, last])


class AppearanceEncoder(nn.Module):
    """`motion_autoencoder.enc` of float.pth."""

    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        channels = [
            config.channels[side] for side in reversed((4, *config.sides))
        ]  # from the picture's side down to 4
        blocks = [ResBlock(before, after) for before, after in itertools.pairwise(channels)]
        self.net_app = _Trunk(ConvLayer(3, channels[0], 1), blocks, Weight(channels[-1], config.width, 4))
        widths = [config.width] * 5 + [config.motions]
        self.fc = nn.ModuleList(EqualLinear(before, after) for before, after in itertools.pairwise(widths))

    def fold(self) -> None:
        for part in (*self.net_app.convs, *self.fc):
            if isinstance(part, Weight):
                part.fold(1.0)
            elif isinstance(part, ConvLayer | ResBlock | EqualLinear):
                part.fold()

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """picture [B, 3, S, S] in [-1, 1] -> appearance code [B, width], skip features [B, C,
        side, side], smallest first.
        """
        x, features = picture, []
        for conv in self.net_app.convs[:-1]:
            x = conv(x)
            features.append(x)
        last = self.net_app.convs[-1]
        assert isinstance(last, Weight)
        code = functional.conv2d(x, last.weight)[:, :, 0, 0]
        return code, features[-2::-1]  # the 4 x 4 map is not handed on

    def motion(self, code: Tensor) -> Tensor:
        """Coefficients [B, motions] of the face's motion in the basis. There is no activation
        between the layers.
        """
        for linear in self.fc:
            code = linear(code)
        return code
