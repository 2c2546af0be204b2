"""Lips of painted mouths, whose edges are known, on the bundled portrait."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.fit import contour, lips, teeth
from personare.engines.puppet.fit.light import cheek_colour, colours_at
from personare.engines.puppet.fit.lip_colours import LOWER_ROWS, UPPER_ROWS
from personare.engines.puppet.fit.rig import JAW_OPEN, JAW_UNITS, Rig, fit
from personare.types import Feature
from tests.unit.puppet_avatars import AA, PP, face_state, prepare

SKIN, LIP, TOOTH, HOLLOW, HAIR = (
    (214, 168, 146),
    (178, 98, 96),
    (226, 218, 190),
    (46, 20, 18),
    (120, 118, 116),
)
INNER = slice(1, -1)
FINE = 4
"""Mouths are painted at this scale, so that their edges are known to a fraction of a pixel."""


@pytest.fixture(scope="module")
def portrait():
    return prepare(size=512)


@dataclass
class Painted:
    """picture: uint8 [512, 512, 3]. points: [468, 3] as the landmarks would be without error, z
    nearer is larger. unit_px: eye distance.
    """

    picture: np.ndarray
    points: np.ndarray
    unit_px: float

    def displaced(self, upper_px: float = 0.0, lower_px: float = 0.0) -> np.ndarray:
        """Points whose inner rows are off by so much, and the rows behind them a little."""
        points = self.points.copy()
        for rows, px in ((UPPER_ROWS, upper_px), (LOWER_ROWS, lower_px)):
            for row, share in zip(rows[:3], (1.0, 0.6, 0.2), strict=True):
                points[row[INNER], 1] += px * share
        return points

    def rig(self, portrait, points: np.ndarray) -> Rig:
        crop = portrait["puppet.crop"].arrays
        landmarks = points * np.float32([1, 1, -1])
        return fit(self.picture, crop["matte"], landmarks, crop["eye_contours"], crop["irises"], 0.0)

    def renderer(self, rig: Rig) -> FaceRenderer:
        return FaceRenderer(
            {"puppet.crop": Feature({"picture": self.picture}), "puppet.rig": rig.to_feature()}
        )


def paint(
    portrait, gap: float, *, inside=TOOTH, moustache=False, seam=False, skin=SKIN, lip=LIP, lip_height=0.05
) -> Painted:
    """A mouth that is `gap` eye distances open in the middle, on the portrait. Sizes of lips
    are in eye distances too.
    """
    crop = portrait["puppet.crop"].arrays
    rig = Rig.from_feature(portrait["puppet.rig"])
    unit_px = rig.eye_distance_px
    points = crop["landmarks"] * np.float32([1, 1, -1])
    picture = cv2.resize(crop["picture"], None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)
    left, right = points[lips.CORNERS[0]], points[lips.CORNERS[1]]
    middle = (left[:2] + right[:2]) / 2
    half = np.float32((right[0] - left[0]) / 2)
    along = np.linspace(-1, 1, 11)[:, None]
    arch = (1 - along**2) ** 0.7
    for rows, side in ((UPPER_ROWS, -1), (LOWER_ROWS, 1)):
        for row, away in zip(rows, np.linspace(0, 1, 4), strict=True):
            x = middle[0] + half * along * (0.9 + 0.1 * away)
            y = middle[1] + side * unit_px * (
                gap / 2 * arch + lip_height * away * (0.15 + 0.85 * arch) * (away > 0)
            )
            points[row, :2] = np.concatenate([x, y], axis=1)
    for row in UPPER_ROWS:
        points[row[[0, -1]], 1] = middle[1]

    def area(upper, lower) -> np.ndarray:
        outline = np.concatenate([points[upper, :2], points[lower, :2][::-1]])
        return np.rint((outline * FINE - 0.5) * 16).astype(np.int32)

    x, y = np.rint(middle).astype(int)
    cv2.rectangle(picture, (FINE * (x - 75), FINE * (y - 34)), (FINE * (x + 75), FINE * (y + 45)), skin, -1)
    cv2.fillPoly(picture, [area(UPPER_ROWS[3], LOWER_ROWS[3])], lip, cv2.LINE_AA, 4)
    if gap > 0:
        cv2.fillPoly(picture, [area(UPPER_ROWS[0], LOWER_ROWS[0])], inside, cv2.LINE_AA, 4)
    if seam:
        cv2.polylines(
            picture, [area(UPPER_ROWS[0], UPPER_ROWS[0])[:11]], False, (70, 30, 30), 2 * FINE, cv2.LINE_AA, 4
        )
    if moustache:
        top = round(float(points[UPPER_ROWS[3], 1].min()))
        strands = np.random.default_rng(1).integers(0, 2, 150)
        for column, dark in enumerate(strands):
            colour = tuple(c - 70 * int(dark) for c in HAIR)
            strand = [(FINE * (x - 75 + column), FINE * (top + end)) for end in (-14, 2)]
            cv2.line(picture, *strand, colour, FINE)
    picture = cv2.resize(picture, crop["picture"].shape[1::-1], interpolation=cv2.INTER_AREA)
    return Painted(cv2.GaussianBlur(picture, (0, 0), 0.7), points.astype(np.float32), unit_px)


def mouth_of(frame: np.ndarray, painted: Painted) -> np.ndarray:
    """float [h, w, 3] around the mouth, within the painted skin."""
    x, y = np.rint(painted.points[list(lips.CORNERS), :2].mean(axis=0)).astype(int)
    return frame[y - 22 : y + 34, x - 50 : x + 50].astype(float)


def toothlike(colours: np.ndarray) -> int:
    """Pixels nearer to tooth than to lip and skin."""
    distances = [np.linalg.norm(colours - np.array(colour), axis=-1) for colour in (TOOTH, LIP, SKIN)]
    return int(((distances[0] < distances[1]) & (distances[0] < distances[2]) & (distances[0] < 40)).sum())


@pytest.mark.parametrize(("upper_px", "lower_px"), [(0, 0), (5, 0), (-3, 4), (6, -2), (3, -4)])
@pytest.mark.parametrize("inside", [TOOTH, HOLLOW])
def test_the_edges_of_open_lips_are_found_within_a_pixel(portrait, upper_px, lower_px, inside):
    painted = paint(portrait, 0.12, inside=inside)
    found = contour.find(painted.displaced(upper_px, lower_px), painted.picture, painted.unit_px).points
    for row in (lips.UPPER_INNER, lips.LOWER_INNER):
        off = found[row[2:-2], 1] - painted.points[row[2:-2], 1]
        assert np.abs(off).max() < 1.0


@pytest.mark.parametrize("px", [-2.0, 2.0])
def test_outer_edges_go_to_where_the_red_ends(portrait, px):
    painted = paint(portrait, 0.12)
    points = painted.points.copy()
    points[np.concatenate([UPPER_ROWS[3, INNER], LOWER_ROWS[3, INNER]]), 1] += px
    found = contour.outer_edges(points, painted.picture, painted.unit_px)
    for row in (UPPER_ROWS[3], LOWER_ROWS[3]):
        assert np.abs(found[row[2:-2], 1] - painted.points[row[2:-2], 1]).max() < 1.0


def test_next_to_skin_as_red_as_the_lips_outer_edges_stay(portrait):
    painted = paint(portrait, 0.12, skin=LIP)
    assert np.array_equal(
        contour.outer_edges(painted.points, painted.picture, painted.unit_px), painted.points
    )


@pytest.mark.parametrize("state", [{}, PP], ids=["at rest", "p, b, m"])
@pytest.mark.parametrize(("upper_px", "lower_px"), [(0, 0), (9, 0), (6, -4)])
def test_shut_lips_show_no_tooth_however_far_off_the_landmarks_are(portrait, state, upper_px, lower_px):
    painted = paint(portrait, 0.12)
    rig = painted.rig(portrait, painted.displaced(upper_px, lower_px))
    assert toothlike(mouth_of(painted.picture, painted)) > 300
    assert toothlike(mouth_of(painted.renderer(rig).render(face_state(state)), painted)) == 0


def test_teeth_that_the_landmarks_have_as_lip_open_the_mouth(portrait):
    """The inner points of both lips lie on the lower lip's edge: by them the mouth is shut."""
    painted = paint(portrait, 0.07)
    points = painted.displaced(upper_px=0.06 * painted.unit_px)
    assert np.abs(lips.gaps(points)[INNER]).max() < 0.03 * painted.unit_px
    settled = lips.settle(points, painted.picture, painted.unit_px)
    assert np.linalg.norm(lips.gaps(settled), axis=1).max() > 0.05 * painted.unit_px


