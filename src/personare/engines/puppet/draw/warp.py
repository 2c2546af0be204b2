"""Moving the picture: from posed vertices to resampled pixels.

Every vertex carries the place in the picture that it shows. Rasterising the difference between
the two gives, for each pixel of the frame, how far away to fetch its colour; where nothing is
drawn the difference is zero and the picture stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.deform import Layer
from personare.engines.puppet.fit.rig import Rig
from personare.heads import Rasteriser
from personare.types import Image

Floats = NDArray[np.float32]

COARSE = 2
"""The whole picture's displacement is rasterised at this fraction of its resolution: it is
smooth but at lids and lips, which are drawn again, finely.
"""
FINE = 2
"""Supersampling of eyes and lips."""
MOVES_WITHIN = 0.14
"""A region's triangles are chosen at rest, with this much room for them to move, in eye
distances.
"""
WINDOW_ROWS = 32
"""Height of the windows in which a frame is fetched: flat ones fit a head closely, each costs a
few calls.
"""
FEATHER_PX = 3
"""Width of the blend from a finely drawn region to the rest."""


class Window(NamedTuple):
    """A rectangle of a picture."""

    rows: slice
    columns: slice


def windows_over(mask: NDArray[np.uint8]) -> list[Window]:
    """Flat windows, one below the other, that leave out little but where the mask, uint8 [H,
    W], is 0.
    """
    windows = []
    for top in range(0, len(mask), WINDOW_ROWS):
        rows = slice(top, min(top + WINDOW_ROWS, len(mask)))
        columns = np.flatnonzero(mask[rows].max(axis=0))
        if len(columns):
            windows.append(Window(rows, slice(int(columns[0]), int(columns[-1]) + 1)))
    return windows


class Patch(NamedTuple):
    """Colours for a window of a frame: uint8 [h, w, 3], and the shares of them and of what is
    there, float32 [h, w].
    """

    window: Window
    colours: Image
    alpha: Floats
    rest: Floats

    def lay(self, frame: Image) -> None:
        """Over the frame, in place."""
        below = np.ascontiguousarray(frame[self.window])
        frame[self.window] = cv2.blendLinear(self.colours, below, self.alpha, self.rest)


class Surface:
    """The whole picture, moved: `move` finds from where every pixel is fetched, `fetch` fetches
    those that are asked for.

    picture: uint8 [H, W, 3], what is moved; may be another one of the same size for every
    frame.
    """

    def __init__(self, picture: Image, triangles: NDArray[np.int32]) -> None:
        self.picture = picture
        self._triangles = np.ascontiguousarray(triangles)
        height, width = picture.shape[:2]
        self._rasteriser = Rasteriser(width // COARSE, height // COARSE)
        self._coarse_grid = _pixel_grid(width // COARSE, height // COARSE)
        self._grid = _pixel_grid(width, height)
        self._displacement = _planes(np.zeros((height // COARSE, width // COARSE, 3), np.float32))

    def move(self, skin: Layer) -> None:
        """Take the picture's points to where the skin has them."""
        coarse = skin.vertices.copy()
        coarse[:, :2] /= COARSE
        self._displacement = _planes(self._rasteriser.draw(coarse, self._triangles, _displacement(skin)))

    def moved(self) -> NDArray[np.uint8]:
        """Where the last `move` has moved anything, uint8 [H, W]: 0 elsewhere."""
        x, y = self._displacement
        coarse = ((x != 0) | (y != 0)).astype(np.uint8) * np.uint8(255)
        return np.asarray(
            cv2.resize(coarse, self.picture.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8
        )

    def carry(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Where the last `move` has taken a mask of the picture, uint8 [H / COARSE, W / COARSE]
        both.
        """
        x, y = (
            plane / COARSE + grid for plane, grid in zip(self._displacement, self._coarse_grid, strict=True)
        )
        return np.asarray(cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def fetch(self, frame: Image, windows: Sequence[Window]) -> None:
        """Draw what the last `move` has made of the picture into the frame, uint8 [H, W, 3],
        inside these windows.
        """
        x, y = (_finer(plane, grid) for plane, grid in zip(self._displacement, self._grid, strict=True))
        for window in windows:
            _fetch(self.picture, x[window], y[window], frame[window])


class FineRegion:
    """A window that follows a feature of the face, drawn at twice the resolution with only the
    triangles near it.

    picture: as in Surface.
    """

    def __init__(
        self,
        picture: Image,
        rig: Rig,
        anchors: Sequence[int],
        reach: tuple[float, float, float],
        backdrop: NDArray[np.int32],
    ) -> None:
        """anchors: face points of the feature. reach: space aside, above and below them in eye
        distances.

        backdrop: triangles of what is seen behind the feature, over the vertices of the layer
        given to `draw`.
        """
        self.picture = picture
        self._anchors = np.array(anchors)
        at_rest = rig.points[self._anchors, :2]
        aside, above, below = (round(r * rig.eye_distance_px) + FEATHER_PX for r in reach)
        low = np.floor(at_rest.min(axis=0)).astype(int) - np.array([aside, above])
        high = np.ceil(at_rest.max(axis=0)).astype(int) + np.array([aside, below])
        self._low = low - np.rint(at_rest.mean(axis=0)).astype(int)
        width, height = (int(s) for s in np.minimum(high - low, len(picture)))
        self._size = (width, height)
        self._triangles = np.concatenate([_near(rig, low, high), backdrop + len(rig.points)]).astype(np.int32)
        self._rasteriser = Rasteriser(width * FINE, height * FINE)
        self._grid = tuple(
            (plane + np.float32(0.5)) / np.float32(FINE) - np.float32(0.5)
            for plane in _pixel_grid(width * FINE, height * FINE)
        )
        self._fine = np.empty((height * FINE, width * FINE, 3), np.uint8)
        self._alpha = _feathered(width, height)
        self._rest = 1 - self._alpha

    def draw(self, skin: Layer, backdrop: Layer) -> Patch:
        """The region, to be laid over the frame."""
        width, height = self._size
        middle = skin.vertices[self._anchors, :2].mean(axis=0).tolist()
        x0, y0 = (
            min(max(0, round(place) + int(low)), len(self.picture) - size)
            for place, low, size in zip(middle, self._low, self._size, strict=True)
        )
        layer = skin.over(backdrop)
        local = layer.vertices.copy()
        local[:, :2] = (local[:, :2] - (x0, y0)) * FINE
        x, y = _planes(self._rasteriser.draw(local, self._triangles, _displacement(layer)))
        for places, grid, first in ((x, self._grid[0], x0), (y, self._grid[1], y0)):
            places += grid
            places += np.float32(first)
        _fetch(self.picture, x, y, self._fine)
        window = Window(slice(y0, y0 + height), slice(x0, x0 + width))
        patch = np.asarray(cv2.resize(self._fine, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        return Patch(window, patch, self._alpha, self._rest)


def _displacement(layer: Layer) -> Floats:
    """Attributes float32 [k, 3] for the rasteriser: texture minus place, and nothing."""
    attributes = np.zeros_like(layer.vertices)
    attributes[:, :2] = layer.texture - layer.vertices[:, :2]
    return attributes


def _near(rig: Rig, low: NDArray[np.int_], high: NDArray[np.int_]) -> NDArray[np.int32]:
    """Triangles that touch the rectangle at rest, or nearly."""
    room = MOVES_WITHIN * rig.eye_distance_px
    corners = rig.points[rig.triangles, :2]
    touches = (corners.max(axis=1) > low - room) & (corners.min(axis=1) < high + room)
    return np.asarray(rig.triangles[touches.all(axis=1)], np.int32)


def _pixel_grid(width: int, height: int) -> tuple[Floats, Floats]:
    """Coordinates x and y of every pixel as cv2.remap counts them, float32 [height, width]
    each.
    """
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y


def _planes(displacement: Floats) -> tuple[Floats, Floats]:
    """The first two channels of a rasterised [h, w, 3], each a copy [h, w]."""
    x, y = (np.asarray(cv2.extractChannel(displacement, channel), np.float32) for channel in (0, 1))
    return x, y


def _finer(displacement: Floats, grid: Floats) -> Floats:
    """A coarse plane of displacements as places on a finer grid, float32 [height, width]."""
    finer = cv2.resize(displacement, grid.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(finer, grid, dst=finer), np.float32)


def _fetch(picture: Image, x: Floats, y: Floats, into: Image) -> None:
    # Cubic: a picture that goes half a pixel to and fro must not go in and out of focus.
    cv2.remap(picture, x, y, cv2.INTER_CUBIC, dst=into, borderMode=cv2.BORDER_REPLICATE)


def _feathered(width: int, height: int) -> Floats:
    """1 inside, falling to 0 at the border, float32 [height, width]."""
    x, y = (np.minimum(np.arange(n) + 1, np.arange(n, 0, -1)) for n in (width, height))
    return np.clip(np.minimum.outer(y, x) / (FEATHER_PX + 1), 0, 1).astype(np.float32)
