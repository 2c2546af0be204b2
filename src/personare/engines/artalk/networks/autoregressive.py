"""The autoregressive transformer: the bits of a chunk, scale after scale, while it hears the
chunk and remembers the one before.

Adaptive layer norm (Peebles & Xie 2023) by what is heard, scale by scale (Tian et al. 2024,
"VAR"). A token sees its own scale, the coarser ones and all of the memory, so each scale needs
a pass of its own tokens alone: what it looks back at is kept.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.engines.artalk.networks.codec import Quantiser, pooled
from personare.engines.artalk.networks.config import ArTalkConfig
from personare.networks.packed import PackedLinear

_EPSILON = 1e-6
_SHARPEST = math.log(100)


class Generated(NamedTuple):
    """bits: bool [1, tokens, code]. logits: float [1, tokens, code, 2], of zero and of one."""

    bits: Tensor
    logits: Tensor


def _normal(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=_EPSILON), 1 + scale)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.proj = PackedLinear(width, width), PackedLinear(width, width)
        self.key, self.value = PackedLinear(width, width, bias=False), PackedLinear(width, width)
        self.scale_mul_1H11 = nn.Parameter(torch.empty(1, heads, 1, 1))

    def seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of tokens [1, n, width]: [1, heads, n, d] each."""
        return functional.normalize(self._split(self.key(x)), dim=-1), self._split(self.value(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scale = self.scale_mul_1H11.clamp(max=_SHARPEST).exp()
        query = functional.normalize(self._split(self.query(x)), dim=-1) * scale
        attended = functional.scaled_dot_product_attention(query, keys, values, scale=1.0)
        return self.proj(attended.transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Lookback:
    """What the tokens of one block look back at: the memory, then the chunk's own tokens so
    far. It belongs to one run.
    """

    def __init__(self, keys: Tensor, values: Tensor, tokens: int) -> None:
        """keys, values: of the memory. tokens: how many will come."""
        self._keys = torch.cat([keys, keys.new_empty(*keys.shape[:2], tokens, keys.shape[3])], 2)
        self._values = torch.cat([values, torch.empty_like(self._keys[:, :, :tokens])], 2)
        self._end = keys.shape[2]

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All up to these."""
        first, self._end = self._end, self._end + keys.shape[2]
        self._keys[:, :, first : self._end], self._values[:, :, first : self._end] = keys, values
        return self._keys[:, :, : self._end], self._values[:, :, : self._end]


class Block(nn.Module):
    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__()
        width = config.width
        self.attn = _Attention(width, config.heads)
        self.ffn = nn.Sequential(
            PackedLinear(width, 4 * width), nn.GELU("tanh"), PackedLinear(4 * width, width)
        )
        self.ada_lin = nn.Sequential(nn.SiLU(), PackedLinear(config.heard_width, 6 * width))

    def modulation(self, heard: Tensor) -> Tensor:
        """[1, n, heard_width] -> [1, n, 6 * width]"""
        return self.ada_lin(heard)

    def lookback(self, memory: Tensor, tokens: int) -> Lookback:
        """At the start of a chunk. The memory is neither normalised nor modulated."""
        return Lookback(*self.attn.seen(memory), tokens)

    def forward(self, x: Tensor, modulation: Tensor, lookback: Lookback) -> Tensor:
        """The tokens of one scale, [1, n, width]."""
        gate1, gate2, scale1, scale2, shift1, shift2 = modulation.chunk(6, -1)
        normal = _normal(x, shift1, scale1)
        x = torch.addcmul(x, gate1, self.attn(normal, *lookback.extended(*self.attn.seen(normal))))
        return torch.addcmul(x, gate2, self.ffn(_normal(x, shift2, scale2)))


class _Head(nn.Module):
    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__()
        self.ada_lin = nn.Sequential(nn.SiLU(), PackedLinear(config.heard_width, 2 * config.width))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        scale, shift = modulation.chunk(2, -1)
        return _normal(x, shift, scale)


class MotionTransformer(nn.Module):
    """What of the checkpoint makes bits."""

    def __init__(self, config: ArTalkConfig) -> None:
        super().__init__()
        self.config, self.quantiser = config, Quantiser(config)
        width, tokens = config.width, config.tokens
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, width))
        self.prev_pos_embed = nn.Parameter(torch.empty(1, config.memory * tokens, width))
        self.lvl_embed = nn.Embedding(len(config.scales), width)
        self.vqfeat_embed = nn.Linear(config.code, width)
        self.attn_blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.cond_logits_head = _Head(config)
        self.logits_head = nn.Linear(width, 2 * config.code)

    def memory(self, style: Tensor, before: Tensor) -> Tensor:
        """Tokens [1, n, width] of the chunks that are remembered. before: their bits, bool
        [chunks, tokens, code], the oldest first.
        """
        inputs = self.vqfeat_embed(self.quantiser.next_inputs(before).to(style.dtype))
        tokens = torch.cat([style.expand(len(before), -1, -1), inputs], 1).flatten(0, 1)
        return tokens + self._levels().repeat(len(before), 1) + self.prev_pos_embed

    def logits(self, x: Tensor, modulation: Tensor) -> Tensor:
        """[1, n, width] after the last block -> [1, n, code, 2]"""
        return self.logits_head(self.cond_logits_head(x, modulation)).unflatten(-1, (-1, 2))

    def forward(self, heard: Tensor, style: Tensor, before: Tensor) -> Generated:
        """The bits of a chunk.

        heard: [1, tokens, heard_width], what is heard at each token.
        style: the style token [1, 1, width].
        before: bits of the chunks that are remembered, bool [memory, tokens, code].
        """
        memory, tokens = self.memory(style, before), self.config.tokens
        blocks = [block for block in self.attn_blocks if isinstance(block, Block)]
        modulations = [block.modulation(heard) for block in blocks]
        lookbacks = [block.lookback(memory, tokens) for block in blocks]
        at_head, levels = self.cond_logits_head.ada_lin(heard), self._levels()
        x, total, made = style, None, []
        for level, span in enumerate(self.config.spans):
            if total is not None:
                x = self.vqfeat_embed(pooled(total, self.config.scales[level]).to(style.dtype))
            x = x + levels[span] + self.pos_embed[:, span]
            for block, modulation, lookback in zip(blocks, modulations, lookbacks, strict=True):
                x = block(x, modulation[:, span], lookback)
            logits = self.logits(x, at_head[:, span])
            bits = logits[..., 1] > logits[..., 0]
            made.append(Generated(bits, logits))
            latents = self.quantiser.spread(bits)
            total = latents if total is None else total + latents
        return Generated(*(torch.cat(parts, 1) for parts in zip(*made, strict=True)))

    def _levels(self) -> Tensor:
        """[tokens, width], one row for all tokens of a scale."""
        weight = self.lvl_embed.weight
        return weight.repeat_interleave(torch.tensor(self.config.scales, device=weight.device), 0)
