"""Shading that follows the expression, and glasses that hold the face below them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from personare.engines.puppet.render import FaceRenderer
from personare.engines.puppet.rig import BLINKS, Rig
from personare.engines.puppet.shade import SkinShade
from personare.engines.puppet.state import UNIT
from personare.heads import CHIN, head468
from personare.media.image import read_image
from personare.perception import find_face
from tests.unit.puppet_avatars import prepare

SIZE = 240
UNIT_PX = 100.0


def face_points() -> np.ndarray:
    """The carried face from the front in the middle of a picture."""
    return (head468().neutral * [UNIT_PX, -UNIT_PX, UNIT_PX] + [SIZE / 2, SIZE * 0.35, 0]).astype(np.float32)


def shaded(**weights: float) -> np.ndarray:
    curves = np.zeros(len(UNIT), np.float32)
    for name, weight in weights.items():
        curves[UNIT[name]] = weight
    frame = np.full((SIZE, SIZE, 3), 200, np.uint8)
    SkinShade(UNIT_PX).draw(frame, face_points(), curves)
    return frame[..., 0].astype(int)


def test_nothing_changes_at_rest() -> None:
    assert (shaded() == 200).all()
    assert (shaded(mouthPucker=1, browInnerUp=1) == 200).all()


def test_an_open_jaw_deepens_the_crease_between_lip_and_chin() -> None:
    half, wide = shaded(jawOpen=0.2), shaded(jawOpen=0.4)
    y, x = np.unravel_index(wide.argmin(), wide.shape)
    points = face_points()
    assert points[17, 1] < y < points[CHIN, 1]
    assert abs(x - SIZE / 2) < 5
    assert wide.min() < half.min() < 195
    assert (shaded(jawOpen=5.0) == wide).all()


def test_a_smile_of_one_side_folds_that_side() -> None:
    left = shaded(mouthSmileLeft=0.5)
    assert (left[:, : SIZE // 2] == 200).all()
    assert left[:, SIZE // 2 :].min() < 185


def framed(picture: np.ndarray) -> np.ndarray:
    face = find_face(picture)
    points, unit, drawn = face.landmarks[:, :2], face.eye_distance_px, picture.copy()
    for corners in ((33, 133), (362, 263)):
        centre = tuple(int(v) for v in np.rint(points[list(corners)].mean(axis=0) + np.array([0, 0.02 * unit])))
        cv2.ellipse(drawn, centre, (round(0.22 * unit), round(0.17 * unit)), face.roll, 0, 360, (30, 25, 25), 6, cv2.LINE_AA)
    cv2.line(drawn, *[tuple(int(v) for v in np.rint(points[i])) for i in (133, 362)], (30, 25, 25), 6, cv2.LINE_AA)
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
