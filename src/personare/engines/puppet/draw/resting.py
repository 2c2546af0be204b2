"""A face at rest: it sways, looks about and blinks, and does nothing else.

Such a face is drawn once where its head is in the picture, and its eyes once for all frames in
which they stay as they are. A frame takes that picture along with the head: one fetch of a
smooth displacement, without lips or lids that would need a finer one. Which faces are at rest
is told by their state alone, so the same state gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.deform import Layer, head_motion, pose, turned
from personare.engines.puppet.draw.lids import Lids
from personare.engines.puppet.draw.texture import Texture
from personare.engines.puppet.draw.warp import WINDOW_ROWS, FineRegion, Surface, Window
from personare.engines.puppet.fit import rings
from personare.engines.puppet.fit.rig import Rig
from personare.motion import UNIT, FaceState
from personare.types import Image

Floats = NDArray[np.float32]

AT_REST = FaceState(np.zeros(len(UNIT), np.float32), 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
EYES = [place for name, place in UNIT.items() if name.startswith(("eyeBlink", "eyeLook"))]
"""Units that a face at rest uses."""
_OTHERS = [place for place in UNIT.values() if place not in EYES]
EYE_ROOM = 0.16
"""Around all that these units move, in eye distances: lids are drawn with soft edges."""
NEAR = 0.10
"""Triangles further from that, in eye distances, have nothing to do with it."""
SMOOTH = 2
"""Steps of the displacement, in those of a face that speaks."""
LEAST = 5e-4
"""Motion of a whole weight that is not seen, in eye distances."""
TURNED = 8.0
"""Heads turned or lifted by more degrees are drawn in full: what stands out hides what lies
behind.
"""
SPACING = 0.07
"""Face points nearer to another one than this, in eye distances, are left out: the relief of a
head is smooth.
"""


class RestingFace:
    """One face at rest, in the place of its picture, and the surface that takes it along."""

    def __init__(
        self,
        rig: Rig,
        picture: Image,
        cut: NDArray[np.uint8] | None,
        reach: NDArray[np.uint8],
        texture: Texture,
        eyes: Sequence[FineRegion],
        lids: Lids,
    ) -> None:
        """picture: uint8 [S, S, 3], the face in the state AT_REST. cut: the plane of a Texture.
        reach: uint8 [S, S], 0 where nothing of it is shown. texture, eyes, lids: what eyes are
        drawn from, and what draws them.
        """
        self._rig, self._eyes, self._lids = rig, eyes, lids
        self._picture, self._cut = picture, cut
        self._drawn = picture.copy()
        self._texture = Texture(picture, cut)
        self._looks: bytes | None = None
        self.eyes = _around_eyes(rig, picture.shape[:2])
        at_rest = pose(rig, AT_REST).skin.vertices
        self._around_eyes = Surface(
            texture,
            _touching(self.eyes, at_rest, rig.triangles, NEAR * rig.eye_distance_px),
            rig.eye_distance_px,
        )
        kept, triangles = _thinned(at_rest[:, :2], rig.triangles, SPACING * rig.eye_distance_px)
        self._at_rest = at_rest[kept]
        self._behind_relief = (rig.points[:, 2] - rig.relief)[kept]
        self._in_relief = self._at_rest.copy()
        self._in_relief[:, 2] -= self._behind_relief
        self._head_weight = rig.head_weight[kept, None]
        self.surface = Surface(self._texture, triangles, SMOOTH * rig.eye_distance_px, reach)

    @staticmethod
    def shows(state: FaceState) -> bool:
        """Whether this is a face at rest."""
        yaw, pitch, _ = state.head
        return max(abs(yaw), abs(pitch)) <= TURNED and not state.curves[_OTHERS].any()

    def move(self, state: FaceState) -> None:
        """Take the `surface` to where the head is, with the eyes of this state."""
        looks = np.array([*state.curves[EYES], *state.gaze], np.float64).tobytes()
        if looks != self._looks:
            self._looks = None  # until they are drawn
            self._draw_eyes(state)
            self._looks = looks
        vertices = turned(
            self._in_relief, self._head_weight, self._behind_relief, *head_motion(self._rig, state)
        )
        self.surface.move(Layer(vertices, self._at_rest[:, :2]))

    def _draw_eyes(self, state: FaceState) -> None:
        """Renew the texture where eyes are."""
        posed = pose(self._rig, FaceState(state.curves, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), state.gaze))
        area = self.eyes
        self._drawn[area] = self._picture[area]
        self._around_eyes.move(posed.skin)
        frame, plane = self._drawn.copy(), np.empty(self._drawn.shape[:2], np.uint8)
        rows = range(area.rows.start, area.rows.stop, WINDOW_ROWS)
        self._around_eyes.fetch(
            frame,
            plane,
            [Window(slice(top, min(top + WINDOW_ROWS, area.rows.stop)), area.columns) for top in rows],
        )
        for region, eyeball in zip(self._eyes, posed.eyeballs, strict=True):
            region.draw(posed.skin, eyeball).lay(frame)
        self._lids.shut(frame, posed.skin.vertices, np.asarray(state.curves, np.float32))
        self._drawn[area] = frame[area]
        self._texture.show(self._drawn, area, self._cut)


def _around_eyes(rig: Rig, size: tuple[int, int]) -> Window:
    """Around all that the units of EYES move, so far that it is seen."""
    moves = np.abs(rig.deltas[EYES]).max(axis=(0, 2)) > LEAST * rig.eye_distance_px
    places = np.concatenate([rig.points[moves, :2], *(eyeball[:, :2] for eyeball in rig.eyeballs)])
    room = EYE_ROOM * rig.eye_distance_px
    (left, top), (right, bottom) = places.min(axis=0) - room, places.max(axis=0) + room
    return Window(
        slice(max(0, int(top)), min(size[0], int(np.ceil(bottom)))),
        slice(max(0, int(left)), min(size[1], int(np.ceil(right)))),
    )


def _touching(window: Window, places: Floats, triangles: NDArray[np.int32], room: float) -> NDArray[np.int32]:
    """Triangles [m, 3] over places [n, 3] that touch a window, or come as near to it as this."""
    low = np.array([window.columns.start, window.rows.start]) - room
    high = np.array([window.columns.stop, window.rows.stop]) + room
    corners = places[triangles, :2]
    touches = (corners.max(axis=1) > low) & (corners.min(axis=1) < high)
    return np.asarray(triangles[touches.all(axis=1)], np.int32)


def _thinned(
    places: Floats, triangles: NDArray[np.int32], spacing: float
) -> tuple[NDArray[np.int_], NDArray[np.int32]]:
    """Which of the places [n, 2] of a rig to keep, and triangles [m, 3] over those: the rings
    and the face's outline as they are, within it the points that lie apart.
    """
    face = len(places) - len(rings.RADII) * len(rings.OVAL)
    kept = [*rings.OVAL, *range(face, len(places))]
    inside = list(rings.OVAL)
    for point in range(face):
        if (np.hypot(*(places[inside] - places[point]).T) >= spacing).all():
            inside.append(point)
    kept += inside[len(rings.OVAL) :]
    number = np.full(len(places), -1)
    number[kept] = np.arange(len(kept))
    around = number[triangles[(triangles >= face).any(axis=1)]]
    outline = places[rings.OVAL].reshape(-1, 1, 2)
    within = [
        triangle
        for triangle in _delaunay(places[inside])
        if cv2.pointPolygonTest(outline, places[inside][triangle].mean(axis=0).tolist(), False) > 0
    ]
    return np.array(kept), np.concatenate([around, number[inside][np.array(within)]]).astype(np.int32)


def _delaunay(places: Floats) -> list[list[int]]:
    """Triangles over places [n, 2]."""
    low, high = np.floor(places.min(axis=0)) - 1, np.ceil(places.max(axis=0)) + 1
    plane = cv2.Subdiv2D((*low.astype(int).tolist(), *(high - low).astype(int).tolist()))
    number = {tuple(place): i for i, place in enumerate(places.tolist())}
    for place in number:
        plane.insert(place)
    corners = np.asarray(plane.getTriangleList()).reshape(-1, 3, 2).tolist()
    found = [[number.get(tuple(corner), -1) for corner in triangle] for triangle in corners]
    return [triangle for triangle in found if min(triangle) >= 0]
