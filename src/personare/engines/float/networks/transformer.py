"""The flow-matching transformer: the velocity of motion latents at one time of the flow.

Adaptive layer norm (Peebles & Xie 2023, "DiT"), frame by frame; attention in a band of a few
frames. Many frames of a batch share one condition (all frames without a voice, context frames
of all branches), so conditions come as distinct rows and an index.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.engines.float.networks.config import FloatConfig
from personare.networks.packed import PackedLinear

TIME_CHANNELS = 256
_EPSILON = 1e-6


def time_embedding(time: Tensor) -> Tensor:
    """[n] in [0, 1], not rescaled -> [n, 256]: cosines, then sines, of 128 frequencies from 1
    down to 1e-4.
    """
    half = TIME_CHANNELS // 2
    frequencies = torch.exp(
        -math.log(10000) * torch.arange(half, dtype=torch.float32, device=time.device) / half
    )
    angles = time[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def position_table(frames: int, hidden: int) -> Tensor:
    """float32 [1, frames, hidden]: sine at even and cosine at odd places, n / 10000^(2i /
    hidden).
    """
    exponents = torch.arange(0, hidden, 2, dtype=torch.float32) / hidden
    angles = torch.arange(frames, dtype=torch.float32)[:, None] * torch.exp(-math.log(10000) * exponents)
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(1, frames, hidden)


def attention_band(frames: int, window: int) -> Tensor:
    """bool [frames, frames]: True where frame i may look at frame j, |i - j| <= window."""
    places = torch.arange(frames)
    return (places[:, None] - places[None]).abs() <= window


class _Attention(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = PackedLinear(hidden, 3 * hidden)
        self.proj = PackedLinear(hidden, hidden)

    def forward(self, x: Tensor, band: Tensor) -> Tensor:
        batch, frames, hidden = x.shape
        qkv = self.qkv(x).view(batch, frames, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, frames, d) each
        # The mask is always handed over: an implementation that cannot take one raises, it is
        # never left out.
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=band)
        made: Tensor = self.proj(attended.transpose(1, 2).reshape(batch, frames, hidden))
        return made


class _MLP(nn.Module):
    def __init__(self, hidden: int, wider: int) -> None:
        super().__init__()
        self.fc1 = PackedLinear(hidden, wider)
        self.fc2 = PackedLinear(wider, hidden)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return made


def _normal(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=_EPSILON), 1 + scale)


def _modulation(hidden: int, parts: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), PackedLinear(hidden, parts * hidden))


class _Block(nn.Module):
    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        self.attn = _Attention(config.hidden, config.heads)
        self.mlp = _MLP(config.hidden, int(config.hidden * config.mlp_ratio))
        self.adaLN_modulation = _modulation(config.hidden, 6)

    def modulation(self, rows: Tensor) -> Tensor:
        """[n, hidden] -> [n, 6 * hidden]"""
        made: Tensor = self.adaLN_modulation(rows.to(self.dtype))
        return made.to(rows.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Of the products; what is added up has that of the frames."""
        return self.mlp.fc1.weight.dtype

    def forward(self, x: Tensor, modulation: Tensor, band: Tensor) -> Tensor:
        """x, modulation: [B, frames, hidden], [B, frames, 6 * hidden]; band: bool [frames,
        frames].
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, -1)
        attended = self.attn(_normal(x, shift1, scale1).to(self.dtype), band)
        x = torch.addcmul(x, gate1, attended.to(x.dtype))
        made = self.mlp(_normal(x, shift2, scale2).to(self.dtype))
        return torch.addcmul(x, gate2, made.to(x.dtype))


class _Decoder(nn.Module):
    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        self.adaLN_modulation = _modulation(config.hidden, 2)
        self.linear = PackedLinear(config.hidden, config.width)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift, scale = modulation.chunk(2, -1)
        made: Tensor = self.linear(_normal(x, shift, scale))
        return made


class _Projection(nn.Module):
    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.width, config.hidden)


class _TimeEmbedder(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_CHANNELS, hidden), nn.SiLU(), nn.Linear(hidden, hidden))


class FlowTransformer(nn.Module):
    """`fmt` of float.pth.

    Only the blocks may be in half precision (`halve`). Embeddings of latents, time and
    condition, norms, the sum over the blocks and the last projection stay in float32: a
    hundredth of the products, and more than a third of the error.
    """

    pos_embed: Tensor
    band: Tensor

    def __init__(self, config: FloatConfig) -> None:
        super().__init__()
        self.config = config
        frames = config.previous + config.chunk
        self.x_embedder = _Projection(config)
        self.t_embedder = _TimeEmbedder(config.hidden)
        self.c_embedder = nn.Linear(2 * config.width + config.emotions, config.hidden)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.decoder = _Decoder(config)
        self.register_buffer("pos_embed", torch.empty(1, frames, config.hidden))
        self.register_buffer("band", None, persistent=False)

    def time(self, time: Tensor) -> Tensor:
        """Times of the flow [n] -> [n, hidden]"""
        made: Tensor = self.t_embedder.mlp(time_embedding(time).to(self.c_embedder.weight.dtype))
        return made

    def condition(self, reference: Tensor, audio: Tensor, emotion: Tensor) -> Tensor:
        """Reference motion [width], audio [frames, width], emotion [emotions] -> [frames,
        hidden], the same at all times.
        """
        frames = len(audio)
        made: Tensor = self.c_embedder(
            torch.cat([reference.expand(frames, -1), audio, emotion.expand(frames, -1)], -1)
        )
        return made

    def forward(self, latents: Tensor, rows: Tensor, index: Tensor, last: int) -> Tensor:
        """The velocity of the last frames of latents.

        latents: [B, frames, width], context frames first.
        rows: [n, hidden], distinct sums of time and condition.
        index: [B, frames], the row of each frame.
        last: how many frames are wanted; a block leaves out those that can no longer be seen
            from there.

        Returns [B, last, width].
        """
        x = self.x_embedder.proj(latents) + self.pos_embed
        frames = x.shape[1]
        for below, block in zip(reversed(range(len(self.blocks))), self.blocks, strict=True):
            assert isinstance(block, _Block)
            seen = min(frames, last + (below + 1) * self.config.attention_window)
            x = x[:, -seen:]
            x = block(x, block.modulation(rows)[index[:, -seen:]], self.band[-seen:, -seen:])
        made: Tensor = self.decoder(x[:, -last:], self.decoder.adaLN_modulation(rows)[index[:, -last:]])
        return made

    def halve(self, dtype: torch.dtype) -> None:
        """Products of the blocks in another format."""
        self.blocks.to(dtype)

    def pack(self, rows: int) -> None:
        """Reorder the weights for a CPU, for batches of about `rows` frames."""
        for part in self.modules():
            if isinstance(part, PackedLinear):
                part.pack(rows)
