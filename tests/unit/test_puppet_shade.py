"""Shading that follows the expression, and glasses that hold the face below them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.draw.shade import CROWS_FEET, FOREHEAD, SkinShade, marks_on
from personare.engines.puppet.fit.rig import BLINKS, Rig
from personare.heads import CHIN, head468
from personare.media.image import read_image
from personare.motion import UNIT
from personare.perception import find_face
from tests.unit.puppet_avatars import AA, BLINK, face_state, prepare, write_picture

SIZE = 240
UNIT_PX = 100.0
GREY_SKIN = np.full(3, 180, np.float32)


def face_points() -> np.ndarray:
    """The bundled face from the front in the middle of a picture."""
    return (head468().neutral * [UNIT_PX, -UNIT_PX, UNIT_PX] + [SIZE / 2, SIZE * 0.35, 0]).astype(np.float32)


def shaded(relaxed: float = 0.0, **weights: float) -> np.ndarray:
    curves = np.zeros(len(UNIT), np.float32)
    for name, weight in weights.items():
        curves[UNIT[name]] = weight
    frame = np.full((SIZE, SIZE, 3), 200, np.uint8)
    SkinShade(face_points(), UNIT_PX, GREY_SKIN).draw(frame, face_points(), curves, relaxed)
    return frame[..., 0].astype(int)


def within(*points: int) -> tuple[slice, slice]:
    """The window around these points, with the room that a soft mark needs."""
    places = face_points()[list(points), :2]
    low, high = places.min(axis=0) - 0.14 * UNIT_PX, places.max(axis=0) + 0.14 * UNIT_PX
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def test_nothing_changes_at_rest() -> None:
    assert (shaded() == 200).all()
    assert (shaded(mouthPucker=1, eyeWideLeft=1, jawOpen=0.04, browOuterUpLeft=0.1) == 200).all()


def test_an_open_jaw_deepens_the_crease_between_lip_and_chin() -> None:
    half, wide = shaded(jawOpen=0.2), shaded(jawOpen=0.4)
    y, x = np.unravel_index(wide.argmin(), wide.shape)
    points = face_points()
    assert points[17, 1] < y < points[CHIN, 1]
    assert abs(x - SIZE / 2) < 5
    assert wide.min() < half.min() < 195
    assert (shaded(jawOpen=5.0) == wide).all()


def test_the_folds_of_a_smile_that_relaxes_fade_and_no_other_mark_does() -> None:
    fold = within(129, 212)
    relaxed = shaded(relaxed=0.3)
    assert relaxed.min() == 200
    assert relaxed[fold].max() > 212
    assert shaded(relaxed=0.3, mouthStretchRight=0.8)[fold].max() > 205
    crease = within(17, CHIN)
    assert (shaded(relaxed=0.3, jawOpen=0.4)[crease] == shaded(jawOpen=0.4)[crease]).all()


def test_a_smile_of_one_side_folds_that_side() -> None:
    left = shaded(mouthSmileLeft=0.5)
    assert (left[:, : SIZE // 2] == 200).all()
    assert left[:, SIZE // 2 :].min() < 185


BOTH_BROWS_DOWN = {"browDownLeft": 1.0, "browDownRight": 1.0}
WINDOWS = {
    "crease": ({"jawOpen": 0.4}, (17, 152, 182, 406)),
    "folds": ({"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}, (129, 358, 212, 432)),
    "crow's feet": ({"cheekSquintLeft": 0.6, "cheekSquintRight": 0.6}, (143, 372)),
    "furrow": (BOTH_BROWS_DOWN, (8, 9, 53, 283)),
    "forehead": ({"browOuterUpLeft": 0.8, "browOuterUpRight": 0.8}, (104, 333, 9, 10)),
    "grief": ({"browInnerUp": 0.85}, (69, 299, 9, 151)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_marks_only_darken_and_only_where_they_belong(name: str) -> None:
    weights, corners = WINDOWS[name]
    seen = shaded(**weights)
    inside = within(*corners)
    assert seen[inside].min() < 193
    assert seen.max() == 200
    elsewhere = seen.copy()
    elsewhere[inside] = 200
    assert (elsewhere == 200).all()
    depth, half = (
        200 - seen.min(),
        200 - shaded(**{unit: weight / 2 for unit, weight in weights.items()}).min(),
    )
    assert 0 < half < depth < 0.25 * 200


def test_a_furrow_is_two_upright_folds_and_grief_smooths_it() -> None:
    furrow = shaded(**BOTH_BROWS_DOWN)
    row = furrow[int(face_points()[9, 1]) + 3]
    middle = SIZE // 2
    left, right = (
        row[middle - 12 : middle].argmin() + middle - 12,
        row[middle : middle + 12].argmin() + middle,
    )
    assert 8 <= right - left <= 20
    assert row[middle] > row[[left, right]].max() + 3
    grieving = shaded(browInnerUp=0.85, **dict.fromkeys(BOTH_BROWS_DOWN, 0.3))
    assert grieving[within(55, 285)].min() > furrow[within(55, 285)].min() + 8


def test_shade_takes_a_share_of_the_light_and_goes_where_the_face_goes() -> None:
    curves = np.zeros(len(UNIT), np.float32)
    curves[UNIT["jawOpen"]] = 0.4
    turn = np.array([[0.96, -0.28], [0.28, 0.96]], np.float32) * 1.1
    moved = face_points()
    moved[:, :2] = (moved[:, :2] - SIZE / 2) @ turn.T + SIZE / 2 + [6.3, -4.7]
    shade = SkinShade(face_points(), UNIT_PX, GREY_SKIN)
    deepest = []
    for points, light in ((face_points(), 200), (moved, 200), (face_points(), 100)):
        frame = np.full((SIZE, SIZE, 3), light, np.uint8)
        shade.draw(frame, points, curves)
        lost = light - frame[..., 0].astype(float)
        rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
        deepest.append(
            (lost.max() / light, np.array([(columns * lost).sum(), (rows * lost).sum()]) / lost.sum())
        )
    (depth, at), (moved_depth, moved_at), (dim_depth, _) = deepest
    np.testing.assert_allclose((at - SIZE / 2) @ turn.T + SIZE / 2 + [6.3, -4.7], moved_at, atol=0.5)
    np.testing.assert_allclose([moved_depth, dim_depth], depth, atol=0.015)


def test_skin_in_shade_is_redder_and_grey_stays_grey() -> None:
    curves = np.zeros(len(UNIT), np.float32)
    curves[UNIT["jawOpen"]] = 0.4
    skin = np.array([200, 150, 120], np.float32)
    frame = np.full((SIZE, SIZE, 3), skin.astype(np.uint8), np.uint8)
    SkinShade(face_points(), UNIT_PX, skin).draw(frame, face_points(), curves)
    y, x = np.unravel_index(frame.sum(axis=2).argmin(), frame.shape[:2])
    lost = 1 - frame[y, x] / skin
    assert lost[0] < lost[1] < lost[2]


def test_marks_stay_away_from_frames_and_hair(rigs: tuple[Rig, Rig], portrait: Path) -> None:
    bare, worn = rigs
    picture = read_image(portrait)
    skin = np.full_like(picture, 170)
    assert CROWS_FEET in marks_on(skin, bare)
    assert FOREHEAD in marks_on(skin, bare)
    assert CROWS_FEET not in marks_on(skin, worn)
    fringed = skin.copy()
    fringed[: int(bare.points[[105, 334], 1].min() - 0.12 * bare.eye_distance_px)] = 40
    assert FOREHEAD not in marks_on(fringed, bare)


def framed(picture: np.ndarray) -> np.ndarray:
    face = find_face(picture)
    points, unit, drawn = face.landmarks[:, :2], face.eye_distance_px, picture.copy()
    for corners in ((33, 133), (362, 263)):
        centre = tuple(
            int(v) for v in np.rint(points[list(corners)].mean(axis=0) + np.array([0, 0.02 * unit]))
        )
        cv2.ellipse(
            drawn,
            centre,
            (round(0.22 * unit), round(0.17 * unit)),
            face.roll,
            0,
            360,
            (30, 25, 25),
            6,
            cv2.LINE_AA,
        )
    cv2.line(
        drawn, *[tuple(int(v) for v in np.rint(points[i])) for i in (133, 362)], (30, 25, 25), 6, cv2.LINE_AA
    )
    return drawn


@pytest.fixture(scope="module")
def rigs(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rig, Rig]:
    """Of the bundled portrait, and of it with frames drawn on."""
    path = tmp_path_factory.mktemp("glasses") / "glasses.png"
    cv2.imwrite(str(path), framed(read_image(portrait))[..., ::-1])
    bare, worn = prepare(portrait), prepare(path)
    assert not bare["puppet.face"].metadata["glasses"]
    assert worn["puppet.face"].metadata["glasses"]
    assert FaceRenderer(worn) is not None
    return Rig.from_feature(bare["puppet.rig"]), Rig.from_feature(worn["puppet.rig"])


def test_glasses_hold_what_is_below_them(rigs: tuple[Rig, Rig]) -> None:
    bare, worn = (np.linalg.norm(rig.deltas[:, :468], axis=2) / rig.eye_distance_px for rig in rigs)
    brow, bridge, cheekbone = 105, 6, 117
    for unit in ("browInnerUp", "browDownRight", "eyeSquintRight", "cheekSquintRight"):
        assert worn[UNIT[unit], [bridge, cheekbone]].max() < 0.1 * max(bare[UNIT[unit]].max(), 1e-3)
    assert bare[UNIT["browOuterUpRight"], brow] > 0.02
    assert worn[BLINKS].max() > 0.8 * bare[BLINKS].max()
    np.testing.assert_allclose(worn[UNIT["jawOpen"], CHIN], bare[UNIT["jawOpen"], CHIN], rtol=0.05)


def test_nothing_is_drawn_on_dark_lenses(portrait: Path, tmp_path: Path) -> None:
    picture = read_image(portrait)
    face = find_face(picture)
    for corners in ((33, 133), (362, 263)):
        middle = np.rint(face.landmarks[list(corners), :2].mean(axis=0)).astype(int)
        radii = (round(0.24 * face.eye_distance_px), round(0.2 * face.eye_distance_px))
        cv2.ellipse(picture, tuple(int(v) for v in middle), radii, 0, 0, 360, (18, 16, 20), -1, cv2.LINE_AA)
    avatar = prepare(write_picture(tmp_path / "lenses.jpg", picture), size=256)
    rig, renderer = Rig.from_feature(avatar["puppet.rig"]), FaceRenderer(avatar)
    assert rig.gaze_still
    rest = renderer.render(face_state())
    for state in (
        face_state(BLINK),
        face_state({"eyeBlink": 0.5}, gaze=(0.05, 0.02)),
        face_state({"browDown": 1.0, "eyeWide": 1.0}),
    ):
        eyes_only = (slice(0, int(rig.points[4, 1])), slice(None))
        change = np.abs(renderer.render(state)[eyes_only].astype(int) - rest[eyes_only])
        assert change[int(rig.points[8, 1]) :].max() <= 1
    assert (renderer.render(face_state(AA)) != rest).any()
