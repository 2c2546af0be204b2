"""What lips and teeth look like in one picture, and where to look: straight columns across the
mouth.

Teeth are told from lips by how much less red they are (a* of CIE Lab), the hollow by how dark
it is; both compared with the lips of the same picture, never with a fixed colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.light import colours_at
from personare.heads import LOWER_LIP_ROWS, UPPER_LIP_ROWS
from personare.types import Image

Floats = NDArray[np.float32]

UPPER_ROWS, LOWER_ROWS = np.array(UPPER_LIP_ROWS), np.array(LOWER_LIP_ROWS)
"""[4, 11] face points, from the opening outwards and from image left to image right."""

COLUMNS_PER_POINT = 4
BLUR = 0.006
"""Standard deviation of the blur against hairs and noise, in eye distances."""
ROOM = 0.16
"""Of the picture, this much around the mouth is looked at, in eye distances."""
UPPER_LIP_FROM, UPPER_LIP_TO = 0.004, 0.018
"""Where the lightness of the upper lip is taken, below its outer edge, in eye distances."""
DARKEST_UPPER_LIP = 0.6
"""It is believed down to this share of the lower lip's."""
HOLLOW_DARKNESS, HOLLOW_SOFTNESS = 0.58, 0.16
"""What has this share of the lip's lightness is hollow as likely as not; the doubt ends at half
the softness on either side.
"""
TOOTH_PALER, TOOTH_PALER_SHARE = 4.0, 0.25
"""Teeth are less red than lips by at least this much, and by this share (the shine of a red lip
is no tooth), or colour does not tell them apart.
"""
PALEST = 8
"""Percentile of the redness between the lips that is taken for the teeth's."""
TOOTH_BRIGHTER, TOOTH_SOFTNESS = 16.0, 12.0
"""In a picture without such a difference teeth are lighter than lips by this much (L*)."""
TOOTH_DARKEST = 18.0
"""Teeth are not darker than lips by more than this (L*)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Straight lines across the mouth, from the upper lip's outer edge to the lower one's,
    through the inner lips.

    start: float32 [n, 2] px. across: float32 [n, 2] unit vectors, downwards. rows: float32 [2,
    4, n], px from the start at which the landmark rows of the upper and of the lower lip are
    crossed; the upper outer one at 0.
    """

    start: Floats
    across: Floats
    rows: Floats

    @classmethod
    def of(cls, points: Floats) -> Columns:
        """points: face points [468, 3]. The degenerate columns at the corners are left out."""
        lines = np.array(
            [[dense(points[row, :2])[1:-1] for row in rows] for rows in (UPPER_ROWS, LOWER_ROWS)]
        )
        upper_outer, lower_outer = lines[:, 3]
        across = lower_outer - upper_outer
        across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-3)
        middle = lines[:, 0].mean(axis=0)
        depths = np.array([[_crossings(middle, across, row) for row in rows] for rows in lines])
        start = middle + across * depths[0, 3][:, None]
        return cls(
            start.astype(np.float32), across.astype(np.float32), (depths - depths[0, 3]).astype(np.float32)
        )

    @property
    def length(self) -> Floats:
        """From outer edge to outer edge, px [n, 1]."""
        return np.asarray(np.maximum(self.rows[1, 3], 1)[:, None], np.float32)

    @property
    def middle(self) -> slice:
        """The half of the columns away from the corners."""
        quarter = len(self.start) // 4
        return slice(quarter, -quarter)

    def places(self, depths: Floats) -> Floats:
        """Pixels at depths [n, k] along the columns, float32 [n, k, 2]."""
        return np.asarray(self.start[:, None] + depths[..., None] * self.across[:, None], np.float32)

    def between(self, first: Floats, last: Floats, count: int) -> Floats:
        """Depths [n, count], evenly from first [n] to last [n]."""
        return np.asarray(
            first[:, None] + (last - first)[:, None] * np.linspace(0, 1, count, dtype=np.float32), np.float32
        )


def _crossings(origin: Floats, along: Floats, curve: Floats) -> Floats:
    """How far along each line, from origin [n, 2] in direction along [n, 2], it crosses a curve
    [m, 2] that runs from image left to image right: float32 [n].
    """
    relative = curve[None] - origin[:, None]
    aside = relative[..., 0] * along[:, None, 1] - relative[..., 1] * along[:, None, 0]
    ahead = (relative * along[:, None]).sum(axis=-1)
    return np.array(
        [np.interp(0, a, d) for a, d in zip(np.maximum.accumulate(aside, axis=1), ahead, strict=True)],
        np.float32,
    )


