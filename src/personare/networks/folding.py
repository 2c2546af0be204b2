"""The library's networks made faster for one use, without changing what they compute.

Each function changes a network that was loaded for inference, once; the network before is the
plain reference, and a test holds both together. diffusers' classes carry no types that hold:
networks are Any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from personare.networks.packed import PackedConv


def fold_time(unet: Any, timestep: int = 0) -> None:
    """Add the time embedding of one timestep to the biases it would be added to, and take it
    out.

    h = conv1(x) + W silu(e) + b is conv1 with another bias: of the embedding and its
    projections, which are the same for every frame, nothing is left to compute. Afterwards
    `forward` has to be given no embedding: see `predict`.
    """
    with torch.inference_mode():
        weight = unet.time_embedding.linear_1.weight
        at = torch.full((1,), timestep, device=weight.device)
        embedding = unet.time_embedding(unet.time_proj(at).to(weight.dtype))
        for module in unet.modules():
            projection = getattr(module, "time_emb_proj", None)
            if projection is not None:
                added = projection(F.silu(embedding))[0]
                module.conv1.bias = nn.Parameter(module.conv1.bias + added, requires_grad=False)
                module.time_emb_proj = None
    unet.time_embedding = unet.time_proj = None


def predict(unet: Any, latents: Tensor, tokens: Tensor) -> Tensor:
    """The folded UNet: latents [n, 8, h, w] and what is heard [n, tokens, width] -> latents [n,
    4, h, w].
    """
    x = unet.conv_in(latents)
    skips: tuple[Tensor, ...] = (x,)
    heard: Mapping[str, Tensor] = {"encoder_hidden_states": tokens}
    for block in unet.down_blocks:
        x, more = block(x, None, **(heard if _hears(block) else {}))
        skips += more
    x = unet.mid_block(x, None, **heard)
    for block in unet.up_blocks:
        count = len(block.resnets)
        x = block(x, skips[-count:], None, **(heard if _hears(block) else {}))
        skips = skips[:-count]
    predicted: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))
    return predicted


def _hears(block: Any) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


class QuarterUpsample(nn.Module):
    """Nearest x2, then a 3x3 convolution: as four 2x2 convolutions at the size before.

    Of the nine taps that a pixel of the enlarged picture sees, those that fall on the same
    source pixel are added up beforehand: 16 multiplications for four pixels in place of 36.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = conv.weight.detach().float()  # [out, in, 3, 3]

        def summed(taps: Tensor, axis: int, odd: int) -> Tensor:
            first, middle, last = taps.unbind(axis)
            pair = (first + middle, last) if odd else (first, middle + last)
            return torch.stack(pair, axis)

        # Even pixels see one source pixel before and their own, odd ones their own and the
        # next.
        phases = [summed(summed(weight, 2, row), 3, column) for row in (0, 1) for column in (0, 1)]
        # Parameters, so that the memory format and the device follow the network's.
        kept = (
            nn.Parameter(phase.to(conv.weight.dtype).contiguous(), requires_grad=False) for phase in phases
        )
        self.phases = nn.ParameterList(kept)
        self.bias = conv.bias

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:  # noqa: ARG002 - the library's signature
        n, _, height, width = x.shape
        padded = F.pad(x, (1, 1, 1, 1))
        size = (n, self.phases[0].shape[0], 2 * height, 2 * width)
        out = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for row in (0, 1):
            for column in (0, 1):
                weight = self.phases[2 * row + column]
                seen = padded[:, :, row : row + height + 1, column : column + width + 1]
                out[:, :, row::2, column::2] = F.conv2d(seen, weight, self.bias)
        return out


def fold_upsampling(network: Any) -> None:
    """Every nearest x2 with a 3x3 convolution behind it becomes a QuarterUpsample."""
    for parent in network.modules():
        upsamplers = getattr(parent, "upsamplers", None)
        if upsamplers is not None:
            for index, upsampler in enumerate(upsamplers):
                conv = upsampler.conv
                if not (conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1)):
                    raise ValueError(f"an upsampler with {conv}")
                upsamplers[index] = QuarterUpsample(conv)


class LeanResnet(nn.Module):
    """The library's ResnetBlock2D, with nothing that does nothing: no division by one, no
    second copy where a map may be changed in place. To the bit what the library computes, but
    for packed convolutions.

    block: without a time embedding, or with that folded in.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        plain = block.time_emb_proj is None and block.upsample is None and block.downsample is None
        if not (plain and block.output_scale_factor == 1 and isinstance(block.nonlinearity, nn.SiLU)):
            raise ValueError(f"a block that is not plain: {block}")
        self.norm1, self.conv1 = block.norm1, block.conv1
        self.norm2, self.conv2 = block.norm2, block.conv2
        self.conv_shortcut = block.conv_shortcut

    def forward(self, x: Tensor, temb: None = None) -> Tensor:  # noqa: ARG002 - the library's signature
        h = self.conv1(F.silu(self.norm1(x), inplace=True))
        h = F.silu(self.norm2(h), inplace=True)
        rest = x if self.conv_shortcut is None else self.conv_shortcut(x)
        if isinstance(self.conv2, PackedConv):
            return self.conv2.forward(h, rest)
        made: Tensor = self.conv2(h).add_(rest)
        return made


def lean_resnets(network: Any) -> None:
    """Every residual block becomes a LeanResnet; after `fold_time`, where there is a time."""
    for parent in network.modules():
        resnets = getattr(parent, "resnets", None)
        if resnets is not None:
            for index, block in enumerate(resnets):
                resnets[index] = LeanResnet(block)


def channels_last(network: Any) -> None:
    """Weights of convolutions in the order in which fast kernels read them."""
    network.to(memory_format=torch.channels_last)
