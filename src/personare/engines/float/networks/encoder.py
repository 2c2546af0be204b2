"""The appearance encoder with its motion head: a picture becomes what the person looks like, and how the face is held."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.networks.layers import ConvLayer, EqualLinear, ResBlock, Weight


class AppearanceEncoder(nn.Module):
    """`motion_autoencoder.enc` of float.pth."""

    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        channels = [config.channels[side] for side in reversed((4, *config.sides))]  # from the picture's side down to 4
        blocks = [ResBlock(before, after) for before, after in zip(channels, channels[1:], strict=False)]
        self.net_app = nn.Module()
        self.net_app.convs = nn.ModuleList([ConvLayer(3, channels[0], 1), *blocks, Weight(channels[-1], config.width, 4)])
        widths = [config.width] * 5 + [config.motions]
        self.fc = nn.ModuleList(EqualLinear(before, after) for before, after in zip(widths, widths[1:], strict=False))

    def fold(self) -> None:
        *convs, last = self.net_app.convs
        for part in (*convs, *self.fc):
            part.fold()
        last.fold(1.0)

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """picture [B, 3, S, S] in [-1, 1] -> appearance code [B, width], skip features [B, C, side, side], smallest first."""
        *convs, last = self.net_app.convs
        x, features = picture, []
        for conv in convs:
            x = conv(x)
            features.append(x)
        code = F.conv2d(x, last.weight)[:, :, 0, 0]
        return code, features[-2::-1]  # the 4 x 4 map is not handed on

    def motion(self, code: Tensor) -> Tensor:
        """Coefficients [B, motions] of the face's motion in the basis. There is no activation between the layers."""
        for linear in self.fc:
            code = linear(code)
        return code
