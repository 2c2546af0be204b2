"""A FLAME head is laid onto points that are known, and onto faces that are seen."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.artalk.track import track_picture
from personare.heads import (
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    Rasteriser,
    similarity,
)
from personare.heads.flame import FlameHead, rotation
from personare.heads.flame_fit import FOCAL, SCALE, FlameFit
from personare.media.image import read_image
from personare.perception import find_face
from tests.conformance.flame_faces import SHAPES, face_flame

MODEL = face_flame()
SIDE = 512


def head(seed):
    """(points [468, 3] of a head of known parameters in a picture, its camera [3, 4], shape,
    jaw)
    """
    rng = np.random.default_rng(seed)
    shape, expression = np.zeros(300, np.float32), np.zeros(100, np.float32)
    shape[:SHAPES] = 0.7 * rng.normal(size=SHAPES)
    expression[17] = rng.uniform(0, 0.5)  # the jaw's unit, beside the jaw's own turn
    jaw = np.array([rng.uniform(0, 0.15), 0, 0], np.float32)
    turn = rotation(np.array([0.1, 0.25, 0.1] * rng.normal(size=3), np.float32)) @ np.diag([-1.0, 1, -1])
    shift = np.array([*(0.05 * rng.normal(size=2)), 9.5])
    vertices = FlameHead(MODEL, shape, SCALE).vertices(expression, None, jaw)
    return placed(vertices, turn, shift), np.column_stack([turn, shift]), shape, jaw


def placed(vertices, turn, shift):
    view = vertices[:468] @ turn + shift
    flat = (1 - FOCAL * view[:, :2] / view[:, 2:]) * SIDE / 2
    return np.column_stack([flat, (view[:, 2] - shift[2]) * SIDE / 2 * FOCAL / shift[2]]).astype(np.float32)


def unlike(a, b):
    """How far apart the resting faces of two shapes are, their places and sizes aside."""
    still = np.zeros(100, np.float32), None, np.zeros(3, np.float32)
    faces = [FlameHead(MODEL, shape).landmarks(FlameHead(MODEL, shape).vertices(*still)) for shape in (a, b)]
    scale, turn, shift = similarity(*faces)
    return np.linalg.norm(scale * faces[0] @ turn.T + shift - faces[1], axis=1).mean()


def angle(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("seed", range(3))
def test_a_head_is_found_where_it_is(seed):
    points, camera, shape, jaw = head(seed)
    noise = np.random.default_rng(seed).normal(size=points.shape).astype(np.float32) * 0.5
    found = FlameFit(MODEL)(points + noise, SIDE)
    assert found.error_px < 0.8
    assert angle(found.camera[:, :3], camera[:, :3]) < 7
    np.testing.assert_allclose(found.camera[:, 3], camera[:, 3], atol=0.3)
    assert abs(found.jaw[0] - jaw[0]) < 0.08
    assert unlike(found.shape, shape) < 0.75 * unlike(np.zeros(300, np.float32), shape)
    made = FlameHead(MODEL, found.shape, SCALE).vertices(found.expression, None, found.jaw)
    seen = placed(made, found.camera[:, :3], found.camera[:, 3])
    used = MODEL.landmarks
    np.testing.assert_allclose(
        np.linalg.norm((seen - points - noise)[used, :2], axis=1), found.errors_px, atol=0.02
    )


def test_points_that_are_far_off_hardly_count():
    points, camera, _, _ = head(5)
    spoilt = points.copy()
    spoilt[MODEL.landmarks[::8], :2] += [40, -30]
    found = FlameFit(MODEL)(spoilt, SIDE)
    assert found.error_px < 3
    np.testing.assert_allclose(found.camera[:2, 3], camera[:2, 3], atol=0.1)


@pytest.mark.slow
def test_a_head_that_is_drawn_is_tracked(portrait):
    """With the bundled portrait's paint, so that the networks see a face."""
    photo = read_image(portrait)
    points, camera, _, _ = head(0)
    lids = [
        [ring[0], ring[i], ring[i + 1]]
        for upper, lower in ((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER), (LEFT_EYE_UPPER, LEFT_EYE_LOWER))
        for ring in [[*upper, *lower[-2:0:-1]]]
        for i in range(1, len(ring) - 1)
    ]
    places = np.column_stack([find_face(photo).landmarks[:, :2], np.ones(468)]).astype(np.float32)
    rasteriser = Rasteriser(SIDE, SIDE)
    at = rasteriser.draw(points, np.concatenate([MODEL.faces, np.array(lids, np.int32)]), places)
    drawn = cv2.remap(photo, at[..., 0] - 0.5, at[..., 1] - 0.5, cv2.INTER_LINEAR)
    drawn[~rasteriser.covered] = 120
    tracked, fitted = track_picture(drawn, MODEL)
    assert fitted.error_px < 1.5
    assert angle(tracked.camera[:, :3], camera[:, :3]) < 8
    assert abs(tracked.camera[2, 3] - 9.5) < 1
    assert tracked.picture.shape == (3, 512, 512)
    assert not tracked.picture[:, :40, :40].any()
    assert tracked.picture[:, 256, 256].mean() > 0.2
