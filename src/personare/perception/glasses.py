"""Whether a face wears glasses, told from the lines that frames draw over skin and that skin
does not draw itself.

On the face turned upright and scaled to EYE_DISTANCE_PX between the outer eye corners, a line
is a narrow band that is darker (or brighter) than the skin on both sides of it, all along; its
strength is the step relative to the skin's brightness that all but a fifth or so of it keeps.
Furrows, bags under the eyes and shadows make one such line or another. Frames make several:
across the bridge of the nose, and around both eyes or at both temples; rimless ones pads at
both sides of the nose, and temples. Dark lenses are told by their darkness alone.
docs/workshop.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.face import Face
from personare.types import Image

Floats = NDArray[np.float32]
Points = NDArray[np.floating[Any]]

EYE_DISTANCE_PX = 160
_SIDE = 320
_EYE_CORNERS = ((33, 133), (263, 362))
"""Outer and inner; the eye at image left first."""
_TEMPLES = (127, 356)
_BROW_MIDDLE, _NOSE_ROOT, _BRIDGE_END = 8, 168, 197
_UPPER_LIDS = ((160, 159, 158), (387, 386, 385))
_LOWER_LIDS = ((163, 144, 145, 153, 154), (390, 373, 374, 380, 381))
_CHEEKS = ((50, 205, 187, 207), (280, 425, 411, 427))

BRIDGE_FROM, RIMS_FROM, TEMPLES_FROM, PADS_FROM = 0.11, 0.04, 0.03, 0.115
"""Strengths of lines above which they are a frame's."""
BRIDGE_ALONE = 3.0
"""A bridge this much stronger needs nothing else: hair may hide the temples, and half rims have
no lower half.
"""
NO_BRIDGE = 1.6
"""Rims and temples this much stronger need no bridge: of a turned face it is not level, and
pale ones are lost on the nose.
"""
DARK_LENS = 0.42
"""Lenses this dark, compared with the cheeks, hide the eyes."""
FAINTEST_SKIN = 25.0
_WIDTHS_PX = (2.0, 3.5, 5.5, 8.0)
"""Of lines, from their middle to the skin beside them."""
_PAD_WIDTHS_PX = (2.0, 3.5)
"""The shaded sides of a nose are broader."""


@dataclass(frozen=True, slots=True)
class Glasses:
    """evidence: how much it looks like glasses, 1 where the guess changes. dark: the lenses
    hide the eyes.
    """

    evidence: float
    dark: bool

    @property
    def worn(self) -> bool:
        return self.evidence >= 1


def look_for_glasses(picture: Image, face: Face) -> Glasses:
    """Look at a face of a picture, uint8 [H, W, 3] RGB."""
    upright, place = _upright(picture, face)
    return glasses_on(upright, face.landmarks[:, :2].astype(np.float64) @ place[:, :2].T + place[:, 2])


def glasses_on(upright: Floats, points: Points) -> Glasses:
    """upright: float32 [_SIDE, _SIDE] grey 0..255. points: landmarks in it, [468, 2]."""
    grey = np.asarray(cv2.GaussianBlur(upright, (0, 0), 1.0), np.float32)
    bridge = bridge_line(grey, points) / BRIDGE_FROM
    temples = temple_lines(grey, points) / TEMPLES_FROM
    rim = rims(grey, points) / RIMS_FROM
    framed = max(min(bridge, max(temples, rim, bridge / BRIDGE_ALONE)), min(rim, temples) / NO_BRIDGE)
    rimless = min(nose_pads(grey, points) / PADS_FROM, temples)
    brightness = lens_brightness(grey, points)
    return Glasses(max(framed, rimless, DARK_LENS / max(brightness, 0.01)), brightness < DARK_LENS)


def bridge_line(grey: Floats, points: Points) -> float:
    """The strongest level line across the nose between brows and the end of its bridge,
    straight or arched.
    """
    half, x = 0.075 * EYE_DISTANCE_PX, float(points[_NOSE_ROOT, 0])
    heights = np.arange(points[_BROW_MIDDLE, 1], points[_BRIDGE_END, 1], 1.5)
    lines = _level_lines(x - half, x + half, heights, (-7, -3.5, 0, 3.5), (-0.08, 0, 0.08))
    return float(_strengths(grey, *lines, give=(-1, 0, 1), weakest=0.20).max())


