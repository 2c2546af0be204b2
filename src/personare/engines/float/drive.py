"""What is heard in a whole speech, once for all portraits: the voice of every frame, and the
emotion if none is given.

    float.voice     "voice" float32 [frames, width] at 25 frames a second
                                                 (wav2vec2-base, float.pth's projection)
    float.emotion   "scores" float32 [7]                                      (the emotion classifier)

Up to `whole_seconds` every frame attends to every other, as published. Beyond, the encoder runs
over windows of that length which overlap by OVERLAP_SECONDS on both sides: bounded memory and
linear time, and an approximation (docs/engines/float.md: how close).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.form import Form
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.engines.float import forms
from personare.engines.float.networks.config import MODEL_FPS, FloatConfig
from personare.types import SAMPLE_RATE, Feature, Progress, Samples, frame_count, no_progress

if TYPE_CHECKING:
    from torch import Tensor, nn

    from personare.voice.wav2vec2 import EmotionClassifier, SpeechFeatures
    from personare.weights.resident import Lease

VOICE, EMOTION = "float.voice", "float.emotion"
OVERLAP_SECONDS = 5
FRAME_SAMPLES = SAMPLE_RATE // MODEL_FPS
_FEATURES_PER_SECOND = 50
_RATE = Fraction(MODEL_FPS)

Floats = NDArray[np.float32]


class HearingNetworks:
    """The networks that hear, leased when they are first needed, and what names them in keys."""

    def __init__(
        self,
        lease_voice: Callable[[], Lease[tuple[SpeechFeatures, nn.Module]]],
        lease_emotion: Callable[[], Lease[EmotionClassifier]],
        voice_sha256: tuple[str, ...],
        emotion_sha256: tuple[str, ...],
        sizes: FloatConfig,
    ) -> None:
        self._lease_voice, self._lease_emotion = lease_voice, lease_emotion
        self.voice_sha256, self.emotion_sha256 = voice_sha256, emotion_sha256
        self.sizes = sizes

    @property
    def voice(self) -> tuple[SpeechFeatures, nn.Module]:
        """wav2vec2, and the projection of its layers."""
        return self._leased_voice.network

    @property
    def emotion(self) -> EmotionClassifier:
        return self._leased_emotion.network

    @cached_property
    def _leased_voice(self) -> Lease[tuple[SpeechFeatures, nn.Module]]:
        return self._lease_voice()

    @cached_property
    def _leased_emotion(self) -> Lease[EmotionClassifier]:
        return self._lease_emotion()

    def forget(self) -> None:
        """Give the networks back; they are leased again if they are needed again."""
        for name in ("_leased_voice", "_leased_emotion"):
            if lease := self.__dict__.pop(name, None):
                lease.close()


def recipe(ears: HearingNetworks, whole_seconds: int, emotion: str) -> Recipe:
    """The stages of hearing a speech. The classifier's is among them only if the emotion is to
    be heard ("auto").
    """
    parameters = {"whole_seconds": whole_seconds}

    def voice(inputs: StageInputs) -> Feature:
        assert inputs.speech is not None
        return Feature({"voice": voice_of_frames(*ears.voice, inputs.speech, whole_seconds, inputs.progress)})

    def scores(inputs: StageInputs) -> Feature:
        assert inputs.speech is not None
        return Feature({"scores": emotion_scores(ears.emotion, inputs.speech, whole_seconds)})

    def form(inputs: StageInputs) -> Form:
        return forms.voice(frame_count(len(inputs.speech), _RATE), ears.sizes.width)

    stages = [Stage(VOICE, 1, voice, parameters, reads=("speech",), weights=ears.voice_sha256, form=form)]
    if emotion == "auto":
        stages.append(
            Stage(
                EMOTION,
                1,
                scores,
                parameters,
                reads=("speech",),
                weights=ears.emotion_sha256,
                form=lambda _: forms.scores(ears.sizes.emotions),
            )
        )
    return Recipe(tuple(stages))


def padded_length(frames: int, fps: float = MODEL_FPS) -> int:
    """Samples of so many whole frames. In this order, in float64: the other order is one sample
    short for some at 24 fps.
    """
    return int(frames * SAMPLE_RATE / fps)


def padded(audio: Samples, length: int) -> Samples:
    """The samples, and their last one repeated up to a length."""
    return (
        np.concatenate([audio, np.repeat(audio[-1:], length - len(audio))]) if length > len(audio) else audio
    )


@dataclass(frozen=True, slots=True)
class FrameWindow:
    """Frames first .. last are heard together; of these, keep .. until are taken."""

    first: int
    last: int
    keep: int
    until: int


def windows(frames: int, whole: int, overlap: int) -> Iterator[FrameWindow]:
    """One window of all frames up to `whole`; beyond, as few as reach, of equal steps, each
    `overlap` wider on both sides.
    """
    if frames <= whole:
        yield FrameWindow(0, frames, 0, frames)
        return
    count = -(-frames // (whole - 2 * overlap))
    edges = [frames * n // count for n in range(count + 1)]
    for keep, until in itertools.pairwise(edges):
        yield FrameWindow(max(0, keep - overlap), min(frames, until + overlap), keep, until)


def voice_of_frames(
    features: SpeechFeatures,
    projection: nn.Module,
    samples: Samples,
    whole_seconds: int,
    progress: Progress = no_progress,
) -> Floats:
    """What each frame hears: float32 [frames, width] of speech float32 [n] at 16 kHz, n >= 1."""
    import torch

    from personare.voice.wav2vec2 import normalised

    frames = frame_count(len(samples), _RATE)
    with torch.inference_mode():
        audio = torch.from_numpy(padded(normalised(samples), padded_length(frames)))[None].to(features.device)
        affine = features.statistics(audio)
        parts = []
        for window in windows(frames, whole_seconds * MODEL_FPS, OVERLAP_SECONDS * MODEL_FPS):
            progress("hearing", window.keep, frames)
            heard = features.at_frames(audio, frames, window.first, window.last, affine)
            voice = projected(features, projection, heard)[0]
            parts.append(voice[window.keep - window.first : window.until - window.first].cpu().numpy())
    return np.concatenate(parts).astype(np.float32)


def projected(features: SpeechFeatures, projection: nn.Module, heard: Tensor) -> Tensor:
    """All layers of wav2vec2 side by side, first layer first, through the projection: [1, n, C]
    -> [1, n, width].

    Layer by layer while they are made: the 9216 numbers of each frame are never held.
    """
    from torch import nn

    linear, *rest = projection.children()
    assert isinstance(linear, nn.Linear)
    weight, width = linear.weight, linear.in_features // features.layers
    total = linear.bias

    def add(layer: int, hidden: Tensor) -> None:
        nonlocal total
        if layer > 0:
            total = total + hidden @ weight[:, (layer - 1) * width : layer * width].T  # type: ignore[assignment]

    features.encode(heard, add)
    voice: Tensor = total
    for part in rest:
        voice = part(voice)
    return voice


def emotion_scores(classifier: EmotionClassifier, samples: Samples, whole_seconds: int) -> Floats:
    """The seven emotions' probabilities in a speech float32 [n], n >= 1: float32 [7].

    Of the speech as it is, not filled up to whole frames; only what is shorter than the
    classifier can hear (25 ms) is.
    """
    import torch

    from personare.voice.wav2vec2 import normalised

    with torch.inference_mode():
        audio = torch.from_numpy(padded(normalised(samples), classifier.features.reach))[None].to(
            classifier.features.device
        )
        return classifier.probabilities(
            audio,
            whole_seconds * _FEATURES_PER_SECOND if len(samples) > whole_seconds * SAMPLE_RATE else None,
        )


def requested_emotion(name: str) -> Floats:
    """The scores of an emotion that is given: 1 for it, 0 for the others."""
    from personare.voice.wav2vec2 import EMOTIONS

    return np.array([float(name == emotion) for emotion in EMOTIONS], np.float32)
