"""S3FD: a single-shot face detector on a VGG trunk (Zhang et al. 2017), as the released file
s3fd-619a316812.pth has it.

Two wings use it. Each prepares its own picture (they differ in the order of colours) and
chooses its own face; the network, the decoding of candidates and their suppression are here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from personare.weights.loading import load_strictly, unallocated

PIXEL_MEAN = (104.0, 117.0, 123.0)
"""What the network has subtracted from its three colour planes, in their order."""
MIN_CANDIDATE = 0.05
MIN_SCORE = 0.5
MAX_OVERLAP = 0.3
_VARIANCES = (0.1, 0.2)
_BLOCKS = (
    (3, 64, 2),
    (64, 128, 2),
    (128, 256, 3),
    (256, 512, 3),
    (512, 512, 3),
)  # channels in, out, convolutions
_SOURCES = (
    ("conv3_3_norm", 256, 4),
    ("conv4_3_norm", 512, 2),
    ("conv5_3_norm", 512, 2),
    ("fc7", 1024, 2),
    ("conv6_2", 512, 2),
    ("conv7_2", 256, 2),
)  # name, channels, class channels

Maps = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Six levels of one picture, finest first: class logits float32 [2, h, w] (background, face)
and offsets float32 [4, h, w].
"""


class ChannelNorm(nn.Module):
    """L2 norm over channels, scaled: x / (|x| + 1e-10) * weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10  # [B, 1, h, w]
        return x / length * self.weight[:, None, None]


class S3FD(nn.Module):
    """Pictures [B, 3, H, W] (0..255 minus PIXEL_MEAN) to six levels of (class logits [B, 2, h,
    w], offsets [B, 4, h, w]).

    Level i has stride 2^(i + 2), nominally; pooling rounds down. Attribute names are the
    released file's.
    """

    def __init__(self) -> None:
        super().__init__()
        for block, (entering, channels, convolutions) in enumerate(_BLOCKS, start=1):
            for i in range(convolutions):
                self.add_module(
                    f"conv{block}_{i + 1}", nn.Conv2d(channels if i else entering, channels, 3, padding=1)
                )
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        self.conv7_1 = nn.Conv2d(512, 128, 1)
        self.conv7_2 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        for name, channels, classes in _SOURCES:
            if name.endswith("_norm"):
                self.add_module(name, ChannelNorm(channels))
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(channels, classes, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        sources: list[Tensor] = []
        for block, (_, _, convolutions) in enumerate(_BLOCKS, start=1):
            for i in range(convolutions):
                x = self.get_submodule(f"conv{block}_{i + 1}")(x).relu()
            if block >= 3:
                sources.append(self.get_submodule(f"conv{block}_3_norm")(x))  # strides 4, 8, 16
            x = nn.functional.max_pool2d(x, 2)
        x = self.fc7(self.fc6(x).relu()).relu()  # [B, 1024, H/32 + 4, W/32 + 4]
        sources.append(x)
        x = self.conv6_2(self.conv6_1(x).relu()).relu()
        sources.append(x)
        x = self.conv7_2(self.conv7_1(x).relu()).relu()
        sources.append(x)
        return [self._heads(name, source) for (name, _, _), source in zip(_SOURCES, sources, strict=True)]

    def _heads(self, name: str, source: Tensor) -> tuple[Tensor, Tensor]:
        classes = self.get_submodule(f"{name}_mbox_conf")(source)
        if classes.shape[1] == 4:  # three backgrounds, of which the strongest counts
            classes = torch.cat([classes[:, :3].amax(dim=1, keepdim=True), classes[:, 3:]], dim=1)
        return classes, self.get_submodule(f"{name}_mbox_loc")(source)


def s3fd_from_state(
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> S3FD:
    """The network with the released file's tensors. Raises WeightsMismatch with the missing and
    the extra names.
    """
    with unallocated():
        network = S3FD()
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    return network


@torch.inference_mode()
def face_boxes(network: S3FD, picture: Tensor) -> NDArray[np.float32]:
    """Faces in one picture [3, H, W] as the network wants it: float32 [n, 5] x0 y0 x1 y1 score,
    best first, above MIN_SCORE.
    """
    maps = [
        (classes[0].float().cpu().numpy(), offsets[0].float().cpu().numpy())
        for classes, offsets in network(picture[None])
    ]
    return surviving(candidates(maps))


def candidates(maps: Maps) -> NDArray[np.float32]:
    """Every cell with a face probability above MIN_CANDIDATE: float32 [n, 5] x0 y0 x1 y1 score,
    level by level, row by row.
    """
    found = [np.zeros((0, 5), np.float32)]
    for level, (logits, offsets) in enumerate(maps):
        stride = 2 ** (level + 2)
        score = _face_probability(logits)
        rows, columns = np.nonzero(score > MIN_CANDIDATE)
        cells = np.stack([columns, rows], axis=1).astype(np.float32)  # [n, 2] x y
        local = offsets[:, rows, columns].T.astype(np.float32)  # [n, 4]
        size = np.float32(4 * stride)
        centre = (
            np.float32(stride / 2)
            + cells * np.float32(stride)
            + local[:, :2] * np.float32(_VARIANCES[0]) * size
        )
        extent = size * np.exp(local[:, 2:] * np.float32(_VARIANCES[1]))
        low = centre - extent / 2
        found.append(np.concatenate([low, low + extent, score[rows, columns, None]], axis=1))
    return np.concatenate(found).astype(np.float32)


def surviving(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Greedy non-maximum suppression of [n, 5]: those left, by falling score, above MIN_SCORE.

    A box falls if its overlap with a better one exceeds MAX_OVERLAP; areas count pixels, so
    that a side is x1 - x0 + 1. Of equal scores the later candidate comes first.
    """
    low, high = boxes[:, :2], boxes[:, 2:4]
    areas = np.prod(high - low + 1, axis=1)
    rest = np.argsort(boxes[:, 4], kind="stable")[::-1]
    kept: list[int] = []
    while rest.size:
        best, others = rest[0], rest[1:]
        kept.append(int(best))
        shared = np.minimum(high[best], high[others]) - np.maximum(low[best], low[others]) + 1
        common = np.prod(np.maximum(shared, 0), axis=1)
        rest = others[common / (areas[best] + areas[others] - common) <= MAX_OVERLAP]
    faces = boxes[kept]
    return faces[faces[:, 4] > MIN_SCORE]


def _face_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=0))
    return np.asarray(shifted[1] / shifted.sum(axis=0), np.float32)
