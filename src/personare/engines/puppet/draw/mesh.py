"""The mesh look: the bundled 3-D head in place of a photo, drawn from the same FaceState.

One pass rasterises, at one and a half times the size, the place in the paint and the light of
every pixel; the paint is then looked up, lit and averaged down; upper and lower half side by
side. Nothing is warped, so any pose and any curve is shown as it is: a test subject whose truth
is known.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.deform import head_rotation
from personare.heads.mesh_head import EYE_PATCH, EYES, TEETH, TONGUE, MeshHead, mesh_head
from personare.heads.rasterise import Rasteriser
from personare.motion import UNIT, FaceState
from personare.types import Image

Floats = NDArray[np.float32]

SUPERSAMPLING = 1.5
FACE_HEIGHT = 1.72
"""Brows to chin as a photo's landmarks span them, in eye distances: turns the option
face_height into a scale.
"""
FACE_FROM_TOP = 0.46
FACE_MIDDLE = (0.0, -0.42)
"""Middle of the face, right and up from the middle between the eyes."""
PIVOT = np.array([0.0, -1.42, -0.55], np.float32)
"""Where the head turns on the neck."""
NECK_FOLLOWS = (-2.35, -1.30)
"""Heights between which a vertex goes over from still (shoulders) to going with the head."""
EYE_RADIUS = 12.0 / 88.0
TONGUE_RISES = 0.055
"""Of the tongue's tip when it touches the upper teeth, in eye distances."""

KEY_LIGHT, KEY = np.array([-0.42, 0.50, 0.76], np.float32), 0.62
FILL_LIGHT, FILL = np.array([0.75, 0.10, 0.65], np.float32), 0.20
SKY, WRAP = 0.34, 0.18
SHINE, SHINE_POWER = 0.13, 18
INSIDE_POWER = 1.15
"""Light that reaches a place that only this share of the front sees: openness to this power."""
PART_LIGHT = {TEETH[0]: 0.95, TEETH[1]: 0.80, TONGUE: 0.85}
WARM_SHADOW = np.array([1.0, 1.22, 1.34], np.float32)
"""Light goes through skin: channel c is lit by light ** WARM_SHADOW[c], which leaves shadows
redder than lit places.
"""
LIGHT_STEPS = 160
BACKDROP = (np.array([126, 134, 144], np.float32), np.array([86, 94, 106], np.float32))
"""Colour behind the head at the top and at the bottom."""

_GAZE_UNITS = {name: i for name, i in UNIT.items() if name.startswith("eyeLook")}
_LOOK = 0.06
"""Shift of the iris at eyeLook... = 1, in eye distances."""


