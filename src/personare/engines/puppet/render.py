"""Frames: a FaceState in, a picture out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from personare.engines.puppet import eyes, lips
from personare.engines.puppet.compose import KeptBackground, StillBackground
from personare.engines.puppet.light import cheek_colour
from personare.engines.puppet.mouth import MouthInterior, smooth_line
from personare.engines.puppet.pose import Posed, pose
from personare.engines.puppet.rig import BLINKS, Rig
from personare.engines.puppet.shade import SkinShade, marks_on
from personare.engines.puppet.state import FaceState
from personare.engines.puppet.warp import FineRegion, Surface
from personare.types import Feature, Image

EYE_REACH = (0.06, 0.08, 0.05)
LIPS_REACH = (0.08, 0.06, 0.24)
"""Room of the finely drawn regions aside, above and below the lids and the lips, in eye distances; the jaw drops."""
LASHES_FROM = 0.05
"""Blinks slighter than this leave the picture's own lashes in place."""


class FaceRenderer:
    """Draws one avatar. Holds buffers: used by one thread; the same state gives the same bytes."""

    def __init__(self, features: Mapping[str, Feature]) -> None:
        """features: those of `prepare.recipe`, by stage name."""
        picture = np.ascontiguousarray(features["puppet.crop"].arrays["picture"])
        self._rig = rig = Rig.from_feature(features["puppet.rig"])
        self._surface = Surface(picture, rig.triangles)
        self._eyes = [
            FineRegion(picture, rig, [*upper, *lower], EYE_REACH, eyes.eyeball_triangles())
            for upper, lower in zip(eyes.UPPER_LIDS, eyes.LOWER_LIDS, strict=True)
        ]
        lip_points = [*lips.UPPER_ROWS[-1], *lips.LOWER_ROWS[-1]]
        self._lips = FineRegion(picture, rig, lip_points, LIPS_REACH, lips.between_triangles())
        self._mouth = MouthInterior(rig)
        self._shade = SkinShade(rig.points, rig.eye_distance_px, cheek_colour(picture, rig.points), marks_on(picture, rig))
        self.still = StillBackground(picture, rig.outline)

        behind = features.get("puppet.plate")
        self._background = KeptBackground(behind.arrays["plate"], behind.arrays["cut"]) if behind else None

    def render(self, state: FaceState) -> Image:
        """One frame, uint8 [S, S, 3], the caller's to keep."""
        return self.compose(self.draw(state))

    def draw(self, state: FaceState) -> Image:
        """The face in this state, uint8 [S, S, 3], with whatever moved along with it; overwritten by the next."""
        posed = pose(self._rig, state)
        frame = self._surface.draw(posed.skin)
        for eye, eyeball in zip(self._eyes, posed.eyeballs, strict=True):
            eye.draw(frame, posed.skin, eyeball)
        self._lips.draw(frame, posed.skin, posed.between_lips)
        self._shut_eyes(frame, posed, state)
        self._shade.draw(frame, posed.skin.vertices, state.curves)
        self._mouth.draw(frame, posed, np.asarray(state.curves, np.float32), state.tongue)
        return frame

    def compose(self, frame: Image) -> Image:
        """What `draw` gave last, with what must not move put back; the caller's to keep."""
        if self._background is not None:
            return self.still.restore(self._background.lay(frame, self._surface.carry(self._background.cut)))
        return self.still.restore(frame).copy()

    def _shut_eyes(self, frame: Image, posed: Posed, state: FaceState) -> None:
        unit_px = self._rig.eye_distance_px
        if self._rig.eyes_hidden:
            return
        for eye, blink in enumerate(state.curves[BLINKS]):
            if blink > LASHES_FROM:
                long = float(self._rig.long_lashes[eye]) * min(1.0, float(blink) / eyes.LONG_LASHES_GONE)
                if long > 0:
                    eyes.bare_lid(frame, posed.skin.vertices, eye, unit_px, long)
                eyes.smooth_lid(frame, posed.skin.vertices, eye, self._rig.lid_colours[eye], unit_px, float(blink))
                line = smooth_line(posed.skin.vertices[eyes.UPPER_LIDS[eye], :2])
                eyes.draw_lashes(frame, line, self._rig.lash_colour, unit_px, self._rig.softness_px, float(blink))
