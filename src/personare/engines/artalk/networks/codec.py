"""The motion codec: motion into bits at several scales of time, and back.

Binary spherical quantisation (Zhao et al. 2024), residual over scales (Tian et al. 2024): each
scale codes what the coarser ones have left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.engines.artalk.networks.config import MOTION_WIDTH, ArTalkConfig
from personare.networks.packed import PackedLinear

_SLOPE = 0.2


class Quantiser:
    """Bits of latents and latents of bits; no parameters.

    Latents are float [B, frames, code], bits bool [B, tokens, code], the coarsest scale first.
    """

    def __init__(self, config: ArTalkConfig) -> None:
        self.config = config

    def bits(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(bits, the latents that they stand for)"""
        left, total, coded = latents, torch.zeros_like(latents), []
        for size in self.config.scales:
            # The signs of a vector are those of the unit vector along it.
            bits = pooled(left, size) > 0
            coded.append(bits)
            made = self.spread(bits)
            left, total = left - made, total + made
        return torch.cat(coded, 1), total

    def spread(self, bits: Tensor) -> Tensor:
        """What the bits of one scale, [B, n, code], add to the latents of all frames."""
        frames, code = self.config.frames, self.config.code
        signs = (2.0 * bits - 1.0) / code**0.5
        if bits.shape[1] == frames:
            return signs
        return functional.interpolate(
            signs.transpose(1, 2), size=frames, mode="linear", align_corners=False
        ).transpose(1, 2)

    def latents(self, bits: Tensor) -> Tensor:
        """The sum of all scales."""
        return self._sums(bits)[-1]

    def next_inputs(self, bits: Tensor) -> Tensor:
        """What each scale but the first is made from, [B, tokens - scales[0], code]: the sum of
        the coarser scales, at the finer one's size.
        """
        sums, scales = self._sums(bits), self.config.scales
        return torch.cat([pooled(total, size) for total, size in zip(sums[:-1], scales[1:], strict=True)], 1)

    def _sums(self, bits: Tensor) -> list[Tensor]:
        """The sum up to each scale."""
        total, sums = bits.new_zeros((), dtype=torch.float32), []
        for span in self.config.spans:
            total = total + self.spread(bits[:, span])
            sums.append(total)
        return sums


def pooled(x: Tensor, size: int) -> Tensor:
    """Means over `size` pieces of time that overlap where they do not divide it, [B, n, C] ->
    [B, size, C].
    """
    if x.shape[1] == size:
        return x
    return functional.adaptive_avg_pool1d(x.transpose(1, 2), size).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = PackedLinear(width, 3 * width, bias=False)
        self.to_out = PackedLinear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, frames, width = x.shape
        qkv = self.to_qkv(self.norm(x)).view(batch, frames, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, frames, d) each
        # As released: scaled by the whole width, not by that of a head.
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=width**-0.5)
        return self.to_out(attended.transpose(1, 2).reshape(batch, frames, width))


def _feed_forward(width: int) -> nn.Sequential:
    wider = width * 3 // 2
    return nn.Sequential(PackedLinear(width, wider), nn.GELU("tanh"), PackedLinear(wider, width))


class _Transformer(nn.Module):
    """Attention and feed-forward by turns, each added to its input."""

    def __init__(self, config: ArTalkConfig, given: int) -> None:
        super().__init__()
        width = config.codec_width
        self.inp_mapping = nn.Sequential(nn.Linear(given, width), nn.LeakyReLU(_SLOPE))
        layers: list[nn.Module] = []
        for _ in range(config.codec_depth):
            layers += [_Attention(width, config.codec_heads), _feed_forward(width)]
        self.layers = nn.ModuleList(layers)

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.inp_mapping(x)
        for layer in self.layers:
            x = x + (layer(x, mask) if isinstance(layer, _Attention) else layer(x))
        return x


class _Encoder(_Transformer):
    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__(config, MOTION_WIDTH)
        self.code_mapping = nn.Linear(config.codec_width, config.code)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.code_mapping(self.run(x, mask))


class _Decoder(_Transformer):
    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__(config, config.code)
        self.out_mapping = nn.Linear(config.codec_width, MOTION_WIDTH)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.out_mapping(self.run(x, mask))


class MotionCodec(nn.Module):
    """`basic_vae` of the checkpoint. Motion is float32 [B, frames, 106] of one chunk."""

    motion_mean: Tensor
    motion_std: Tensor
    mask: Tensor

    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__()
        self.config, self.quantiser = config, Quantiser(config)
        frames = config.frames
        self.enc_pos_embed = nn.Parameter(torch.empty(1, 2 * frames, MOTION_WIDTH))
        self.dec_pos_embed = nn.Parameter(torch.empty(1, 2 * frames, config.code))
        self.encoder, self.decoder = _Encoder(config), _Decoder(config)
        self.register_buffer("motion_mean", torch.empty(MOTION_WIDTH))
        self.register_buffer("motion_std", torch.empty(MOTION_WIDTH))
        # The chunk before does not see this one.
        later = torch.arange(2 * frames) >= frames
        self.register_buffer("mask", later[:, None] | ~later[None, :], persistent=False)

    def encode(self, motion: Tensor) -> Tensor:
        """Latents of a chunk alone, or of two in a row, the earlier first: [B, n, code]."""
        frames = motion.shape[1]
        x = (motion - self.motion_mean) / self.motion_std + self.enc_pos_embed[:, :frames]
        return self.encoder(x, self.mask if frames > self.config.frames else None)

    def bits(self, motion: Tensor) -> Tensor:
        """Bits of a chunk as it is remembered: encoded alone."""
        return self.quantiser.bits(self.encode(motion))[0]

    def decode(self, before: Tensor, bits: Tensor) -> Tensor:
        """Motion of a chunk from the bits of the chunk before and its own, with both chunks'
        frames in a row: [B, 2 * frames, 106].
        """
        latents = torch.cat([self.quantiser.latents(before), self.quantiser.latents(bits)], 1)
        made = self.decoder(latents + self.dec_pos_embed, self.mask)
        return made * self.motion_std + self.motion_mean
