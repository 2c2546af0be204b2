"""A face's life: seeded, bounded, smooth, in time rather than in frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.engines.puppet.move.life import Life


def lived(seconds, fps=Fraction(25), seed=3, voice=lambda t: (0.0, 0.0), **options):
    life = Life(seed, fps, **options)
    frames = [life.next(*voice(float(i / fps))) for i in range(int(seconds * fps))]
    return {
        "head": np.array([f.head for f in frames]),
        "shift": np.array([f.shift for f in frames]),
        "gaze": np.array([f.gaze for f in frames]),
        "blink": np.array([f.blink for f in frames]),
        "brow": np.array([f.brow for f in frames]),
    }


def talking(t):
    stressed = (t % 1.3) < 0.2
    return (0.7, 1.0 if stressed else 0.1)


def blink_starts(blink):
    return np.flatnonzero((blink[1:] > 0.5) & (blink[:-1] <= 0.5))


def test_the_same_seed_lives_the_same_life():
    one, two, other = lived(20, voice=talking), lived(20, voice=talking), lived(20, seed=4, voice=talking)
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert not np.array_equal(one["head"], other["head"])
    assert not np.array_equal(one["blink"], other["blink"])


def test_bounds_over_ten_minutes():
    life = lived(600, voice=talking)
    assert np.abs(life["head"]).max() < 4
    assert np.abs(life["head"]).max(axis=0).min() > 0.4
    assert np.abs(life["shift"]).max() < 0.03
    assert np.abs(life["gaze"]).max() <= 0.03
    assert life["blink"].min() >= 0
    assert life["blink"].max() <= 1
    assert 0 <= life["brow"].min() <= life["brow"].max() <= 1
    assert all(np.isfinite(v).all() for v in life.values())


def test_the_head_moves_smoothly_also_between_idle_and_speech():
    life = lived(60, voice=lambda t: talking(t) if int(t / 3) % 2 else (0.0, 0.0))
    speed = np.diff(life["head"], axis=0)
    assert np.abs(speed).max() < 0.5
    assert np.abs(np.diff(speed, axis=0)).max() < 0.25


def test_a_clip_starts_in_the_pose_of_the_photo():
    life = lived(1)
    assert np.array_equal(life["head"][0], np.zeros(3))
    assert np.array_equal(life["gaze"][0], np.zeros(2))
    assert life["blink"][0] == 0


def test_people_blink_eight_to_thirty_times_a_minute():
    for seed in range(5):
        rate = len(blink_starts(lived(300, seed=seed)["blink"])) / 5
        assert 8 <= rate <= 30


def test_lids_shut_fully_and_in_between_stay_open():
    blink = lived(60)["blink"]
    assert blink.max() > 0.9
    assert (blink == 0).mean() > 0.7


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(50), Fraction(60)])
def test_events_lie_in_time_not_in_frames(fps):
    base = blink_starts(lived(60)["blink"]) / 25
    other = blink_starts(lived(60, fps=fps)["blink"]) / float(fps)
    assert len(base) == len(other)
    assert np.abs(base - other).max() < 0.06


def test_zero_switches_off_to_the_bit():
    life = lived(60, voice=talking, head_motion=0, blink_rate=0, gaze=0)
    for name in ("head", "shift", "gaze", "blink"):
        assert not life[name].any(), name


def test_emphasis_nods_and_raises_the_brows():
    calm = lived(4, voice=lambda t: (0.5, 0.0))
    stressed = lived(4, voice=lambda t: (0.5, 1.0 if 2 < t < 2.4 else 0.0))
    late = slice(52, 62)
    assert (stressed["head"][late, 1] - calm["head"][late, 1]).min() < -0.4
    assert stressed["brow"][late].max() > 0.8
    assert calm["brow"].max() == 0
