"""What emotions do to a face, in eye distances: how far brows, lids and corners of the mouth
go, and which way.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw import lids
from personare.engines.puppet.draw.deform import pose
from personare.engines.puppet.fit import brows, eyes, frown, lips
from personare.engines.puppet.fit.rig import FLIP_Y, Rig
from personare.engines.puppet.move.emotion import EMOTIONS, offsets
from personare.heads import MIRROR, head468
from personare.motion import ARKIT_UNITS, UNIT, FaceState
from tests.unit.puppet_avatars import PP, face_state, prepare

UNIT_PX, SIZE = 200.0, 480
INNER, MIDDLE, OUTER = (55, 285), (52, 282), (46, 276)
RIGHT_BROW = [*brows.RIGHT_LOWER_EDGE, *brows.RIGHT_UPPER_EDGE]
SKIN = (190, 150, 130)


def neutral_points() -> np.ndarray:
    """The bundled face, from the front, in a picture: y down."""
    return (head468().neutral * [UNIT_PX, -UNIT_PX, UNIT_PX] + [SIZE / 2, SIZE * 0.5, 0]).astype(np.float32)


def bare(fringe_from: float | None = None) -> np.ndarray:
    """A picture of skin; of hair above this height over the eyes, in eye distances."""
    picture = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    if fringe_from is not None:
        picture[: round(SIZE * 0.5 - fringe_from * UNIT_PX)] = (60, 40, 30)
    return picture


def deltas_of(
    picture: np.ndarray, points: np.ndarray | None = None, glasses: bool = False
) -> dict[str, np.ndarray]:
    points = neutral_points() if points is None else points
    found = brows.brow_deltas(head468().neutral, points, picture, UNIT_PX, glasses)
    return {ARKIT_UNITS[unit]: delta for unit, delta in zip(brows.UNITS, found, strict=True)}


@pytest.fixture(scope="module")
def units() -> dict[str, np.ndarray]:
    return deltas_of(bare())


def test_brows_go_as_far_as_faces_do(units) -> None:
    assert (
        0.10 < units["browInnerUp"][list(INNER), 1].min() <= units["browInnerUp"][list(INNER), 1].max() < 0.16
    )
    assert units["browInnerUp"][list(OUTER), 1].max() < 0.03
    assert 0.08 < units["browOuterUpRight"][53, 1] < 0.13
    assert -0.10 < units["browDownRight"][55, 1] < -0.06
    assert 0.02 < units["browDownRight"][55, 0] < 0.05, "to the middle"
    assert not units["browDownRight"][list(RIGHT_BROW), 2].any()


def test_both_sides_are_each_others_mirror(units) -> None:
    mirror = np.array(MIRROR)
    for right, left in (
        ("browDownRight", "browDownLeft"),
        ("browOuterUpRight", "browOuterUpLeft"),
        ("browInnerUp", "browInnerUp"),
    ):
        np.testing.assert_allclose(units[left][mirror] * [-1, 1, 1], units[right], atol=0.004)


def test_a_brow_goes_as_one_piece_and_the_face_around_it_gives_way(units) -> None:
    for unit in units.values():
        thickness = unit[list(brows.RIGHT_UPPER_EDGE), 1] - unit[list(brows.RIGHT_LOWER_EDGE), 1]
        assert np.abs(thickness).max() < 0.015
    raised = units["browInnerUp"] + units["browOuterUpRight"] + units["browOuterUpLeft"]
    assert np.abs(raised[[10, 109, 67, 103, 54, 21]]).max() < 0.01, "the outline stays"
    assert np.abs(raised[[159, 145, 33, 133]]).max() < 0.015, "so do the lids"
    column = [159, 27, 223, 52, 105, 69, 67]
    for weight in (1, -1):
        moved = head468().neutral[column, 1] + (raised if weight == 1 else units["browDownRight"])[column, 1]
        assert (np.diff(moved) > 0).all(), "nothing folds over"


def test_a_low_brow_does_not_cover_the_eye() -> None:
    points = neutral_points()
    low = points.copy()
    low[RIGHT_BROW, 1] += 0.09 * UNIT_PX
    freely, near = (deltas_of(bare(), p)["browDownRight"][52, 1] for p in (points, low))
    assert freely < near < 0
    assert low[52, 1] - near * UNIT_PX < low[159, 1], "still above the lid"


def test_a_brow_stays_below_the_hair_and_glasses_hold_what_is_below_it() -> None:
    free, fringe = deltas_of(bare()), deltas_of(bare(fringe_from=0.36))
    assert fringe["browInnerUp"][107, 1] < 0.9 * free["browInnerUp"][107, 1]
    assert np.abs(fringe["browInnerUp"][[108, 69, 104]]).max() < 0.01 < np.abs(free["browInnerUp"][108]).max()
    framed = deltas_of(bare(), glasses=True)
    assert np.abs(framed["browDownRight"][[223, 27, 168, 6]]).max() < 0.005
    assert 0.5 < framed["browInnerUp"][55, 1] / free["browInnerUp"][55, 1] < 0.9


def test_a_frown_takes_the_photos_smile_away_and_a_smile_its_frown() -> None:
    head = head468()
    results = {}
    for name, rise in (("level", 0.0), ("smiling", 0.08), ("frowning", -0.08)):
        shut = head.neutral.copy()
        shut[[61, 291, 78, 308], 1] = shut[13, 1] + frown.LEVEL + rise
        units, deltas = frown.frown_deltas(head, shut)
        results[name] = {ARKIT_UNITS[unit]: delta for unit, delta in zip(units, deltas, strict=True)}
    corner = 61
    falls = {name: units["mouthFrownRight"][corner, 1] for name, units in results.items()}
    assert -0.10 < falls["level"] < -0.06
    assert falls["smiling"] < falls["level"] - 0.06
    rises = {name: units["mouthSmileRight"][corner, 1] for name, units in results.items()}
    assert rises["frowning"] > rises["level"] + 0.04
    puckered = {name: units["mouthPucker"][corner, 1] for name, units in results.items()}
    assert puckered["smiling"] < puckered["level"] - 0.02, "puckered lips take a share of it too"
    assert puckered["smiling"] > puckered["level"] - 0.06, "but a small one"
    for units in results.values():
        fall = units["mouthFrownRight"] + units["mouthFrownLeft"]
        np.testing.assert_allclose(fall[lips.UPPER_INNER, 1], fall[lips.LOWER_INNER, 1], atol=1e-6)


@pytest.fixture(scope="module")
def rig() -> Rig:
    """Of the bundled portrait: a smile that shows its teeth."""
    return Rig.from_feature(prepare(size=512)["puppet.rig"])


def displaced(rig: Rig, emotion: str) -> np.ndarray:
    """From rest to the emotion, per face point: right and up, in eye distances."""
    rest = pose(rig, face_state()).skin.vertices
    worn = pose(rig, FaceState(offsets(emotion), 0.0, (0, 0, 0), (0.0, 0.0), (0.0, 0.0))).skin.vertices
    return np.asarray((worn - rest)[:468] * FLIP_Y / rig.eye_distance_px)


def test_every_emotion_is_told_by_where_the_face_goes(rig: Rig) -> None:
    happy, sad, surprised, angry = (displaced(rig, name) for name in ("happy", "sad", "surprised", "angry"))

    def up(moved: np.ndarray, *places: int) -> float:
        return float(moved[list(places), 1].mean())

    corners, lids, lower_lids, cheeks = (61, 291), (159, 386), (145, 374), (50, 280)
    assert up(happy, *corners) > 0.05
    assert up(happy, *cheeks) > 0.03
    assert up(happy, *lower_lids) > 0.01
    assert abs(up(happy, *INNER)) < 0.02

    assert up(sad, *INNER) > 0.04
    assert up(sad, *INNER) > up(sad, *OUTER) + 0.04, "oblique"
    assert up(sad, *corners) < -0.06
    assert up(sad, *lids) < -0.005

    assert min(up(surprised, *INNER), up(surprised, *MIDDLE)) > 0.05
    assert up(surprised, *lids) > 0.015
    assert -0.13 < up(surprised, 17) < -0.03

    assert up(angry, *INNER) < -0.045
    assert float(angry[55, 0] - angry[285, 0]) > 0.04, "together"
    assert up(angry, *lower_lids) > 0.005
    assert up(angry, 129, 358) > 0.005
    assert up(angry, *corners) < -0.03


def test_no_two_emotions_look_alike(rig: Rig) -> None:
    faces = {name: displaced(rig, name) for name in EMOTIONS}
    for name, face in faces.items():
        for other, against in faces.items():
            if name < other:
                assert np.linalg.norm(face - against, axis=1).max() > 0.05, (name, other)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_worn_corners_leave_shut_lips_shut(rig: Rig, emotion: str) -> None:
    """Of p, b, m on a photo whose mouth is open, with all that an emotion keeps there."""
    state = face_state(PP)
    kept = [name for name in UNIT if name.startswith(("mouthSmile", "mouthFrown", "mouthDimple"))]
    state.curves[[UNIT[name] for name in kept]] += offsets(emotion)[[UNIT[name] for name in kept]]
    vertices = pose(rig, state).skin.vertices
    gap = vertices[lips.LOWER_INNER, 1] - vertices[lips.UPPER_INNER, 1]
    assert gap.max() < 0.012 * rig.eye_distance_px


def test_long_lashes_are_told_from_short_ones_and_painted_out() -> None:
    picture = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    points = neutral_points()
    colours = np.full((2, 3), SKIN, np.float32)
    assert not eyes.long_lashes(picture, points, colours, UNIT_PX).any()
    for lid, crease in zip(eyes.UPPER_LIDS, eyes.CREASES, strict=True):
        for start, end in zip(points[lid[1:-1], :2], points[crease, :2], strict=True):
            for aside in (-5, 0, 5):
                places = np.stack([start, end + 0.8 * (end - start)]) + np.array(
                    [[aside, 0], [1.5 * aside, 0]]
                )
                cv2.polylines(
                    picture, [np.rint(places * 16).astype(np.int32)], False, (25, 20, 20), 2, cv2.LINE_AA, 4
                )
    assert eyes.long_lashes(picture, points, colours, UNIT_PX).min() > 0.5
    drawn = picture.copy()
    lids.bare_lid(drawn, points, 0, UNIT_PX, 1.0)
    lid = points[eyes.CREASES[0], :2].astype(int)
    before, after = (image[lid[:, 1], lid[:, 0]].mean() for image in (picture, drawn))
    assert after > before
    assert np.array_equal(drawn[:, SIZE // 2 :], picture[:, SIZE // 2 :])
