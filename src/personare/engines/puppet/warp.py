"""Moving the picture: from a FaceState to vertices, and from vertices to a resampled picture.

Every vertex carries the place in the picture that it shows. Rasterising the difference between the two gives, for each
pixel of the frame, how far away to fetch its colour; where nothing is drawn the difference is zero and the picture stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet import eyes
from personare.engines.puppet.rig import BLINKS, Rig
from personare.engines.puppet.state import UNIT, FaceState
from personare.heads import Rasteriser
from personare.types import Image

Floats = NDArray[np.float32]

COARSE = 2
"""The whole picture's displacement is rasterised at this fraction of its resolution: it is smooth but at lids and lips,
which are drawn again, finely."""
FINE = 2
"""Supersampling of eyes and lips."""
LID_SLIDE_LEAD = 1.3
"""The lid's texture slides ahead of the lid, so that no lashes are stretched over a half-shut eye."""
BEHIND_LIDS_PX = 1000.0
"""Depth of the eyeballs below everything else; any number larger than a head."""
MOVES_WITHIN = 0.14
"""A region's triangles are chosen at rest, with this much room for it to move, in eye distances."""
FEATHER_PX = 3
"""Width of the blend from a finely drawn region to the rest."""
PARTED_JAW = 0.25
STAYS_PARTED = 0.45
"""A mouth that is open in the picture is pulled shut in full for closed sounds; with the jaw this far open, this share of
the picture's own gap comes back (an upper lip raised by a smile stays raised)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """vertices: float32 [k, 3] in the frame. texture: float32 [k, 2], where in the picture each takes its colour."""

    vertices: Floats
    texture: Floats

    def over(self, behind: Layer) -> Layer:
        return Layer(np.concatenate([self.vertices, behind.vertices]), np.concatenate([self.texture, behind.texture]))


@dataclass(frozen=True, slots=True)
class Posed:
    """Where everything is in one frame.

    skin: the rig's vertices. eyeballs: those of eyes.eyeballs. between_lips: the inner lips once more, to span the mouth.
    """

    skin: Layer
    eyeballs: tuple[Layer, Layer]
    between_lips: Layer
    rotation: Floats
    translation: Floats

    @property
    def vertices(self) -> Floats:
        """float32 [n, 3] of the skin."""
        return self.skin.vertices

    def turn(self, points: Floats) -> Floats:
        """Head motion of points [..., 3]."""
        return np.asarray(points @ self.rotation.T + self.translation, np.float32)


def head_rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """float32 [3, 3] from degrees: yaw turns the nose to image right, pitch lifts it, roll tilts clockwise in the image."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (tilt @ turn @ nod).astype(np.float32)


def pose(rig: Rig, state: FaceState) -> Posed:
    """Where everything is in one frame."""
    curves = np.asarray(state.curves, np.float32)
    parted = min(1.0, max(0.0, float(curves[UNIT["jawOpen"]])) / PARTED_JAW)
    deltas = np.tensordot(curves, rig.deltas, 1) + rig.closure * np.float32(1 - STAYS_PARTED * parted)
    moved = rig.points + deltas
    rotation = head_rotation(*state.head)
    unit_px = rig.eye_distance_px
    shift = np.array([state.shift[0] * unit_px, state.shift[1] * unit_px, 0], np.float32)
    translation = rig.pivot - rotation @ rig.pivot + shift
    turned = moved @ rotation.T + translation
    vertices = moved + (turned - moved) * rig.head_weight[:, None]
    vertices[:, 2] = turned[:, 2]
    gaze = np.array([state.gaze[0] * unit_px, state.gaze[1] * unit_px], np.float32)
    eyeballs = rig.eyeballs @ rotation.T + translation
    eyeballs[..., :2] += gaze * eyes.EYEBALL_MOVES[:, None]
    eyeballs[..., 2] -= BEHIND_LIDS_PX
    eye_texture = rig.eyeballs[..., :2] + eyes.edge_slide(float(gaze[0]))
    texture = rig.points[:, :2] + rig.lip_tuck
    for blink, slide in zip(curves[BLINKS], rig.lid_slide, strict=True):
        texture = texture + slide * np.float32(np.clip(blink * LID_SLIDE_LEAD, 0, 1))
    return Posed(
        vertices=vertices.astype(np.float32),
        texture=texture.astype(np.float32),
        eyeballs=eyeballs.astype(np.float32),
        eye_texture=eye_texture,
        rotation=rotation,
        translation=translation,
    )