def test_shut_lips_are_as_sharp_and_red_as_the_picture_s_and_meet_in_a_dark_line(portrait):
    painted = paint(portrait, 0.12)
    rig = painted.rig(portrait, painted.points)
    frame = painted.renderer(rig).render(face_state({}))
    shut = rig.points + rig.closure
    middle = slice(3, 8)

    def seen(upper_row: int, lower_row: int, share: float) -> np.ndarray:
        a, b = shut[UPPER_ROWS[upper_row, middle], :2], shut[LOWER_ROWS[lower_row, middle], :2]
        return colours_at(frame, a + (b - a) * np.float32(share))

    seam, lip = seen(0, 0, 0.5), np.concatenate([seen(0, 2, 0.9), seen(2, 0, 0.1)])
    assert seam.mean() < 0.75 * lip.mean()
    assert np.abs(lip - LIP).max() < 30, "the lip's own colour"


def test_the_photo_s_own_teeth_show_in_open_vowels(portrait):
    painted = paint(portrait, 0.12)
    rig = painted.rig(portrait, painted.displaced(5, 0))
    assert toothlike(mouth_of(painted.renderer(rig).render(face_state(AA)), painted)) > 200


def test_lower_teeth_are_not_taken_for_upper_ones(portrait):
    painted = paint(portrait, 0.20, inside=HOLLOW)
    points, picture = painted.points, painted.picture
    upper, lower = points[lips.UPPER_INNER, :2], points[lips.LOWER_INNER, :2]
    for edge, far in ((upper, lower), (lower, upper)):
        row = np.concatenate([edge[2:-2], (edge + (far - edge) * np.float32(0.35))[2:-2][::-1]])
        cv2.fillPoly(picture, [np.rint(row).astype(np.int32)], TOOTH)
    axes = np.float32([[*points[list(lips.CORNERS), :2].mean(axis=0), 0], [1, 0, 0], [0, 1, 0]])
    shown = teeth.photo_teeth(picture, points, axes, painted.unit_px, cheek_colour(picture, points))
    rows = np.flatnonzero((shown.rgba[..., 3] > 128).any(axis=1)) + shown.corner[1]
    assert len(rows)
    assert rows.max() < axes[0, 1], "nothing below the middle of the mouth"


