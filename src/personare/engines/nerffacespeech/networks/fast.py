"""The generator's blocks without gradients, with less work and memory: the same numbers as
`layers.Block`, up to rounding.

- The learnt part of an enlargement is linear but for one activation. So its first layer works
  on the small map, and the filter on a quarter of the channels.
- Gains are folded into weights, and what follows a product works in place.
- Pixels go through the second convolution and the colours in stripes that a cache holds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from personare.engines.nerffacespeech.networks.layers import Block, Enlargement, StyledLayer
from personare.networks.stylegan2 import GAIN, LEAK, doubled

STRIPE_NUMBERS = 1 << 18
"""Of a map in one stripe: a megabyte in float32."""


def block(layers: Block, x: Tensor, picture: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
    """What `layers` would give. x [B, in, H, W], picture float32 [B, 3, H, W], ws [B, 3, w]."""
    made = _enlarged(layers.conv0, x, ws[:, 0])
    batch, channels, height, width = made.shape
    matrix, bias = _folded(layers.conv1, ws[:, 1], made.dtype)
    colours = layers.torgb.matrix(ws[:, 2]).to(made.dtype)
    flat = made.view(batch, channels, height * width)
    rgb = torch.empty(batch, 3, height * width)
    step = max(1, STRIPE_NUMBERS // channels)
    clamp, rgb_clamp = layers.conv1.clamp, layers.torgb.clamp
    for n in range(batch):
        for start in range(0, height * width, step):
            part = flat[n, :, start : start + step]
            out = torch.addmm(bias, matrix[n], part)
            functional.leaky_relu_(out, LEAK).clamp_(-clamp, clamp)
            part.copy_(out)
            rgb[n, :, start : start + step] = colours[n] @ out
    rgb += layers.torgb.bias[:, None]
    rgb.clamp_(-rgb_clamp, rgb_clamp)
    return made, doubled(picture).add_(rgb.view(batch, 3, height, width))


def _folded(layer: StyledLayer, w: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights [B, out, in] and bias [out, 1] with the gain of what follows."""
    matrix = layer.matrix(w) * (torch.rsqrt(layer.w_avg) * GAIN)
    return matrix.to(dtype), (layer.bias * GAIN).to(dtype)[:, None]


def _enlarged(layer: StyledLayer, x: Tensor, w: Tensor) -> Tensor:
    matrix, bias = _folded(layer, w, x.dtype)
    batch, _, height, width = x.shape
    adapter = layer.adapter
    assert isinstance(adapter, Enlargement)
    small = torch.bmm(matrix, x.reshape(batch, -1, height * width)).view(batch, -1, height, width)
    hidden = _hidden(adapter, small)  # (B, C/4, 2H, 2W)
    made = _filtered_near(small)
    second = adapter.second.matrix.to(x.dtype).expand(batch, -1, -1)
    made = made.flatten(2).baddbmm_(second, _filtered(hidden).flatten(2)).view(made.shape)
    # The filter takes zeros from beyond the border, of a constant too.
    edge = _filtered(torch.ones(1, 1, *made.shape[2:], dtype=x.dtype))
    constant = (adapter.second.bias * GAIN).to(x.dtype)[:, None, None]
    made.addcmul_(constant, edge[0]).add_(bias[..., None])
    return functional.leaky_relu_(made, LEAK).clamp_(-layer.clamp, layer.clamp)


def _hidden(adapter: Enlargement, small: Tensor) -> Tensor:
    """The learnt part's hidden channels; `small` has the gain already, as they then have."""
    channels = small.shape[1]
    first = adapter.first.matrix.to(small.dtype)
    flat = small.flatten(2)
    own = (first[:, :channels] @ flat).view(len(small), -1, *small.shape[2:])
    own = own + (adapter.first.bias * GAIN).to(small.dtype)[:, None, None]
    beside = (first[:, channels:] @ flat).view(own.shape)
    padded = functional.pad(beside, (1, 1, 1, 1)) / 2
    up, down = padded[:, :, :-2, 1:-1], padded[:, :, 2:, 1:-1]
    left, right = padded[:, :, 1:-1, :-2], padded[:, :, 1:-1, 2:]
    made = small.new_empty(*own.shape[:2], 2 * own.shape[2], 2 * own.shape[3])
    for row, column, sides in (
        (0, 0, left + up),
        (0, 1, up + right),
        (1, 0, left + down),
        (1, 1, right + down),
    ):
        made[:, :, row::2, column::2] = sides.add_(own)
    return functional.leaky_relu_(made, LEAK).mul_(GAIN)


def _filtered(x: Tensor) -> Tensor:
    """The filter 1 3 3 1, first along rows, then along columns: [B, C, H, W] -> the same."""
    for axis in (2, 3):
        length = x.shape[axis]
        x = functional.pad(x, (2, 1, 0, 0) if axis == 3 else (0, 0, 2, 1))
        outer = x.narrow(axis, 0, length) + x.narrow(axis, 3, length)
        inner = x.narrow(axis, 1, length) + x.narrow(axis, 2, length)
        x = outer.add_(inner, alpha=3).mul_(1 / 8)
    return x


def _filtered_near(x: Tensor) -> Tensor:
    """The nearest samples at twice the size, filtered: [B, C, H, W] -> [B, C, 2H, 2W]."""
    for axis in (2, 3):
        length = x.shape[axis]
        padded = functional.pad(x, (1, 1, 0, 0) if axis == 3 else (0, 0, 1, 1))
        before, after = padded.narrow(axis, 0, length), padded.narrow(axis, 2, length)
        shape = list(x.shape)
        shape[axis] *= 2
        made = x.new_empty(shape)
        pairs = made.view(*shape[:axis], length, 2, *shape[axis + 1 :])
        torch.add(before, x, out=pairs.select(axis + 1, 0)).mul_(0.5)
        torch.add(before, after, out=pairs.select(axis + 1, 1)).mul_(1 / 8).add_(x, alpha=0.75)
        x = made
    return x


def fits(layers: Block, x: Tensor) -> bool:
    """Whether a block is of the kind that this is written for."""
    conv0 = layers.conv0
    is_known = conv0.adapter is not None and conv0.adapter.how == "nn_cat" and conv0.blur
    return is_known and x.device.type == "cpu" and not torch.is_grad_enabled() and math.isfinite(conv0.clamp)
