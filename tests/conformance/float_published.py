"""FLOAT's decoder and sampling as the published program computes them, step by step from the
specification: the plain forms that the product's fast ones are held against, in tests and in
benchmarks. Slow on purpose; nothing in the product uses it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from personare.engines.float.networks.transformer import FlowTransformer

State = Mapping[str, Tensor]


def upfirdn(x: Tensor, kernel: Tensor, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Zeros between samples, zeros around, and a correlation of each channel by itself."""
    batch, channels, height, width = x.shape
    x = x.reshape(-1, height, 1, width, 1)
    x = functional.pad(x, [0, up - 1, 0, 0, 0, up - 1]).reshape(-1, 1, height * up, width * up)
    x = functional.pad(x, [pad[0], pad[1], pad[0], pad[1]])
    x = functional.conv2d(x, torch.flip(kernel, [0, 1])[None, None])
    return x.reshape(batch, channels, *x.shape[2:])


def kernel() -> Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    outer = line[None] * line[:, None]
    return outer / outer.sum()


def leaky(x: Tensor, bias: Tensor) -> Tensor:
    return functional.leaky_relu(x + bias, 0.2) * math.sqrt(2)


def modulated(
    state: State, name: str, x: Tensor, latent: Tensor, *, up: bool = False, demodulate: bool = True
) -> Tensor:
    weight = state[f"{name}.weight"]
    _, outputs, inputs, size, _ = weight.shape
    linear = state[f"{name}.modulation.weight"] * (1 / math.sqrt(latent.shape[1]))
    style = functional.linear(latent, linear, state[f"{name}.modulation.bias"]).view(len(x), 1, inputs, 1, 1)
    weight = weight * (1 / math.sqrt(inputs * size * size)) * style
    if demodulate:
        weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(len(x), outputs, 1, 1, 1)
    batch, _, height, width = x.shape
    x = x.reshape(1, batch * inputs, height, width)
    if not up:
        made = functional.conv2d(
            x, weight.view(batch * outputs, inputs, size, size), padding=size // 2, groups=batch
        )
        return made.view(batch, outputs, *made.shape[2:])
    weight = weight.transpose(1, 2).reshape(batch * inputs, outputs, size, size)
    made = functional.conv_transpose2d(x, weight, stride=2, groups=batch)
    return upfirdn(made.view(batch, outputs, *made.shape[2:]), kernel() * 4, pad=(1, 1))


def styled(state: State, name: str, x: Tensor, latent: Tensor, *, up: bool = False) -> Tensor:
    return leaky(modulated(state, f"{name}.conv", x, latent, up=up), state[f"{name}.activate.bias"])


def decode(
    state: State, latent: Tensor, features: Sequence[Tensor], *, align_corners: bool = False
) -> Tensor:
    """`motion_autoencoder.dec`: latent [B, width], features [B, ..] smallest first -> colours
    [B, 3, S, S].

    align_corners: True is the mistake that a test makes on purpose.
    """
    x = styled(state, "conv1", state["input.input"].repeat(len(latent), 1, 1, 1), latent)
    raw = colours = None
    for level, feature in enumerate(features):
        x = styled(state, f"convs.{2 * level}", x, latent, up=True)
        x = styled(state, f"convs.{2 * level + 1}", x, latent)
        side = x.shape[-1]
        o = (
            modulated(state, f"to_flows.{level}.conv", x, latent, demodulate=False)
            + state[f"to_flows.{level}.bias"]
        )
        raw = o if raw is None else o + upfirdn(raw, kernel() * 4, up=2, pad=(2, 1))
        line = np.linspace(-1, 1, side)
        base = torch.from_numpy(np.stack(np.meshgrid(line, line), -1)).float()[
            None
        ]  # made anew for every frame and level
        flow = torch.tanh(raw[:, :2]).permute(0, 2, 3, 1) + base
        mask = torch.sigmoid(raw[:, 2:3])
        warp = functional.grid_sample(feature, flow, align_corners=align_corners) * mask
        x = warp + x * (1 - mask)
        weight = state[f"to_rgbs.{level}.conv.0.weight"]
        rgb = functional.conv2d(warp, weight * (1 / math.sqrt(weight.shape[1])))
        rgb = leaky(rgb, state[f"to_rgbs.{level}.conv.1.bias"]) + state[f"to_rgbs.{level}.bias"]
        colours = rgb if colours is None else rgb + upfirdn(colours, kernel() * 4, up=2, pad=(2, 1))
    assert colours is not None
    return colours


def sample_chunk(
    network: FlowTransformer,
    reference: Tensor,
    emotion: Tensor,
    before: tuple[Tensor, Tensor],
    voice: Tensor,
    noise: Tensor,
    *,
    points: int = 10,
    audio_scale: float = 2.0,
    emotion_scale: float = 1.0,
    band: Tensor | None = None,
) -> Tensor:
    """One chunk [chunk, width]: three branches at every step, every frame with its own
    condition, nothing kept. `network` unpacked.

    before: motion and voice of the context frames. band: another attention mask than the
    network's.
    """
    config = network.config
    previous, total = config.previous, config.previous + config.chunk
    band = network.band if band is None else band
    times = torch.linspace(0, 1, points)
    x = noise
    for now, then in itertools.pairwise(times):
        silence = torch.zeros_like(voice)
        voices = torch.stack([torch.cat([before[1], heard]) for heard in (silence, voice, voice)])
        emotions = torch.stack([torch.zeros_like(emotion), emotion, torch.zeros_like(emotion)])[
            :, None
        ].expand(-1, total, -1)
        condition = torch.cat([reference.expand(3, total, -1), voices, emotions], -1)
        c = network.time(now[None])[None] + network.c_embedder(condition)
        h = network.x_embedder.proj(torch.cat([before[0], x]).expand(3, -1, -1)) + network.pos_embed
        for block in network.blocks:
            h = block(h, block.adaLN_modulation(c), band)
        v = network.decoder(h, network.decoder.adaLN_modulation(c))[:, previous:]
        without, everything, heard_only = v
        x = x + (then - now) * (
            without + audio_scale * (heard_only - without) + emotion_scale * (everything - heard_only)
        )
    return x
