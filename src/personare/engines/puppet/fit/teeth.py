"""Teeth: a drawn row for either jaw, and the picture's own upper teeth where it shows them.

Measures are millimetres of an adult mouth (crown widths and heights after Wheeler's Dental
Anatomy, rounded); an eye distance is taken as 88 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.light import highlights, mouth_light
from personare.engines.puppet.fit.lip_colours import Colours, Columns, Lab
from personare.engines.puppet.fit.lips import LOWER_INNER, UPPER_INNER, gaps
from personare.types import Image

Floats = NDArray[np.float32]

EYE_DISTANCE_MM = 88.0
SUPERSAMPLING = 3
ENAMEL = np.array([246, 237, 218], np.float32)
GUM = np.array([176, 92, 92], np.float32)
BEHIND = np.array([105, 70, 62], np.float32)
"""What is seen between teeth."""
INCISAL = np.array([170, 175, 185], np.float32)
"""The biting edge lets the dark through and looks bluish."""
DARKER_PER_TOOTH = 0.03
"""Teeth get darker from the middle to the back."""
ARCH_STRETCH = 1.12
"""The dental arch is a little deeper than half a circle."""
LAST_ANGLE = 1.5
"""Radians along the arch at which teeth are no longer seen from the front."""


@dataclass(frozen=True, slots=True)
class TeethRow:
    """Crown widths and heights from the middle to the back, how far each stays behind the
    biting line, arch radius; mm.
    """

    widths: tuple[float, ...]
    heights: tuple[float, ...]
    short: tuple[float, ...]
    radius: float
    gum: float


UPPER = TeethRow(
    (8.6, 6.6, 7.8, 7.0, 6.8, 9.5), (10.2, 9.0, 10.0, 8.6, 8.0, 7.0), (0, 0.9, 0.3, 1.0, 1.4, 1.8), 29.0, 5.5
)
LOWER = TeethRow(
    (5.4, 5.9, 6.9, 7.0, 7.2, 10.0), (8.8, 9.2, 10.2, 8.6, 8.0, 7.0), (0, 0.2, 0, 0.8, 1.3, 1.6), 26.0, 5.1
)
SPRITE_HEIGHT = 20.0
BITING_LINE = 15.6
"""Sprites are this high; biting line of the upper row from the top (of the lower row from the
bottom).
"""

TOOTH_BRIGHTNESS = 0.62
TOOTH_REDNESS = 0.22
"""A pixel between open lips is tooth if it is this bright compared with the cheek and its red
exceeds its green by less than this share: lips, gums and tongue are redder, the hollow is
darker.
"""
SHOWN_SHARE = 0.15
"""The picture shows teeth if this share of its open mouth is tooth."""
SHADED_TEETH = 0.75
"""The picture's teeth, when in shade, do not make those that are drawn darker than this share
of what the skin's light gives.
"""
GUMS = 0.06
"""The picture's upper teeth begin at most this far below its upper lip, in eye distances."""
DARK_GAP = 0.5
"""A gap between them that is wide, and darker than this share of them, is not theirs."""
LESS_RED, MOST_REDDER, COLOURED_CHEEK = 0.9, 0.5, 0.06
"""Teeth are less red than this share of the cheek in the same light, whatever the light; where
more than the second share of what was taken for teeth is redder it is a glossy lip. A cheek
less red than the third has no colour to compare with.
"""
ROW_WIDTH, ROW_HALF = 0.45, 0.28
"""A row of teeth goes over this share of the mouth's width at least, and over this share of
either half; what does not is a gap between lips, or lip.
"""
RAGGED = 0.018
"""A biting edge is smooth: more deviation from its own median over neighbours, in eye
distances, is none.
"""
LIGHT_CAST = 0.075
"""The colour of the picture's teeth tints drawn ones by this share at most; with what shade
adds, a drawn tooth stays within a tenth of the colour of the mouth's light.
"""
LIP_MARGIN = 0.008
"""The picture's teeth are not trusted nearer than this to its lips, in eye distances."""
HIDDEN_DROP = 0.040
"""Biting edge of upper teeth below the closed lips when the picture does not show it, in eye
distances.
"""
DROP_LIMITS = (0.030, 0.090)


