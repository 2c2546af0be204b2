"""The small networks between a voice and a face: SadTalker's audio2exp (arXiv 2211.12194) hears
what the expression is, LipaintNet says which styles show the inside of its mouth.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from personare.engines.nerffacespeech.networks.config import EXPRESSIONS
from personare.weights.loading import load_strictly, unallocated

HEARD = 512
"""Width of what is heard of one window."""
_PREFIX = "audio2exp."
_LAYERS: tuple[tuple[int, int, int, tuple[int, int], int, bool], ...] = (
    (1, 32, 3, (1, 1), 1, False),
    (32, 32, 3, (1, 1), 1, True),
    (32, 32, 3, (1, 1), 1, True),
    (32, 64, 3, (3, 1), 1, False),
    (64, 64, 3, (1, 1), 1, True),
    (64, 64, 3, (1, 1), 1, True),
    (64, 128, 3, (3, 3), 1, False),
    (128, 128, 3, (1, 1), 1, True),
    (128, 128, 3, (1, 1), 1, True),
    (128, 256, 3, (3, 2), 1, False),
    (256, 256, 3, (1, 1), 1, True),
    (256, 512, 3, (1, 1), 0, False),
    (512, 512, 1, (1, 1), 0, False),
)
"""in, out, kernel, stride, padding, residual"""


class _Conv(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: tuple[int, int], padding: int, residual: bool
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs)
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv_block(x)
        return (made + x if self.residual else made).relu()


class Audio2Exp(nn.Module):
    """A window of mel and the expression before become the expression."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = nn.Sequential(*(_Conv(*layer) for layer in _LAYERS))
        self.mapping1 = nn.Linear(HEARD + EXPRESSIONS + 1, EXPRESSIONS)

    def hear(self, windows: Tensor) -> Tensor:
        """Mel [B, 80, 16] -> [B, 512], each window for itself."""
        heard: Tensor = self.audio_encoder(windows[:, None])
        return heard[:, :, 0, 0]

    def forward(self, heard: Tensor, reference: Tensor, blink: Tensor) -> Tensor:
        """[B, 512], [B, 64] and how far the lids are shut [B, 1] -> [B, 64]."""
        made: Tensor = self.mapping1(torch.cat([heard, reference, blink], 1))
        return made


class LipaintNet(nn.Module):
    """A style and an expression (scaled as it is shown) become the style of that mouth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width + EXPRESSIONS, width)
        self.fc2, self.fc3, self.fc4 = (nn.Linear(width, width) for _ in range(3))

    def forward(self, w: Tensor, expression: Tensor) -> Tensor:
        """[B, w], [B, 64] -> [B, w]"""
        x = torch.cat([w, expression], 1)
        for layer in (self.fc1, self.fc2, self.fc3):
            x = layer(x).relu()
        made: Tensor = w + self.fc4(x)
        return made


def audio2exp(state: Mapping[str, Tensor], device: torch.device | str, source: str) -> Audio2Exp:
    """From SadTalker's file, in which it is one network of several. Raises WeightsMismatch."""

    def renamed(name: str) -> str | None:
        return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None

    with unallocated():
        network = Audio2Exp()
    load_strictly(
        network, state, rename=renamed, ignore=("num_batches_tracked$",), device=device, source=source
    )
    return network


def lipaint(state: Mapping[str, Tensor], width: int, device: torch.device | str, source: str) -> LipaintNet:
    """Raises WeightsMismatch, also where it was made for styles of another width."""
    with unallocated():
        network = LipaintNet(width)
    load_strictly(network, state, device=device, source=source)
    return network
