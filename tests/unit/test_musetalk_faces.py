"""Face boxes, pose and masks, where the goldens do not look."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from personare.engines.musetalk import compose
from personare.engines.musetalk.template import boxes, masks
from personare.engines.musetalk.template.packing import packed, tight, unpacked
from personare.media.image import read_image
from personare.perception import find_face
from personare.perception.whole_body import dwpose as pose


def _points(**places: tuple[float, float]) -> np.ndarray:
    """68 points in (100..200, 100..220), with some moved: p29=(x, y)."""
    points = np.full((68, 2), 150.0)
    points[0], points[16], points[8] = (100, 160), (200, 160), (150, 220)
    points[28], points[29], points[30] = (150, 150), (150, 160), (150, 170)
    for name, place in places.items():
        points[int(name[1:])] = place
    return points


def test_points_are_cut_towards_zero() -> None:
    assert boxes.released_box(_points(p0=(-0.9, 160.9)), (1, 2, 3, 4), 0) == (0, 100, 200, 220)
    assert boxes.released_box(_points(p0=(-1.0, 160)), (1, 2, 3, 4), 0) == (1, 2, 3, 4)


def test_the_split_moves_and_never_leaves_the_top() -> None:
    assert boxes.released_box(_points(), (0, 0, 9, 9), 0) == (100, 100, 200, 220)
    assert boxes.released_box(_points(), (0, 0, 9, 9), 10) == (100, 120, 200, 220)
    assert boxes.released_box(_points(), (0, 0, 9, 9), -70) == (100, 0, 200, 220)
    # A split below all points is an extreme itself: no height is left, and the detector's box
    # counts.
    assert boxes.released_box(_points(), (0, 0, 9, 9), 61) == (0, 0, 9, 9)
    assert boxes.released_box(_points(), None, 0) is None


def test_range_of_the_shift_over_no_face_is_no_division_by_zero() -> None:
    assert boxes.shift_range(np.zeros((0, 68, 2))) == (0, 0)
    assert boxes.shift_range(np.stack([_points(), _points(p30=(150, 173))])) == (11, 10)


def test_a_box_that_leaves_the_picture_is_limited_to_it() -> None:
    assert boxes.within((-5.4, 10.6, 120, 95), (100, 110), 10) == (0, 11, 110, 100)
    assert boxes.within((120, 10, 140, 50), (100, 110), 0) is None
    picture = np.random.default_rng(0).integers(0, 255, (100, 110, 3), dtype=np.uint8)
    box = boxes.within((60, 40, 130, 108), (100, 110), 10)
    assert box is not None
    painted = np.full((256, 256, 3), 255, np.uint8)
    alpha = compose.BlendMask(np.full((300, 300), 255, np.uint8), -50, -50)
    result = compose.paste(picture.copy(), compose.face_in_box(painted, box), box, alpha)
    assert (result[box[1] : box[3], box[0] : box[2]] == 255).all()
    result[box[1] : box[3], box[0] : box[2]] = picture[box[1] : box[3], box[0] : box[2]]
    np.testing.assert_array_equal(result, picture)


def test_steadied_boxes_keep_drift_and_do_not_mix_runs() -> None:
    n = 40
    drift = np.outer(np.arange(n), np.ones(4)) * 2.0
    present = np.ones(n, np.bool_)
    np.testing.assert_allclose(boxes.steadied(drift, present, 2.0), drift, atol=1e-9)
    jitter = drift + np.random.default_rng(0).standard_normal((n, 4))
    assert (
        np.abs(np.diff(boxes.steadied(jitter, present, 2.0) - drift, axis=0)).mean()
        < 0.25 * np.abs(np.diff(jitter - drift, axis=0)).mean()
    )
    present[20] = False
    jump = np.where(np.arange(n)[:, None] > 20, 500.0, 0.0) * np.ones(4)
    np.testing.assert_allclose(boxes.steadied(jump, present, 2.0)[present], jump[present], atol=1e-9)
    np.testing.assert_array_equal(boxes.steadied(jitter, present, 0), jitter)


def test_a_single_frame_and_a_lone_frame_are_left_as_they_are() -> None:
    one = np.array([[1.0, 2, 3, 4]])
    np.testing.assert_array_equal(boxes.steadied(one, np.array([True]), 3.0), one)
    pair = np.array([[0.0, 0, 2, 2], [1, 1, 3, 3]])
    assert np.isfinite(boxes.steadied(pair, np.array([True, True]), 9.0)).all()


def test_scores_of_zero_are_not_found() -> None:
    view = pose.whole_picture((720, 1280), (288, 384))
    x, y = np.zeros((133, 576), np.float32), np.ones((133, 768), np.float32)
    points, score = pose.decoded(x, y, view)
    assert (score == 0).all()
    # Bin -1 lies half a pixel of the input left of and above the view.
    np.testing.assert_allclose(points[0], view.centre - view.scale / 2 - 0.5 * view.scale / (288, 384))


def test_whole_numbers_stay_whole_at_720p() -> None:
    """A key point that falls on a whole pixel must not become the one before it by rounding on
    the way back.
    """
    view = pose.whole_picture((720, 1280), (288, 384))
    scale, centre = view.scale.astype(np.float64), view.centre.astype(np.float64)
    for bin_x in range(576):
        x, y = np.full((1, 576), -1, np.float32), np.full((1, 768), -1, np.float32)
        x[0, bin_x], y[0, 384] = 1, 1
        points, _ = pose.decoded(x, y, view)
        assert points[0, 0] == (bin_x / 2) / 288 * scale[0] + centre[0] - 0.5 * scale[0]
    # 1600 px of the picture on 288: bin 288 is the middle, every 9th bin a whole 25 px from it.
    x = np.full((1, 576), -1, np.float32)
    x[0, 288 + 9] = 1
    assert int(pose.decoded(x, y, view)[0][0, 0]) == 640 + 25


class _Mirrored:
    """Scores that know where a bright square is, as a network without any left or right would
    give them.
    """

    def __init__(self) -> None:
        import torch

        self.config = type("C", (), {"input_size": (96, 128), "bins_per_pixel": 2.0})()
        self.head = type("H", (), {"cls_x": type("L", (), {"weight": torch.zeros(1)})()})()

    def __call__(self, x: object) -> tuple[object, object]:
        import torch

        assert isinstance(x, torch.Tensor)
        bright = (x.mean(dim=1) > 1.5).float()  # [B, 128, 96]
        along_x = bright.amax(dim=1).repeat_interleave(2, dim=1)
        along_y = bright.amax(dim=2).repeat_interleave(2, dim=1)
        ramp = [torch.linspace(1, 0.999, n) for n in (192, 256)]
        return (along_x * ramp[0])[:, None].repeat(1, 133, 1), (along_y * ramp[1])[:, None].repeat(1, 133, 1)


@pytest.mark.neural
def test_points_of_a_picture_and_of_its_mirror_image_agree() -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[100:110, 200:212] = 255
    (points,) = pose.find_points(_Mirrored(), [picture])  # type: ignore[arg-type]
    # Seen twice, from both sides, the middle of the square is the best common bin, whatever
    # side a score prefers.
    assert abs(points[50, 0] - 206) < 8
    assert abs(points[50, 1] - 105) < 8


def test_mirroring_twice_changes_nothing() -> None:
    np.testing.assert_array_equal(pose.MIRROR[pose.MIRROR], np.arange(133))
    scores = np.random.default_rng(0).random((133, 7))
    np.testing.assert_array_equal(pose.unmirrored(pose.unmirrored(scores, True), True), scores)


def test_our_landmarks_make_a_released_kind_of_box(portrait: Path) -> None:
    picture = read_image(portrait)
    face = find_face(picture, "portrait")
    points = boxes.points_of_mesh(face.landmarks)
    x0, y0, x1, y1 = boxes.smooth_box(points, 0)
    nose = face.landmarks[[168, 4], 1]
    assert (y0 + y1) / 2 == pytest.approx(nose[0] + (nose[1] - nose[0]) * 2 / 3)
    assert y1 == pytest.approx(face.landmarks[152, 1], abs=2)  # the chin
    assert y0 < face.landmarks[[105, 334], 1].min()  # above the brows
    assert x0 < face.landmarks[:, 0].min() + 5
    assert x1 > face.landmarks[:, 0].max() - 5
    box = boxes.within((x0, y0, x1, y1), picture.shape[:2], 10)
    assert box is not None
    labels = masks.drawn(face.landmarks, masks.square_around(box))
    assert set(np.unique(labels)) == {0, 1, 10, 11, 12, 13}
    soft = masks.soft_mask(masks.hard_mask(labels, "jaw"), box, masks.square_around(box), 0.05)
    x, y = masks.square_around(box)[:2]
    chin, nose_tip = face.landmarks[152, :2], face.landmarks[4, :2]
    assert soft[int(chin[1]) - y - 6, int(chin[0]) - x] > 128
    assert soft[int(nose_tip[1]) - y - 4, int(nose_tip[0]) - x] < 128
    assert not soft[: int(0.4 * len(soft))].any()


def test_masks_of_every_mode_differ() -> None:
    labels = np.zeros((512, 512), np.uint8)
    cv2.ellipse(labels, (256, 256), (120, 160), 0, 0, 360, 1, -1)
    cv2.ellipse(labels, (256, 256), (30, 50), 0, 0, 360, 10, -1)
    cv2.ellipse(labels, (256, 350), (40, 20), 0, 0, 360, 12, -1)
    labels[430:, 200:300] = 14
    made = {mode: masks.hard_mask(labels, mode) for mode in ("jaw", "raw", "neck", "original")}
    assert len({mask.tobytes() for mask in made.values()}) == 4
    assert made["neck"][500, 250] == 255
    assert made["raw"][500, 250] == 0
    assert made["original"][256, 256] == 255
    assert (made["jaw"][300, 256], made["jaw"][350, 256]) == (0, 255)


def test_the_square_is_black_beyond_the_picture() -> None:
    picture = np.full((40, 50, 3), 9, np.uint8)
    cut = masks.cut_square(picture, (-10, 30, 20, 60))
    assert cut.shape == (30, 30, 3)
    assert (cut[:10, 10:] == 9).all()
    assert not cut[10:].any()
    assert not cut[:, :10].any()
    assert not masks.cut_square(picture, (60, 60, 70, 70)).any()


def test_packed_masks_are_read_one_by_one() -> None:
    pictures = [np.random.default_rng(i).integers(0, 9, (5 + i, 7), dtype=np.uint8) for i in range(3)]
    arrays = packed(pictures)
    for row in (2, 0, 1):
        np.testing.assert_array_equal(unpacked(arrays, row), pictures[row])
    mask = np.zeros((9, 9), np.uint8)
    assert tight(mask)[0].shape == (1, 1)
    mask[3:5, 2:7] = 1
    part, x, y = tight(mask)
    assert (part.shape, x, y) == ((2, 5), 2, 3)


def test_blending_leaves_what_it_does_not_reach() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(compose.blended(picture, picture, np.full((30, 30), 77, np.uint8)), picture)
    np.testing.assert_array_equal(
        compose.blended(picture, 255 - picture, np.full((30, 30), 255, np.uint8)), 255 - picture
    )
    untouched = compose.paste(
        picture.copy(),
        picture[:5, :5],
        (40, 40, 45, 45),
        compose.BlendMask(np.full((9, 9), 255, np.uint8), 40, 40),
    )
    np.testing.assert_array_equal(untouched, picture)