def temple_lines(grey: Floats, points: Points) -> float:
    """The weaker of the strongest lines from beside either eye to the face's outline."""
    found = []
    for (outer, _), temple in zip(_EYE_CORNERS, _TEMPLES, strict=True):
        x, y = (float(v) for v in points[outer])
        away = float(points[temple, 0]) - x
        away = np.copysign(max(abs(away), 0.04 * EYE_DISTANCE_PX), away)
        start, end = sorted((x + 0.25 * away, x + 0.95 * away))
        heights = np.arange(y - 0.20 * EYE_DISTANCE_PX, y + 0.08 * EYE_DISTANCE_PX, 2.0)
        lines = _level_lines(start, end, heights, (0,), (-0.3, -0.15, 0, 0.15, 0.3))
        found.append(
            float(
                _strengths(
                    grey, *lines, give=(-1.5, -0.75, 0, 0.75, 1.5), weakest=0.20, widths_px=_WIDTHS_PX[:3]
                ).max()
            )
        )
    return min(found)


def rims(grey: Floats, points: Points) -> float:
    """The strongest pair of equal arcs below both eyes, by the weaker: lower halves of round
    and of nearly square lenses.
    """
    angles = np.radians(np.linspace(15, 165, 23))
    sine, cosine = np.sin(angles), np.cos(angles)
    shapes = product(
        (0.02,), (0.17, 0.20, 0.23, 0.26, 0.29), (0.10, 0.13, 0.16, 0.19, 0.22, 0.25), (2.0, 3.5), (0.0, 0.03)
    )
    arcs = np.array(
        [
            (
                np.sign(cosine) * np.abs(cosine) ** (2 / power) * wide + aside,
                sine ** (2 / power) * deep + down,
            )
            for down, wide, deep, power, aside in shapes
        ]
    )
    arcs = np.moveaxis(arcs, 1, 2) * EYE_DISTANCE_PX
    found = []
    for outer, inner in _EYE_CORNERS:
        outwards = np.sign(points[outer, 0] - points[inner, 0]) or 1.0
        curves = arcs * [outwards, 1] + (points[outer] + points[inner]) / 2
        found.append(_strengths(grey, curves, _normals(curves), give=(-2.5, -0.8, 0.8, 2.5), weakest=0.25))
    # Dark rims on one side and bright ones on the other are none; nor are a broad and a fine
    # one.
    return float(np.minimum(*found).max())


def nose_pads(grey: Floats, points: Points) -> float:
    """The strongest pair of short upright dark strokes on both sides of the nose between the
    eyes, by the weaker.
    """
    x, y = float(points[_NOSE_ROOT, 0]), float(points[[inner for _, inner in _EYE_CORNERS], 1].mean())
    along = np.linspace(-0.05, 0.05, 9)
    # [places aside, places down, ways of standing there, points along a stroke]
    aside = np.arange(0.06, 0.15, 0.01)[:, None, None, None]
    down = np.arange(-0.03, 0.07, 0.02)[:, None, None]
    slope, nudge = (way[:, None] for way in np.array(list(product((-0.3, 0, 0.3, 0.6), (-0.02, 0, 0.02)))).T)
    found = []
    for outwards in (-1, 1):
        strokes = np.stack(
            np.broadcast_arrays(
                x + outwards * (aside + nudge + slope * along) * EYE_DISTANCE_PX,
                y + (down + along) * EYE_DISTANCE_PX,
            ),
            axis=-1,
        )
        curves = strokes.reshape(-1, len(along), 2)
        strengths = _strengths(
            grey,
            curves,
            _normals(curves),
            give=(-1, 0, 1),
            weakest=0.30,
            widths_px=_PAD_WIDTHS_PX,
            bright=False,
        )
        found.append(strengths.reshape(-1, *strokes.shape[:3]).max(axis=(0, 3)))
    return float(np.minimum(*found).max())