def test_closed_lips_are_left_as_they_are(portrait):
    painted = paint(portrait, 0.0, seam=True)
    rig = painted.rig(portrait, painted.points)
    assert not rig.closure.any()
    assert not rig.lip_roll.any()
    assert np.array_equal(rig.textured(painted.picture), painted.picture)


@pytest.mark.parametrize("turned", [0.0, 0.4])
def test_lips_that_the_landmarks_cross_near_a_corner_are_unfolded(portrait, turned):
    painted = paint(portrait, 0.03)
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]], np.float32)
    good = painted.points.copy()
    good[:, :2] = good[:, :2] @ turn.T
    assert np.allclose(lips.uncrossed(good), good, atol=1e-3)
    crossed, down = good.copy(), turn @ np.float32([0, 1])
    crossed[UPPER_ROWS[0, 1], :2] += 3 * down
    crossed[UPPER_ROWS[1, 1], :2] += 5 * down
    crossed[LOWER_ROWS[2, -2], :2] -= 7 * down
    apart = lips.uncrossed(crossed)
    upper, lower = (apart[rows[:, INNER], :2] @ down for rows in (UPPER_ROWS, LOWER_ROWS))
    assert (np.diff(np.concatenate([upper[::-1], lower]), axis=0) > -1e-3).all()
    touched = np.zeros(len(good), bool)
    touched[np.concatenate([UPPER_ROWS[:, 1], LOWER_ROWS[:, 1], LOWER_ROWS[:, -2]])] = True
    assert np.allclose(apart[~touched], good[~touched], atol=1e-3)
    assert np.abs(apart - good)[touched].max() < 4, "of 7 that the worst was off"
    assert np.allclose(lips.uncrossed(apart), apart, atol=1e-3)


