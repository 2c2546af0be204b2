"""Moving the picture: from posed vertices to resampled pixels.

Every vertex carries the place in the picture that it shows. Rasterising the difference between
the two gives, for each pixel of the frame, how far away to fetch its colour; where nothing is
drawn the difference is zero and the picture stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.deform import Layer
from personare.engines.puppet.draw.texture import ENLARGED, Texture
from personare.engines.puppet.fit.rig import Rig
from personare.heads import Rasteriser
from personare.types import Image

Floats = NDArray[np.float32]

COARSE, COARSE_PX = 1 / 36, (2, 8)
"""The whole picture's displacement is rasterised in steps of about this, in eye distances, and
within these limits in pixels: it is smooth but at lids and lips, which are drawn again, finely.
"""
FINE_ACROSS, FINE_DOWN = 1, 2
"""Supersampling of eyes and lips, whose edges lie across."""
MOVES_WITHIN = 0.14
"""A region's triangles are chosen at rest, with this much room for them to move, in eye
distances.
"""
WINDOW_ROWS = 96
"""Height of the windows in which a frame is fetched: flat ones fit a head closely, each costs a
few calls, and what one reads should stay in the processor's cache.
"""
FEATHER_PX = 3
"""Width of the blend from a finely drawn region to the rest."""
_AROUND = np.ones((3, 3), np.uint8)
_NEVER = 255
"""In place of a number of steps."""


class Window(NamedTuple):
    """A rectangle of a picture."""

    rows: slice
    columns: slice

    @property
    def height(self) -> int:
        return int(self.rows.stop - self.rows.start)

    @property
    def width(self) -> int:
        return int(self.columns.stop - self.columns.start)


def windows_over(mask: NDArray[np.uint8], high: int = WINDOW_ROWS) -> list[Window]:
    """Windows, one below the other and at most so high, that leave out little but where the
    mask, uint8 [H, W], is 0.
    """
    windows = []
    for start in range(0, len(mask), high):
        left, top, width, height = cv2.boundingRect(mask[start : start + high])
        if height:
            windows.append(Window(slice(start + top, start + top + height), slice(left, left + width)))
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
    """

    def __init__(
        self,
        texture: Texture,
        triangles: NDArray[np.int32],
        unit_px: float,
        within: NDArray[np.uint8] | None = None,
    ) -> None:
        """unit_px: the eye distance. within: uint8 [H, W], not 0 where the texture may be seen
        at all: everywhere unless given.
        """
        self._texture = texture
        self.step = step = min(max(int(COARSE * unit_px), COARSE_PX[0]), COARSE_PX[1])
        self._triangles = np.array(triangles, order="C")
        self._triangles.setflags(write=False)
        height, width = texture.size
        seen = _in_steps(np.ones((height, width), np.uint8) if within is None else within, step)
        left, top, across, down = cv2.boundingRect(seen)
        self._first = (left, top)
        away = np.where(seen, _steps_away(_in_steps(texture.plane, step)), _NEVER)
        self._away = np.ascontiguousarray(away[top : top + down, left : left + across])
        # One step more on every side: there a plane that is enlarged is flat, not a slope.
        rows, columns = down + 2, across + 2
        self._on_grid = np.array([1 - left, 1 - top], np.float32)
        self._rasteriser = Rasteriser(columns, rows)
        self._grid = tuple(
            ENLARGED * (step * (plane + (first - 1)) + np.float32((step - 1) / 2))
            for plane, first in zip(_pixel_grid(columns, rows), self._first, strict=True)
        )
        self._displacement = _planes(np.zeros((rows, columns, 3), np.float32))
        self._far = 0
        self._pixels = np.empty((WINDOW_ROWS, width, 4), np.uint8)

    def move(self, skin: Layer) -> None:
        """Take the picture's points to where the skin has them."""
        coarse = skin.vertices.copy()
        coarse[:, :2] *= np.float32(1 / self.step)
        coarse[:, :2] += self._on_grid
        displacement = _displacement(skin)
        self._far = ceil(float(np.abs(displacement).max()) / ENLARGED)
        self._displacement = _planes(self._rasteriser.draw(coarse, self._triangles, displacement))

    def moved(self, also: Sequence[Window] = ()) -> list[Window]:
        """Windows over wherever the last `move` has moved anything, and over these: but for
        places where nothing of the texture's plane can have come, or be seen.
        """
        x, y = (plane[1:-1, 1:-1] for plane in self._displacement)
        moved = ((x != 0) | (y != 0)).view(np.uint8)
        left, top = self._first
        for rows, columns in also:
            moved[_steps(rows, self.step, top), _steps(columns, self.step, left)] = 1
        far = min(ceil((self._far + Texture.MARGIN_PX) / self.step), _NEVER - 1)
        near = (self._away <= far).view(np.uint8)
        return self._whole(cv2.bitwise_and(cv2.dilate(moved, _AROUND), near))

    def read(self, windows: Sequence[Window]) -> Window:
        """What of the texture's picture a fetch in these windows, at least one, may read."""
        margin = self._far + Texture.MARGIN_PX
        height, width = self._texture.size
        rows, columns = zip(*windows, strict=True)
        return Window(
            slice(
                max(0, min(part.start for part in rows) - margin),
                min(height, max(part.stop for part in rows) + margin),
            ),
            slice(
                max(0, min(part.start for part in columns) - margin),
                min(width, max(part.stop for part in columns) + margin),
            ),
        )

    def fetch(self, frame: Image, share: NDArray[np.uint8], windows: Sequence[Window]) -> None:
        """Draw what the last `move` has made of the texture inside these windows: its colours
        into the frame, uint8 [H, W, 3], its plane into the share, uint8 [H, W].
        """
        coarse = [plane + grid for plane, grid in zip(self._displacement, self._grid, strict=True)]
        for window in windows:
            pixels = self._pixels[: window.height, : window.width]
            self._texture.expect(self.read([window]))
            x, y = (self._enlarged(plane, window) for plane in coarse)
            self._texture.fetch(x, y, pixels)
            cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB, dst=frame[window])
            cv2.extractChannel(pixels, 3, dst=share[window])

    def _enlarged(self, coarse: Floats, window: Window) -> Floats:
        """Of a coarse plane the pixels of a window, float32 [h, w]."""
        step, (left, top) = self.step, self._first
        rows, columns = _steps(window.rows, step, top), _steps(window.columns, step, left)
        # With the steps before and after them, which those at the edges are mixed with.
        part = coarse[rows.start : rows.stop + 2, columns.start : columns.stop + 2]
        height, width = part.shape
        size = (width * step, height * step)
        fine = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.float32)
        down = window.rows.start - (top + rows.start - 1) * step
        right = window.columns.start - (left + columns.start - 1) * step
        return fine[down : down + window.height, right : right + window.width]

    def _whole(self, mask: NDArray[Any]) -> list[Window]:
        """Windows of the picture over a mask in steps."""
        (height, width), (left, top), step = self._texture.size, self._first, self.step
        return [
            Window(
                slice((top + rows.start) * step, min((top + rows.stop) * step, height)),
                slice((left + columns.start) * step, min((left + columns.stop) * step, width)),
            )
            for rows, columns in windows_over(mask, WINDOW_ROWS // step)
        ]


class FineRegion:
    """A window that follows a feature of the face, drawn at twice the resolution with only the
    triangles near it.
    """

    def __init__(
        self,
        texture: Texture,
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
        self._texture = texture
        self._anchors = np.array(anchors)
        at_rest = rig.points[self._anchors, :2]
        aside, above, below = (round(r * rig.eye_distance_px) + FEATHER_PX for r in reach)
        low = np.floor(at_rest.min(axis=0)).astype(int) - np.array([aside, above])
        high = np.ceil(at_rest.max(axis=0)).astype(int) + np.array([aside, below])
        self._low = (low - np.rint(at_rest.mean(axis=0)).astype(int)).tolist()
        width, height = (int(s) for s in np.minimum(high - low, texture.size[::-1]))
        self._size = (width, height)
        triangles = np.concatenate([_near(rig, low, high), backdrop + len(rig.points)])
        used = np.zeros(int(triangles.max()) + 1, np.bool_)
        used[triangles] = True
        self._used = np.flatnonzero(used)
        self._triangles = (used.cumsum() - 1)[triangles].astype(np.int32)
        self._triangles.setflags(write=False)
        self._rasteriser = Rasteriser(width * FINE_ACROSS, height * FINE_DOWN)
        self._grid = tuple(
            ((plane + np.float32(0.5)) / np.float32(fine) - np.float32(0.5)) * np.float32(ENLARGED)
            for plane, fine in zip(
                _pixel_grid(width * FINE_ACROSS, height * FINE_DOWN), (FINE_ACROSS, FINE_DOWN), strict=True
            )
        )
        self._fine = np.empty((height * FINE_DOWN, width * FINE_ACROSS, 4), np.uint8)
        self._alpha = _feathered(width, height)
        self._rest = 1 - self._alpha

    def window(self, skin: Layer) -> Window:
        """Where the region is."""
        width, height = self._size
        anchors = skin.vertices.take(self._anchors, axis=0)
        middle = (np.add.reduce(anchors) / np.float32(len(anchors))).tolist()
        left, top = (
            min(max(0, round(place) + low), side - size)
            for place, low, size, side in zip(
                middle[:2], self._low, self._size, self._texture.size[::-1], strict=True
            )
        )
        return Window(slice(top, top + height), slice(left, left + width))

    def draw(self, skin: Layer, backdrop: Layer) -> Patch:
        """The region, to be laid over the frame."""
        window = self.window(skin)
        corner = window.columns.start, window.rows.start
        whole = skin.over(backdrop)
        layer = Layer(whole.vertices[self._used], whole.texture[self._used])
        local = layer.vertices.copy()
        local[:, :2] = (local[:, :2] - corner) * (FINE_ACROSS, FINE_DOWN)
        x, y = _planes(self._rasteriser.draw(local, self._triangles, _displacement(layer)))
        for places, grid, first in zip((x, y), self._grid, corner, strict=True):
            places += grid
            places += np.float32(ENLARGED * first)
        self._texture.fetch(x, y, self._fine)
        # FINE_DOWN rows become one.
        patch = cv2.addWeighted(self._fine[::2], 0.5, self._fine[1::2], 0.5, 0)
        colours = np.asarray(cv2.cvtColor(patch, cv2.COLOR_RGBA2RGB), np.uint8)
        return Patch(window, colours, self._alpha, self._rest)


def _steps(pixels: slice, step: int, first: int) -> slice:
    """The steps that hold these pixels, counted from step `first` of the picture."""
    return slice(max(0, pixels.start // step - first), max(0, -(-pixels.stop // step) - first))


def _steps_away(covered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How many steps lie between each step and the nearest that is not 0, aside or down,
    whichever are more; at most _NEVER - 1.
    """
    distance = cv2.distanceTransform(1 - covered, cv2.DIST_C, cv2.DIST_MASK_3)
    return np.asarray(distance.clip(0, _NEVER - 1), np.uint8)


def _in_steps(mask: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Of a mask of pixels, uint8 [H, W], that of steps: 1 where any of a step's pixels is not
    0, otherwise 0.
    """
    down, right = (-side % step for side in mask.shape)
    steps = np.pad(mask, ((0, down), (0, right))).reshape((len(mask) + down) // step, step, -1, step)
    return np.asarray(steps.max(axis=(1, 3)) > 0, np.uint8)


def _displacement(layer: Layer) -> Floats:
    """Attributes float32 [k, 3] for the rasteriser: texture minus place, as a texture counts,
    and nothing.
    """
    attributes = np.zeros_like(layer.vertices)
    attributes[:, :2] = ENLARGED * (layer.texture - layer.vertices[:, :2])
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


def _feathered(width: int, height: int) -> Floats:
    """1 inside, falling to 0 at the border, float32 [height, width]."""
    x, y = (np.minimum(np.arange(n) + 1, np.arange(n, 0, -1)) for n in (width, height))
    return np.clip(np.minimum.outer(y, x) / (FEATHER_PX + 1), 0, 1).astype(np.float32)