@dataclass(frozen=True, slots=True)
class Sprite:
    """rgb: float32 [h, w, 3] premultiplied by alpha: float32 [h, w]. origin: (x, y) of the
    middle of the biting line.
    """

    rgb: Floats
    alpha: Floats
    origin: tuple[float, float]
    px_per_mm: float


@dataclass(frozen=True, slots=True)
class PhotoTeeth:
    """rgba: uint8 [h, w, 4] at pixel `corner` (x, y) of the picture. drop: biting edge below
    the closed lips in eye distances.

    light: float32 [3], gain per channel that makes drawn teeth look like these.
    """

    rgba: NDArray[np.uint8]
    corner: tuple[int, int]
    drop: float
    light: Floats


@lru_cache(maxsize=8)
def sprite(row: TeethRow, px_per_mm: float) -> Sprite:
    """The row drawn from the front at a given scale, biting edge down for UPPER and up for
    LOWER.
    """
    scale = px_per_mm * SUPERSAMPLING
    width = 2 * round(row.radius * 1.03 * px_per_mm) * SUPERSAMPLING
    height = round(SPRITE_HEIGHT * px_per_mm) * SUPERSAMPLING
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    # Millimetres from the middle of the biting line, y towards the gums.
    x, y = (x - width / 2) / scale, BITING_LINE - y / scale
    crowns, cover = _crowns(row, x, y)
    depth = np.sqrt(np.clip(1 - (x / row.radius) ** 2, 0, 1))[..., None]
    is_gum = _step(y - row.gum - 2.2, 0.5)[..., None]
    behind = BEHIND * (0.4 + 0.6 * depth) * (1 - is_gum) + GUM * (0.45 + 0.55 * depth) * is_gum
    inside = _step(row.radius * 0.985 - np.abs(x), 0.4) * _step(y - 1.5, 0.4)
    alpha = np.maximum(cover, inside)
    rgb = crowns + behind * (inside * (1 - cover))[..., None]
    small = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    rgb, alpha = (cv2.resize(layer, small, interpolation=cv2.INTER_AREA) for layer in (rgb, alpha))
    origin_y = BITING_LINE * px_per_mm
    if row is LOWER:
        rgb, alpha, origin_y = rgb[::-1].copy(), alpha[::-1].copy(), small[1] - origin_y
    return Sprite(rgb, alpha, (small[0] / 2, origin_y), px_per_mm)