class Surface:
    """The whole picture, moved. Holds its buffers; `draw` overwrites what it returned before."""

    def __init__(self, picture: Image, triangles: NDArray[np.int32]) -> None:
        self._picture = picture
        self._triangles = np.ascontiguousarray(triangles)
        height, width = picture.shape[:2]
        self._rasteriser = Rasteriser(width // COARSE, height // COARSE)
        self._grid = _pixel_grid(width, height)
        self._map = np.empty_like(self._grid)
        self._frame = np.empty_like(picture)

    def draw(self, posed: Posed) -> Image:
        """The frame, uint8 [S, S, 3]."""
        coarse = posed.vertices.copy()
        coarse[:, :2] /= COARSE
        attributes = np.zeros_like(posed.vertices)
        attributes[:, :2] = posed.texture - posed.vertices[:, :2]
        displacement = self._rasteriser.draw(coarse, self._triangles, attributes)
        size = self._grid.shape[1::-1]
        cv2.resize(displacement[..., :2], size, dst=self._map, interpolation=cv2.INTER_LINEAR)
        cv2.add(self._map, self._grid, dst=self._map)
        return _fetch(self._picture, self._map, self._frame)


class FineRegion:
    """A window that follows a feature of the face and is drawn at twice the resolution, only with the triangles near it."""

    def __init__(
        self, picture: Image, rig: Rig, anchors: Sequence[int], reach: tuple[float, float, float], eye: int | None = None
    ) -> None:
        """anchors: face points of the feature. reach: space aside, above and below them in eye distances. eye: which
        eyeball is drawn with it, if any."""
        self._picture = picture
        self._anchors = list(anchors)
        self._eye = eye
        at_rest = rig.points[self._anchors, :2]
        aside, above, below = (round(r * rig.eye_distance_px) + FEATHER_PX for r in reach)
        low = np.floor(at_rest.min(axis=0)).astype(int) - (aside, above)
        high = np.ceil(at_rest.max(axis=0)).astype(int) + (aside, below)
        side = picture.shape[0]
        self._low = low - np.rint(at_rest.mean(axis=0)).astype(int)
        self._size = tuple(int(s) for s in np.minimum(high - low, side))
        width, height = self._size
        self._triangles = _near(rig, low, high)
        if eye is not None:
            self._triangles = np.concatenate([self._triangles, eyes.eyeball_triangles() + len(rig.points)])
        self._rasteriser = Rasteriser(width * FINE, height * FINE)
        self._grid = _pixel_grid(width * FINE, height * FINE) / FINE - np.float32(0.5 - 0.5 / FINE)
        self._map = np.empty_like(self._grid)
        self._fine = np.empty((height * FINE, width * FINE, 3), np.uint8)
        self._alpha = _feathered(width, height)

    def draw(self, frame: Image, posed: Posed) -> None:
        """Draw the region over the frame, in place."""
        width, height = self._size
        middle = np.rint(posed.vertices[self._anchors, :2].mean(axis=0)).astype(int)
        x0, y0 = (int(v) for v in np.clip(middle + self._low, 0, frame.shape[0] - np.array(self._size)))
        vertices, texture = posed.vertices, posed.texture
        if self._eye is not None:
            vertices = np.concatenate([vertices, posed.eyeballs[self._eye]])
            texture = np.concatenate([texture, posed.eye_texture[self._eye]])
        attributes = np.zeros_like(vertices)
        attributes[:, :2] = texture - vertices[:, :2]
        local = vertices.copy()
        local[:, :2] = (local[:, :2] - (x0, y0)) * FINE
        displacement = self._rasteriser.draw(local, self._triangles, attributes)
        np.add(displacement[..., :2], self._grid, out=self._map)
        self._map += np.float32((x0, y0))
        patch = cv2.resize(_fetch(self._picture, self._map, self._fine), self._size, interpolation=cv2.INTER_AREA)
        window = frame[y0 : y0 + height, x0 : x0 + width]
        window[:] = cv2.blendLinear(patch, window, self._alpha, 1 - self._alpha)


def _near(rig: Rig, low: NDArray[np.int_], high: NDArray[np.int_]) -> NDArray[np.int32]:
    """Triangles that touch the rectangle at rest, with room for it to move by a tenth of an eye distance."""
    room = MOVES_WITHIN * rig.eye_distance_px
    corners = rig.points[rig.triangles, :2]
    touches = (corners.max(axis=1) > low - room) & (corners.min(axis=1) < high + room)
    return np.ascontiguousarray(rig.triangles[touches.all(axis=1)])


def _pixel_grid(width: int, height: int) -> Floats:
    """Coordinates (x, y) of every pixel as cv2.remap counts them, float32 [height, width, 2]."""
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), axis=-1)


def _fetch(picture: Image, places: Floats, into: Image) -> Image:
    # Cubic: a picture that goes half a pixel to and fro must not go in and out of focus.
    cv2.remap(picture, places, None, cv2.INTER_CUBIC, dst=into, borderMode=cv2.BORDER_REPLICATE)
    return into


def _feathered(width: int, height: int) -> Floats:
    """1 inside, falling to 0 at the border, float32 [height, width]."""
    x, y = (np.minimum(np.arange(n) + 1, np.arange(n, 0, -1)) for n in (width, height))
    return np.clip(np.minimum.outer(y, x) / (FEATHER_PX + 1), 0, 1).astype(np.float32)
