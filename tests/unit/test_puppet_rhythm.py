"""What moves heads and brows: glides, noise in bands, the rhythm of a voice."""

from __future__ import annotations

import numpy as np
import pytest

from personare.engines.puppet.move.glide import Glide
from personare.engines.puppet.move.noise import BandNoise
from personare.engines.puppet.move.rhythm import BEAT_SECONDS, Rhythm


def path(glide, seconds, fps=200):
    return np.array([glide.at(i / fps)[0] for i in range(round(seconds * fps))])


def test_a_glide_goes_through_its_targets_and_stays_at_the_last():
    glide = Glide(2)
    glide.go(0.0, ((-1.0, 0.5), 0.2), ((3.0, 1.0), 0.4), ((0.0, 0.0), 0.5))
    assert glide.at(0.2) == pytest.approx([-1.0, 0.5])
    assert glide.at(0.6) == pytest.approx([3.0, 1.0])
    assert glide.at(5.0).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_a_glide_jerks_nowhere_not_even_where_another_cuts_in():
    fps = 2000
    glide = Glide(1)
    glide.go(0.0, ((4.0,), 0.5))
    before = path(glide, 0.2, fps)
    glide.go(0.2, ((-2.0,), 0.4))
    after = np.array([glide.at(0.2 + i / fps)[0] for i in range(fps)])
    whole = np.concatenate([before, after])
    bend = np.diff(whole, 2) * fps**2
    assert np.abs(np.diff(bend)).max() < 0.02 * np.abs(bend).max()
    assert whole[-1] == pytest.approx(-2.0)


def test_skipped_frames_do_not_change_a_path():
    strokes = [((1.0,), 0.1), ((-1.0,), 0.1), ((0.5,), 0.1)]
    fine, coarse = Glide(1), Glide(1)
    fine.go(0.0, *strokes)
    coarse.go(0.0, *strokes)
    assert coarse.at(0.27)[0] == pytest.approx(path(fine, 0.275, 200)[-1])


def test_noise_has_its_strength_in_its_bands():
    noise = BandNoise(np.random.default_rng(1), ((0.2, 0.5), (1.0, 2.0)), ((2.0, 0.5), (0.0, 1.0)))
    seen = np.array([noise.at(i / 25) for i in range(25 * 600)])
    assert np.sqrt((seen**2).mean(axis=0)) == pytest.approx(np.array([[2.0, 0.5], [0.0, 1.0]]), rel=0.05)
    power = np.abs(np.fft.rfft(seen[:, 0, 0])) ** 2
    hz = np.fft.rfftfreq(len(seen), 1 / 25)
    assert power[(hz > 0.19) & (hz < 0.51)].sum() > 0.99 * power.sum()
    assert not noise.from_rest(0.0, 0.0).any()
    assert np.array_equal(noise.from_rest(3.0, 1.0), noise.at(3.0))


def beats(loudness, emphasis=lambda t: 0.0, seconds=8.0, fps=50):
    rhythm = Rhythm(1 / fps)
    return [rhythm.push(loudness(i / fps), emphasis(i / fps)) for i in range(round(seconds * fps))]


def test_a_phrase_begins_after_a_pause_and_a_gap_of_a_stop_is_none():
    def voice(t):
        return 0.0 if t < 1 or 3 < t < 3.4 or 5 < t < 5.1 or t > 6 else 0.6

    heard = beats(voice)
    assert [i / 50 for i, beat in enumerate(heard) if beat.starts] == [1.0, 3.4]
    assert [i / 50 for i, beat in enumerate(heard) if beat.stops] == [pytest.approx(6.5, abs=0.03)]
    assert heard[40].speaking == 0
    assert heard[290].speaking > 0.95


def test_stresses_are_syllables_not_frames_and_not_too_dense():
    heard = beats(lambda t: 0.6, lambda t: 0.8 if t % 0.2 < 0.1 else 0.0)
    at = np.array([i / 50 for i, beat in enumerate(heard) if beat.stress])
    assert 8 < len(at) <= 8 / BEAT_SECONDS + 1
    assert np.diff(at).min() >= BEAT_SECONDS
    steady = beats(lambda t: 0.6, lambda t: 0.8)
    assert sum(beat.stress > 0 for beat in steady) == 1


def test_a_listener_comes_to_rest_exactly():
    heard = beats(lambda t: 0.6 if t < 1 else 0.0, seconds=6)
    assert heard[45].speaking > 0.6
    assert heard[-1].speaking == 0
