from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.puppet import eyes
from personare.engines.puppet.pose import pose
from personare.engines.puppet.rig import Rig
from tests.unit.puppet_avatars import BLINK, face_state, prepare


@pytest.fixture(scope="module")
def rig():
    return Rig.from_feature(prepare(size=512)["puppet.rig"])


def test_shut_lids_meet_along_the_whole_eye(rig):
    vertices = pose(rig, face_state(BLINK)).skin.vertices
    slit = vertices[eyes.LOWER_LIDS, 1] - vertices[eyes.UPPER_LIDS, 1]
    assert slit.max() < 0.3, "pixels"
    open_eyes = rig.points[eyes.LOWER_LIDS, 1] - rig.points[eyes.UPPER_LIDS, 1]
    assert open_eyes.max() > 8


def test_a_shut_lid_shows_what_was_above_the_eye(rig):
    texture = pose(rig, face_state(BLINK)).skin.texture
    slid = rig.points[eyes.UPPER_LIDS, 1] - texture[eyes.UPPER_LIDS, 1]
    assert (slid[:, 1:-1] > 0).all()
    assert np.allclose(slid[:, [0, -1]], 0)


def test_eyeball_triangles_tile_the_eye(rig):
    for eyeball in rig.eyeballs:
        area = sum(cv2.contourArea(np.ascontiguousarray(eyeball[triangle, :2])) for triangle in eyes.eyeball_triangles())
        assert area == pytest.approx(cv2.contourArea(np.ascontiguousarray(eyeball[17:, :2])), rel=0.02)


def test_gaze_keeps_the_corners(rig):
    looking, ahead = (pose(rig, face_state(gaze=g)).eyeballs[0] for g in ((0.03, 0.01), (0, 0)))
    moved = looking.vertices[:, :2] - ahead.vertices[:, :2]
    expected = np.array([0.03, 0.01]) * rig.eye_distance_px
    assert np.allclose(moved[:17], expected, atol=1e-3)
    assert np.allclose(moved[17:], 0)
    corners = [17, 25]
    assert np.allclose((looking.texture - ahead.texture)[corners], 0, atol=1e-4)


def test_contours_are_refined_only_where_both_networks_agree():
    points = np.zeros((468, 3), np.float32)
    points[263, 0] = 100
    near, far = np.zeros((2, 71, 2), np.float32), np.zeros((2, 71, 2), np.float32)
    edge = np.concatenate([eyes.LOWER_LIDS, eyes.UPPER_LIDS[:, 1:-1]], axis=1)
    for contour, offset in ((near, 2.0), (far, 30.0)):
        contour[:, :16] = points[edge, :2] + offset
    assert np.allclose(eyes.refine_contours(points, near)[edge, :2], near[:, :16])
    assert np.array_equal(eyes.refine_contours(points, far), points)


def test_lash_colour_is_darker_than_the_lid(rig):
    assert rig.lash_colour.mean() < 0.6 * rig.lid_colours.mean()


def test_lashes_at_the_frames_edge_are_cut_off():
    frame = np.full((40, 40, 3), 200, np.uint8)
    for x in (-60.0, -5.0, 35.0):
        line = np.stack([np.linspace(x, x + 20, 9), np.full(9, 10.0)], axis=1).astype(np.float32)
        eyes.draw_lashes(frame, line, np.zeros(3, np.float32), 100.0, 0.0, 1.0)
    assert frame.min() < 150
    assert (frame[20:] == 200).all()