def dense(values: Floats) -> Floats:
    """Values [11, c] at the points of a row, with COLUMNS_PER_POINT - 1 more between
    neighbours: float32 [41, c].
    """
    at = np.arange((len(values) - 1) * COLUMNS_PER_POINT + 1) / COLUMNS_PER_POINT
    return np.stack([np.interp(at, np.arange(len(values)), column) for column in values.T], axis=1).astype(
        np.float32
    )


@dataclass(frozen=True, slots=True)
class Lab:
    """The surroundings of a mouth in CIE Lab, slightly blurred: float32 [h, w, 3] from pixel
    `corner` (x, y) of the picture on.

    unit_px: the eye distance.
    """

    values: Floats
    corner: tuple[int, int]
    unit_px: float

    @classmethod
    def around(cls, columns: Columns, picture: Image, unit_px: float) -> Lab:
        """What the columns cross, with ROOM."""
        ends = np.concatenate([columns.start, columns.start + columns.across * columns.length])
        size = np.array(picture.shape[1::-1])
        x0, y0 = (int(v) for v in np.floor(ends.min(axis=0) - ROOM * unit_px).clip(0, size - 1))
        x1, y1 = (int(v) for v in np.ceil(ends.max(axis=0) + ROOM * unit_px).clip(1, size))
        blurred = cv2.GaussianBlur(picture[y0:y1, x0:x1], (0, 0), max(BLUR * unit_px, 0.3))
        return cls(
            np.asarray(cv2.cvtColor(blurred.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32),
            (x0, y0),
            unit_px,
        )

    def at(self, places: Floats) -> Floats:
        """Lab at places [..., 2] in pixels of the picture, float32 [..., 3]; beyond the
        surroundings their rim.
        """
        return colours_at(self.values, places - np.array(self.corner, np.float32))


@dataclass(frozen=True, slots=True)
class Colours:
    """What lips and teeth look like in one picture.

    upper: L* of the upper lip. lower: Lab of the lower lip [3]. tooth_a: a* of the teeth, None
    where it does not tell them from lips.
    """

    lab: Lab
    upper: float
    lower: Floats
    tooth_a: float | None

    @classmethod
    def of(cls, columns: Columns, lab: Lab) -> Colours:
        """The lower lip is seldom hidden and well lit. Of the upper one, which may be in shade
        or under a moustache, only the lightness next to its outer edge is taken.
        """
        upper_rows, lower_rows = columns.rows

        def seen(first: Floats, last: Floats, count: int) -> Floats:
            places = columns.places(columns.between(first, last, count))[columns.middle]
            return lab.at(places).reshape(-1, 3)

        height = lower_rows[3] - lower_rows[1]
        lower = np.median(
            seen(lower_rows[1] + height * np.float32(0.4), lower_rows[1] + height * np.float32(0.9), 9),
            axis=0,
        )
        first, last = (np.full_like(height, at * lab.unit_px) for at in (UPPER_LIP_FROM, UPPER_LIP_TO))
        upper = np.clip(np.median(seen(first, last, 5)[:, 0]), DARKEST_UPPER_LIP * lower[0], lower[0])
        core = seen(upper_rows[2], lower_rows[1], 15)
        core = core[core[:, 0] > lower[0] - TOOTH_DARKEST]
        palest = float(np.percentile(core[:, 1], PALEST)) if len(core) else float(lower[1])
        told = lower[1] - palest > max(TOOTH_PALER, TOOTH_PALER_SHARE * float(lower[1]))
        return cls(lab, float(upper), lower, palest if told else None)

    def inside(self, places: Floats, share: Floats) -> tuple[Floats, Floats]:
        """How much each place [..., 2] looks like tooth, and how much like tooth or hollow:
        float32 [...] in 0..1 each.

        share: [...], how far each place is on the way from the upper lip to the lower one.
        """
        lip = self.upper + (self.lower[0] - self.upper) * np.clip(share, 0, 1)
        return self.likeness(self.lab.at(places), lip)

    def likeness(self, colours: Floats, lip: Floats) -> tuple[Floats, Floats]:
        """The same for colours, Lab [..., 3], next to a lip of lightness L* [...]."""
        lightness, redness = colours[..., 0], colours[..., 1]
        hollow = (HOLLOW_DARKNESS - lightness / np.maximum(lip, 1)) / HOLLOW_SOFTNESS + 0.5
        lighter = lightness - lip
        if self.tooth_a is None:
            tooth = (lighter - TOOTH_BRIGHTER) / TOOTH_SOFTNESS + 0.5
        else:
            paler = (self.lower[1] - redness) / (self.lower[1] - self.tooth_a)
            tooth = np.minimum(2 * paler - 0.5, (lighter + TOOTH_DARKEST) / TOOTH_SOFTNESS + 0.5)
        tooth = np.clip(tooth, 0, 1).astype(np.float32)
        return tooth, np.maximum(tooth, np.clip(hollow, 0, 1)).astype(np.float32)
