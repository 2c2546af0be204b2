"""The inside of the mouth: what is seen between the lips once they part.

Drawn back to front: the hollow, the tongue, the lower teeth, the shadow of the upper teeth, the
upper teeth; then the lips' shade over all, and the picture's light. Too dark, and it is a black
hole; too bright, and it is a set of dentures.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.deform import Posed
from personare.engines.puppet.fit import teeth
from personare.engines.puppet.fit.lips import LOWER_INNER, UPPER_INNER
from personare.engines.puppet.fit.rig import Rig
from personare.heads import CHIN
from personare.motion import UNIT
from personare.types import Image

Floats = NDArray[np.float32]

JAW = [UNIT[name] for name in ("jawOpen", "jawLeft", "jawRight", "jawForward")]
LOWER_LIP = [UNIT["mouthLowerDownLeft"], UNIT["mouthLowerDownRight"]]
PUCKER = UNIT["mouthPucker"]
PARTED_PX = 0.6
"""Lips nearer than this at every point are shut: there is nothing to draw."""
MASK_SUPERSAMPLING = 3
MASK_BLUR_PX = 0.55
"""Softness of the lips' edge over the mouth, before the picture's own."""
HOLLOW = np.array([44, 17, 15], np.float32)
TONGUE = np.array([134, 67, 65], np.float32)
TONGUE_HALF_WIDTH, TONGUE_HALF_HEIGHT = 0.23, 0.095
TONGUE_FOLLOWS_JAW = 0.72
TONGUE_BELOW, TONGUE_RISES = 0.040, 0.075
"""The tongue's middle lies this far below the closed lips, and rises by this much for l, n, t,
d and th; eye distances.
"""
LOWER_DROP, LOWER_SCALE, LOWER_BRIGHTNESS = 0.055, 0.96, 0.74
"""Biting edge of the lower teeth below the closed lips with a shut jaw; they are smaller and
stand in the shade.
"""
LOWER_FOLLOWS_LIP = 0.9
"""A lower lip that goes down by itself takes the drawn lower teeth along by this share: a row
of them laid bare looks like dentures.
"""
UPPER_BRIGHTNESS = 1.02
ROUND_SHADE, ROUND_DARKENS, ROUND_SINKS = 0.92, 1.8, 0.035
"""Lips that are pushed forward, mouthPucker at 1, let this share of the teeth vanish in the
dark (what is left has that power of its light), and leave less of them, in eye distances.
"""
SHADOW_SHARE, SHADOW_REACH = 0.40, 0.02
"""Of the upper teeth on what is behind them; reach in eye distances."""
LIP_SHADE, LIP_SHADE_REACH = 0.35, 0.030
"""Darkening next to the lips, and how far in it ends, in eye distances."""
CORNER_SHADE, CORNER_POWER = 0.72, 2.6
"""Darkening towards the corners of the mouth, with that power of the way to them."""
UPPER_LIP_SHADE, UPPER_LIP_REACH = 0.20, 0.045
"""Further darkening under the upper lip: light comes from above."""
SHADE_TINT = np.array([0.85, 1.05, 1.10], np.float32)
"""Exponents of the shade per channel: what light gets deep into a mouth has bounced off red."""
SPRITE_OVERSAMPLING = 1.5
"""Sprites are drawn this much larger than they are shown, so that they can be placed between
pixels without blur.
"""
SPLINE_STEPS = 4
_INNER = np.array([UPPER_INNER, LOWER_INNER])
_TINTED = (np.arange(256, dtype=np.float32)[:, None] / 255) ** SHADE_TINT
"""What the shade leaves of each channel, in steps of 1/255 of it, float32 [256, 3]."""


def smooth_line(points: Floats) -> Floats:
    """Catmull-Rom spline through points [..., n, 2], SPLINE_STEPS points per piece: float32
    [..., (n - 1) * 4 + 1, 2].
    """
    return np.asarray(np.einsum("kn,...nc->...kc", _spline(points.shape[-2]), points), np.float32)


@cache
def _spline(count: int) -> Floats:
    """Each point of the spline as shares of the points that it goes through, float32 [(n - 1) *
    4 + 1, n].
    """
    points = np.eye(count)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, SPLINE_STEPS, endpoint=False)[None, :, None]
    pieces = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return np.concatenate([pieces.reshape(-1, count), points[-1:]]).astype(np.float32)


class Inside(NamedTuple):
    """What is seen between the lips: corner (x, y) in the frame, colours float32 [h, w, 3], and
    how much of each pixel it is.
    """

    corner: tuple[int, int]
    colours: Floats
    alpha: Floats

    def lay(self, frame: Image) -> None:
        """Over the frame, in place."""
        x0, y0 = self.corner
        top, left = max(0, -y0), max(0, -x0)
        window = frame[max(0, y0) : y0 + self.alpha.shape[0], max(0, x0) : x0 + self.alpha.shape[1]]
        height, width = window.shape[:2]
        alpha = self.alpha[top : top + height, left : left + width, None]
        colours = self.colours[top : top + height, left : left + width]
        window[:] = np.rint(np.clip(window + (colours - window) * alpha, 0, 255))


class _Sprite(NamedTuple):
    """As teeth.Sprite, colours and alpha in one, which are moved at once: float32 [h, w, 4]."""

    rgba: Floats
    origin: tuple[float, float]
    px_per_mm: float

    @classmethod
    def of(cls, sprite: teeth.Sprite) -> _Sprite:
        return cls(np.dstack([sprite.rgb, sprite.alpha]), sprite.origin, sprite.px_per_mm)


class MouthInterior:
    """Draws the inside of one avatar's mouth."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._unit_px = rig.eye_distance_px
        self._px_per_mm = self._unit_px / teeth.EYE_DISTANCE_MM * rig.teeth_scale
        resolution = self._px_per_mm * SPRITE_OVERSAMPLING
        self._upper = _Sprite.of(teeth.sprite(teeth.UPPER, resolution))
        self._lower = _Sprite.of(teeth.sprite(teeth.LOWER, resolution))
        photo_alpha = rig.photo_teeth[..., 3].astype(np.float32) / 255
        self._toned = not np.array_equal(rig.mouth_colours, np.eye(3))
        self._shows_teeth = bool(photo_alpha.any())
        self._photo = np.dstack([rig.photo_teeth[..., :3] * photo_alpha[..., None], photo_alpha])

    def opening(self, posed: Posed) -> tuple[Floats, tuple[int, int]]:
        """How much of each pixel lies between the lips: float32 [h, w] in 0..1 and its corner
        (x, y); [0, 0] if none.
        """
        upper, lower = smooth_line(posed.skin.vertices[_INNER, :2])
        nothing = np.zeros((0, 0), np.float32)
        if (lower[:, 1] - upper[:, 1]).max() < PARTED_PX:
            return nothing, (0, 0)
        # Where a unit pushes one lip past the other they touch.
        lower[:, 1] = np.maximum(lower[:, 1], np.interp(lower[:, 0], upper[:, 0], upper[:, 1]))
        outline = np.concatenate([upper, lower[::-1]])
        x0, y0 = (int(v) for v in np.floor(outline.min(axis=0)) - 4)
        width, height = (int(v) for v in np.ceil(outline.max(axis=0)) + 4 - (x0, y0))
        fine = MASK_SUPERSAMPLING
        mask = np.zeros((height * fine, width * fine), np.uint8)
        cv2.fillPoly(
            mask, [np.rint(((outline - (x0, y0)) * fine - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4
        )
        sigma = fine * np.hypot(MASK_BLUR_PX, self._rig.softness_px)
        soft = cv2.resize(
            cv2.GaussianBlur(mask, (0, 0), sigma), (width, height), interpolation=cv2.INTER_AREA
        )
        return np.asarray(soft, np.float32) / np.float32(255), (x0, y0)

    def draw(self, posed: Posed, curves: Floats, tongue: float) -> Inside:
        """What is seen between the lips, to be laid over the frame."""
        alpha, corner = self.opening(posed)
        colours = (
            self._inside(alpha, corner, posed, curves, tongue)
            if alpha.size
            else np.zeros((0, 0, 3), np.float32)
        )
        return Inside(corner, colours, alpha)

    def _inside(
        self, alpha: Floats, corner: tuple[int, int], posed: Posed, curves: Floats, tongue: float
    ) -> Floats:
        """float32 [h, w, 3]"""
        height, width = alpha.shape
        origin, _, down = self._rig.mouth_axes
        jaw = np.einsum("u,uc->c", curves[JAW], self._rig.deltas[JAW, CHIN])
        unit_px = self._unit_px
        picture = np.empty((height, width, 3), np.float32)
        picture[:] = HOLLOW
        middle = origin + jaw * TONGUE_FOLLOWS_JAW + down * (TONGUE_BELOW - TONGUE_RISES * tongue) * unit_px
        self._draw_tongue(picture, posed.turn(middle)[:2] - corner, tongue)
        lip = np.einsum("u,uc->c", curves[LOWER_LIP], self._rig.deltas[LOWER_LIP, LOWER_INNER[5]])
        lower = origin + jaw + lip * LOWER_FOLLOWS_LIP + down * (LOWER_DROP * unit_px)
        forward = min(1.0, max(0.0, float(curves[PUCKER])))
        shown = np.float32(1 - ROUND_SHADE * forward)
        lit = shown**ROUND_DARKENS
        rgb, cover = self._place(self._lower, lower, LOWER_SCALE, posed, corner, (width, height))
        picture *= 1 - shown * cover[..., None]
        picture += rgb * (LOWER_BRIGHTNESS * lit)
        upper = origin + down * ((self._rig.teeth_drop - ROUND_SINKS * forward) * unit_px)
        rgb, cover = self._place(self._upper, upper, 1.0, posed, corner, (width, height))
        shadow = cv2.GaussianBlur(cover, (0, 0), max(SHADOW_REACH * unit_px, 0.5))
        picture *= (1 - SHADOW_SHARE * shadow)[..., None] * (1 - shown * cover[..., None])
        picture += rgb * (UPPER_BRIGHTNESS * lit)
        picture *= self._rig.mouth_light
        picture *= _TINTED[cv2.convertScaleAbs(self._lip_shade(alpha, corner, posed), alpha=255)]
        if self._toned:
            cv2.transform(picture, self._rig.mouth_colours, dst=picture)
        if self._shows_teeth:
            self._draw_photo_teeth(picture, corner, posed, shown, lit)
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(np.hypot(0.5, self._rig.softness_px))))

    def _draw_tongue(self, picture: Floats, middle: Floats, raised: float) -> None:
        """A soft ellipse with a groove along its middle."""
        height, width = picture.shape[:2]
        half_height = (TONGUE_HALF_HEIGHT + 0.03 * raised) * self._unit_px
        across = (np.arange(width, dtype=np.float32) + 0.5 - middle[0]) / (TONGUE_HALF_WIDTH * self._unit_px)
        along = (np.arange(height, dtype=np.float32) + 0.5 - middle[1]) / half_height - 0.55
        distance = across**2 + along[:, None] ** 2
        cover = cv2.exp(np.minimum(distance, 7) * 5 - 5)
        cover += 1
        np.divide(0.9, cover, out=cover)
        groove = 0.12 * np.exp(-((across * TONGUE_HALF_WIDTH / 0.02) ** 2))
        shade = np.clip(1.05 - 0.55 * distance - groove, 0.25, 1)
        picture += (TONGUE * shade[..., None] - picture) * cover[..., None]

    def _place(
        self,
        sprite: _Sprite,
        at: Floats,
        scale: float,
        posed: Posed,
        corner: tuple[int, int],
        size: tuple[int, int],
    ) -> tuple[Floats, Floats]:
        """Colours and cover of a sprite whose biting edge is at a point of the head: float32
        [h, w, 3], [h, w].
        """
        _, right, down = self._rig.mouth_axes
        step_px = 10 * self._px_per_mm * scale
        step = 10 * sprite.px_per_mm
        x, y = sprite.origin
        here = posed.turn(np.stack([at, at + right * step_px, at + down * step_px]))[:, :2] - corner
        there = np.array([[x, y], [x + step, y], [x, y + step]], np.float32)
        # Half a pixel: cv2 counts from the middle of the first pixel, we from its corner.
        matrix = cv2.getAffineTransform(there - np.float32(0.5), (here - 0.5).astype(np.float32))
        placed: Floats = np.asarray(cv2.warpAffine(sprite.rgba, matrix, size), np.float32)
        return placed[..., :3], placed[..., 3]

    def _draw_photo_teeth(
        self, picture: Floats, corner: tuple[int, int], posed: Posed, shown: np.float32, lit: np.float32
    ) -> None:
        """The picture's own upper teeth, where its head has carried them, this share of
        them seen, and this much of their light.
        """
        origin, right, down = self._rig.mouth_axes
        step = 10 * self._px_per_mm
        rest = np.stack([origin, origin + right * step, origin + down * step])
        there = (rest[:, :2] - self._rig.photo_teeth_corner - 0.5).astype(np.float32)
        here = (posed.turn(rest)[:, :2] - corner - 0.5).astype(np.float32)
        matrix = cv2.getAffineTransform(there, here)
        size = picture.shape[1::-1]
        placed = cv2.warpAffine(self._photo, matrix, size)
        picture *= 1 - shown * placed[..., 3:]
        picture += placed[..., :3] * lit

    def _lip_shade(self, alpha: Floats, corner: tuple[int, int], posed: Posed) -> Floats:
        """Light that the lips leave, float32 [h, w] in 0..1."""
        unit_px = self._unit_px
        height, width = alpha.shape
        depth = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        near_lips = 1 - LIP_SHADE + LIP_SHADE * np.clip(depth / (LIP_SHADE_REACH * unit_px), 0, 1)
        left, right = posed.skin.vertices[[UPPER_INNER[0], UPPER_INNER[-1]], 0] - corner[0]
        aside = (np.arange(width, dtype=np.float32) + 0.5 - (left + right) / 2) / max((right - left) / 2, 1.0)
        corners = np.clip(1 - CORNER_SHADE * np.abs(aside) ** CORNER_POWER, 0.15, 1)
        upper_lip = posed.skin.vertices[UPPER_INNER[5], 1] - corner[1]
        below = (np.arange(height, dtype=np.float32) + 0.5 - upper_lip) / (UPPER_LIP_REACH * unit_px)
        under_upper = 1 - UPPER_LIP_SHADE * (1 - np.clip(below, 0, 1))
        return np.asarray(near_lips * corners * under_upper[:, None], np.float32)
