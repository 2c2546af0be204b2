"""The mesh look: the bundled 3-D head in place of a photo, drawn from the same FaceState.

One pass rasterises, at one and a half times the size, the place in the paint and the light of
every pixel; the paint is then looked up, lit and averaged down; upper and lower half side by
side. Nothing is warped, so any pose and any curve is shown as it is: a test subject whose truth
is known.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.deform import head_rotation
from personare.heads.mesh_head import EYE_PATCH, EYES, TEETH, TONGUE, MeshHead, SparseSums, mesh_head
from personare.heads.rasterise import Rasteriser
from personare.motion import UNIT, FaceState
from personare.types import Image

Floats = NDArray[np.float32]
Window = tuple[slice, slice]

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
SHINE = 0.13
INSIDE_POWER = 1.15
"""Light that reaches a place that only this share of the front sees: openness to this power."""
PART_LIGHT = {TEETH[0]: 0.95, TEETH[1]: 0.80, TONGUE: 0.85}
WARM_SHADOW = np.array([1.0, 1.22, 1.34], np.float32)
"""Light goes through skin: channel c is lit by light ** WARM_SHADOW[c], which leaves shadows
redder than lit places.
"""
LIGHT_STEPS = 160
BAND = 128
"""Rows of the supersampled frame that are lit at once: few, so that they are no wider than what
they show, and what is made on the way stays in the processor's cache.
"""
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
        self._means = _means(size, side)
        self._scale = np.float32(face_height * side / FACE_HEIGHT)
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="personare-mesh")
        self._middle = np.array([side / 2, side * FACE_FROM_TOP], np.float32)
        rest = self._head.shaped(np.zeros(len(UNIT), np.float32))
        low, high = NECK_FOLLOWS
        part = np.clip((rest[:, 1] - low) / (high - low), 0, 1)
        self._follows = (part * part * (3 - 2 * part)).astype(np.float32)
        self._inside_light = self._head.openness**INSIDE_POWER
        for number, light in PART_LIGHT.items():
            self._inside_light[self._head.part == number] *= light
        self._eyes = np.flatnonzero(np.isin(self._head.part, EYES))
        self._tongue = np.flatnonzero(self._head.part == TONGUE)
        tongue = rest[self._tongue, 2]
        self._tongue_tip = ((tongue - tongue.min()) / np.ptp(tongue)).astype(np.float32) ** 2
        triangles = self._head.triangles
        self._corners = tuple(np.ascontiguousarray(corner, np.intp) for corner in triangles.T)
        around = np.tile(np.arange(len(triangles)), 3)
        self._normals = SparseSums.of(
            np.concatenate(self._corners), around, np.ones(len(around), np.float32), len(rest)
        )
        self._moves = self._moving()
        half = side // 2
        self._halves = [_Half(slice(0, half), side), _Half(slice(half, side), side)]
        steps = (np.arange(side, dtype=np.float32) + 0.5)[:, None] / side
        top, bottom = (np.append(colour, 255) for colour in BACKDROP)
        self._behind = np.repeat((top + (bottom - top) * steps)[:, None, :], side, axis=1).astype(np.uint8)
        self._paint: Image = np.asarray(cv2.cvtColor(self._head.paint, cv2.COLOR_RGB2RGBA), np.uint8)
        scene = self._scene(FaceState(np.zeros(len(UNIT), np.float32), 0.0, (0, 0, 0), (0, 0), (0, 0)))
        for part in self._halves:
            part.keep_still(self._behind, scene, ~self._moves)
        self._still = np.zeros((size, size, 3), np.uint8)
        self._shrink(self._behind, self._still, (slice(0, side), slice(0, side)))

    def render(self, state: FaceState) -> Image:
        """One frame, uint8 [S, S, 3], the caller's to keep."""
        scene = self._scene(state)
        drawn = self._behind.copy()
        upper, lower = self._halves
        other = self._beside.submit(lower.draw, drawn, scene, self._moves)
        changed = upper.draw(drawn, scene, self._moves) + other.result()
        frame = self._still.copy()
        for window in changed:
            self._shrink(drawn, frame, window)
        return frame

    def close(self) -> None:
        """Draw no more."""
        self._beside.shutdown()

    def vertices(self, state: FaceState) -> Floats:
        """Where the fine vertices are in the frame, float32 [k, 2] px: the truth that a
        measurement can be held against.
        """
        return np.asarray(self._placed(state)[:2].T / SUPERSAMPLING, np.float32)

    def _shrink(self, drawn: Image, frame: Image, window: Window) -> None:
        """Average what is drawn down into the frame, wherever it shows something of the
        window.
        """
        place, fractions = self._means
        last = len(frame)
        rows, columns = (
            slice(max(int(part.start / SUPERSAMPLING) - 1, 0), min(int(part.stop / SUPERSAMPLING) + 2, last))
            for part in window
        )
        shrunk = cv2.remap(drawn, place[rows, columns], fractions[rows, columns], cv2.INTER_LINEAR)
        frame[rows, columns] = cv2.cvtColor(shrunk, cv2.COLOR_RGBA2RGB)

    def _moving(self) -> NDArray[np.bool_]:
        """bool [m]: triangles that are not the same in every frame, place and light. Shoulders
        are.
        """
        head = self._head
        touched = np.zeros((len(head.vertices), 1), np.float32)
        touched[head.unit_vertices] = 1
        moves = (self._follows > 0) | (head.rule.apply(touched)[:, 0] != 0) | (head.part > 0)
        lit_anew = np.zeros(len(moves), bool)
        lit_anew[head.triangles[moves[head.triangles].any(axis=1)]] = True
        return np.asarray(lit_anew[head.triangles].any(axis=1))

    def _scene(self, state: FaceState) -> _Scene:
        place = self._placed(state)
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (place.take(corner, axis=1) for corner in self._corners)
        top, bottom = np.minimum(np.minimum(ay, by), cy), np.maximum(np.maximum(ay, by), cy)
        bx, by, bz, cx, cy, cz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        # twice the area, along the normal; y grows downwards
        across = np.stack([by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx])
        attributes = np.column_stack([self._paint_at(state), self._light(across)])
        return _Scene(place.T, self._head.triangles, across[2] < 0, top, bottom, attributes, self._paint)

    def _placed(self, state: FaceState) -> Floats:
        """Pixels of the supersampled frame, x right, y down, z nearer: float32 [3, k]."""
        curves = np.asarray(state.curves, np.float32).copy()
        curves[list(_GAZE_UNITS.values())] = 0  # the eyes turn by their paint
        shape = self._head.shaped(curves).T
        shape[1, self._tongue] += TONGUE_RISES * state.tongue * self._tongue_tip
        yaw, pitch, roll = state.head
        # head_rotation is for y down; the same turn with y up
        flip = np.array([1, -1, 1], np.float32)
        rotation = head_rotation(yaw, pitch, roll) * flip * flip[:, None]
        pivot = PIVOT[:, None]
        turned = rotation.astype(np.float32) @ (shape - pivot) + pivot
        turned[0] += np.float32(state.shift[0])
        turned[1] -= np.float32(state.shift[1])
        turned -= shape
        turned *= self._follows
        shape += turned
        x, y = self._middle
        shape[:2] -= np.array(FACE_MIDDLE, np.float32)[:, None]
        shape *= np.array([[self._scale], [-self._scale], [self._scale]], np.float32)
        shape[:2] += np.array([[x], [y]], np.float32)
        return shape

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
        normals = self._normals.apply(across.T).T
        normals *= np.array([[-1], [1], [-1]], np.float32)  # outwards, y up
        x, y, z = normals
        normals /= np.maximum(np.sqrt(x * x + y * y + z * z), np.float32(1e-6))
        half = KEY_LIGHT / np.linalg.norm(KEY_LIGHT) + np.array([0, 0, 1], np.float32)
        directions = np.stack([d / np.linalg.norm(d) for d in (KEY_LIGHT, FILL_LIGHT, half)])
        key, fill, shine = np.asarray(directions, np.float32) @ normals
        light = y * np.float32(SKY * 0.5) + np.float32(SKY * 0.85)
        for towards, strength in ((key, KEY), (fill, FILL)):
            towards += np.float32(WRAP)
            light += np.maximum(towards, 0) * np.float32(strength / (1 + WRAP))
        light += np.float32(SHINE) * _shining(np.maximum(shine, 0))
        light *= self._inside_light
        return np.asarray(light)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What there is to draw: place float32 [k, 3] px of the supersampled frame, triangles int32
    [m, 3], which of them face the viewer and the rows that they reach from and to, [m];
    attributes float32 [k, 3]: place in the paint, light.
    """

    place: Floats
    triangles: NDArray[np.int32]
    facing: NDArray[np.bool_]
    top: Floats
    bottom: Floats
    attributes: Floats
    paint: Image


class _Half:
    """Some rows of the supersampled frame, drawn on their own."""

    def __init__(self, rows: slice, side: int) -> None:
        self._rows = rows
        self._raster = Rasteriser(side, rows.stop - rows.start)
        self._behind: Floats | None = None

    def keep_still(self, frame: Image, scene: _Scene, still: NDArray[np.bool_]) -> None:
        """Draw these triangles into the frame; what is drawn later is drawn before them."""
        self.draw(frame, scene, still)
        self._behind = self._raster.kept_depth()

    def draw(self, frame: Image, scene: _Scene, which: NDArray[np.bool_]) -> list[Window]:
        """The triangles' part in these rows over the frame, uint8 [side, side, 4], in place.
        Windows, rows and columns, outside which nothing has changed.
        """
        start, stop = self._rows.start, self._rows.stop
        here = scene.triangles[which & scene.facing & (scene.bottom > start) & (scene.top < stop)]
        if not len(here):
            return []
        first = here.min()
        used = slice(first, here.max() + 1)
        place = scene.place[used] - np.array([0, start, 0], np.float32)
        seen = self._raster.draw(place, here - first, scene.attributes[used], self._behind)
        covered = self._raster.covered
        windows = []
        for top in range(0, stop - start, BAND):
            band = covered[top : top + BAND]
            rows, columns = np.flatnonzero(band.any(axis=1)), np.flatnonzero(band.any(axis=0))
            if len(rows):
                window = np.s_[top + rows[0] : top + rows[-1] + 1, columns[0] : columns[-1] + 1]
                lit = _shaded(seen[window], scene.paint)
                cv2.copyTo(lit, covered[window].view(np.uint8), frame[self._rows][window])
                windows.append((slice(start + window[0].start, start + window[0].stop), window[1]))
        return windows


def _shaded(seen: Floats, paint: Image) -> Image:
    """uint8 [h, w, 4]: paint under light."""
    height, width = seen.shape[:2]
    place, light = np.empty((height, width, 2), np.float32), np.empty((height, width, 1), np.float32)
    cv2.mixChannels([seen], [place, light], [0, 0, 1, 1, 2, 2])
    # OpenCV's stubs want a second map, which a map of pairs has not
    painted = cv2.remap(paint, place, cast(Floats, None), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steps = cv2.convertScaleAbs(light, alpha=LIGHT_STEPS)
    gain = cv2.LUT(steps, _GAINS).view(np.uint8).reshape(height, width, 4)
    return np.asarray(cv2.multiply(painted, gain, scale=1 / 128))


def _means(size: int, side: int) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Maps for cv2.remap that average `side` pixels down to `size`, one and a half times fewer.

    A pixel's share of a row lies on two pixels, so it is their mean at the right place between
    them: exactly where `side` is 1.5 times `size`, nearly where it was rounded.
    """
    start = np.arange(size)[:, None] * side / size
    pixel = np.arange(side)
    share = np.clip(np.minimum(start + side / size, pixel + 1) - np.maximum(start, pixel), 0, None)
    place = (share @ pixel / share.sum(axis=1)).astype(np.float32)
    across, down = np.meshgrid(place, place)
    fixed, fractions = cv2.convertMaps(across, down, cv2.CV_16SC2)
    return np.asarray(fixed, np.int16), np.asarray(fractions, np.uint16)


def _shining(towards: Floats) -> Floats:
    """towards ** 18."""
    second = towards * towards
    fourth = second * second
    eighth = fourth * fourth
    return np.asarray(eighth * eighth * second)


def _gains() -> NDArray[np.int32]:
    """Light in steps of 1/LIGHT_STEPS -> gains of red, green, blue and nothing in 1/128, a byte
    each: int32 [1, 256].
    """
    light = np.arange(256, dtype=np.float32)[:, None] / LIGHT_STEPS
    gains = np.where(light < 1, light**WARM_SHADOW, light)
    four = np.zeros((256, 4), np.uint8)
    four[:, :3] = np.rint(np.clip(gains, 0, 1.9) * 128)
    return np.asarray(four.view(np.int32).reshape(1, 256))


_GAINS = _gains()
