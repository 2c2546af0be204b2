"""Eyes of drawings that are larger than any person's: their outlines, and lids laid on them.

The networks have seen people. In an eye three times as high they find lids around the iris, and
a lid that comes down half the way is worse than none. Such eyes are nearly round and end in
plain skin, so an ellipse is looked for, around which there is skin and within which there is
none.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.eyes import CREASES, INSIDE, LOWER_LIDS, UPPER_LIDS
from personare.types import Image

Floats = NDArray[np.float32]

ASIDE, UP = np.linspace(-0.04, 0.04, 3), np.linspace(-0.08, 0.08, 5)
HALF_WIDTHS, HALF_HEIGHTS = np.arange(0.18, 0.36, 0.03), np.arange(0.14, 0.42, 0.03)
"""Ellipses that are tried, in eye distances: how far their middle lies from that of the lids
that were found, and half axes.
"""
CLOSER = np.linspace(-0.02, 0.02, 5)
"""Then the best is tried with each of the four changed by these."""
RING = np.stack(
    [turn(np.linspace(0, 2 * np.pi, 32, endpoint=False)) for turn in (np.cos, np.sin)], axis=1
).astype(np.float32)
"""Directions in which an outline is looked at, [32, 2]."""
JUST_INSIDE, JUST_OUTSIDE, AROUND = 0.95, 1.09, 1.18
"""Where an outline is told from skin, in radii of the ellipse."""
NOT_SKIN, SKIN_SHARE = 9.0, 0.6
"""Difference in colour (CIELAB) from what lies around the eye from which on a place is no skin;
what lies around has at most this share of what lies within.
"""
BLUR = 0.008
LIGHTNESS_LESS = np.array([0.5, 1, 1], np.float32)
"""Shade changes lightness, seldom colour."""
MUCH = 16.0
"""Greater differences count as this one."""
RATHER_LARGE = 0.5
"""An iris in a white eye ends as plainly as the eye does: of two, the larger is taken."""
ENDS, ROUGHLY = 0.8, 0.4
"""Share of the outline at which an eye has to end in skin: of the best ellipse, and of the
first.
"""
FILLED = 0.85
"""Share of the places between the lids that were found and the outline that are not skin."""
LARGER = 1.3
"""The outline is at least so many times as high as the lids that were found."""
ALIKE = 0.25
"""Both eyes are equally large, but for this share."""
PUSHED = 1.35
"""What lies nearer to the eye than this, in its radii, makes room for the lids."""
COVERED = 1.03
"""Lids cover an eye by so much more than its outline."""
CREASE_AT = 1.16


def outlines(picture: Image, points: Floats, unit_px: float) -> Floats | None:
    """Ellipses around both eyes, float32 [2, 4]: middle x, y and half axes in px; None if the
    eyes are no larger than their lids. points: [468, 3]. Pictures of people give None.
    """
    lab = cv2.cvtColor(np.asarray(picture, np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), max(BLUR * unit_px, 0.5)) * LIGHTNESS_LESS
    found = []
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        eye = _outline(lab, points[upper, :2], points[lower, :2], unit_px)
        if eye is None:
            return None
        found.append(eye)
    first, second = found
    alike = np.abs(np.log(first[2:] / second[2:])).max() <= ALIKE
    return np.stack(found) if alike else None


def _outline(lab: Floats, upper: Floats, lower: Floats, unit_px: float) -> Floats | None:
    """The ellipse float32 [4] that ends best in skin."""
    middle = np.concatenate([upper, lower]).mean(axis=0)
    start = np.append(middle, (0, 0)).astype(np.float32)
    best, _, ends = _best(lab, start, (ASIDE, UP, HALF_WIDTHS, HALF_HEIGHTS), unit_px)
    if ends < ROUGHLY:
        return None
    best, skin, ends = _best(lab, best, (CLOSER,) * 4, unit_px)
    if ends < ENDS or best[3] < LARGER * np.linalg.norm(lower - upper, axis=1).max() / 2:
        return None
    within = np.linspace(0.55, 0.9, 6, dtype=np.float32)[:, None, None]
    filled = _differs(_at(lab, best[:2] + within * RING * best[2:]), skin) > NOT_SKIN
    return best * np.array([1, 1, COVERED, COVERED], np.float32) if filled.mean() > FILLED else None


def _best(
    lab: Floats,
    start: Floats,
    steps: tuple[NDArray[np.float64], ...],
    unit_px: float,
) -> tuple[Floats, Floats, float]:
    """The ellipse float32 [4] around which there is skin most plainly, of a start changed by
    all steps, in eye distances; the colour of that skin; at which share of its outline the eye
    ends.
    """
    changes = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 4)
    tried = start + (changes * unit_px).astype(np.float32)
    reach = np.array([JUST_INSIDE, JUST_OUTSIDE, AROUND], np.float32)[:, None, None, None]
    colours = _at(lab, tried[:, None, :2] + reach * RING * tried[:, None, 2:])  # (3, tried, 32, 3)
    skins = np.median(colours[1:], axis=(0, 2))
    inside, *beyond = _differs(colours, skins[:, None])
    beside = np.maximum(*beyond)
    ends = ((inside > NOT_SKIN) & (beside < SKIN_SHARE * inside)).mean(axis=1)
    size = changes[:, 2] * changes[:, 3] if steps[2] is HALF_WIDTHS else 0
    chosen = int(np.argmax(ends + (inside - beside).mean(axis=1) / MUCH + RATHER_LARGE * size))
    return tried[chosen], skins[chosen], float(ends[chosen])


def _differs(colours: Floats, skin: Floats) -> Floats:
    """How far colours [..., 3] are from skin [..., 3], float32 [...]."""
    return np.asarray(np.minimum(np.linalg.norm(colours - skin, axis=-1), MUCH), np.float32)


def _at(lab: Floats, places: Floats) -> Floats:
    """Colours of the pixels at places [..., 2], float32 [..., 3]."""
    x, y = np.moveaxis(np.floor(places).astype(np.intp), -1, 0)
    return np.asarray(lab[y.clip(0, lab.shape[0] - 1), x.clip(0, lab.shape[1] - 1)], np.float32)


def laid_on(points: Floats, eyes: Floats) -> Floats:
    """Points [468, 3] with the lids on the outlines of the eyes [2, 4]; what was between them
    and skin makes room.
    """
    moved = points.copy()
    t = np.linspace(0, np.pi, UPPER_LIDS.shape[1], dtype=np.float32)
    for upper, lower, crease, eye in zip(UPPER_LIDS, LOWER_LIDS, CREASES, eyes, strict=True):
        middle, half = eye[:2], eye[2:]
        outwards = np.sign(points[upper[0], 0] - points[upper[-1], 0])
        lids = np.concatenate([upper, lower[INSIDE]])
        old_angles, old_radii = _polar(points[lids, :2], middle, half)
        order = np.argsort(old_angles)
        angles, radii = _polar(moved[:, :2], middle, half)
        was = np.interp(angles, old_angles[order], old_radii[order], period=2 * np.pi)
        way = np.clip((radii - was) / np.maximum(PUSHED - was, 1e-3), 0, 1)
        new = np.where(radii < PUSHED, 1 + way * (PUSHED - 1), radii)
        new[crease] = np.maximum(new[crease], CREASE_AT)
        direction = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        moved[:, :2] = middle + new[:, None] * direction * half
        arc = np.stack([outwards * np.cos(t), np.sin(t)], axis=1) * half
        moved[upper, :2] = middle + arc * (1, -1)
        moved[lower, :2] = middle + arc
    return moved.astype(np.float32)


def _polar(places: Floats, middle: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Angle and radius of places [n, 2] in the ellipse's own measure, float32 [n] each."""
    x, y = ((places - middle) / half).T
    return np.arctan2(y, x), np.hypot(x, y)
