"""Following a guide: what a clip with known curves does is what is seen of it; nothing is late,
nothing jumps where the face is gone.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from personare.cache.recipe import Recipe, StageInputs
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.fit.guide import Mirror, motion_of, stage, watch
from personare.motion import ARKIT, UNIT, FaceState, row_of
from personare.perception.head_motion import HeadMotion, angles, rotation, turned
from personare.perception.watch import FaceWatcher
from personare.types import Guide
from tests.unit.puppet_avatars import face_state, prepare
from tests.unit.template_videos import moved_portrait

FPS = Fraction(25)
COUNT = 50
NOTHING = np.full((256, 256, 3), 90, np.uint8)


def smooth_pulse(at, width):
    return np.exp(-(((np.arange(COUNT) - at) / width) ** 2))


@pytest.fixture(scope="module")
def clip():
    """(states, pictures): head turns, then the jaw, a blink and the brows."""
    turn = np.sin(2 * np.pi * np.arange(COUNT) / COUNT)
    jaw, blink, brow = smooth_pulse(15, 4), smooth_pulse(28, 2), smooth_pulse(38, 4)
    states = [
        FaceState(
            face_state(
                {
                    "jawOpen": 0.5 * jaw[i],
                    "eyeBlink": blink[i],
                    "browInnerUp": brow[i],
                    "browOuterUp": brow[i],
                }
            ).curves,
            0.0,
            (8.0 * turn[i], -5.0 * turn[i], 5.0 * turn[i]),
            (0.0, 0.0),
            (0.0, 0.0),
        )
        for i in range(COUNT)
    ]
    renderer = FaceRenderer(prepare(size=384))
    pictures = [renderer.render(state) for state in states]
    return states, pictures


@pytest.fixture(scope="module")
def watched(clip):
    return watch(clip[1], FPS)


def column(feature, name):
    return feature.arrays["motion"][:, ARKIT.columns.index(name)]


@pytest.mark.parametrize("name", ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp"])
def test_curves_of_a_clip_that_puppet_made_are_seen_and_in_time(clip, watched, name):
    meant = np.array([state.curves[UNIT[name]] for state in clip[0]])
    seen = column(watched, name)
    assert np.corrcoef(meant, seen)[0, 1] > 0.85
    lags = range(-4, 5)
    assert abs(max(lags, key=lambda lag: np.corrcoef(np.roll(meant, lag), seen)[0, 1])) <= 1


def test_the_head_turns_as_it_did(clip, watched):
    meant = np.array([state.head for state in clip[0]])
    seen = np.stack([column(watched, name) for name in ("headYaw", "headPitch", "headRoll")], axis=1)
    off = np.abs(seen - meant)
    assert (off.mean(axis=0) < 1).all()
    assert (off.max(axis=0) < 2.5).all()


@pytest.mark.slow
def test_a_camera_sees_the_same_and_knows_nothing_of_what_comes(clip, watched):
    mirror, again = Mirror(FPS), Mirror(FPS)
    live = np.stack([row_of(mirror.see(picture)) for picture in clip[1]])
    assert mirror.seen
    start = np.stack([row_of(again.see(picture)) for picture in clip[1][:20]])
    assert (start == live[:20]).all()
    for name in ("jawOpen", "headYaw"):
        place = ARKIT.columns.index(name)
        assert np.corrcoef(live[:, place], column(watched, name))[0, 1] > 0.9


@pytest.mark.slow
def test_a_face_that_is_gone_is_held_then_rests_and_comes_back_without_a_jump(clip):
    turned_away = [clip[1][12]] * 8  # head to the side
    gone = np.full_like(clip[1][0], 90)
    feature = watch([clip[1][0], *clip[1][:12], *turned_away, *[gone] * 40, *turned_away], FPS)
    yaw, seen = column(feature, "headYaw"), feature.arrays["seen"]
    assert not seen[21:61].any()
    assert seen[61:].all()
    assert feature.metadata["unseen"] == 40
    assert yaw[20] > 5
    assert (yaw[21:31] == yaw[20]).all(), "held for .4 s"
    assert (np.diff(yaw[31:46]) <= 0).all()
    assert not feature.arrays["motion"][47:61].any(), "at rest after another .6 s"
    assert np.abs(np.diff(yaw)).max() < 3
    assert yaw[-1] == pytest.approx(yaw[20], abs=2)


def test_the_larger_of_two_faces_is_followed_and_both_are_counted():
    large, small = moved_portrait(6), moved_portrait(6, (200, 200), 0.78)
    pictures = []
    for one, other in zip(large, small, strict=True):
        picture = np.full((256, 456, 3), 120, np.uint8)
        picture[:, :256] = one
        picture[28:228, 256:456] = other
        pictures.append(picture)
    watcher = FaceWatcher(FPS)
    seen = watcher.see(pictures[0])
    assert seen is not None
    assert seen.landmarks[:, 0].mean() < 256
    assert watch(pictures, FPS).metadata["faces"] == 2


def test_guides_of_one_picture_of_none_and_without_a_face():
    one = watch(moved_portrait(1), FPS)
    assert one.arrays["seen"].tolist() == [True]
    assert one.arrays["motion"][:, len(UNIT) :] == pytest.approx(0, abs=1e-4), "its own start"
    assert len(motion_of(watch([], FPS))) == 0
    nobody = watch([NOTHING] * 3, FPS)
    assert nobody.metadata["unseen"] == 3
    assert not nobody.arrays["motion"].any()


def test_the_stage_reads_the_guide_alone():
    guide = Guide("g", (), (256, 256), FPS, 2, lambda: iter([NOTHING] * 2))
    watched = stage().compute(StageInputs({}, {}, {"guide": guide}))
    assert watched.metadata["frames"] == 2
    assert set(Recipe((stage(),)).keys({"guide": "digest"})) == {"puppet.watched"}


def test_progress_is_told():
    told = []
    watch([NOTHING] * 2, FPS, 2, lambda *what: told.append(what))
    assert told == [("watching the guide", 1, 2), ("watching the guide", 2, 2)]


def test_a_rotation_is_found_though_some_points_move_on_their_own():
    shape = np.random.default_rng(0).normal(0, 30, (25, 3))
    shape -= shape.mean(axis=0)
    meant = rotation(12.0, -7.0, 4.0)
    places = 1.1 * (shape @ meant.T)[:, :2] + [200, 100]
    places[:2] += 15
    found, scale, centre = turned(shape, places)
    assert angles(found) == pytest.approx((12.0, -7.0, 4.0), abs=1)
    assert scale == pytest.approx(1.1, abs=0.02)
    assert centre == pytest.approx([200, 100], abs=1)


def test_a_picture_that_is_turned_and_moved_is_a_head_that_leans_and_shifts():
    picture = moved_portrait(1, (320, 320), 1.4)[0]
    landmarks = FaceWatcher(FPS).see(picture).landmarks
    motion = HeadMotion()
    motion.see(picture, landmarks, True)
    matrix = cv2.getRotationMatrix2D((160.0, 160.0), -6.0, 1.0)  # clockwise
    matrix[:, 2] += (5, 3)
    leant = cv2.warpAffine(picture, matrix, (320, 320), borderMode=cv2.BORDER_REPLICATE)
    moved = landmarks.copy()
    moved[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    moved[:, :2] += np.random.default_rng(0).normal(0, 1, (468, 2))
    view = motion.see(leant, moved.astype(np.float32), False)
    assert angles(view.rotation) == pytest.approx((0, 0, 6), abs=0.7)
    assert view.trust > 0.8