def _crowns(row: TeethRow, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Premultiplied colour and cover of the crowns: superellipses on an arch, shaded by how far
    they turn away.
    """
    colour = np.zeros((*x.shape, 3), np.float32)
    cover = np.zeros_like(x)
    for side in (-1, 1):
        along = 0.0
        for i, (width, height, short) in enumerate(zip(row.widths, row.heights, row.short, strict=True)):
            first, last = (min(mm / (row.radius * ARCH_STRETCH), LAST_ANGLE) for mm in (along, along + width))
            along += width
            if last <= first:
                break
            near, far = row.radius * np.sin(first), row.radius * np.sin(last)
            u = (side * x - (near + far) / 2) / ((far - near) / 2)
            v = (short + height / 2 - y) / (height / 2)  # 1 at the biting edge, -1 at the gum
            taper = 0.97 - 0.10 * np.clip(-v, 0, 1) ** 2
            squareness = (5.0, 6.0) if i < 2 else (3.2, 4.0)
            shape = (
                np.abs(np.clip(u / taper, -3, 3)) ** squareness[0]
                + np.abs(np.clip(v, -3, 3)) ** squareness[1]
            )
            mask = _step(1 - shape, 0.14)
            facing = 0.62 + 0.38 * np.cos((first + last) / 2 + u * (last - first) / 2)
            shade = facing * (1 - 0.10 * np.abs(np.clip(u, -1, 1)) ** 3) * (0.95 + 0.05 * np.clip(v, -1, 1))
            edge = 0.12 * np.clip((v - 0.72) / 0.28, 0, 1)[..., None]
            tooth = (ENAMEL * (1 - DARKER_PER_TOOTH * i) * (1 - edge) + INCISAL * edge) * shade[..., None]
            colour = colour * (1 - mask[..., None]) + tooth * mask[..., None]
            cover = np.maximum(cover, mask)
    return colour, cover


def _step(value: Floats, softness: float) -> Floats:
    """0 below -softness .. 1 above softness, smooth."""
    t = np.clip(value / (2 * softness) + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def photo_teeth(picture: Image, points: Floats, axes: Floats, unit_px: float, skin: Floats) -> PhotoTeeth:
    """The upper teeth that the picture itself shows; nothing if its mouth is closed or dark
    inside.

    points: face points [468, 3]. axes: origin, right and down of the teeth [3, 3]. skin: cheek
    colour [3].
    """
    light = mouth_light(skin, highlights(picture, points))
    hidden = PhotoTeeth(np.zeros((1, 1, 4), np.uint8), (0, 0), HIDDEN_DROP, light)
    if np.abs(gaps(points)).max() < 1:
        return hidden
    outline = np.concatenate([points[UPPER_INNER, :2], points[LOWER_INNER[-2:0:-1], :2]])
    size = np.array(picture.shape[1::-1])
    x0, y0 = np.floor(outline.min(axis=0) - 2).astype(int).clip(0, size - 1)
    x1, y1 = np.ceil(outline.max(axis=0) + 3).astype(int).clip(1, size)
    patch = picture[y0:y1, x0:x1]
    mouth = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mouth, [np.rint(outline - (x0, y0) - 0.5).astype(np.int32)], 255)
    tooth = _looks_like_tooth(picture, points, (x0, y0), patch, unit_px, skin) & (mouth > 0)
    if _redder(patch, tooth, skin) > MOST_REDDER:
        return hidden
    # Gaps between neighbours belong to them, those between upper and lower teeth do not, nor do
    # single columns.
    span = max(1, round(0.02 * unit_px)) * 2 + 1
    whole = cv2.morphologyEx(tooth.astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((3, span), np.uint8))
    whole = _hanging(np.asarray(whole, np.uint8), mouth > 0, GUMS * unit_px, span)
    bright = patch.mean(axis=2)
    dark = (
        (bright < DARK_GAP * np.median(bright[tooth])).astype(np.uint8)
        if tooth.any()
        else np.zeros_like(whole)
    )
    opened = np.ones((span // 2 + 1, span // 2 + 1), np.uint8)
    gap = (cv2.morphologyEx(dark, cv2.MORPH_OPEN, opened) > 0) & (np.cumsum(tooth, axis=0) > 0)
    whole[np.maximum.accumulate(gap, axis=0)] = 0
    if (whole > 0).sum() < SHOWN_SHARE * (mouth > 0).sum() or not _is_row(whole > 0, mouth > 0, unit_px):
        return hidden
    inner = cv2.distanceTransform(np.minimum(whole, mouth), cv2.DIST_L2, 3)
    margin = max(LIP_MARGIN * unit_px, 1.0)
    alpha = np.clip((inner - margin / 2) / margin, 0, 1)
    below = _biting_edge(alpha, (x0, y0), axes) / unit_px
    rgba = np.dstack([patch, np.rint(alpha * 255).astype(np.uint8)])
    enamel = np.percentile(patch[alpha > 0.5], 60, axis=0) if (alpha > 0.5).any() else ENAMEL
    light = np.asarray(enamel / ENAMEL, np.float32)
    cast = (light / light.mean()) / (hidden.light / hidden.light.mean())
    tinted = hidden.light * np.clip(cast, 1 - LIGHT_CAST, 1 + LIGHT_CAST)
    brightness = max(float(light.mean()), SHADED_TEETH * float(hidden.light.mean()))
    light = tinted * np.float32(brightness / tinted.mean())
    return PhotoTeeth(rgba, (int(x0), int(y0)), float(np.clip(below, *DROP_LIMITS)), light)


def _redder(patch: Image, tooth: NDArray[np.bool_], skin: Floats) -> float:
    """Share of the pixels taken for teeth that are as red as the cheek in the same light."""
    redness = float(skin[0] - skin[1]) / max(float(skin[0]), 1.0)
    if redness < COLOURED_CHEEK or not tooth.any():
        return 0.0
    colours = patch[tooth].astype(np.float32)
    own = (colours[:, 0] - colours[:, 1]) / np.maximum(colours[:, 0], 1)
    return float((own > LESS_RED * redness).mean())


def _is_row(whole: NDArray[np.bool_], mouth: NDArray[np.bool_], unit_px: float) -> bool:
    """Whether what looks like teeth, [h, w], is one row of them: wide, in both halves, with a
    smooth edge.
    """
    across = np.flatnonzero(mouth.any(axis=0))
    columns = np.asarray(whole.any(axis=0))
    halves = np.array_split(columns[across[0] : across[-1] + 1], 2)
    shares = [float(half.mean()) for half in halves]
    if sum(shares) / 2 < ROW_WIDTH or min(shares) < ROW_HALF:
        return False
    edge = (whole * np.arange(1, len(whole) + 1)[:, None]).max(axis=0)[columns].astype(np.float32)
    span = 2 * max(1, round(0.05 * unit_px)) + 1
    near = np.lib.stride_tricks.sliding_window_view(np.pad(edge, span // 2, mode="edge"), span)
    return bool(np.abs(edge - np.median(near, axis=-1)).mean() < RAGGED * unit_px)


def _looks_like_tooth(
    picture: Image, points: Floats, corner: tuple[int, int], patch: Image, unit_px: float, skin: Floats
) -> NDArray[np.bool_]:
    """bool [h, w] of the patch at that corner of the picture: paler than the lips; where colour
    does not tell, bright and less red than lips are.
    """
    columns = Columns.of(points)
    colours = Colours.of(columns, Lab.around(columns, picture, unit_px))
    if colours.tooth_a is None:
        colour = patch.astype(np.float32)
        red, green = colour[..., 0], colour[..., 1]
        bright = colour.mean(axis=2) > TOOTH_BRIGHTNESS * skin.mean()
        return np.asarray(bright & ((red - green) < TOOTH_REDNESS * np.maximum(red, 1)), np.bool_)
    height, width = patch.shape[:2]
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(
        np.float32
    ) + np.float32(0.5)
    tooth, _ = colours.likeness(colours.lab.at(places + np.array(corner, np.float32)), colours.lower[0])
    return np.asarray(tooth > 0.5, np.bool_)


def _hanging(
    tooth: NDArray[np.uint8], mouth: NDArray[np.bool_], gums_px: float, span: int
) -> NDArray[np.uint8]:
    """255 in the mouth [h, w] from its upper edge down to where what hangs from there ends:
    gums too, not the lower teeth.

    tooth: 255 where there is tooth, without small gaps. gums_px: teeth begin at most this far
    below the lip. span: columns, odd, of which each takes the median.
    """
    is_tooth = (tooth > 0) & mouth
    begun = np.maximum.accumulate(is_tooth, axis=0)
    ended = np.maximum.accumulate(begun & ~is_tooth, axis=0)
    begins_near = begun.any(axis=0) & ((mouth & ~begun).sum(axis=0) <= gums_px)
    depth = np.pad((mouth & ~ended).sum(axis=0) * begins_near, span // 2, mode="edge")
    depth = np.median(np.lib.stride_tricks.sliding_window_view(depth, span), axis=-1)
    return np.asarray((mouth & (np.cumsum(mouth, axis=0) <= depth)) * np.uint8(255), np.uint8)


def _biting_edge(alpha: Floats, corner: tuple[int, int], axes: Floats) -> float:
    """Pixels from the closed lips down to where the teeth of the middle third end."""
    y, x = np.nonzero(alpha > 0.5)
    if not len(x):
        return HIDDEN_DROP
    place = np.stack([x + corner[0], y + corner[1]], axis=1) + 0.5 - axes[0, :2]
    aside, below = place @ axes[1, :2], place @ axes[2, :2]
    middle = below[np.abs(aside) < np.abs(aside).max() / 3]
    return float(np.percentile(middle if len(middle) else below, 97))
