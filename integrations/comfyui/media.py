"""ComfyUI's IMAGE and AUDIO <-> arrays.

IMAGE: torch float32 [B, H, W, C], 0..1. AUDIO: {"waveform": torch float32 [B, C, T], -1..1,
"sample_rate": Hz}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from personare.errors import InvalidOption
from personare.types import Speech

Image = NDArray[np.uint8]


def pictures_of(images: torch.Tensor) -> list[Image]:
    """uint8 [H, W, 3] RGB of each; transparency is dropped."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or not len(images):
        raise InvalidOption(f"an IMAGE is [B, H, W, 3], not {list(images.shape)}")
    whole = images.detach().float().cpu().nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    if whole.shape[-1] == 1:
        whole = np.repeat(whole, 3, axis=-1)
    return [np.ascontiguousarray(picture[..., :3]) for picture in whole]


def images_of(pictures: Sequence[Image]) -> torch.Tensor:
    """The reverse; a float picture takes four times the memory of a byte one."""
    height, width = pictures[0].shape[:2]
    images = torch.empty((len(pictures), height, width, 3), dtype=torch.float32)
    for place, picture in zip(images, pictures, strict=True):
        place.copy_(torch.from_numpy(np.ascontiguousarray(picture))).div_(255)
    return images


def speech_of(audio: Mapping[str, Any]) -> Speech:
    """One sound as a speech."""
    waveform = audio["waveform"]
    if waveform.ndim != 3 or len(waveform) != 1:
        raise InvalidOption(
            f"an AUDIO is [1, C, T], not {list(waveform.shape)}", hint="a batch of sounds: one at a time"
        )
    samples = waveform[0].detach().float().cpu().numpy().T
    return Speech.from_samples(np.ascontiguousarray(samples), int(audio["sample_rate"]))


def audio_of(pieces: Sequence[NDArray[np.float32]], rate: int, most: int) -> dict[str, Any]:
    """Pieces [n, C] of a voice as an AUDIO of at most so many samples."""
    whole = np.concatenate(pieces)[:most].T
    return {"waveform": torch.from_numpy(np.ascontiguousarray(whole))[None], "sample_rate": rate}
