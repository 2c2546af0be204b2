"""The style encoder: two seconds of motion become one token that tells how to move."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from personare.engines.artalk.networks.config import MOTION_WIDTH, ArTalkConfig

STYLE_WIDTH = 128
_LAYERS, _HEADS, _WIDER = 4, 4, 512
_STRENGTH = 1.1
"""The token lies this far along the way from no style to the style."""


def position(index: int) -> Tensor:
    """Row `index` of the sinusoid table, float32 [128]: sine at even places, cosine at odd
    ones.
    """
    frequencies = torch.exp(torch.arange(0, STYLE_WIDTH, 2) * (-math.log(10000.0) / STYLE_WIDTH))
    angles = index * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(-1)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.motion_proj = nn.Linear(MOTION_WIDTH, STYLE_WIDTH)
        layer = nn.TransformerEncoderLayer(
            STYLE_WIDTH, _HEADS, _WIDER, dropout=0.0, activation="gelu", batch_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)


class StyleEncoder(nn.Module):
    """The parts of the checkpoint that make the style token."""

    motion_mean: Tensor
    motion_std: Tensor

    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.style_cond_embed = nn.Linear(STYLE_WIDTH, config.width)
        self.null_style_cond = nn.Parameter(torch.empty(1, 1, config.width))
        self.register_buffer("motion_mean", torch.empty(MOTION_WIDTH))
        self.register_buffer("motion_std", torch.empty(MOTION_WIDTH))

    def feature(self, motion: Tensor) -> Tensor:
        """Motion [B, n, 106] -> [B, 128]"""
        x = self.encoder.motion_proj((motion - self.motion_mean) / self.motion_std)
        # As released: one row for every frame, and that of the length.
        x = x + position(motion.shape[1]).to(x)
        return self.encoder.transformer(x).mean(1)

    def condition(self, motion: Tensor) -> Tensor:
        """Motion [B, n, 106] -> [B, 1, width]"""
        return self.style_cond_embed(self.feature(motion))[:, None]

    def token(self, motion: Tensor | None) -> Tensor:
        """The style token [1, 1, width]; None: that of no style."""
        if motion is None:
            return self.null_style_cond
        return _STRENGTH * self.condition(motion) + (1 - _STRENGTH) * self.null_style_cond
