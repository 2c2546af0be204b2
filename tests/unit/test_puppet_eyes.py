"""Lids, eyeballs, gaze and lashes, on the rig and on drawn pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw import lids
from personare.engines.puppet.draw.deform import pose
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.fit import eyes, large_eyes
from personare.engines.puppet.fit.rig import Rig
from personare.types import Feature
from tests.unit.puppet_avatars import BLINK, face_state, prepare


@pytest.fixture(scope="module")
def avatar():
    return prepare(size=512)


@pytest.fixture(scope="module")
def rig(avatar):
    return Rig.from_feature(avatar["puppet.rig"])


def test_shut_lids_meet_along_the_whole_eye(rig):
    vertices = pose(rig, face_state(BLINK)).skin.vertices
    slit = vertices[eyes.LOWER_LIDS, 1] - vertices[eyes.UPPER_LIDS, 1]
    assert slit.max() < 0.3, "pixels"
    open_eyes = rig.points[eyes.LOWER_LIDS, 1] - rig.points[eyes.UPPER_LIDS, 1]
    assert open_eyes.max() > 8


def test_shut_lids_meet_on_a_smooth_line_though_the_lower_one_wavers(rig):
    points = rig.points[:468].copy()
    for lower in eyes.LOWER_LIDS:
        points[lower[2:-1:2], 1] += 0.02 * rig.eye_distance_px
    shut = points[:, :2] + eyes.blink_deltas(points)[..., :2].sum(axis=0)

    def wavers(places):
        x, y = places.T - places.mean(axis=0)[:, None]
        return np.abs(y - np.polyval(np.polyfit(x, y, 3), x)).max() / rig.eye_distance_px

    for upper, lower in zip(eyes.UPPER_LIDS, eyes.LOWER_LIDS, strict=True):
        assert wavers(points[lower, :2]) > 0.009
        assert wavers(shut[upper]) < 0.004


def test_eyes_that_go_on_below_the_lids_that_were_found_do_not_blink(avatar, rig):
    """Iris painted far below either lower lid, as in a drawing with huge eyes."""
    crop = avatar["puppet.crop"].arrays
    picture, points = crop["picture"].copy(), rig.points[:468]
    assert eyes.end_at_their_lids(picture, points, crop["irises"], rig.eye_distance_px)
    for lower, iris in zip(eyes.LOWER_LIDS, crop["irises"], strict=True):
        middle = points[lower[4], :2] + (0, 0.03 * rig.eye_distance_px)
        radius = round(0.13 * rig.eye_distance_px)
        for place in (iris[0], middle):
            cv2.circle(picture, tuple(int(v) for v in place), radius, (30, 60, 160), -1)
    assert not eyes.end_at_their_lids(picture, points, crop["irises"], rig.eye_distance_px)


def test_eyes_larger_than_any_persons_are_found_and_shut_whole(avatar, rig):
    crop, unit = avatar["puppet.crop"].arrays, rig.eye_distance_px
    picture, points = crop["picture"].copy(), rig.points[:468]
    assert large_eyes.outlines(picture, points, unit) is None
    half = np.array([0.27, 0.31]) * unit
    middles = [
        points[np.concatenate(lids), :2].mean(0)
        for lids in zip(eyes.UPPER_LIDS, eyes.LOWER_LIDS, strict=True)
    ]
    cv2.rectangle(
        picture, *((m + (-1) ** i * -unit).astype(int) for i, m in enumerate(middles)), (230, 180, 150), -1
    )
    for middle in middles:
        for share, colour in ((1, (60, 40, 40)), (0.93, (245, 245, 250)), (0.6, (120, 80, 50))):
            axes = np.rint(share * half).astype(int)
            cv2.ellipse(picture, np.rint(middle).astype(int), axes, 0, 0, 360, colour, -1)
    found = large_eyes.outlines(picture, points, unit)
    assert found is not None
    assert np.abs(found[:, :2] - middles).max() < 0.03 * unit
    assert np.abs(found[:, 2:] - half).max() < 0.04 * unit
    laid = large_eyes.laid_on(points, found)
    shut = laid + eyes.blink_deltas(laid, drawn=True).sum(axis=0)
    for upper, lower in zip(eyes.UPPER_LIDS, eyes.LOWER_LIDS, strict=True):
        assert (laid[lower[4], 1] - laid[upper[4], 1]) > 0.55 * unit
        assert np.allclose(shut[lower, 1], laid[lower, 1], atol=0.02 * unit), "the lower lid stays"
        assert (shut[lower, 1] - shut[upper, 1]).max() < 0.3


def test_a_shut_lid_shows_what_was_above_the_eye(rig):
    texture = pose(rig, face_state(BLINK)).skin.texture
    slid = rig.points[eyes.UPPER_LIDS, 1] - texture[eyes.UPPER_LIDS, 1]
    assert (slid[:, 1:-1] > 0).all()
    assert np.allclose(slid[:, [0, -1]], 0)


def test_no_lashes_are_stretched_over_a_half_shut_eye(avatar, rig):
    """The photo's own lashes, painted green: by half a blink five sixths of them have slid out
    of sight. (Did they slide as the lid does, a quarter would be left.)
    """
    crop = avatar["puppet.crop"]
    picture = crop.arrays["picture"].copy()
    for upper, slide in zip(eyes.UPPER_LIDS, rig.lid_slide, strict=True):
        edge = rig.points[upper, :2]
        lashes = np.concatenate([edge, (edge + 0.6 * slide[upper])[::-1]])
        cv2.fillPoly(picture, [np.rint(lashes - 0.5).astype(np.int32)], (0, 255, 0))
    painted = FaceRenderer({**avatar, "puppet.crop": Feature({**crop.arrays, "picture": picture})})

    def green(blink: float) -> float:
        frame = painted.render(face_state({"eyeBlink": blink})).astype(int)
        return float((frame[..., 1] - frame[..., ::2].max(axis=-1)).clip(0).sum())

    assert green(0) > 100 * 255
    assert green(0.5) < green(0) / 6


def test_eyeball_triangles_tile_the_eye(rig):
    for eyeball in rig.eyeballs:
        area = sum(
            cv2.contourArea(np.ascontiguousarray(eyeball[triangle, :2]))
            for triangle in eyes.eyeball_triangles()
        )
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
        lids.draw_lashes(frame, line, np.zeros(3, np.float32), 100.0, 0.0, 1.0)
    assert frame.min() < 150
    assert (frame[20:] == 200).all()


def test_the_crease_takes_no_hair_of_a_low_brow_along(rig):
    """On a picture that is dark from just above the creases upwards, against one that is bare
    skin.
    """
    points = rig.points[:468] * 3
    bare = np.full((1536, 1536, 3), 200, np.uint8)
    low_brow = bare.copy()
    for x, y in points[eyes.CREASES.ravel(), :2]:
        low_brow[: int(y) - 1, int(x) - 5 : int(x) + 6] = 40
    for eye, creases in enumerate(eyes.CREASES):
        free, held = (
            np.abs(eyes.lid_slides(points, picture)[eye, creases[2:5]]).sum() for picture in (bare, low_brow)
        )
        assert free > 9, "pixels"
        assert held < 0.75 * free


def test_a_lid_in_deep_shadow_takes_on_more_of_the_skins_colour(rig):
    """A little darker than skin stays nearly as it is; a black one does not stay black; a half
    blink does half.
    """
    skin = np.array([210, 150, 120], np.float32)
    vertices, lid = rig.points, rig.points[eyes.CREASES[0][3], :2]
    inside = tuple(int(v) for v in ((lid + rig.points[eyes.UPPER_LIDS[0][4], :2]) / 2)[::-1])

    def shut(level: float, blink: float) -> float:
        frame = np.full((512, 512, 3), skin * level, np.float32).astype(np.uint8)
        lids.smooth_lid(frame, vertices, 0, skin, rig.eye_distance_px, blink)
        return float(frame[inside].mean() / skin.mean())

    gained = [(shut(level, 1.0) - level) / (1 - level) for level in (0.85, 0.6, 0.2)]
    assert gained[0] < gained[1] < gained[2]
    assert 0 < shut(0.2, 0.4) < shut(0.2, 1.0)


def test_lashes_end_at_the_corners_of_the_lid():
    frame = np.full((60, 200, 3), 200, np.uint8)
    line = np.stack([np.linspace(40, 160, 30), np.full(30, 30)], axis=1).astype(np.float32)
    lids.draw_lashes(frame, line, np.zeros(3, np.float32), 200.0, 0.0, 1.0)
    row = frame[29:31, :, 0].min(axis=0).astype(int)
    assert row[100] < 120
    assert (row[[41, 158]] > 180).all(), "no blunt ends"


def test_a_shut_lid_is_lit_like_a_ball_and_has_the_pictures_grain(rig):
    """On plain skin: lightest over the eyeball, darkest at its edge, and as rough as the cheek."""
    skin = np.array([180, 140, 120], np.float32)
    picture = np.full((512, 512, 3), skin, np.uint8)
    upper, crease = eyes.UPPER_LIDS[0], eyes.CREASES[0]
    # As if the eye were shut: its edge well below the crease.
    shut = rig.points.copy()
    shut[upper[1:-1], 1] = shut[crease, 1] + 0.16 * rig.eye_distance_px
    plain = picture.copy()
    lids.smooth_lid(plain, shut, 0, skin, rig.eye_distance_px, 1.0)
    edge, top = shut[upper[4], :2], shut[crease[3], :2]
    middle, near_edge = ((edge + share * (top - edge)).astype(int) for share in (0.5, 0.15))
    assert plain[middle[1], middle[0]].mean() > plain[near_edge[1], near_edge[0]].mean()
    noise = np.random.default_rng(0).normal(0, 5, (512, 512, 1))
    noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
    fine = lids.grain(noisy, rig.points, rig.eye_distance_px)
    assert 3 < fine.std() < 6
    assert lids.grain(picture, rig.points, rig.eye_distance_px).std() < 0.5
    rough = picture.copy()
    lids.smooth_lid(rough, shut, 0, skin, rig.eye_distance_px, 1.0, fine)
    assert np.abs(rough.astype(int) - plain).max() > 5
