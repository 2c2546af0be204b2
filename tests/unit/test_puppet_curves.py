"""Motion of a performance: told, and shown again to the same bytes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import personare
from personare.errors import EngineError
from personare.motion import ARKIT, Motion, Space

FPS = Fraction(25)


def test_motion_that_was_told_gives_the_same_frames(
    portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    engine = personare.open_engine("puppet")
    avatar = engine.prepare(portrait, size=256)
    speaking = engine.perform(avatar)
    made = [*speaking.feed(voice_samples[:16000]), *speaking.finish(), speaking.idle(3)]
    told = np.concatenate([frames.motion for frames in made if frames.motion is not None])
    assert told.shape == (25 + 3, ARKIT.width)
    shown = [frames.images for frames in engine.perform(avatar, seed=9).show(Motion(ARKIT, FPS, told))]
    assert np.array_equal(np.concatenate(shown), np.concatenate([frames.images for frames in made]))
    assert len({row.tobytes() for row in told[:25]}) > 10


def test_showing_ends_with_an_interruption(portrait: Path) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, size=256))
    frames = performance.show(Motion(ARKIT, FPS, np.zeros((5, ARKIT.width), np.float32)))
    assert next(frames).first == 0
    performance.interrupt()
    assert list(frames) == []
    assert performance.idle(1).first == 1


def test_motion_that_cannot_be_shown(portrait: Path, voice_samples: np.ndarray[Any, Any]) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, size=256))
    rows = np.zeros((1, ARKIT.width), np.float32)
    with pytest.raises(EngineError, match="no motion in flame-2"):
        performance.show(Motion(Space("flame-2", ("a", "b")), FPS, np.zeros((1, 2), np.float32)))
    with pytest.raises(EngineError, match="30 frames per second"):
        performance.show(Motion(ARKIT, Fraction(30), rows))
    list(performance.feed(voice_samples[:1600]))
    with pytest.raises(EngineError, match="under way"):
        performance.show(Motion(ARKIT, FPS, rows))


def test_motion_alone_is_that_of_the_pictures(portrait: Path, voice_samples: np.ndarray[Any, Any]) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, size=256))
    movement = engine.engine.move(engine.engine.read_options({"size": 256}))
    drawn = [*performance.feed(voice_samples[:9000]), *performance.finish(), performance.idle(2)]
    alone = [*movement.feed(voice_samples[:9000]), *movement.finish(), movement.idle(2)]
    assert np.array_equal(
        np.concatenate([frames.motion for frames in drawn if frames.motion is not None]),
        np.concatenate([motion.values for motion in alone]),
    )
