"""The face's square, where the goldens do not look: the surest face, whole numbers, borders,
proportions, orientation, alpha.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from personare.cache.recipe import StageInputs
from personare.engines.float import prepare
from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.options import FloatOptions
from personare.errors import FaceTooSmall, NoFaceFound
from personare.media.paste import Square
from personare.perception.s3fd import S3FD, surviving
from personare.weights.resident import Lease

pytestmark = pytest.mark.neural


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 5)


def test_the_surest_face_counts_not_the_largest():
    found = boxes((10, 10, 40, 50, 0.99), (0, 0, 200, 300, 0.97))
    assert prepare.first_face(found, 360) == (10, 10, 40, 50)


def test_an_unsure_face_is_none():
    with pytest.raises(NoFaceFound, match=r"me\.jpg: no face"):
        prepare.first_face(boxes((0, 0, 200, 300, 0.95)), 360, "me.jpg")
    with pytest.raises(NoFaceFound):
        prepare.first_face(boxes(), 360)


def test_coordinates_are_cut_off_toward_zero():
    assert prepare.first_face(boxes((-12.6, -0.9, 95.9, 140.9, 0.99)), 360) == (-12, 0, 95, 140)
    assert prepare.first_face(boxes((-12.6, -0.9, 95.9, 140.9, 0.99)), 720) == (-25, -1, 191, 281)


def test_the_square_is_cut_off_not_rounded():
    # Half heights 15 and 10, 1.6 * 13 = 20.8.
    assert prepare.face_square((10, 10, 37, 37), (100, 100)) == Square(23 - 20, 23 - 20, 40)
    assert prepare.face_square((10, 10, 30, 37), (100, 100)).side == 2 * 20


def test_a_centre_outside_the_picture_is_drawn_inside():
    square = prepare.face_square((-50, -60, 10, 20), (100, 100))
    assert (square.x + square.side // 2, square.y + square.side // 2) == (0, 0)
    crop = prepare.cropped(np.full((100, 100, 3), 200, np.uint8), square, 64)
    assert crop[:24, :].max() == 0  # what lies beyond the border is black
    assert crop[40:, 40:].min() == 200


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(719, 1000, (360, 501)), (101, 67, (360, 239)), (361, 999, (360, 996))]
)
def test_the_detection_picture_is_scaled_by_a_factor(height, width, expected):
    assert prepare.detection_picture(np.zeros((height, width, 3), np.uint8)).shape[:2] == expected


def test_interpolation_depends_on_the_pictures_height():
    """Area averaging of a tall picture even where the square is enlarged (then it repeats
    pixels), cubic for a low one.
    """
    ramp = np.repeat(np.arange(0, 250, 25, dtype=np.uint8)[None, :, None], 10, 0).repeat(3, 2)
    tall, low = np.zeros((400, 300, 3), np.uint8), np.zeros((300, 300, 3), np.uint8)
    tall[:10, :10] = low[:10, :10] = ramp
    square = Square(0, 0, 10)
    area, cubic = prepare.cropped(tall, square, 40), prepare.cropped(low, square, 40)
    assert len(np.unique(area)) < len(np.unique(cubic))


def test_no_crop_squeezes_the_picture(tmp_path):
    path = tmp_path / "wide.png"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3)).astype(np.uint8)).save(path)
    crop = prepare._crop(StageInputs({"no_crop": True, "side": 32}, {}, {"portrait": path}))
    assert crop.arrays["picture"].shape == (32, 32, 3)
    assert "side" not in crop.metadata


def test_orientation_grey_and_alpha_are_resolved(tmp_path):
    """EXIF turns the picture; a grey one has three equal colours; transparency is white, not
    whatever lies under it.
    """
    turned = np.zeros((20, 40, 3), np.uint8)
    turned[:, :20] = 255
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(turned).save(tmp_path / "turned.png", exif=exif)
    Pillow.fromarray(np.full((20, 20), 77, np.uint8)).save(tmp_path / "grey.png")
    Pillow.fromarray(np.zeros((20, 20, 4), np.uint8)).save(tmp_path / "clear.png")
    crop = {
        name: prepare._crop(
            StageInputs({"no_crop": True, "side": 8}, {}, {"portrait": tmp_path / f"{name}.png"})
        ).arrays["picture"]
        for name in ("turned", "grey", "clear")
    }
    assert crop["turned"][:3].min() == 255
    assert crop["turned"][5:].max() == 0
    assert (crop["grey"] == 77).all()
    assert (crop["clear"] == 255).all()


def test_a_tiny_face_is_refused(tmp_path, monkeypatch):
    Pillow.fromarray(np.zeros((360, 360, 3), np.uint8)).save(tmp_path / "small.png")
    monkeypatch.setattr(prepare, "detected", lambda network, picture: boxes((100, 100, 115, 120, 0.99)))
    sight = prepare.Sight(*3 * [lambda: Lease(None)], ("a",), ("b",), FloatConfig(side=64))
    with pytest.raises(FaceTooSmall, match="15x20 px"):
        prepare._face(sight, StageInputs({"detector": "s3fd"}, {}, {"portrait": tmp_path / "small.png"}))


def test_the_detector_sees_blue_first():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[..., 0] = 200  # red
    assert prepare.detector_input(picture)[:, 0, 0].tolist() == [-104, -117, 77]


def test_pools_round_down_on_odd_sizes():
    with torch.device("meta"):
        levels = S3FD()(torch.empty(1, 3, 71, 103))
    assert [tuple(classes.shape[2:]) for classes, _ in levels] == [
        (17, 25),
        (8, 12),
        (4, 6),
        (6, 7),
        (3, 4),
        (2, 2),
    ]


def test_small_boxes_near_the_threshold_count_their_last_pixel():
    """10 x 10 px, so 11 x 11 with the pixel convention; shifted by 5: 66 / 176 > 0.3 falls, by
    6: 55 / 187 < 0.3 stays.
    """
    first, near, far = (0, 0, 10, 10, 0.9), (5, 0, 15, 10, 0.8), (6, 0, 16, 10, 0.8)
    assert len(surviving(boxes(first, near))) == 1
    assert len(surviving(boxes(first, far))) == 2
    assert len(surviving(boxes((0, 0, 2, 2, 0.9), (1, 1, 3, 3, 0.8)))) == 2 - (4 / 14 > 0.3)


def test_options_that_are_off_add_no_stage():
    sight = prepare.Sight(*3 * [lambda: Lease(None)], ("a",), ("b",), FloatConfig(side=64))

    def names(**options):
        return [stage.name for stage in prepare.recipe(sight, FloatOptions(**options), "s3fd").stages]

    assert names() == ["float.face", "float.crop", "float.appearance"]
    assert names(no_crop=True) == ["float.crop", "float.appearance"]
    assert names(head_motion=0.5)[-1] == "float.reach"
    assert names(rest_in_silence=1)[-1] == "float.reach"
