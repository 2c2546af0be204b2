"""One engine's motion on another's portrait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import personare
from personare.engines.moved import Moved
from personare.errors import EngineError
from personare.motion import ARKIT
from tests.unit.test_engines_performance import Steps


@pytest.fixture
def moved(portrait: Path) -> Moved:
    engine = personare.open_engine("puppet")
    avatar = engine.prepare(portrait, size=256)
    options = engine.engine.read_options({"size": 256, "seed": 4})
    return Moved(engine.engine.move(options), engine.perform(avatar))


def test_it_is_the_mover_s_motion_that_is_seen(
    moved: Moved, portrait: Path, voice_samples: np.ndarray[Any, Any]
) -> None:
    engine = personare.open_engine("puppet")
    own = engine.perform(engine.prepare(portrait, size=256), seed=4)
    wanted = [*own.feed(voice_samples[:8000]), *own.finish(), own.idle(2)]
    made = [*moved.feed(voice_samples[:8000]), *moved.finish(), moved.idle(2)]
    assert [frames.first for frames in made[:3]] == [0, 1, 2]
    for one in (wanted, made):
        assert sum(map(len, one)) == 13 + 2
    assert np.array_equal(
        np.concatenate([frames.images for frames in made]),
        np.concatenate([frames.images for frames in wanted]),
    )
    assert {"drive", "motion", "render", "compose"} <= set(moved.watch.seconds)


def test_an_interruption_reaches_both(moved: Moved, voice_samples: np.ndarray[Any, Any]) -> None:
    frames = moved.feed(voice_samples)
    shown = sum(len(next(frames)) for _ in range(3))
    moved.interrupt()
    assert list(frames) == []
    assert moved.idle(1).first == shown
    assert sum(map(len, [*moved.feed(voice_samples[:1600]), *moved.finish()])) == 3
    moved.close()
    with pytest.raises(EngineError, match="closed"):
        moved.idle(1)


def test_spaces_and_rates_that_do_not_meet(portrait: Path) -> None:
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait, size=256))
    with pytest.raises(EngineError, match="toy-1"):
        Moved(Steps(), performance)
    faster = engine.engine.move(engine.engine.read_options({"fps": "30"}))
    assert faster.space == ARKIT
    with pytest.raises(EngineError, match="30 frames per second"):
        Moved(faster, performance)
