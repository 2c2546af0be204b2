"""A face's life: seeded, bounded, smooth, in time rather than in frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.engines.puppet.move.head import Head
from personare.engines.puppet.move.life import Life
from personare.engines.puppet.move.rhythm import Beat
from personare.engines.puppet.move.state import MouthFrame
from personare.motion import UNIT
from personare.score.life import quick_share

BROWS = [UNIT["browOuterUpLeft"], UNIT["browOuterUpRight"]]


def mouth(loudness, emphasis, jaw=0.0):
    curves = np.zeros(len(UNIT), np.float32)
    curves[UNIT["jawOpen"]] = jaw
    return MouthFrame(curves, 0.0, loudness, emphasis)


def lived(seconds, fps=Fraction(25), seed=3, voice=lambda t: (0.0, 0.0), **options):
    life = Life(seed, fps, **options)
    frames = [life.next(mouth(*voice(float(i / fps)))) for i in range(int(seconds * fps))]
    return {
        "head": np.array([f.head for f in frames]),
        "shift": np.array([f.shift for f in frames]),
        "gaze": np.array([f.gaze for f in frames]),
        "blink": np.array([f.blink for f in frames]),
        "curves": np.array([f.curves for f in frames]),
    }


def talking(t):
    stressed = (t % 1.3) < 0.2
    return (0.7, 1.0 if stressed else 0.1)


def phrases(t):
    """Phrases of three seconds, pauses of one, a stress in every 0.9 s."""
    if t % 4 > 3:
        return (0.0, 0.0)
    return (0.6, 0.7 if t % 4 % 0.9 < 0.2 else 0.1)


def blink_starts(blink):
    return np.flatnonzero((blink[1:] > 0.5) & (blink[:-1] <= 0.5))


def test_the_same_seed_lives_the_same_life():
    one, two, other = lived(20, voice=talking), lived(20, voice=talking), lived(20, seed=4, voice=talking)
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert not np.array_equal(one["head"], other["head"])
    assert not np.array_equal(one["blink"], other["blink"])


@pytest.mark.slow
def test_bounds_over_ten_minutes():
    life = lived(600, voice=talking)
    assert (np.abs(life["head"]).max(axis=0) < (10, 6, 5.5)).all()
    assert np.abs(life["head"]).max(axis=0).min() > 2
    assert np.abs(life["shift"]).max() < 0.085
    assert (np.abs(life["gaze"]).max(axis=0) <= (0.03, 0.02)).all()
    assert life["blink"].min() >= 0
    assert life["blink"].max() <= 1
    assert 0 <= life["curves"].min() <= life["curves"].max() < 0.9
    assert all(np.isfinite(v).all() for v in life.values())


@pytest.mark.slow
def test_a_speaking_head_moves_as_far_and_as_fast_as_peoples():
    """Ranges of real talking people, each temperament by itself a little beyond them."""
    heads = [lived(60, seed=seed, voice=phrases)["head"] for seed in range(12)]
    spread = np.mean([head.std(axis=0) for head in heads], axis=0)
    assert (spread > (2.0, 1.4, 1.2)).all()
    assert (spread < (4.5, 3.0, 2.6)).all()
    speeds = [np.median(np.linalg.norm(np.diff(head, axis=0), axis=1)) * 25 for head in heads]
    assert 6 < np.mean(speeds) < 13
    assert max(speeds) > 1.15 * min(speeds)
    quick = [quick_share(head.T, 25.0) for head in heads]
    assert 0.2 < np.mean(quick) < 0.45


def test_a_listener_is_alive_and_calmer_than_a_speaker():
    idle, speaking = lived(120), lived(120, voice=phrases)
    for name, share in (("head", 0.8), ("shift", 0.9)):
        assert (idle[name].std(axis=0) < share * speaking[name].std(axis=0)).all()
    assert (idle["head"].std(axis=0) > 0.5).all()
    assert idle["curves"][:, BROWS].max() > 0.08


def test_the_head_moves_smoothly_also_between_idle_and_speech():
    life = lived(60, voice=lambda t: talking(t) if int(t / 3) % 2 else (0.0, 0.0))
    speed = np.diff(life["head"], axis=0)
    assert np.abs(speed).max() < 2.0
    assert np.abs(np.diff(speed, axis=0)).max() < 1.0


def test_a_new_phrase_takes_a_new_posture():
    """Within a second, for as long as the phrase lasts; beside the same head without it."""
    apart = []
    for seed in range(20):
        paths = []
        for starts in (True, False):
            head = Head(np.random.default_rng(seed))
            beats = [Beat(starts and i == 25, False, False, 0.0, 1.0, 0.6) for i in range(75)]
            paths.append(np.array([head.at(i / 25, 1.0, beat) for i, beat in enumerate(beats)]))
        turned = (paths[0] - paths[1])[:, 0]
        assert not turned[:26].any()
        assert np.abs(turned[-24:] - turned[-1]).max() < 0.3 * np.abs(turned[-1]) + 0.1
        apart.append(np.abs(turned[-1]))
    assert np.mean(apart) > 1.5


def test_a_clip_starts_in_the_pose_of_the_photo():
    life = lived(1)
    for name in ("head", "shift", "gaze", "blink", "curves"):
        assert not life[name][0].any(), name


@pytest.mark.slow
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


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(50), Fraction(60)])
def test_the_path_is_that_of_time_not_of_frames(fps):
    base, other = lived(40, voice=phrases)["head"], lived(40, fps=fps, voice=phrases)["head"]
    seconds = np.arange(len(base)) / 25
    again = [np.interp(seconds, np.arange(len(other)) / float(fps), axis) for axis in other.T]
    assert np.abs(base.T - again).mean() < 0.2 * base.std()


def test_zero_switches_off_to_the_bit():
    life = lived(60, head_motion=0, blink_rate=0, gaze=0)
    for name, values in life.items():
        assert not values.any(), name
    speaking = lived(60, voice=talking, head_motion=0, blink_rate=0, gaze=0)
    for name in ("head", "shift", "gaze", "blink"):
        assert not speaking[name].any(), name
    assert speaking["curves"][:, BROWS].any()


def test_a_face_that_has_spoken_comes_to_rest():
    life = lived(12, voice=lambda t: talking(t) if t < 4 else (0.0, 0.0), head_motion=0, blink_rate=0, gaze=0)
    assert life["curves"][:100].any()
    assert not life["curves"][-50:].any()


def test_stress_nods_with_a_counter_move_and_raises_brows():
    """Against the same life without the stress; some stresses go unanswered."""
    down, up, raised = [], [], []
    for seed in range(20):
        calm = lived(4, seed=seed, voice=lambda t: (0.5, 0.0))
        stressed = lived(4, seed=seed, voice=lambda t: (0.5, 0.9 if 2 < t < 2.4 else 0.0))
        nod = (stressed["head"] - calm["head"])[50:70, 1]
        down.append(nod.min())
        up.append(nod[:6].max())
        raised.append((stressed["curves"] - calm["curves"])[50:90][:, BROWS].max())
    assert np.median(down) < -0.8
    assert np.mean(np.array(up) > 0.15) > 0.4
    assert 0.1 < np.mean(np.array(raised) > 0.2) < 0.8


@pytest.mark.slow
def test_brows_are_raised_as_often_as_peoples_and_never_quite_evenly():
    curves = np.concatenate([lived(60, seed=seed, voice=phrases)["curves"] for seed in range(6)])
    left, right = curves[:, BROWS].T
    raised = np.diff((np.maximum(left, right) > 0.2).astype(int)) == 1
    assert 10 < raised.sum() / 6 < 35
    assert np.abs(left - right).max() > 0.1
    smiles = curves[:, [UNIT["mouthSmileLeft"], UNIT["mouthSmileRight"]]]
    assert 0.02 < (smiles[:, 0] - smiles[:, 1]).std() < 0.15


def test_lids_follow_a_gaze_that_goes_up_or_down():
    life = lived(60)
    down, up = (life["curves"][:, UNIT[f"eyeLook{way}Left"]] for way in ("Down", "Up"))
    assert np.array_equal(down > 0, life["gaze"][:, 1] > 0)
    assert np.array_equal(up > 0, life["gaze"][:, 1] < 0)
    assert 0.1 < down.max() < 0.5


def test_a_singer_shuts_the_eyes_on_some_held_vowels_and_a_speaker_on_none():
    """Vowels of 1.6 s in every 2 s, at a steady level, which is no loudness; syllables of .2 s."""

    def held(t):
        return (0.05, 0.0, 0.4 if t % 2 < 1.6 else 0.0)

    def spoken(t):
        return (0.6, 0.0, 0.4 if t % 0.3 < 0.2 else 0.05)

    sung, said = ([lived(40, seed=seed, voice=voice) for seed in range(4)] for voice in (held, spoken))
    shut = np.mean([life["blink"] > 0.95 for life in sung])
    assert 0.1 < shut < 0.5
    assert np.mean([life["blink"] > 0.95 for life in said]) < 0.06
    assert lived(40, voice=held, blink_rate=0)["blink"].max() == 0
    assert np.mean([life["head"].std(axis=0) for life in sung]) > 0.8


def test_a_singer_sways_from_note_to_note():
    """Mean over temperaments of how far the head tilts at the end of each held vowel."""
    tilts = []
    for seed in range(24):
        head = Head(np.random.default_rng(seed))
        tilts.append([])
        for note in (2.0, 5.0, 8.0):
            head.at(note, 1.0, Beat(False, False, True, 0.0, 1.0, 0.5))
            tilts[-1].append(head.at(note + 2.5, 1.0, Beat(False, False, False, 0.0, 1.0, 0.5))[2])
    first, second, third = np.mean(tilts, axis=0)
    assert min(abs(first), abs(second), abs(third)) > 0.5
    assert first * second < 0 < first * third
