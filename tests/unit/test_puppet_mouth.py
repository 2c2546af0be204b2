"""The drawn inside of the mouth: teeth, tones, sprites."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.deform import pose, relaxation
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.draw.mouth import MouthInterior, smooth_line
from personare.engines.puppet.fit import light, lips, teeth
from personare.engines.puppet.fit.rig import Rig
from personare.media.image import read_image
from tests.unit.puppet_avatars import AA, PORTRAIT, face_state, prepare, write_picture


@pytest.fixture(scope="module")
def avatar():
    return prepare(size=256)


@pytest.fixture(scope="module")
def rig(avatar):
    return Rig.from_feature(avatar["puppet.rig"])


def middle_of_mouth(avatar, rig, state) -> np.ndarray:
    """Colours float [n, 3] of the pixels well between the lips."""
    opening, (x, y) = MouthInterior(rig).opening(pose(rig, state))
    frame = FaceRenderer(avatar).render(state)[y : y + opening.shape[0], x : x + opening.shape[1]]
    return frame[opening > 0.9].astype(float)


@pytest.mark.parametrize("row", [teeth.UPPER, teeth.LOWER])
def test_teeth_bite_at_their_origin_and_are_symmetric(row):
    sprite = teeth.sprite(row, 2.0)
    x, y = sprite.origin
    inside = slice(0, round(y)) if row is teeth.UPPER else slice(round(y), None)
    outside = slice(round(y) + 2, None) if row is teeth.UPPER else slice(0, round(y) - 2)
    assert sprite.alpha[inside, round(x) - 4].max() > 0.95
    assert sprite.alpha[outside].max() < 0.05
    assert np.allclose(sprite.alpha, sprite.alpha[:, ::-1], atol=1e-4)
    assert (sprite.rgb <= 255.5 * sprite.alpha[..., None] + 1e-3).all(), "premultiplied"


def test_teeth_are_ivory_not_grey_nor_blue():
    sprite = teeth.sprite(teeth.UPPER, 3.0)
    x, y = sprite.origin
    crown = (
        sprite.rgb[round(y) - 20 : round(y) - 8, round(x) - 20 : round(x) + 20].reshape(-1, 3).mean(axis=0)
    )
    assert crown[0] > crown[1] > crown[2] > 150


def test_sprites_keep_their_measure_at_any_scale():
    small, large = teeth.sprite(teeth.UPPER, 1.0), teeth.sprite(teeth.UPPER, 4.0)
    for name in ("alpha",):
        wide = [getattr(s, name).sum() / s.px_per_mm**2 for s in (small, large)]
        assert wide[0] == pytest.approx(wide[1], rel=0.04)


@pytest.mark.parametrize(
    "toning", [np.ones(3), np.array([1.0, 0.92, 0.76])], ids=["black and white", "sepia"]
)
def test_the_mouth_of_a_picture_without_colours_has_its_tone(tmp_path, toning):
    grey = cv2.cvtColor(read_image(PORTRAIT), cv2.COLOR_RGB2GRAY)[..., None]
    toned = prepare(write_picture(tmp_path / "toned.png", np.rint(grey * toning).astype(np.uint8)), size=256)
    inside = middle_of_mouth(toned, Rig.from_feature(toned["puppet.rig"]), face_state(AA))
    wanted = inside.mean(axis=1, keepdims=True) * toning / toning.mean()
    assert len(inside) > 100
    assert np.abs(inside - wanted).max() < 6


def test_the_mouth_of_a_picture_with_colours_keeps_its_own(avatar, rig):
    inside = middle_of_mouth(avatar, rig, face_state(AA))
    assert np.array_equal(rig.mouth_colours, np.eye(3))
    assert (inside[:, 0] - inside[:, 1]).max() > 40, "a tongue is red"


def test_an_open_mouth_is_no_black_hole(avatar, rig):
    inside = middle_of_mouth(avatar, rig, face_state(AA))
    assert len(inside) > 100
    assert inside.mean() > 55
    assert (inside.max(axis=1) > 150).mean() > 0.15, "teeth are seen"


def test_a_raised_tongue_is_seen(avatar, rig):
    low, high = (middle_of_mouth(avatar, rig, face_state(AA, tongue=t)) for t in (0.0, 1.0))

    def redness(colours: np.ndarray) -> float:
        return float(np.clip(colours[:, 0] - colours[:, 1], 0, None).sum())

    assert redness(high) > 1.05 * redness(low)


def test_upper_teeth_stay_with_the_head_and_lower_teeth_go_with_the_jaw(avatar, rig):
    """The upper part of the mouth hardly changes while the jaw drops further."""
    less, more = (
        FaceRenderer(avatar).render(face_state({"jawOpen": jaw})).astype(int) for jaw in (0.40, 0.50)
    )
    x, y = np.rint(rig.mouth_axes[0, :2] + [0, 0.02 * rig.eye_distance_px]).astype(int)
    upper = np.abs(less - more)[y - 1 : y + 2, x - 6 : x + 7].mean()
    lip = np.abs(less - more)[y : y + round(0.35 * rig.eye_distance_px), x - 6 : x + 7].mean()
    assert upper < 0.5 * lip


def test_light_follows_the_skin():
    bright, dim = light.mouth_light(np.float32([210, 165, 145])), light.mouth_light(np.float32([105, 82, 72]))
    assert bright.mean() == pytest.approx(1.05, abs=0.1)
    assert dim.mean() < 0.65
    yellow = light.mouth_light(np.float32([200, 150, 60]))
    assert yellow[0] > yellow[1] > yellow[2], "yellow light, and no green in it"


def test_smooth_line_goes_through_its_points():
    points = np.float32([[0, 0], [1, 2], [3, 1], [4, 4]])
    line = smooth_line(points)
    assert line.shape == (13, 2)
    assert np.allclose(line[::4], points, atol=1e-6)


def closed_mouth(gap_px: float) -> np.ndarray:
    """Face points with lips around y = 50, 60 px wide, eye distance 100."""
    points = np.zeros((468, 3), np.float32)
    points[:, :2] = [-500, -500]
    x = np.linspace(20, 80, 11)
    for row, distance in enumerate((0, 2, 5, 9)):
        points[lips.UPPER_ROWS[row], :2] = np.stack([x, np.full(11, 50 - distance - gap_px / 2)], axis=1)
        points[lips.LOWER_ROWS[row], :2] = np.stack([x, np.full(11, 50 + distance + gap_px / 2)], axis=1)
    points[[lips.UPPER_INNER[0], lips.UPPER_INNER[-1]], 1] = 50
    return points


def test_closed_lips_settle_on_the_dark_line():
    picture = np.full((100, 100, 3), 180, np.uint8)
    picture[52:54, 15:85] = 60
    settled = lips.settle(closed_mouth(1.0), picture, 100.0)
    between = slice(1, -1)
    assert np.allclose(settled[lips.UPPER_INNER[between], 1], 53, atol=0.6)
    assert np.array_equal(settled[lips.UPPER_INNER], settled[lips.LOWER_INNER])


def test_without_a_line_closed_lips_stay_where_the_landmarks_are():
    picture = np.full((100, 100, 3), 180, np.uint8)
    settled = lips.settle(closed_mouth(1.0), picture, 100.0)
    assert np.allclose(settled[lips.UPPER_INNER, 1], 50, atol=0.2)


def test_an_open_mouth_is_told_from_a_closed_one_by_what_it_shows():
    """The landmarks of both are the same."""
    lip, tooth, hollow = (190, 120, 115), (225, 215, 200), (40, 18, 15)
    points = closed_mouth(4.0)
    for between, shows in ((lip, False), (tooth, True), (hollow, True)):
        picture = np.full((100, 100, 3), lip, np.uint8)
        picture[48:52, 20:80] = between
        assert lips.shows_its_inside(points, picture, 100.0) == shows


def test_closure_brings_open_lips_together():
    points = closed_mouth(10.0)
    shut = points + lips.closure_delta(points, 100.0)
    assert np.abs(lips.gaps(shut)).max() < 1e-3
    assert (shut[lips.LOWER_ROWS[3], 1] > shut[lips.LOWER_INNER, 1])[1:-1].all(), (
        "the lip keeps its thickness"
    )


def test_shut_lips_show_what_is_safely_inside_them():
    points = closed_mouth(10.0)
    shift = lips.tuck(points, 100.0)
    between = slice(1, -1)
    assert (shift[lips.UPPER_INNER[between], 1] < -1).all()
    assert (shift[lips.LOWER_INNER[between], 1] > 1).all()
    assert not lips.tuck(closed_mouth(0.0), 100.0).any()


def shows_teeth(picture, rig) -> bool:
    points, unit_px = rig.points[:468], rig.eye_distance_px
    skin = light.cheek_colour(picture, points)
    return bool(teeth.photo_teeth(picture, points, rig.mouth_axes, unit_px, skin).rgba[..., 3].any())


def between_lips(picture, rig) -> np.ndarray:
    """bool [S, S]"""
    mask = np.zeros(picture.shape[:2], np.uint8)
    outline = np.concatenate([rig.points[lips.UPPER_INNER, :2], rig.points[lips.LOWER_INNER[::-1], :2]])
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    return mask > 0


def test_only_a_whole_row_of_teeth_is_the_pictures_own(avatar, rig):
    """Not a glossy lip, which is as red as the cheek, nor what covers one half of the mouth."""
    picture = avatar["puppet.crop"].arrays["picture"]
    mouth = between_lips(picture, rig)
    assert shows_teeth(picture, rig)
    glossy = picture.copy()
    glossy[mouth] = np.rint(glossy[mouth] * [1.0, 0.62, 0.62]).astype(np.uint8)
    assert not shows_teeth(glossy, rig)
    half = picture.copy()
    half[mouth & (np.arange(picture.shape[1]) > rig.mouth_axes[0, 0])] = (40, 20, 20)
    assert not shows_teeth(half, rig)


def test_the_pictures_teeth_hardly_tint_the_drawn_ones(avatar, rig):
    picture = avatar["puppet.crop"].arrays["picture"].copy()
    mouth = between_lips(picture, rig)
    picture[mouth] = np.rint(picture[mouth] * [1.0, 0.95, 0.6]).astype(np.uint8)
    points, skin = rig.points[:468], light.cheek_colour(picture, rig.points)
    own = teeth.photo_teeth(picture, points, rig.mouth_axes, rig.eye_distance_px, skin)
    assert own.rgba[..., 3].any()
    cast, usual = own.light / own.light.mean(), light.mouth_light(skin) / light.mouth_light(skin).mean()
    assert np.abs(cast / usual - 1).max() < 0.1


def test_round_lips_shade_the_teeth(avatar, rig):
    open_mouth, rounded = (
        middle_of_mouth(avatar, rig, face_state({"jawOpen": 0.3, "mouthFunnel": 0.3, "mouthPucker": pucker}))
        for pucker in (0.0, 0.5)
    )
    assert np.percentile(rounded.mean(axis=1), 90) < 0.85 * np.percentile(open_mouth.mean(axis=1), 90)


def test_a_smile_of_the_picture_relaxes_as_the_mouth_opens(rig):
    """Its corners come in and down; while the lips are shut, also over a lowered jaw, it stays."""
    assert rig.smile > 0.5
    aa = face_state(AA)
    assert relaxation(rig, aa.curves) > 0.15
    assert relaxation(rig, face_state({"jawOpen": 0.3, "mouthClose": 0.3}).curves) == 0
    serious = replace(rig, mouth_axes=rig.mouth_axes * np.array([[1], [1], [-1]], np.float32))
    assert serious.smile == 0
    relaxed, kept = (pose(face, aa).skin.vertices[list(lips.CORNERS)] for face in (rig, serious))
    assert (relaxed[:, 1] > kept[:, 1] + 0.01 * rig.eye_distance_px).all()
    assert np.linalg.norm(relaxed[0] - relaxed[1]) < np.linalg.norm(kept[0] - kept[1])


def test_a_lower_lip_that_goes_down_does_not_bare_a_row_of_lower_teeth(avatar, rig):
    def teeth_below(lip: float) -> int:
        state = face_state({"jawOpen": 0.4, "mouthLowerDown": lip})
        opening, (x, y) = MouthInterior(rig).opening(pose(rig, state))
        frame = FaceRenderer(avatar).render(state)[y : y + opening.shape[0], x : x + opening.shape[1]]
        below = (opening > 0.9) & (np.arange(len(opening)) > 0.55 * len(opening))[:, None]
        red, green = (frame[..., channel].astype(int) for channel in (0, 1))
        return int((below & (red > 90) & (red - green < 30)).sum())

    assert teeth_below(1.0) < 1.5 * teeth_below(0.0) + 8


def test_round_lips_meet_beside_a_dark_opening(rig):
    """Lips that say "oo" part in the middle only, and hardly a tooth is seen between them."""
    oo = face_state({"jawOpen": 0.06, "mouthPucker": 0.8, "mouthFunnel": 0.4})
    vertices = pose(rig, oo).skin.vertices
    gap = vertices[list(lips.LOWER_INNER), 1] - vertices[list(lips.UPPER_INNER), 1]
    assert gap[5] > 0.01 * rig.eye_distance_px
    assert np.abs(gap[[1, 2, 8, 9]]).max() < 0.35 * gap[5]


def test_a_mouth_caught_in_a_word_opens_by_its_jaw_alone(rig):
    """What a smile has parted stays parted by a share; what a word has does not."""
    level = replace(rig, mouth_axes=rig.mouth_axes * np.array([[1], [1], [0]], np.float32))
    assert rig.smile > 0.5
    assert level.smile == 0
    openings = []
    for kind in (rig, level):
        vertices = pose(kind, face_state({"jawOpen": 0.3})).skin.vertices
        openings.append(float(vertices[lips.LOWER_INNER[5], 1] - vertices[lips.UPPER_INNER[5], 1]))
    assert openings[1] < openings[0]


def test_narrow_mouths_have_smaller_teeth(rig):
    points = rig.points.copy()
    points[[61, 291], 0] = points[[61, 291], 0].mean() + np.array([-0.22, 0.22]) * rig.eye_distance_px
    narrow = replace(rig, points=points)
    assert 0.7 <= narrow.teeth_scale < 0.9
    assert rig.teeth_scale == 1
