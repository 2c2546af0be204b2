"""The puppet on a template video: our mouth, and nothing else, on a face that moves by itself."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

import personare
from personare.engines.puppet.fit.following import FADE_FRAMES
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.render import open_show
from personare.errors import NoFaceFound
from personare.media.image import read_image
from personare.media.template import Template, palindrome
from personare.types import frame_count
from tests.unit.puppet_avatars import AA, PORTRAIT, PP, face_state
from tests.unit.template_videos import moved_portrait, write_video

COUNT = 14


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return personare.open_engine("puppet", cache_dir=tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """The portrait, swaying: 256 x 240, 14 pictures, without loss."""
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", moved_portrait(COUNT, (256, 240)))


@pytest.fixture(scope="module")
def avatar(engine, video):
    return engine.prepare(video)


def show(avatar, **options):
    return open_show(avatar, PuppetOptions(**options))


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max(axis=-1)


@pytest.mark.slow
def test_only_the_lower_face_changes(avatar, video):
    landmarks = avatar.features["puppet.face"].arrays["landmarks"]
    own = list(Template(video))
    shown = show(avatar)
    assert (shown.size, shown.fps) == ((256, 240), 25)
    for place in range(2 * COUNT + 3):
        index = palindrome(place, COUNT)
        state = face_state(
            {**AA, "eyeBlink": 1.0, "browInnerUp": 1.0}, head=(9, 9, 9), shift=(0.2, 0.1), gaze=(0.1, 0)
        )
        changed = difference(shown.render(state), own[index]) > 0
        points = landmarks[index]
        rows, columns = np.nonzero(changed)
        assert changed.sum() > 200
        chin, unit_px = points[152, 1], np.linalg.norm(points[33] - points[263])
        assert rows.min() > points[[145, 374], 1].max(), "eyes and brows are the video's own"
        assert rows.max() < chin + 1.2 * unit_px
        assert np.abs(columns - points[13, 0]).max() < 1.5 * unit_px
    shown.close()


@pytest.mark.slow
def test_the_video_s_own_mouth_does_not_show(tmp_path, engine):
    """Her teeth are painted green: shut lips hide them in every picture, an open mouth shows
    them (they are her upper teeth).
    """
    portrait = read_image(PORTRAIT)
    from personare.engines.puppet.fit import lips
    from personare.perception import find_face

    landmarks = find_face(portrait).landmarks
    outline = np.concatenate([landmarks[lips.UPPER_INNER, :2], landmarks[lips.LOWER_INNER[::-1], :2]])
    mouth = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillPoly(mouth, [np.rint(outline - 0.5).astype(np.int32)], 255)
    red, other, blue = (portrait[..., i].astype(int) for i in range(3))
    teeth = ((mouth > 0) & (blue > 130) & (red - other < 25)).astype(np.uint8)
    portrait[cv2.dilate(teeth, np.ones((3, 3), np.uint8)) > 0] = (90, 240, 110)
    pictures = [np.roll(portrait, (i // 2, i), axis=(0, 1)) for i in range(6)]
    made = engine.prepare(write_video(tmp_path / "green.mp4", pictures))

    def green(picture):
        red, other, blue = (picture[..., i].astype(int) for i in range(3))
        return int((other - np.maximum(red, blue) > 40).sum())

    assert all(green(picture) > 60 for picture in pictures)
    for units in (PP, {}):
        shown = show(made)
        assert [green(shown.render(face_state(units))) for _ in range(8)] == [0] * 8
        shown.close()
    shown = show(made)
    assert green(shown.render(face_state(AA))) > 20
    shown.close()


def test_the_mouth_opens_with_the_curves(avatar):
    from personare.perception import find_face

    def opening(units):
        shown = show(avatar)
        face = find_face(shown.render(face_state(units)))
        shown.close()
        return np.linalg.norm(face.landmarks[13, :2] - face.landmarks[14, :2]) / face.eye_distance_px

    shut, half, wide = opening(PP), opening({"jawOpen": 0.2}), opening({"jawOpen": 0.42})
    assert shut < 0.06
    assert shut + 0.03 < half < wide - 0.03


def test_pictures_without_a_face_pass_untouched(tmp_path, engine):
    pictures = moved_portrait(14)
    for i in (6, 7):
        pictures[i] = np.full_like(pictures[0], 90)
    made = engine.prepare(write_video(tmp_path / "a.mp4", pictures))
    strength = made.features["puppet.face"].arrays["strength"]
    assert strength[[6, 7]].tolist() == [0, 0]
    assert strength[5] == pytest.approx(1 / (FADE_FRAMES + 1))
    assert strength[[0, 13]].tolist() == [1, 1]
    shown = show(made)
    for place in range(28):
        index = palindrome(place, 14)
        frame = shown.render(face_state(AA))
        assert np.array_equal(frame, pictures[index]) == (index in (6, 7))
        frame[:] = 0  # it is the caller's: the next one must not know
    shown.close()


@pytest.mark.parametrize(("fps", "per_picture"), [(50, 2), (Fraction(25, 2), 0.5), (None, 1)])
def test_the_frame_rate_is_the_video_s_own_unless_asked_for(avatar, video, fps, per_picture):
    own = list(Template(video))
    shown = show(avatar, fps=fps)
    assert shown.fps == (fps or 25)
    for frame in range(30):
        index = palindrome(int((frame + 0.5) / per_picture), COUNT)
        assert np.array_equal(shown.render(face_state())[:60], own[index][:60]), frame
    shown.close()


def test_the_cut_of_the_voice_changes_no_byte_and_the_number_of_frames_is_exact(
    engine, avatar, voice_samples
):
    samples = voice_samples[:9999]

    def performed(length):
        performance = engine.perform(avatar)
        made = [
            f.images
            for start in range(0, len(samples), length)
            for f in performance.feed(samples[start : start + length])
        ]
        made += [f.images for f in performance.finish()]
        performance.close()
        return np.concatenate(made)

    whole = performed(len(samples))
    assert whole.shape == (frame_count(len(samples), Fraction(25)), 256, 240, 3)
    assert np.array_equal(performed(700), whole)


def test_idle_and_interrupt_go_on_in_the_video(engine, avatar, video, voice_samples):
    own = list(Template(video))
    performance = engine.perform(avatar)
    frames = [performance.idle(4).images]
    talking = performance.feed(voice_samples)
    frames += [next(talking).images for _ in range(6)]
    performance.interrupt()
    assert list(talking) == []
    frames.append(performance.idle(9).images)
    performance.close()
    for place, frame in enumerate(np.concatenate(frames)):
        assert np.array_equal(frame[:60], own[palindrome(place, COUNT)][:60]), place


def test_the_mouth_of_a_face_at_the_border_is_drawn(tmp_path, engine):
    """The chin nearly touches the lower edge: the window reaches beyond the picture."""
    pictures = moved_portrait(5, swing_px=2, zoom=0)
    landmarks = (
        engine.prepare(write_video(tmp_path / "a.mkv", pictures)).features["puppet.face"].arrays["landmarks"]
    )
    cut = int(landmarks[:, 152, 1].max()) + 6
    made = engine.prepare(write_video(tmp_path / "b.mkv", [picture[:cut] for picture in pictures]))
    shown = show(made)
    assert difference(shown.render(face_state(AA)), pictures[0][:cut]).max() > 60
    shown.close()


def test_a_video_without_a_face_is_refused(tmp_path, engine):
    path = write_video(tmp_path / "wall.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 3)
    with pytest.raises(NoFaceFound, match=r"wall\.mp4: none of its 3 pictures"):
        engine.prepare(path)


def test_preparation_reads_only_what_it_declares(engine, avatar):
    keys = [
        engine.engine.recipe(PuppetOptions(**o)).portrait_keys("0" * 64)
        for o in ({}, {"fps": 50, "seed": 3, "expressiveness": 1.2})
    ]
    assert keys[0] == keys[1]
    for change, changed in (
        ({"framing": "original"}, {"puppet.crop", "puppet.rig", "puppet.plate"}),
        ({"size": 300}, {"puppet.crop", "puppet.rig", "puppet.plate"}),
    ):
        other = engine.engine.recipe(PuppetOptions(**change)).portrait_keys("0" * 64)
        assert {stage for stage, key in other.items() if keys[0][stage] != key} == changed
    assert "puppet.plate" not in engine.engine.recipe(PuppetOptions(background="stretch")).portrait_keys(
        "0" * 64
    )
    assert avatar.features["puppet.face"].metadata["frames"] == COUNT


# ---------------------------------------------------------------- photos in their whole picture


def test_the_whole_photo_is_kept_around_the_moving_face(tmp_path, engine):
    """A photo of odd size, with the face away from the middle."""
    photo = np.zeros((431, 533, 3), np.uint8)
    photo[:] = np.random.default_rng(0).integers(0, 255, (1, 533, 3))
    photo[21:331, 101:411] = cv2.resize(read_image(PORTRAIT), (310, 310), interpolation=cv2.INTER_AREA)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    made = engine.prepare(path, framing="original")
    shown = show(made, framing="original")
    assert shown.size == (431, 533)
    frame = shown.render(face_state(AA, head=(5, 2, 3)))
    changed = difference(frame, photo) > 0
    assert changed[70:128, 225:262].mean() > 0.9
    assert not changed[:, 480:].any()
    assert not changed[400:].any()
    rest = difference(shown.render(face_state(PP)), photo)
    landmarks = made.features["puppet.face"].arrays["landmarks"]
    assert rest[: int(landmarks[1, 1] - 10)].max() <= 30, "at rest the seam does not show"
    assert np.median(rest) == 0


@pytest.mark.slow
def test_a_large_face_is_drawn_smaller_and_put_back_enlarged(tmp_path, engine):
    photo = cv2.resize(read_image(PORTRAIT)[:400], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    made = engine.prepare(path, framing="original")
    crop = made.features["puppet.crop"]
    assert crop.arrays["picture"].shape == (1024, 1024, 3)
    assert crop.metadata["side"] > 1024
    shown = show(made, framing="original")
    assert shown.size == photo.shape[:2]
    assert shown.render(face_state(AA)).shape == photo.shape
