"""Following one face: without jitter, without lag, the same person, and honest about frames
without one.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.perception import find_face, smooth
from personare.perception.smooth import local_polynomial, smoothed
from personare.perception.track import track_face
from tests.unit.template_videos import moved_portrait

FPS = Fraction(25)


@pytest.fixture(scope="module")
def face():
    return find_face(moved_portrait(1)[0]).landmarks


def trembling(motion, sigma=0.3, seed=0):
    return (motion + np.random.default_rng(seed).normal(0, sigma, motion.shape)).astype(np.float32)


def test_a_steady_motion_is_neither_late_nor_trembling(face):
    """Accelerating to the side: a parabola."""
    time = np.arange(60)[:, None, None] / 25
    motion = face + np.concatenate([30 * time - 8 * time**2, 5 * time, 0 * time], axis=2)
    result = smoothed(trembling(motion), FPS)
    assert np.abs((result - motion)[..., 0].mean(axis=1)).max() < 0.05
    assert (result - motion)[8:-8, :, :2].std() < 0.5 * 0.3


def test_parabolas_pass_unchanged():
    time = np.arange(30.0)[:, None]
    motion = 3 + 2 * time - 0.3 * time**2
    assert np.allclose(local_polynomial(motion, 6), motion)
    assert np.allclose(local_polynomial(motion[:8], 6), motion[:8])


def test_a_blink_is_kept(face):
    """Two frames down, two frames up, of one lid and what lies around it."""
    motion = np.repeat(face[None], 40, axis=0)
    lid = [159, 158, 160, 157, 161]
    near = np.exp(-((np.linalg.norm(face[:, :2] - face[159, :2], axis=1) / 6) ** 2))
    for frame, shut in zip(range(18, 23), (0.5, 1, 1, 0.6, 0.2), strict=True):
        motion[frame, :, 1] += 6 * shut * near
    result = smoothed(trembling(motion), FPS)
    assert np.abs(result[18:23, lid, 1] - motion[18:23, lid, 1]).mean() < 0.6
    assert (result[:12, 4] - motion[:12, 4]).std() < 0.2, "the rest of the face stays quiet"


def test_long_runs_are_taken_in_pieces_without_a_seam(face, monkeypatch):
    time = np.arange(90)[:, None, None] / 25
    motion = face + np.concatenate([20 * np.sin(2 * time), 5 * time, 0 * time], axis=2)
    seen = trembling(motion)
    monkeypatch.setattr(smooth, "PIECE", 30)
    result = smoothed(seen, FPS)
    assert np.abs((result - motion)[..., 0].mean(axis=1)).max() < 0.1
    steps = np.abs(np.diff(result - motion, axis=0)[:, :, :2]).mean(axis=(1, 2))
    assert steps[[29, 59]].max() < 1.5 * np.percentile(steps, 90)


def test_short_runs(face):
    for count in (1, 2, 4, 5, 6):
        assert smoothed(np.repeat(face[None], count, axis=0), FPS) == pytest.approx(
            np.repeat(face[None], count, axis=0), abs=1e-3
        )


def test_the_face_is_followed_to_a_part_of_a_pixel():
    """The pictures are one portrait moved by a known similarity; so must its landmarks be."""
    pictures = moved_portrait(24)
    track = track_face(pictures, FPS)
    assert track.present.all()
    assert track.begins.tolist() == [True] + [False] * 23
    phase = 2 * np.pi * np.arange(24) / 24
    scale = 1 + 0.03 * np.sin(phase)
    middle = np.stack([128 + 6 * np.cos(phase), 128 + 3 * np.sin(phase)], axis=1)
    at_rest = (track.landmarks[..., :2] - middle[:, None]) / scale[:, None, None]
    away = at_rest - at_rest.mean(axis=0)
    assert np.abs(away.mean(axis=1)).max() < 0.5
    raw = (track.raw[..., :2] - middle[:, None]) / scale[:, None, None]
    assert away.std() < (raw - raw.mean(axis=0)).std()


def test_frames_without_a_face_are_marked_and_a_cut_begins_anew():
    pictures = moved_portrait(9)
    nothing = np.full_like(pictures[0], 90)
    far = [np.roll(picture, 70, axis=1) for picture in pictures[:3]]
    track = track_face([nothing, *pictures[:4], nothing, nothing, *pictures[4:7], *far], FPS)
    assert track.present.tolist() == [False] + [True] * 4 + [False] * 2 + [True] * 6
    assert np.flatnonzero(track.begins).tolist() == [1, 7, 10]
    assert not track.landmarks[0].any()


def test_no_face_at_all_is_no_error():
    track = track_face([np.full((64, 64, 3), 90, np.uint8)] * 3, FPS)
    assert not track.present.any()
    assert track_face([], FPS).landmarks.shape == (0, 468, 3)


def test_the_same_person_is_followed_after_a_gap():
    """Two faces; the larger one is chosen, and found again where it was though the other is
    there.
    """
    large, small = moved_portrait(10), moved_portrait(10, (200, 200), 0.78)
    pictures = []
    for i, (one, other) in enumerate(zip(large, small, strict=True)):
        picture = np.full((256, 456, 3), 120, np.uint8)
        picture[28:228, 256:456] = other
        if i not in (4, 5):
            picture[:, :256] = one
        pictures.append(picture)
    track = track_face(pictures, FPS)
    assert track.present.tolist() == [i not in (4, 5) for i in range(10)]
    assert (track.landmarks[track.present, 4, 0] < 200).all()


def test_small_and_cut_faces_cannot_be_used():
    pictures = moved_portrait(2)
    assert not track_face(pictures, FPS, min_eye_distance_px=200).present.any()