def test_settled_lips_are_not_folded(portrait):
    painted = paint(portrait, 0.0, seam=True)
    crossed = painted.points.copy()
    crossed[UPPER_ROWS[1, 1], 1] += 5
    settled = lips.settle(crossed, painted.picture, painted.unit_px)
    heights = np.concatenate([settled[UPPER_ROWS[::-1, INNER], 1], settled[LOWER_ROWS[:, INNER], 1]])
    assert (np.diff(heights, axis=0) > -0.05).all()


@pytest.mark.parametrize("gap", [0.0, 0.12])
def test_a_moustache_moves_neither_the_seam_nor_the_edges(portrait, gap):
    bare, bearded = (paint(portrait, gap, seam=gap == 0, moustache=m) for m in (False, True))
    settled = [lips.settle(p.points, p.picture, p.unit_px) for p in (bare, bearded)]
    for row in (lips.UPPER_INNER, lips.LOWER_INNER):
        assert np.abs(settled[0][row, 1] - settled[1][row, 1]).max() < 0.75


def test_a_dropped_jaw_rises_to_shut_the_mouth_and_a_smile_s_does_not(portrait):
    chin = 152
    smile, wide = (
        p.rig(portrait, p.points) for p in (paint(portrait, 0.09), paint(portrait, 0.24, inside=HOLLOW))
    )
    for rig in (smile, wide):
        assert np.abs(lips.gaps(rig.points + rig.closure)).max() < 0.1
    assert wide.closure[chin, 1] < -0.05 * wide.eye_distance_px
    assert abs(smile.closure[chin, 1]) < 0.02 * smile.eye_distance_px


def test_a_wider_mouth_opens_by_less_and_shuts_all_the_same(portrait):
    painted = paint(portrait, 0.0, seam=True)
    narrow = painted.points.copy()
    lip = np.unique([*UPPER_ROWS.ravel(), *LOWER_ROWS.ravel(), *lips.CORNERS])
    middle = narrow[list(lips.CORNERS), 0].mean()
    narrow[lip, 0] = middle + 0.72 * (narrow[lip, 0] - middle)
    usual, wide = (painted.rig(portrait, points) for points in (narrow, painted.points))
    upper, lower = lips.UPPER_INNER[5], lips.LOWER_INNER[5]
    drops = [rig.deltas[JAW_OPEN, lower, 1] for rig in (usual, wide)]
    assert 0.8 * drops[0] < drops[1] < 0.97 * drops[0]
    for rig, drop in zip((usual, wide), drops, strict=True):
        shut = rig.deltas[JAW_UNITS].sum(axis=0)
        assert abs(shut[lower, 1] - shut[upper, 1]) < 0.2 * drop


def test_the_seam_of_a_grey_picture_is_grey(portrait):
    grey = {"skin": (180, 180, 180), "lip": (120, 120, 120)}
    painted = paint(portrait, 0.16, inside=(30, 30, 30), **grey)
    painted.picture[:] = painted.picture.mean(axis=2, keepdims=True)
    rig = painted.rig(portrait, painted.points)
    assert (np.ptp(rig.lip_patch.astype(int), axis=2) <= 2).all()


def test_parting_the_lips_is_continuous(portrait):
    """Nothing switches: small steps of the jaw change the picture by small steps."""
    painted = paint(portrait, 0.12)
    renderer = painted.renderer(painted.rig(portrait, painted.displaced(5, 0)))
    frames = [
        mouth_of(renderer.render(face_state({"jawOpen": jaw})), painted) for jaw in np.arange(0, 0.30, 0.01)
    ]
    steps = np.array([np.abs(b - a).mean() for a, b in pairwise(frames)])
    assert steps.max() < 3 * np.median(steps)
