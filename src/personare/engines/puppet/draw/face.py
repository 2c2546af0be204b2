"""Frames: a FaceState in, a picture out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.compose import StillBackground, lay
from personare.engines.puppet.draw.deform import Posed, pose, relaxation
from personare.engines.puppet.draw.lids import Lids
from personare.engines.puppet.draw.mouth import Inside, MouthInterior
from personare.engines.puppet.draw.resting import AT_REST, RestingFace
from personare.engines.puppet.draw.shade import SkinShade, marks_on
from personare.engines.puppet.draw.texture import Texture
from personare.engines.puppet.draw.warp import FineRegion, Patch, Surface, Window
from personare.engines.puppet.fit import eyes, lip_colours, lips
from personare.engines.puppet.fit.light import cheek_colour
from personare.engines.puppet.fit.rig import Rig
from personare.engines.puppet.forms import CROP, PLATE, RIG
from personare.motion import FaceState
from personare.types import Feature, Image

EYE_REACH = (0.06, 0.08, 0.05)
LIPS_REACH = (0.08, 0.06, 0.24)
"""Room of the finely drawn regions aside, above and below the lids and the lips, in eye
distances; the jaw drops.
"""


class Drawn(NamedTuple):
    """A face that is drawn and not yet in its picture.

    frame: uint8 [S, S, 3].
    share: uint8 [S, S], how much of each pixel is the frame's, and not what is behind it.
    """

    frame: Image
    share: NDArray[np.uint8]


class FaceRenderer:
    """Draws one avatar. Holds buffers: used by one thread; the same state gives the same bytes.

    All of it in that thread: its calls are so short that a second one mostly waits for Python.
    """

    def __init__(self, features: Mapping[str, Feature]) -> None:
        """features: those of `prepare.recipe`, by stage name."""
        picture = np.ascontiguousarray(features[CROP].arrays["picture"])
        self._rig = rig = Rig.from_feature(features[RIG])
        self.still = StillBackground(picture, rig.outline)
        plate = features.get(PLATE)
        cut = plate.arrays["cut"] if plate else None
        texture = Texture(rig.textured(picture), cut)
        self._surface = Surface(texture, rig.triangles, rig.eye_distance_px, self.still.reach)
        self._eyes = [
            FineRegion(texture, rig, [*upper, *lower], EYE_REACH, eyes.eyeball_triangles())
            for upper, lower in zip(eyes.UPPER_LIDS, eyes.LOWER_LIDS, strict=True)
        ]
        lip_points = [*lip_colours.UPPER_ROWS[-1], *lip_colours.LOWER_ROWS[-1]]
        self._lips = FineRegion(texture, rig, lip_points, LIPS_REACH, lips.between_triangles())
        self._mouth = MouthInterior(rig)
        self._lids = Lids(picture, rig)
        self._shade = SkinShade(
            rig.points, rig.eye_distance_px, cheek_colour(picture, rig.points), marks_on(picture, rig)
        )
        self._behind = self.still.restore((plate.arrays["plate"] if plate else picture).copy())
        self._share = self.still.reach if cut is None else cut & self.still.reach
        # Of what is composed already, which is not mixed a second time.
        self._unmixed = np.where(self._share, 255, 0).astype(np.uint8)
        at_rest = pose(rig, AT_REST)
        self._detailed = [region.window(at_rest.skin) for region in (*self._eyes, self._lips)]
        self._unmoved = self._composed(picture)
        resting = rig.textured(picture)
        self._surface.move(at_rest.skin)
        self._surface.fetch(resting, np.empty_like(self._share), self._surface.moved())
        for patch in self._details(at_rest, AT_REST)[0]:
            patch.lay(resting)
        self._resting = RestingFace(rig, resting, cut, self.still.reach, texture, self._eyes, self._lids)
        self._resting_unmoved = self._composed(resting)

    def render(self, state: FaceState) -> Image:
        """One frame, uint8 [S, S, 3], the caller's to keep."""
        return self.compose(self.draw(state))

    def draw(self, state: FaceState) -> Drawn:
        """The face in this state, for `compose`."""
        if self._resting.shows(state):
            self._resting.move(state)
            return self._carried(
                self._resting.surface, self._resting_unmoved, [*self._detailed, self._resting.eyes]
            )
        posed = pose(self._rig, state)
        self._surface.move(posed.skin)
        drawn = self._carried(self._surface, self._unmoved, self._detailed)
        patches, inside = self._details(posed, state)
        for patch in patches:
            patch.lay(drawn.frame)
        self._lids.shut(drawn.frame, posed.skin.vertices, np.asarray(state.curves, np.float32))
        self._shade.draw(drawn.frame, posed.skin.vertices, state.curves, relaxation(self._rig, state.curves))
        inside.lay(drawn.frame)
        return drawn

    def compose(self, drawn: Drawn) -> Image:
        """The frame, uint8 [S, S, 3], with what must not move put back, in place; the caller's
        to keep.
        """
        lay(drawn.frame, self._behind, drawn.share)
        return drawn.frame

    def _composed(self, picture: Image) -> Image:
        """A picture in which nothing has moved, before what is behind it."""
        composed = picture.copy()
        lay(composed, self._behind, self._share)
        return composed

    def _carried(self, surface: Surface, unmoved: Image, detailed: Sequence[Window]) -> Drawn:
        """What the surface shows where it has moved, and in these windows; elsewhere what is
        composed already.
        """
        frame = unmoved.copy()
        share = self._unmixed.copy()
        surface.fetch(frame, share, surface.moved(detailed))
        cv2.bitwise_and(share, self.still.reach, dst=share)
        return Drawn(frame, share)

    def _details(self, posed: Posed, state: FaceState) -> tuple[list[Patch], Inside]:
        """Eyes and lips, finely drawn, and the inside of the mouth."""
        patches = [
            eye.draw(posed.skin, eyeball) for eye, eyeball in zip(self._eyes, posed.eyeballs, strict=True)
        ]
        patches.append(self._lips.draw(posed.skin, posed.between_lips))
        return patches, self._mouth.draw(posed, np.asarray(state.curves, np.float32), state.tongue)