def lens_brightness(grey: Floats, points: Points) -> float:
    """What is in and below the eyes compared with the cheeks, by the brighter eye."""
    parts = []
    for upper, lower, cheek in zip(_UPPER_LIDS, _LOWER_LIDS, _CHEEKS, strict=True):
        lids = points[list(lower)]
        below = lids[:, None] + np.array([0, EYE_DISTANCE_PX]) * np.linspace(0.03, 0.09, 4)[:, None]
        way = np.linspace(0, 1, 5)[:, None, None]
        inside = points[list(upper)] + way * (lids[1:4] - points[list(upper)])
        skin = max(float(np.median(_seen(grey, points[list(cheek)]))), 1.0)
        parts += [
            float(np.median(_seen(grey, below))) / skin,
            float(np.percentile(_seen(grey, inside), 90)) / skin,
        ]
    return max(parts)


def _level_lines(
    start: float, end: float, heights: Points, sags: tuple[float, ...], slopes: tuple[float, ...]
) -> tuple[Points, Points]:
    """Points [n, 17, 2] of parabolas over a span of x, and their normals."""
    half, u = (end - start) / 2, np.linspace(-1, 1, 17)
    height, sag, slope = (way[:, None] for way in np.array(list(product(heights, sags, slopes))).T)
    y = height + sag * (1 - u * u) + slope * half * u
    lines = np.stack(np.broadcast_arrays(np.linspace(start, end, 17), y), axis=-1)
    return lines, _normals(lines)


def _normals(curves: Points) -> Points:
    along = np.gradient(curves, axis=-2)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    return np.asarray(across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6))


def _strengths(
    grey: Floats,
    curves: Points,
    normals: Points,
    give: tuple[float, ...],
    weakest: float,
    widths_px: tuple[float, ...] = _WIDTHS_PX,
    bright: bool = True,
) -> Floats:
    """Strength of every curve [n, k, 2] as a line of each width and kind, float32 [kinds, n],
    at least 0.

    give: how far, in pixels, its points may each lie off the curve. weakest: share of it that
    may be fainter than what counts.
    """
    found = []
    rank = round(weakest * (curves.shape[1] - 1))
    for width in widths_px:
        steps: list[list[Points]] = [[], []]
        for off in give:
            places = curves + normals * off
            middle, one, other = (_seen(grey, places + normals * way) for way in (0.0, width, -width))
            skin = np.maximum((one + other) / 2, FAINTEST_SKIN)
            steps[0].append((np.minimum(one, other) - middle) / skin)
            steps[1].append((middle - np.maximum(one, other)) / skin)
        for kind in steps[: 2 if bright else 1]:
            found.append(np.partition(np.max(kind, axis=0), rank, axis=-1)[..., rank])
    return np.asarray(np.maximum(found, 0), np.float32)


def _seen(grey: Floats, places: Points) -> Floats:
    flat = places.reshape(-1, 1, 2).astype(np.float32) - np.float32(0.5)
    x, y = np.ascontiguousarray(flat[..., 0]), np.ascontiguousarray(flat[..., 1])
    return np.asarray(
        cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(places.shape[:-1]),
        np.float32,
    )


def _upright(picture: Image, face: Face) -> tuple[Floats, NDArray[np.float64]]:
    """The face, grey, upright at EYE_DISTANCE_PX, and the affine map [2, 3] into it."""
    corners = face.landmarks[[outer for outer, _ in _EYE_CORNERS], :2].astype(np.float64)
    direction = corners[1] - corners[0]
    scale = EYE_DISTANCE_PX / face.eye_distance_px
    angle = np.arctan2(direction[1], direction[0])
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    place = np.concatenate(
        [turn, (np.array([_SIDE / 2, _SIDE * 0.4]) - turn @ corners.mean(axis=0))[:, None]], axis=1
    )
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
    if scale < 1:  # else the warp would skip pixels
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.4 / scale), np.float32)
    return np.asarray(
        cv2.warpAffine(grey, place, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE), np.float32
    ), place
