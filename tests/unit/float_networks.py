"""FLOAT's networks at tiny size with stand-in weights, built once for all tests; and their
weights as the file has them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from personare.engines.float.networks.loading import FloatState
from personare.voice.wav2vec2 import EmotionClassifier, SpeechFeatures
from tests.conformance import float_cases
from tests.conformance.case import HERE, Replay

CPU = torch.device("cpu")


@cache
def replay() -> Replay:
    return Replay("float", HERE / "float", {})


@cache
def state() -> FloatState:
    return float_cases.network(replay())


@cache
def ears() -> tuple[SpeechFeatures, torch.nn.Module]:
    return float_cases.hearing(replay())


@cache
def classifier() -> EmotionClassifier:
    return float_cases.classifier(replay())


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)
