"""The gate that lets mouths rest: words with silences of known place between them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.types import SAMPLE_RATE, Samples, frame_count
from personare.voice.activity import LOOKAHEAD_SECONDS, ActivityGate

FPS = Fraction(25)


def gated(samples: Samples, sizes: tuple[int, ...] = (SAMPLE_RATE,), fps: Fraction = FPS) -> list[float]:
    gate, made, at, turn = ActivityGate(fps), [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        made += gate.push(samples[at : at + size])
        at, turn = at + size, turn + 1
    return made + gate.finish()


def noise(seconds: float, dbfs: float, seed: int = 0) -> Samples:
    sound = np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20), round(seconds * SAMPLE_RATE))
    return sound.astype(np.float32)


@pytest.fixture(scope="module")
def words(voice_samples: np.ndarray) -> Samples:
    """About two seconds of speech from its first to its last sound."""
    loud = np.flatnonzero(np.abs(voice_samples) > 0.02)
    return voice_samples[loud[0] : loud[-1] + 1]


@pytest.fixture(scope="module")
def dialogue(words: Samples) -> tuple[Samples, list[tuple[float, float]]]:
    """Speech with a second or more of silence before, between and after; and when it speaks, in
    seconds.
    """
    silences = [1.0, 1.5, 2.0]
    parts, spoken, at = [], [], 0
    for silence in silences:
        parts += [np.zeros(round(silence * SAMPLE_RATE), np.float32), words]
        at += round(silence * SAMPLE_RATE)
        spoken.append((at / SAMPLE_RATE, (at + len(words)) / SAMPLE_RATE))
        at += len(words)
    parts.append(np.zeros(SAMPLE_RATE, np.float32))
    return np.concatenate(parts), spoken


def split(made: list[float], spoken: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """The values while someone speaks, and those at least 0.35 s away from any speech."""
    times = np.arange(len(made)) / float(FPS)
    inside = np.array([any(a <= t <= b for a, b in spoken) for t in times])
    away = np.array([all(t < a - 0.35 or t > b + 0.35 for a, b in spoken) for t in times])
    return np.array(made)[inside], np.array(made)[away]


def test_it_opens_for_speech_and_rests_in_silence(
    dialogue: tuple[Samples, list[tuple[float, float]]],
) -> None:
    speech, spoken = dialogue
    made = gated(speech)
    assert len(made) == frame_count(len(speech), FPS)
    inside, away = split(made, spoken)
    assert (inside > 0.9).mean() > 0.97
    assert away.max() == 0
    assert inside[0] > 0.5  # open when the first sound comes, not after it


def test_it_changes_by_degrees_and_does_not_flutter(
    dialogue: tuple[Samples, list[tuple[float, float]]],
) -> None:
    made = np.array(gated(dialogue[0], fps=Fraction(100)))
    assert np.abs(np.diff(made)).max() < 0.2
    assert (
        np.count_nonzero(np.diff((made > 0.5).astype(int))) == 6
    )  # on and off three times, though words have closures


@pytest.mark.parametrize("dbfs", [-60, -45])
def test_noise_under_the_voice_changes_nothing(
    dialogue: tuple[Samples, list[tuple[float, float]]], dbfs: float
) -> None:
    speech, spoken = dialogue
    inside, away = split(gated(speech + noise(len(speech) / SAMPLE_RATE, dbfs)[: len(speech)]), spoken)
    assert (inside > 0.9).mean() > 0.95
    assert (away < 0.1).mean() > 0.95


@pytest.mark.parametrize("sound", ["silence", "noise", "hum"])
def test_what_is_no_voice_stays_shut(sound: str) -> None:
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    sounds = {"silence": np.zeros(len(t)), "noise": noise(2, -45), "hum": 0.05 * np.sin(2 * np.pi * 50 * t)}
    assert max(gated(sounds[sound].astype(np.float32))) == 0


def test_loud_noise_from_the_first_moment_on_is_known_for_what_it_is_within_a_second() -> None:
    assert max(gated(noise(3, -30))[25:]) == 0


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(60)])
def test_the_cut_into_pieces_changes_no_bit(words: Samples, fps: Fraction) -> None:
    speech = np.concatenate([words[:12000], np.zeros(9000, np.float32), words[:7001]])
    assert gated(speech, (len(speech),), fps) == gated(speech, (320, 1, 4001), fps)


def test_a_frame_is_settled_as_soon_as_promised(words: Samples) -> None:
    gate, out = ActivityGate(FPS), 0
    for at in range(0, len(words), 160):
        out += len(gate.push(words[at : at + 160]))
        heard = (min(at + 160, len(words))) / SAMPLE_RATE
        due = int((heard - LOOKAHEAD_SECONDS) * FPS)
        assert out >= due


def test_nothing_and_next_to_nothing() -> None:
    assert ActivityGate(FPS).finish() == []
    assert gated(np.zeros(1, np.float32)) == [0.0]
