"""What is heard in a chunk of speech: once for every style and every head.

    artalk.hear     "heard" float32 [tokens, width], the voice at every scale of time
                                                              (wav2vec 2.0 of the checkpoint)

A chunk is heard by itself, at its own loudness and with the silence that fills up the last one.
One at a time, also of a whole file: the sums of larger batches end in other bits, and a stream
would not give the frames of the file any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.form import Array, Form
from personare.cache.recipe import Stage, StageInputs
from personare.engines.artalk.networks.config import MODEL_FPS, ArTalkConfig
from personare.types import SAMPLE_RATE, Feature, Samples

if TYPE_CHECKING:
    from torch import Tensor

    from personare.voice.wav2vec2 import SpeechFeatures

HEAR = "artalk.hear"
_LARGEST = 1e5

Floats = NDArray[np.float32]


def hear_stage(
    hearing: Callable[[], SpeechFeatures], config: ArTalkConfig, weights: tuple[str, ...], numeric_format: str
) -> Stage:
    """The stage that hears one chunk. hearing: gives the network when it is needed."""

    def heard(inputs: StageInputs) -> Feature:
        return Feature({"heard": heard_at_scales(hearing(), config, inputs.speech)})

    form = Form({"heard": Array("float32", (config.tokens, config.heard_width), -_LARGEST, _LARGEST)})
    return Stage(
        HEAR,
        1,
        heard,
        reads=("speech",),
        weights=weights,
        numeric_format=numeric_format,
        form=lambda _: form,
    )


def official_frames(samples: int) -> int:
    """Frames of a speech as published counts them: in floating point, which for some whole
    numbers of frames is one more than there are.
    """
    return math.ceil((samples / SAMPLE_RATE) * float(MODEL_FPS))


def normalised(chunk: Samples) -> Samples:
    """float32 [n] of mean 0 and deviation 1; silence stays silence."""
    centred = chunk - np.mean(chunk, dtype=np.float64)
    return np.asarray(centred / (np.std(centred, ddof=1) + 1e-6), np.float32)


def heard_at_scales(features: SpeechFeatures, config: ArTalkConfig, chunk: Samples) -> Floats:
    """float32 [tokens, width] of a chunk, float32 [config.samples] at 16 kHz: what is heard,
    averaged over the pieces of time of each scale, the coarsest first.
    """
    import torch

    with torch.inference_mode():
        encoded = encode(features, torch.from_numpy(normalised(chunk))[None])
        return np.asarray(at_scales(encoded, config)[0].float().cpu().numpy(), np.float32)


def encode(features: SpeechFeatures, audio: Tensor) -> Tensor:
    """Normalised audio [1, n] -> [1, frames, width]"""
    return features.encode(features.convolved(audio.to(features.device, features.dtype)))


def at_scales(encoded: Tensor, config: ArTalkConfig) -> Tensor:
    """[1, frames, width] -> [1, tokens, width]"""
    import torch

    from personare.engines.artalk.networks.codec import pooled

    return torch.cat([pooled(encoded, size) for size in config.scales], 1)
