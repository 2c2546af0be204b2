"""The score against faces and voices whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from personare.heads import FACE_OVAL, LOWER_INNER_LIP, UPPER_INNER_LIP, head468
from personare.media.audio import speech_from_samples
from personare.media.image import read_image
from personare.media.video import VideoFrameAt
from personare.perception.face import find_face
from personare.score.battery import lag_seconds, least_opening, meets, mouth_of, parts, rows
from personare.score.figures import at_least, at_most, value_text, within
from personare.score.landmark_reader import LandmarkReader
from personare.score.life import agrees, count_blinks, count_raises, quick_share, together
from personare.score.opening import FaceSeen, measure, spikes_px, watch
from personare.score.sound import FRAME_SECONDS, SoundHeard, listen, smooth, spans
from personare.types import Phone

FPS = Fraction(25)


def frontal_landmarks(gap: float = 0.0, eye_px: float = 110.0) -> np.ndarray:
    """The neutral head as landmarks in a picture, with its inner lips parted by `gap` eye
    distances.
    """
    points = head468().neutral.copy()
    upper, lower = list(UPPER_INNER_LIP[1:-1]), list(LOWER_INNER_LIP[1:-1])
    middle = (points[upper, 1] + points[lower, 1]) / 2
    points[upper, 1], points[lower, 1] = middle + gap / 2, middle - gap / 2
    points[lower, 2] = points[upper, 2]
    points[lower, 0] = points[upper, 0]
    return (points * [eye_px, -eye_px, -eye_px] + [256, 230, 0]).astype(np.float32)


def syllables(seconds: float, seed: int = 0) -> np.ndarray:
    """A curve at 100 Hz of openings that come and go irregularly, 0..1."""
    source = np.random.default_rng(seed)
    return np.asarray(smooth(np.repeat(source.uniform(0, 1, round(seconds * 10)), 10)))


def heard_of(target: np.ndarray, **others: object) -> SoundHeard:
    n = len(target)
    defaults = {
        "loudness": target, "spoken": np.ones(n, bool), "silences": (), "closures": None, "bites": None,
        "open_vowels": None, "steady_vowels": None,
    }  # fmt: skip
    return SoundHeard(target=target, **{**defaults, **others})


def seen_of(opening: np.ndarray, late_frames: float = 0.0) -> FaceSeen:
    """A face at 25 fps whose lips part as a curve at 100 Hz says, late by some frames;
    everything else is still.
    """
    n = len(opening) // 4
    seconds = np.arange(n) / 25
    curve = np.interp(seconds - late_frames / 25, (np.arange(len(opening)) + 0.5) / 100, opening)
    still = np.zeros(n)
    return FaceSeen(
        seconds=seconds, gap=0.01 + 0.2 * curve, width=np.full(n, 0.5), eye_opening=np.full(n, 0.35),
        brow=np.full(n, 0.2), chin=np.full(n, 0.6), corners_tilt=still,
        yaw=still, pitch=still, roll=still, skin_spike_px=still, lip_spike_px=still,
        sharpness=np.full(n, 7.0), brightness=np.full(n, 120.0),
    )  # fmt: skip


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("eye_px", [60.0, 140.0])
def test_the_gap_of_known_lips_is_measured_in_eye_distances(gap: float, eye_px: float) -> None:
    picture = np.full((512, 512, 3), 128, np.uint8)
    seen = measure(picture, frontal_landmarks(gap, eye_px))
    assert seen["gap"] == pytest.approx(gap, abs=0.005)
    assert max(abs(seen[angle]) for angle in ("yaw", "pitch", "roll")) < 0.5
    assert seen["sharpness"] == 0
    assert seen["brightness"] == pytest.approx(128)


def test_a_spike_is_a_jump_away_and_back_and_steady_movement_is_none() -> None:
    before = frontal_landmarks()
    moved = before + np.array([4, 0, 0], np.float32)
    assert spikes_px(before, moved, before).min() == pytest.approx(4, abs=1e-3)
    assert spikes_px(before, moved, moved).max() == 0
    assert spikes_px(before, moved, moved + np.array([4, 0, 0], np.float32)).max() == 0
    jumped = before.copy()
    jumped[FACE_OVAL[0], :2] += (3, 4)
    jumps = spikes_px(before, jumped, before)
    assert np.flatnonzero(jumps) == [FACE_OVAL[0]]
    assert jumps.max() == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize("frames", [-3, -1, 0, 2, 3])
def test_a_deliberate_lag_is_measured(frames: int) -> None:
    target = syllables(8.0)
    late = lag_seconds(mouth_of(seen_of(target, frames)), heard_of(target))
    assert late is not None
    assert late * 25 == pytest.approx(frames, abs=0.26)


def test_drift_shows_between_the_first_and_the_last_minute() -> None:
    target = syllables(150.0)
    early, late = seen_of(target, 0.0), seen_of(target, 3.0)
    half = early.seconds < 75
    drifting = replace(early, gap=np.where(half, early.gap, late.gap))
    named = {row.name: row for row in rows(drifting, heard_of(target), FPS)}
    assert named["lag, drift"].value == pytest.approx(3, abs=0.3)
    assert named["lag, drift"].verdict == "below"
    assert named["lag, first minute"].verdict == "pass"


def test_a_mouth_that_follows_correlates_and_another_does_not() -> None:
    target = syllables(10.0)
    follows, else_where = (seen_of(curve) for curve in (target, syllables(10.0, seed=1)))
    name = "opening follows articulation, r"
    good, bad = (
        {row.name: row for row in rows(seen, heard_of(target), FPS)} for seen in (follows, else_where)
    )
    assert good[name].value == pytest.approx(1, abs=0.03)
    assert (good[name].verdict, bad[name].verdict) == ("pass", "below")
    assert lag_seconds(mouth_of(seen_of(np.ones(1000))), heard_of(target)) is None


def test_silence_is_where_nobody_speaks_and_the_mouth_rests_there() -> None:
    target = syllables(6.0)
    target[200:300] = 0
    shut = seen_of(target)
    gaping = replace(shut, gap=np.where((shut.seconds > 2.0) & (shut.seconds < 3.0), 0.12, shut.gap))
    heard = heard_of(target, silences=((2.0, 3.0),))
    good, bad = ({row.name: row for row in rows(seen, heard, FPS)} for seen in (shut, gaping))
    assert good["opening in silence, median"].value < 0.01
    assert bad["opening in silence, median"].value == pytest.approx(0.1, abs=0.02)
    assert good["opening in silence, median absolute deviation"].value < 0.005
    none = {row.name: row for row in rows(shut, heard_of(target), FPS)}["opening in silence, median"]
    assert (none.value, none.verdict) == (None, "not measured")


def test_closures_and_vowels() -> None:
    opening = np.ones(400)
    opening[100:106] = 0
    mouth = mouth_of(seen_of(opening))
    closed, missed = (1.0, 1.06), (2.0, 2.06)
    assert meets(mouth, [closed, missed], 0.1).tolist() == [True, False]
    assert parts(mouth, [(2.0, 2.2), (1.01, 1.05)]).tolist() == [True, False]
    assert least_opening(mouth, (50.0, 50.1)) is None
    assert meets(mouth, [], 0.1).tolist() == []


def test_blinks_are_short_dips_of_the_lids() -> None:
    lids = np.full(250, 0.35)
    for start in (30, 100, 180):
        lids[start : start + 4] = 0.1
    lids[200:230] = 0.1  # eyes closed for more than a second: no blink
    assert count_blinks(lids, 25.0) == 3


def test_head_and_brows_beside_peoples() -> None:
    seconds = np.arange(500) / 25
    still = seen_of(np.zeros(2000))
    alive = replace(
        still,
        yaw=3 * np.sin(2 * np.pi * 0.4 * seconds),
        pitch=2.5 * np.sin(2 * np.pi * 0.6 * seconds),
        roll=2 * np.sin(2 * np.pi * 1.2 * seconds),
        brow=0.2 + 0.05 * (np.sin(2 * np.pi * 0.3 * seconds) > 0.8),
    )
    dead, lively = (
        {row.name: row for row in rows(seen, heard_of(np.zeros(2000)), FPS)} for seen in (still, alive)
    )
    for name in ("yaw, standard deviation", "brows, standard deviation", "brows raised"):
        assert (dead[name].verdict, lively[name].verdict) == ("below", "pass"), name
    assert lively["yaw, standard deviation"].value == pytest.approx(3 / 2**0.5, rel=0.05)
    assert lively["brows raised"].value == 18
    assert lively["head motion above 1 Hz, share"].value == pytest.approx(
        (4 / (9 + 6.25 + 4)) ** 0.5, abs=0.03
    )
    assert 6 < lively["head speed, median"].value < 13


def test_a_slow_rise_of_the_brows_is_no_raise() -> None:
    assert count_raises(np.linspace(0, 0.1, 250), 25.0) == 0
    assert count_raises(np.repeat([0.0, 0.03, 0.0, 0.03], 25), 25.0) == 2
    assert quick_share(np.zeros((3, 100)), 25.0) == 0


def test_what_the_head_does_is_taken_out_of_what_the_mouth_does() -> None:
    source = np.random.default_rng(0)
    pose, mouth = source.normal(size=(400, 3)), source.normal(size=400)
    where = np.arange(400) < 300
    turned = mouth + 5 * pose[:, 0]
    assert together(turned, mouth - 5 * pose[:, 0], pose, where) == pytest.approx(1)
    assert together(turned, -mouth, pose, where) == pytest.approx(-1)
    assert together(turned, np.zeros(400), pose, where) is None


def test_the_mouth_beside_peoples_mouths() -> None:
    """Lips that open and widen together at 3 Hz, from shut."""
    curve = (1 - np.cos(2 * np.pi * 3 * np.arange(2000) / 100)) / 2
    seen = seen_of(curve)
    wide = replace(
        seen, width=0.5 + seen.gap / 5, chin=0.6 + seen.gap, corners_tilt=0.02 * np.sin(seen.seconds)
    )
    found = {row.name: row for row in rows(wide, heard_of(curve), FPS)}
    assert found["opening with width, r"].value == pytest.approx(1)
    assert found["opening with chin, r"].verdict == "below"
    assert found["opening speed, 95th percentile"].value == pytest.approx(0.2 * np.pi * 3, rel=0.05)
    assert found["lips seen shut"].value == pytest.approx(3, abs=0.1)
    assert found["mouth corners, height difference, standard deviation"].value == pytest.approx(
        0.014, abs=0.001
    )


def test_theval_lip_sync_is_distance_from_the_amplitude() -> None:
    loudness = np.linspace(0, 1, 200)
    amplitude = 10 ** ((loudness - 1) * 35 / 20)
    spoken = np.ones(200, bool)
    assert agrees(amplitude, loudness, spoken).value == pytest.approx(0, abs=1e-9)
    assert agrees(1 - amplitude, loudness, spoken).value > 0.5
    assert agrees(amplitude, loudness, ~spoken).verdict == "not measured"


def test_speech_and_silence_of_a_voice(voice_samples) -> None:
    samples = np.concatenate([np.zeros(8000, np.float32), voice_samples, np.zeros(12000, np.float32)])
    heard = listen(speech_from_samples(samples, 16000))
    assert len(heard.target) == -(-len(samples) // 160)
    assert heard.silences[0][0] == 0
    assert heard.silences[0][1] == pytest.approx(0.5, abs=0.1)
    assert heard.silences[-1][1] == pytest.approx(heard.seconds, abs=0.02)
    assert heard.target[100:150].max() > 0.3 > heard.target[:40].max()
    assert heard.closures is None


def test_phones_say_what_is_spoken() -> None:
    phones = [
        Phone("m", 1600, 3200),
        Phone("ɑː", 3200, 9600),
        Phone("f", 9600, 11200),
        Phone("aɪ", 11200, 16000),
    ]
    heard = listen(speech_from_samples(np.zeros(17600, np.float32), 16000), phones)
    assert heard.closures == ((0.1, 0.2),)
    assert heard.bites == ((0.6, 0.7),)
    assert heard.steady_vowels == ((0.2, 0.6),)
    assert heard.open_vowels is not None
    assert heard.open_vowels[0] == (0.2, 0.6)
    assert heard.target[40] == pytest.approx(1)
    assert heard.target[15] == pytest.approx(0, abs=0.2)


def test_spans_are_runs_that_last() -> None:
    mask = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1], bool)
    assert spans(mask, 3 * FRAME_SECONDS) == (
        (pytest.approx(0.03), pytest.approx(0.06)),
        (pytest.approx(0.08), pytest.approx(0.11)),
    )


def test_verdicts() -> None:
    assert at_least("a", 0.8, 0.8).verdict == "pass"
    assert at_most("a", -2.0, 1.0, "frames").verdict == "below"
    assert within("a", 50.0, 4, 40).verdict == "below"
    assert at_least("a", None, 1.0).verdict == "not measured"
    assert value_text(at_most("a", 12.345, 1.0, "frames")) == "12.3 frames"


def test_a_face_is_followed_without_smoothing_and_found_again(portrait) -> None:
    picture = read_image(portrait)
    moved = np.roll(picture, 25, axis=1)
    nothing = np.zeros_like(picture)
    follower = LandmarkReader()
    looked = [follower.landmarks(image) for image in (picture, picture, moved, nothing, picture)]
    assert [found is None for found in looked] == [False, False, False, True, False]
    first, again, shifted, _, back = looked
    assert np.abs(again - first).mean() < 0.3
    assert (shifted - again)[:, 0].mean() == pytest.approx(25, abs=1.2)
    assert np.abs(back - find_face(picture).landmarks)[:, :2].mean() < 1.0


def test_one_displaced_picture_is_seen_as_a_spike(portrait) -> None:
    picture = cv2.resize(read_image(portrait), (512, 512))
    shaken = np.roll(picture, 6, axis=0)
    seen = watch(VideoFrameAt(i, i / 25, shaken if i == 3 else picture) for i in range(6))
    assert seen.skin_spike_px.argmax() == 3
    assert seen.skin_spike_px[3] == pytest.approx(6, abs=1.5)
    assert np.delete(seen.skin_spike_px, 3).max() < 1.5
    assert seen.seen.all()
    assert seen.gap.std() < 0.01
