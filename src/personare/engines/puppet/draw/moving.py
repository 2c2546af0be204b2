"""A template video that speaks: our mouth on the face that moves by itself.

Head, eyes, hair and background are the video's. In every picture the lower face is shut
(whatever its own lips do) and moved by the curves: the picture is warped where the jaw, the
cheeks and the lips move, by nothing at all further out, so that there is no seam; then the
inside of the mouth is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personare.engines.portrait import WHITE_TEXT, shown_template
from personare.engines.puppet.draw.deform import BEHIND_PX, PARTED_JAW, STAYS_PARTED, Layer, Posed, opened
from personare.engines.puppet.draw.face import LIPS_REACH
from personare.engines.puppet.draw.mouth import MouthInterior
from personare.engines.puppet.draw.texture import Texture
from personare.engines.puppet.draw.warp import FineRegion, Surface
from personare.engines.puppet.fit import lip_colours, lips, rings
from personare.engines.puppet.fit.following import window
from personare.engines.puppet.fit.rig import MOUTH_UNITS, Rig
from personare.engines.puppet.forms import CROP, FACE, RIG
from personare.errors import EngineError
from personare.ground.stopwatch import Stopwatch
from personare.heads import head468, similarity
from personare.motion import UNIT, FaceState
from personare.types import Feature, Image, frame_rate

Floats = NDArray[np.float32]

STILL_ABOVE, MOVES_BELOW = 0.40, 0.56
"""Above the tip of the nose nothing moves, below its base all of it: below the eyes, in eye
distances.
"""
EVERYWHERE = np.full((2, 2), 255, np.uint8)
"""A matte that says nothing about where the person ends."""


class MovingFace:
    """Frames of a template video, one after another. Holds buffers and an open video: used by
    one thread; `close` it.
    """

    def __init__(
        self,
        features: Mapping[str, Feature],
        portrait: Path,
        fps: Fraction | None,
        background: str = WHITE_TEXT,
    ) -> None:
        """features: those of `prepare.recipe`, of a video. fps: None for the video's own rate.
        background: the option.
        """
        face = features[FACE]
        self._landmarks = face.arrays["landmarks"]
        self._strength = face.arrays["strength"]
        own_fps = frame_rate(face.metadata["fps"])
        template = shown_template(portrait, background, fps=own_fps)
        if template.size != (face.metadata["height"], face.metadata["width"]):
            raise EngineError(
                "this avatar was prepared when its video was read at another size",
                hint="prepare it again with --refresh",
            )
        self.fps = fps or own_fps
        self.size = template.size
        self._pictures = template.shown_at(self.fps)

        picture = np.ascontiguousarray(features[CROP].arrays["picture"])
        self._rig = rig = Rig.from_feature(features[RIG])
        self._share = _share()
        self._still = np.flatnonzero(self._share == 0)
        share = np.concatenate([self._share, np.tile(self._share[rings.OVAL], len(rings.RADII))])
        moving = rig.triangles[(share[rig.triangles] > 0).any(axis=1)]
        self._texture = texture = Texture(picture)
        self._plane = np.empty(picture.shape[:2], np.uint8)
        self._surface = Surface(texture, moving, rig.eye_distance_px)
        lip_points = [*lip_colours.UPPER_ROWS[-1], *lip_colours.LOWER_ROWS[-1]]
        self._lips = FineRegion(texture, rig, lip_points, LIPS_REACH, lips.between_triangles())
        self._mouth = MouthInterior(rig)
        self.watch = Stopwatch()

    def render(self, state: FaceState) -> Image:
        """The next frame, uint8 [H, W, 3], the caller's to keep. Of the state only the mouth
        and the jaw are shown.
        """
        with self.watch("render"):
            index, picture = next(self._pictures)
            strength = float(self._strength[index])
            if strength == 0:
                return picture.copy()
            square = window(self._landmarks[index], len(self._plane))
            own = square.cut(picture)
            posed, curves = self._posed(index, (square.x, square.y), state)
            moved = self._moved(own, posed)
            self._lips.draw(posed.skin, posed.between_lips).lay(moved)
            self._mouth.draw(posed, curves, state.tongue).lay(moved)
        with self.watch("compose"):
            if strength < 1:
                moved = np.rint(own + (moved.astype(np.float32) - own) * np.float32(strength)).astype(
                    np.uint8
                )
            frame = picture.copy()
            rows, columns = square.within(self.size)
            frame[rows, columns] = moved[
                rows.start - square.y : rows.stop - square.y,
                columns.start - square.x : columns.stop - square.x,
            ]
            return frame

    def close(self) -> None:
        self._pictures.close()

    def _moved(self, own: Image, posed: Posed) -> Image:
        """The window's own picture as the skin moves it, uint8 [S, S, 3]."""
        self._surface.move(posed.skin)
        windows = self._surface.moved()
        self._texture.show(own, self._surface.read([*windows, self._lips.window(posed.skin)]))
        moved = own.copy()
        self._surface.fetch(moved, self._plane, windows)
        return moved

    def _posed(self, index: int, corner: tuple[int, int], state: FaceState) -> tuple[Posed, Floats]:
        """Where everything is in the window at `corner` of the picture, and the curves that are
        shown.
        """
        rig = self._rig
        points = self._landmarks[index] * np.array([1, 1, -1], np.float32)
        points[:, :2] -= corner
        scale, turn, translation = similarity(rig.points[self._still], points[self._still])
        rotation = np.float32(scale) * turn
        unit_px = rig.eye_distance_px * scale
        curves = np.zeros(len(UNIT), np.float32)
        curves[MOUTH_UNITS] = np.asarray(state.curves, np.float32)[MOUTH_UNITS]
        active = np.flatnonzero(curves)
        # einsum, not tensordot: BLAS may add up in another order with another number of
        # threads.
        delta = np.einsum("u,unc->nc", curves[active], rig.deltas[active, : len(points)]) @ rotation.T
        parted = min(1.0, opened(curves) / PARTED_JAW)
        delta += lips.closure_delta(points, unit_px) * np.float32(1 - STAYS_PARTED * parted)
        delta *= self._share[:, None]
        around = rings.around(points, EVERYWHERE, unit_px)
        at_rest = np.concatenate([points, around.points])
        vertices = (at_rest + np.concatenate([delta, around.follow(delta[None])[0]])).astype(np.float32)
        texture = at_rest[:, :2].astype(np.float32)
        texture[: len(points)] += lips.tuck(points, unit_px)
        skin = Layer(vertices, texture)
        inner = np.concatenate([lips.UPPER_INNER, lips.LOWER_INNER])
        between = Layer(vertices[inner] - np.array([0, 0, BEHIND_PX], np.float32), texture[inner])
        return Posed(skin, (between, between), between, rotation.astype(np.float32), translation), curves


def _share() -> Floats:
    """How much of its motion each face point is given, float32 [468]: 0 above the nose, 1 below
    it.
    """
    below_eyes = -head468().neutral[:, 1]
    t = np.clip((below_eyes - STILL_ABOVE) / (MOVES_BELOW - STILL_ABOVE), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
