"""Curves of a performance: told, and followed to the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import personare
from personare.errors import EngineError
from personare.types import FaceState


class Kept:
    def __init__(self) -> None:
        self.states: list[FaceState] = []

    def write(self, state: FaceState) -> None:
        self.states.append(state)


def test_curves_that_were_told_give_the_same_frames(
    portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    engine = personare.open_engine("puppet")
    avatar = engine.prepare(portrait, size=256)
    speaking, kept = engine.perform(avatar), Kept()
    speaking.curves = kept
    spoken = [frames.images for frames in [*speaking.feed(voice_samples[:16000]), *speaking.finish()]]
    idle = speaking.idle(3).images
    assert len(kept.states) == 25 + 3
    followed = np.concatenate(
        [frames.images for frames in engine.perform(avatar, seed=9).follow(kept.states)]
    )
    assert np.array_equal(followed, np.concatenate([*spoken, idle]))
    assert len({state.curves.tobytes() for state in kept.states[:25]}) > 10


def test_following_ends_with_an_interruption(portrait: Path) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, size=256))
    state = FaceState(np.zeros(52, np.float32), 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    frames = performance.follow([state] * 5)
    assert next(frames).first == 0
    performance.interrupt()
    assert list(frames) == []
    assert performance.idle(1).first == 1


def test_following_in_the_middle_of_an_utterance(portrait: Path, voice_samples: np.ndarray[Any, Any]) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, size=256))
    list(performance.feed(voice_samples[:1600]))
    with pytest.raises(EngineError, match="under way"):
        next(performance.follow([]))
