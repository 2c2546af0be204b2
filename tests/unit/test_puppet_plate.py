"""What is cut out with the person, and what the plate shows in its place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.deform import head_rotation
from personare.engines.puppet.fit.plate import behind, ears
from tests.unit.puppet_avatars import prepare

GREY, YELLOW = 120, (240, 220, 20)
UNIT_PX = 60


@pytest.fixture
def someone():
    """A green person on grey, 300 px: picture, matte, landmarks."""
    picture, matte = np.full((300, 300, 3), GREY, np.uint8), np.zeros((300, 300), np.uint8)
    cv2.circle(matte, (150, 160), 60, 255, -1)
    picture[matte > 0] = (0, 255, 0)
    landmarks = np.zeros((468, 3), np.float32)
    landmarks[:, :2] = (120, 160)
    landmarks[263, 0] = 120 + UNIT_PX
    return picture, matte, landmarks


def yellow(picture: np.ndarray) -> np.ndarray:
    return picture[..., 2].astype(int) < picture[..., 0].astype(int) - 60


def test_what_hangs_from_the_person_before_a_plain_wall_goes_along(someone):
    picture, matte, landmarks = someone
    cv2.rectangle(picture, (211, 165), (214, 178), YELLOW, -1)  # beside the circle, outside the matte
    made = behind(picture, matte, landmarks).arrays
    assert (made["cut"][yellow(picture)] == 255).all()
    assert not yellow(made["plate"])[cv2.distanceTransform(matte, cv2.DIST_L2, 5) < 0.2 * UNIT_PX].any(), (
        "not left behind either"
    )


@pytest.mark.parametrize("line", [((0, 165), (150, 172)), ((205, 0), (209, 299))])
def test_a_line_that_passes_behind_the_person_stays(someone, line):
    picture, matte, landmarks = someone
    plain = behind(picture, matte, landmarks).arrays["cut"]
    behind_it = picture.copy()
    cv2.line(behind_it, *line, YELLOW, 3)
    behind_it[matte > 0] = picture[matte > 0]
    assert np.array_equal(behind(behind_it, matte, landmarks).arrays["cut"], plain)


def test_somebody_else_in_the_matte_stays(someone):
    picture, matte, landmarks = someone
    alone = behind(picture, matte, landmarks).arrays["cut"]
    matte[20:80, 250:290] = 255
    assert np.array_equal(behind(picture, matte, landmarks).arrays["cut"], alone)


@pytest.mark.parametrize(("radius", "goes_along"), [(8, True), (14, True), (24, False)])
def test_small_gaps_go_along_and_large_ones_stay(someone, radius: int, goes_along: bool):
    picture, matte, landmarks = someone
    cv2.circle(matte, (150, 132), radius, 0, -1)
    cut = behind(picture, matte, landmarks).arrays["cut"]
    assert (cut[132, 150] == 255) == goes_along


def test_no_two_colours_of_the_background_meet_in_a_hard_line_behind_the_person(someone):
    picture, matte, landmarks = someone
    picture[:, :150][matte[:, :150] == 0] = (200, 40, 40)
    picture[:, 150:][matte[:, 150:] == 0] = (40, 40, 200)
    plate = behind(picture, matte, landmarks).arrays["plate"].astype(int)
    depth = cv2.distanceTransform(matte, cv2.DIST_L2, 5)
    well_inside = (depth > 0.12 * UNIT_PX) & (depth < 0.2 * UNIT_PX)
    steps = np.abs(np.diff(plate, axis=1)).max(axis=2)
    assert steps[well_inside[:, 1:] & well_inside[:, :-1]].max() < 40


def test_ears_that_the_matte_misses_are_cut():
    """On the bundled portrait with a matte that ends with the face."""
    crop = prepare(size=256)["puppet.crop"].arrays
    landmarks, unit_px = (
        crop["landmarks"],
        float(np.linalg.norm(crop["landmarks"][33] - crop["landmarks"][263])),
    )
    face = np.zeros((256, 256), np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(np.rint(landmarks[:, :2]).astype(np.int32)), 255)
    cut = behind(crop["picture"], face, landmarks).arrays["cut"]
    for side, tragus in ((-1, 234), (1, 454)):
        x, y = landmarks[tragus, :2]
        assert cut[int(y), int(x + side * 0.18 * unit_px)] == 255
        assert cut[int(y), int(x + side * 0.60 * unit_px)] == 0


@pytest.mark.parametrize("yaw", [-25, 25])
def test_the_ear_of_a_side_that_is_turned_away_is_not_looked_for(yaw: int):
    landmarks = prepare(size=256)["puppet.crop"].arrays["landmarks"]
    flip = np.array([1, 1, -1], np.float32)
    turned = (landmarks * flip) @ head_rotation(yaw, 0, 0).T * flip
    unit_px = float(np.linalg.norm(turned[33] - turned[263]))
    left, right = ears(turned, unit_px)
    beyond_left = turned[:, 0].min() - left[:, 0].min()
    beyond_right = right[:, 0].max() - turned[:, 0].max()
    near, far = (beyond_left, beyond_right) if yaw > 0 else (beyond_right, beyond_left)
    assert near > 0.12 * unit_px
    assert far < 0.06 * unit_px
