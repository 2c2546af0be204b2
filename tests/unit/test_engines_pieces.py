"""Pictures and the sound that belongs to them, on one clock."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.engines.pieces import Timed
from personare.errors import EngineError
from personare.types import SpeechChunk
from tests.unit.test_engines_performance import Toy


def chunk(seconds: float, rate: int = 48000, first: int = 0) -> SpeechChunk:
    """Speech whose voice counts its own samples, in both channels."""
    counted = np.arange(first, first + round(seconds * rate), dtype=np.float32)
    return SpeechChunk(np.zeros(round(seconds * 16000), np.float32), np.stack([counted, counted], axis=1))


def timed(fps: Fraction = Fraction(25), rate: int = 48000) -> Timed:
    toy = Toy()
    toy.fps = fps
    return Timed(toy, rate, channels=2)


def test_each_frame_brings_its_own_samples() -> None:
    run = timed()
    made = [*run.feed(chunk(0.1)), *run.feed(chunk(0.06, first=4800)), *run.finish()]
    assert [piece.frames.first for piece in made] == [0, 1, 2, 3]
    assert [len(piece.voice) for piece in made] == [1920] * 4
    assert [piece.start for piece in made] == [Fraction(i, 25) for i in range(4)]
    assert np.array_equal(np.concatenate([piece.voice for piece in made])[:, 0], np.arange(7680))


def test_the_last_frame_and_idle_time_are_filled_with_silence() -> None:
    run = timed()
    made = [*run.feed(chunk(0.05)), *run.finish()]
    assert [len(piece.voice) for piece in made] == [1920, 1920]
    assert made[1].voice[480:].any() == np.False_
    assert made[1].voice[479, 0] == 2399
    assert not run.idle(3).voice.any()
    assert len(run.idle(3).voice) == 3 * 1920


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24), Fraction(7)])
def test_no_rate_drifts(fps: Fraction) -> None:
    """Over an odd rate the sound is as long as the pictures, to within a sample, at every
    frame.
    """
    run, heard, frames = timed(fps, 44100), 0, 0
    for _ in range(40):
        piece = run.idle(1)
        heard, frames = heard + len(piece.voice), frames + 1
        assert 0 <= heard - frames * 44100 / fps < 1


def test_an_interruption_drops_the_voice_that_waits() -> None:
    run = timed()
    pieces = run.feed(chunk(1.0))
    assert next(pieces).voice[0, 0] == 0
    run.interrupt()
    assert list(pieces) == []
    assert not run.idle(1).voice.any()
    assert next(run.feed(chunk(0.2, first=90000))).voice[0, 0] == 90000


def test_an_interruption_straight_before_the_next_utterance() -> None:
    run = timed()
    next(run.feed(chunk(1.0)))
    run.interrupt()
    assert next(run.feed(chunk(0.2, first=90000))).voice[0, 0] == 90000


def test_a_voice_of_other_channels_is_refused() -> None:
    run = timed()
    with pytest.raises(EngineError, match=r"\[m, 2\]"):
        run.feed(SpeechChunk(np.zeros(160, np.float32), np.zeros((480, 1), np.float32)))
