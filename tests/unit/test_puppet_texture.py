"""Colours between the pixels of a picture, and where they are fetched from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from personare.engines.puppet.draw.deform import Layer
from personare.engines.puppet.draw.texture import ENLARGED, Texture
from personare.engines.puppet.draw.warp import Surface
from personare.media.image import read_image
from tests.unit.puppet_avatars import PORTRAIT

SIZE = (100, 118)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(read_image(PORTRAIT)[150:250, 200:318])


def grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    return x, y


def fetched(texture: Texture, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pixels = np.empty((*x.shape, 4), np.uint8)
    texture.fetch(ENLARGED * x, ENLARGED * y, pixels)
    return pixels


def cubic(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def test_what_does_not_move_is_the_picture_to_the_byte(picture):
    plane = picture[..., 0].copy()
    pixels = fetched(Texture(picture, plane), *grid())
    assert np.array_equal(pixels[..., :3], picture)
    assert np.array_equal(pixels[..., 3], plane)


def test_between_pixels_it_is_as_good_as_a_cubic_kernel(picture):
    x, y = grid()
    texture = Texture(picture)
    for dx, dy, level in ((0.5, 0.0, 1), (0.0, 0.5, 1), (0.25, 0.75, None), (0.4, -0.3, None)):
        shown, wanted = fetched(texture, x + dx, y + dy)[..., :3], cubic(picture, x + dx, y + dy)
        error = (shown.astype(float) - wanted)[3:-3, 3:-3]
        if level is not None:
            assert np.abs(error).max() <= level
        assert 10 * np.log10(255**2 / max(1e-9, (error**2).mean())) > 44


def test_a_window_of_another_picture_is_shown_in_place_of_the_first(picture):
    texture, other = Texture(np.zeros_like(picture)), Texture(picture)
    texture.show(picture, (slice(20, 60), slice(30, 90)))
    x, y = (plane[23:57, 33:87] + np.float32(0.3) for plane in grid())
    assert np.array_equal(fetched(texture, x, y), fetched(other, x, y))


def skin(shift: tuple[float, float]) -> tuple[Layer, np.ndarray]:
    """A square in the middle of the picture, moved by so many pixels."""
    corners = np.array([[5, 10, 0], [105, 10, 0], [105, 90, 0], [5, 90, 0]], np.float32)
    moved = corners + np.array([*shift, 0], np.float32)
    return Layer(moved, corners[:, :2].copy()), np.array([[0, 1, 2], [0, 2, 3]], np.int32)


@pytest.mark.parametrize("unit_px", [60.0, 130.0, 250.0])
def test_a_surface_goes_where_its_points_go(picture, unit_px):
    """At steps of 2, 3 and 6 pixels, which do not divide the size of the picture."""
    layer, triangles = skin((4.0, -3.0))
    texture = Texture(picture)
    surface = Surface(texture, triangles, unit_px)
    assert surface.step == {60.0: 2, 130.0: 3, 250.0: 6}[unit_px]
    surface.move(layer)
    frame, plane = picture.copy(), np.zeros(SIZE, np.uint8)
    windows = surface.moved()
    surface.fetch(frame, plane, windows)
    far = 2 * surface.step
    inside = np.s_[7 + far : 87 - far, 9 + far : 109 - far]
    wanted = np.roll(picture, (-3, 4), axis=(0, 1))
    assert np.array_equal(frame[inside], wanted[inside])
    assert (plane[inside] == 255).all()
    outside = np.ones(SIZE, bool)
    outside[: 87 + far, : 109 + far] = False
    assert np.array_equal(frame[outside], picture[outside])


def test_what_a_mask_covers_is_found_where_it_has_gone(picture):
    mask = np.zeros(SIZE, np.uint8)
    cv2.rectangle(mask, (20, 24), (90, 76), 255, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 1)
    layer, triangles = skin((7.0, -3.0))
    texture = Texture(picture, mask)
    surface = Surface(texture, triangles, 60.0)
    surface.move(layer)
    shown, share = picture.copy(), mask.copy()
    surface.fetch(shown, share, surface.moved())
    assert np.array_equal(share > 0, np.roll(mask, (-3, 7), axis=(0, 1)) > 0)


def test_beyond_the_border_the_picture_is_mirrored():
    """A head that turns away from a tight border uncovers it: streaks of its last column show."""
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (24, 24, 3), np.uint8)
    texture = Texture(picture)
    x, y = (np.ascontiguousarray(part, np.float32) for part in np.meshgrid(np.arange(6), np.arange(24)))
    beyond, within = (np.empty((24, 6, 4), np.uint8) for _ in range(2))
    texture.fetch(-2 * x, 2 * y, beyond)
    texture.fetch(2 * x, 2 * y, within)
    assert np.array_equal(beyond, within)
