"""ARTalk's loop as the published program runs it, from the specification: every scale passes
the whole prefix through every block again, with the modulations and the memory's keys and
values computed anew each time. What the product's kept ones are held against, in tests and
benchmarks; slow on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from personare.engines.artalk.networks.codec import Quantiser
from personare.engines.artalk.networks.config import ArTalkConfig

State = Mapping[str, Tensor]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def normal(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6)


def block(state: State, name: str, x: Tensor, memory: Tensor, heard: Tensor, mask: Tensor) -> Tensor:
    heads = state[f"{name}.attn.scale_mul_1H11"].shape[1]

    def split(y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], heads, -1).transpose(1, 2)

    modulation = linear(state, f"{name}.ada_lin.1", functional.silu(heard))
    gate1, gate2, scale1, scale2, shift1, shift2 = modulation.view(*heard.shape[:2], 6, -1).unbind(2)
    mine = normal(x) * (1 + scale1) + shift1
    seen = torch.cat([memory, mine], 1)
    scale = state[f"{name}.attn.scale_mul_1H11"].clamp(max=math.log(100)).exp()
    query = functional.normalize(split(linear(state, f"{name}.attn.query", mine)), dim=-1) * scale
    key = functional.normalize(split(linear(state, f"{name}.attn.key", seen)), dim=-1)
    value = split(linear(state, f"{name}.attn.value", seen))
    attended = ((query @ key.transpose(-1, -2)).masked_fill(~mask, -math.inf)).softmax(-1) @ value
    x = x + gate1 * linear(state, f"{name}.attn.proj", attended.transpose(1, 2).reshape(x.shape))
    wide = functional.gelu(
        linear(state, f"{name}.ffn.0", normal(x) * (1 + scale2) + shift2), approximate="tanh"
    )
    return x + gate2 * linear(state, f"{name}.ffn.2", wide)


def bits_of_chunk(
    state: State, config: ArTalkConfig, heard: Tensor, style: Tensor, remembered: Tensor
) -> Tensor:
    """Bool [1, tokens, code]. heard: [1, tokens, heard_width]; style: [1, 1, width];
    remembered: bool [1, tokens, code], one chunk.
    """
    quantiser, scales = Quantiser(config), torch.tensor(config.scales)
    levels = torch.arange(len(scales)).repeat_interleave(scales)
    at_level = state["lvl_embed.weight"][levels]
    inputs = linear(state, "vqfeat_embed", quantiser.next_inputs(remembered))
    memory = torch.cat([style, inputs], 1) + at_level + state["prev_pos_embed"]
    x, bits = style, torch.zeros(1, 0, config.code, dtype=torch.bool)
    for span in config.spans:
        end = span.stop
        own = levels[:end, None] >= levels[None, :end]
        mask = torch.cat([torch.ones(end, memory.shape[1], dtype=torch.bool), own], 1)
        y = x + at_level[:end] + state["pos_embed"][:, :end]
        for depth in range(config.depth):
            y = block(state, f"attn_blocks.{depth}", y, memory, heard[:, :end], mask)
        scale, shift = linear(state, "cond_logits_head.ada_lin.1", functional.silu(heard[:, :end])).chunk(
            2, -1
        )
        logits = linear(state, "logits_head", normal(y) * (1 + scale) + shift)
        bits = logits.unflatten(-1, (-1, 2)).argmax(-1).bool()
        if end < config.tokens:
            rest = torch.zeros(1, config.tokens - end, config.code, dtype=torch.bool)
            following = quantiser.next_inputs(torch.cat([bits, rest], 1))
            count = sum(config.scales[1 : config.spans.index(span) + 2])
            x = torch.cat([style, linear(state, "vqfeat_embed", following[:, :count])], 1)
    return bits
