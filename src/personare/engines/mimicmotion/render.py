"""Latents become frames: the decoder takes them a few at a time (SPEC d.3, f)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 8
"""Frames that are decoded together. The decoder looks over time within a chunk, so another
number gives other pictures.
"""


def decoded(vae: Any, latents: Tensor, chunk: int = CHUNK) -> Iterator[Tensor]:
    """Frames float32 [n, 3, H, W] in [0, 1] of latents [frames, 4, h, w], chunk by chunk. vae:
    diffusers' AutoencoderKLTemporalDecoder.
    """
    import torch

    weight = next(vae.parameters(), latents)
    for first in range(0, len(latents), chunk):
        part = latents[first : first + chunk].to(weight.device, weight.dtype)
        with torch.inference_mode():
            made = vae.decode(part / vae.config.scaling_factor, num_frames=len(part)).sample
            colours = (made.float() / 2 + 0.5).clamp(0, 1).cpu()
        yield colours


def to_bytes(colours: Tensor) -> NDArray[np.uint8]:
    """[n, 3, H, W] in [0, 1] -> uint8 [n, H, W, 3]; cut off, not rounded, as published."""
    import torch

    return np.ascontiguousarray((colours * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
