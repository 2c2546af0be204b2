"""A square is put back into its picture without a seam."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.media.paste import PasteBack, Square, blend, feather, resized

PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 255, (90, 120, 3), dtype=np.uint8), (0, 0), 2)


def test_a_square_put_back_unchanged_changes_nothing():
    for square in (Square(20, 10, 60), Square(-15, -8, 70), Square(80, 50, 64), Square(-30, -40, 200)):
        picture = PICTURE.copy()
        assert PasteBack(square, PICTURE.shape[:2]).paste(picture, square.cut(PICTURE)) is picture
        assert np.abs(picture.astype(int) - PICTURE).max() <= 1, square


def test_outside_the_square_not_a_byte_changes_and_inside_it_is_the_patch():
    square = Square(20, 10, 60)
    patch = np.full((60, 60, 3), (255, 0, 0), np.uint8)
    picture = PasteBack(square, PICTURE.shape[:2], border=0.1).paste(PICTURE.copy(), patch)
    changed = (picture != PICTURE).any(axis=2)
    outside = np.ones(changed.shape, bool)
    outside[10:70, 20:80] = False
    assert not changed[outside].any()
    assert np.array_equal(picture[16:64, 26:74], patch[6:54, 6:54])


def test_there_is_no_seam():
    """A brighter patch fades in: no step larger than its share of the border's width."""
    square = Square(20, 10, 60)
    grey = np.full_like(PICTURE, 100)
    picture = PasteBack(square, grey.shape[:2], border=0.2).paste(
        grey.copy(), np.full((60, 60, 3), 160, np.uint8)
    )
    assert np.abs(np.diff(picture[..., 0].astype(int), axis=1)).max() <= 60 / 12 * 1.6 + 1


def test_sides_at_the_picture_s_border_are_not_faded():
    square = Square(-5, 0, 60)
    patch = np.full((60, 60, 3), 255, np.uint8)
    picture = PasteBack(square, PICTURE.shape[:2], border=0.1).paste(PICTURE.copy(), patch)
    assert (picture[0:40, 0:40] == 255).all()
    assert (picture[59, 20] != 255).any()


def test_a_patch_of_another_size_fits():
    square = Square(20, 10, 60)
    picture = PasteBack(square, PICTURE.shape[:2]).paste(PICTURE.copy(), resized(square.cut(PICTURE), 240))
    assert np.abs(picture.astype(int) - PICTURE).mean() < 1


def test_own_alpha():
    square = Square(100, 70, 40)
    alpha = np.zeros((20, 20), np.float32)
    alpha[5:10, 5:10] = 1
    picture = PasteBack(square, PICTURE.shape[:2], alpha=alpha).paste(
        PICTURE.copy(), np.zeros((40, 40, 3), np.uint8)
    )
    changed = np.argwhere((picture != PICTURE).any(axis=2))
    assert changed.min(axis=0) == pytest.approx([79, 109], abs=1)
    PasteBack(square, PICTURE.shape[:2], alpha=np.zeros((40, 40), np.float32)).paste(
        picture, np.zeros((40, 40, 3), np.uint8)
    )


@pytest.mark.parametrize("corner", [(-7, -9), (110, 85), (200, 200), (30, 40)])
def test_blend_is_the_weighted_mean(corner):
    rng = np.random.default_rng(1)
    patch, alpha = (
        rng.integers(0, 255, (20, 30, 3), dtype=np.uint8),
        rng.uniform(0, 1, (20, 30)).astype(np.float32),
    )
    whole, share = np.zeros((200, 300, 3)), np.zeros((200, 300, 1))
    below = np.zeros((200, 300, 3))
    below[50:140, 50:170] = PICTURE
    y, x = 50 + corner[1], 50 + corner[0]
    h, w = max(0, min(20, 200 - y)), max(0, min(30, 300 - x))
    whole[y : y + h, x : x + w], share[y : y + h, x : x + w, 0] = patch[:h, :w], alpha[:h, :w]
    expected = (whole * share + below * (1 - share))[50:140, 50:170]
    picture = PICTURE.copy()
    blend(picture, patch, corner, alpha)
    assert np.abs(picture - expected).max() <= 1


def test_feather():
    alpha = feather(20, 30, 5)
    assert alpha.shape == (20, 30)
    assert alpha[0].max() < 0.05
    assert (alpha[6:-6, 6:-6] == 1).all()