class MeshRenderer:
    """Draws the mesh head. Holds buffers: used by one thread; the same state gives the same
    bytes.

    The lower half is drawn in a second thread while the upper one is; `close` ends it.
    """

    def __init__(self, size: int, face_height: float) -> None:
        """size: side of the square picture in pixels. face_height: of the face as a share of
        it.
        """
        self._head: MeshHead = mesh_head()
        side = round(size * SUPERSAMPLING)
        self._size = size
        self._scale = np.float32(face_height * side / FACE_HEIGHT)
        self._halves = [_Half(slice(0, side // 2), side), _Half(slice(side // 2, side), side)]
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="personare-mesh")
        self._middle = np.array([side / 2, side * FACE_FROM_TOP], np.float32)
        rest = self._head.shaped(np.zeros(len(UNIT), np.float32))
        low, high = NECK_FOLLOWS
        part = np.clip((rest[:, 1] - low) / (high - low), 0, 1)
        self._follows = (part * part * (3 - 2 * part)).astype(np.float32)[:, None]
        self._inside_light = self._head.openness**INSIDE_POWER
        for number, light in PART_LIGHT.items():
            self._inside_light[self._head.part == number] *= light
        self._eyes = np.isin(self._head.part, EYES)
        self._tongue = np.flatnonzero(self._head.part == TONGUE)
        tongue = rest[self._tongue, 2]
        self._tongue_tip = ((tongue - tongue.min()) / np.ptp(tongue)).astype(np.float32) ** 2
        self._incidence = _incidence(self._head.triangles, len(rest))
        steps = (np.arange(side, dtype=np.float32) + 0.5)[:, None] / side
        top, bottom = BACKDROP
        self._backdrop = np.repeat((top + (bottom - top) * steps)[:, None, :], side, axis=1).astype(np.uint8)

    def render(self, state: FaceState) -> Image:
        """One frame, uint8 [S, S, 3], the caller's to keep."""
        place = self._placed(state)
        triangles = self._head.triangles
        a, b, c = (place[triangles[:, corner]] for corner in range(3))
        across = np.cross(b - a, c - a)  # twice the area, along the normal; y grows downwards
        light = self._light(across)
        attributes = np.column_stack([self._paint_at(state), light]).astype(np.float32)
        frame = self._backdrop.copy()
        facing = triangles[across[:, 2] < 0]
        upper, lower = self._halves
        other = self._beside.submit(lower.draw, frame, place, facing, attributes, self._head.paint)
        upper.draw(frame, place, facing, attributes, self._head.paint)
        other.result()
        return np.asarray(cv2.resize(frame, (self._size, self._size), interpolation=cv2.INTER_AREA))

    def close(self) -> None:
        """Draw no more."""
        self._beside.shutdown()

    def vertices(self, state: FaceState) -> Floats:
        """Where the fine vertices are in the frame, float32 [k, 2] px: the truth that a
        measurement can be held against.
        """
        return np.asarray(self._placed(state)[:, :2] / SUPERSAMPLING, np.float32)

    def _placed(self, state: FaceState) -> Floats:
        """Pixels of the supersampled frame, x right, y down, z nearer: float32 [k, 3]."""
        curves = np.asarray(state.curves, np.float32).copy()
        curves[list(_GAZE_UNITS.values())] = 0  # the eyes turn by their paint
        shape = self._head.shaped(curves)
        shape[self._tongue, 1] += TONGUE_RISES * state.tongue * self._tongue_tip
        yaw, pitch, roll = state.head
        # head_rotation is for y down; the same turn with y up
        flip = np.array([1, -1, 1], np.float32)
        rotation = head_rotation(yaw, pitch, roll) * flip * flip[:, None]
        turned = (shape - PIVOT) @ rotation.T + PIVOT
        turned[:, 0] += state.shift[0]
        turned[:, 1] -= state.shift[1]
        shape = shape + (turned - shape) * self._follows
        centred = (shape - (*FACE_MIDDLE, 0)) * self._scale
        x, y = self._middle
        return np.column_stack([x + centred[:, 0], y - centred[:, 1], centred[:, 2]]).astype(np.float32)

    def _paint_at(self, state: FaceState) -> Floats:
        """Place in the paint of every vertex; gaze moves the iris over the eye."""
        looks = {name: float(state.curves[unit]) for name, unit in _GAZE_UNITS.items()}
        # image right is the subject's left
        right = (
            looks["eyeLookOutLeft"]
            + looks["eyeLookInRight"]
            - looks["eyeLookInLeft"]
            - looks["eyeLookOutRight"]
        )
        down = (
            looks["eyeLookDownLeft"]
            + looks["eyeLookDownRight"]
            - looks["eyeLookUpLeft"]
            - looks["eyeLookUpRight"]
        )
        gaze = np.array([state.gaze[0] + _LOOK * right / 2, state.gaze[1] + _LOOK * down / 2])
        shift = np.clip(gaze / EYE_RADIUS, -0.45, 0.45) * EYE_PATCH.size / 2.2
        at = self._head.paint_at - np.float32(0.5)
        low = np.array(EYE_PATCH.corner) + 0.5
        at[self._eyes] = np.clip(at[self._eyes] - shift.astype(np.float32), low, low + EYE_PATCH.size - 3)
        return at

    def _light(self, across: Floats) -> Floats:
        """float32 [k]: key, fill and sky on smooth normals, with a little shine, where light
        reaches.
        """
        order, starts = self._incidence
        normals = np.add.reduceat(across[order], starts, axis=0)
        normals *= np.array([-1, 1, -1], np.float32)  # outwards, y up
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        light = SKY * (0.5 + 0.5 * normals[:, 1]) + SKY * 0.35
        for direction, strength in ((KEY_LIGHT, KEY), (FILL_LIGHT, FILL)):
            towards = normals @ (direction / np.linalg.norm(direction))
            light += strength * np.clip((towards + WRAP) / (1 + WRAP), 0, 1)
        half = KEY_LIGHT / np.linalg.norm(KEY_LIGHT) + np.array([0, 0, 1], np.float32)
        shine = np.clip(normals @ (half / np.linalg.norm(half)), 0, 1) ** SHINE_POWER
        return np.asarray((light + SHINE * shine) * self._inside_light, np.float32)


class _Half:
    """Some rows of the supersampled frame, drawn on their own."""

    def __init__(self, rows: slice, side: int) -> None:
        self._rows = rows
        self._raster = Rasteriser(side, rows.stop - rows.start)

    def draw(
        self, frame: Image, place: Floats, triangles: NDArray[np.int32], attributes: Floats, paint: Image
    ) -> None:
        """The head's part in these rows over the frame, uint8 [side, side, 3], in place."""
        place = place - np.array([0, self._rows.start, 0], np.float32)
        y = place[:, 1][triangles]
        here = triangles[(y.max(axis=1) > 0) & (y.min(axis=1) < self._raster.height)]
        if not len(here):
            return
        seen = self._raster.draw(place, np.ascontiguousarray(here), attributes)
        covered = self._raster.covered
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        if len(rows):
            window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            own = frame[self._rows]
            own[window] = _shaded(seen[window], covered[window], own[window], paint)


def _shaded(seen: Floats, covered: NDArray[np.bool_], behind: Image, paint: Image) -> Image:
    """uint8 [h, w, 3]: paint under light where the head is."""
    u, v, light = cv2.split(np.ascontiguousarray(seen))
    painted = cv2.remap(paint, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steps = cv2.convertScaleAbs(light, alpha=LIGHT_STEPS)
    gain = cv2.LUT(cv2.merge([steps, steps, steps]), _GAINS)
    lit = cv2.multiply(painted, gain, scale=1 / 128)
    cv2.copyTo(np.ascontiguousarray(behind), np.bitwise_not(covered).view(np.uint8), lit)
    return np.asarray(lit)


def _gains() -> NDArray[np.uint8]:
    """Light in steps of 1/LIGHT_STEPS -> gain per channel in 1/128: uint8 [1, 256, 3]."""
    light = np.arange(256, dtype=np.float32)[:, None] / LIGHT_STEPS
    gains = np.where(light < 1, light**WARM_SHADOW, light)
    return np.asarray(np.rint(np.clip(gains, 0, 1.9) * 128)[None], np.uint8)


_GAINS = _gains()


def _incidence(triangles: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles at each vertex, one vertex after the other, and where each vertex's begin."""
    corners = triangles.reshape(-1)
    order = np.argsort(corners, kind="stable")
    return order // 3, np.searchsorted(corners[order], np.arange(count))
