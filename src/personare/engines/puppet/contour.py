"""Where the lips of an open mouth really end: their inner edges, found by colour near the landmarks.

The landmarks of a smile are often off by the height of a tooth, and what is then taken for lip is tooth. Each of 37
columns from the upper to the lower lip is searched at once: of all smooth pairs of edges near the landmarks, that pair
is taken across which the picture changes most from lip to what is not lip (dynamic programming over both edges). Where
the lips touch, the pair is one line on the darkest place.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.light import colours_at
from personare.heads import LOWER_LIP_ROWS, UPPER_LIP_ROWS
from personare.types import Image

Floats = NDArray[np.float32]

UPPER_ROWS, LOWER_ROWS = np.array(UPPER_LIP_ROWS), np.array(LOWER_LIP_ROWS)
"""[4, 11] face points, from the opening outwards and from image left to image right."""

COLUMNS_PER_POINT = 4
STEP, REACH = 0.005, 0.075
"""Edges are searched in these steps as far as this from the landmarks, in eye distances."""
WINDOW = 0.022
"""Height of the strips on either side of an edge that are compared, in eye distances."""
THINNEST_LIP = 0.014
"""A lip keeps at least this height, in eye distances."""
BLUR = 0.006
"""Standard deviation of the blur against hairs and noise, in eye distances."""

HOLLOW_DARKNESS, HOLLOW_SOFTNESS = 0.58, 0.16
"""What has this share of the lip's lightness is hollow as likely as not; the doubt ends at half the softness on either side."""
TOOTH_PALER = 4.0
"""Teeth are less red than lips by at least this much (a* of CIE Lab), or colour does not tell them apart."""
TOOTH_PALER_SHARE = 0.25
"""And by at least this share: the shine of a red lip is no tooth."""
TOOTH_BRIGHTER, TOOTH_SOFTNESS = 16.0, 12.0
"""In a picture without such a difference teeth are lighter than lips by this much (L*)."""
TOOTH_DARKEST = 18.0
"""Teeth are not darker than lips by more than this (L*)."""

STAY = 0.45
"""Cost of an edge at the end of the reach; a perfect edge gains 1."""
BEND = 0.06
"""Cost of a step sideways from one column to the next, times its square."""
FARTHEST_STEP = 2
SEAM_GAIN, SEAM_CONTRAST = 1.1, 18.0
"""What lips that touch gain on a line that is darker than its surroundings by this much (L*)."""
SEAM_WINDOW = 0.03
DARKEST_UPPER_LIP = 0.6
"""Lightness of the upper lip is believed down to this share of the lower one's."""
NEVER = 99.0
SMOOTHING = 7
"""Columns over which the edges found are smoothed."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Straight lines across the mouth, from the upper lip's outer edge to the lower one's, through the inner lips.

    start: float32 [n, 2] px. across: float32 [n, 2] unit vectors, downwards. rows: float32 [2, 4, n], px from the start
    at which the landmark rows of the upper and of the lower lip are crossed; the upper outer one at 0.
    """

    start: Floats
    across: Floats
    rows: Floats

    @classmethod
    def of(cls, points: Floats) -> Columns:
        """points: face points [468, 3]. The degenerate columns at the corners are left out."""
        lines = np.array([[_dense(points[row, :2])[1:-1] for row in rows] for rows in (UPPER_ROWS, LOWER_ROWS)])
        upper_outer, lower_outer = lines[:, 3]
        across = lower_outer - upper_outer
        across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-3)
        middle = lines[:, 0].mean(axis=0)
        start = middle - across * ((middle - upper_outer) * across).sum(axis=1, keepdims=True)
        return cls(start.astype(np.float32), across.astype(np.float32), ((lines - start) * across).sum(axis=-1))

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
        return np.asarray(first[:, None] + (last - first)[:, None] * np.linspace(0, 1, count, dtype=np.float32), np.float32)


def _dense(points: Floats) -> Floats:
    """Points [11, 2] with COLUMNS_PER_POINT - 1 more between neighbours, float32 [41, 2]."""
    at = np.arange((len(points) - 1) * COLUMNS_PER_POINT + 1) / COLUMNS_PER_POINT
    return np.stack([np.interp(at, np.arange(len(points)), points[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Colours:
    """What lips and teeth look like in one picture.

    lab: float32 [H, W, 3], the picture in CIE Lab, slightly blurred. upper: L* of the upper lip. lower: Lab of the lower
    lip [3]. tooth_a: a* of the teeth, None where it does not tell them from lips.
    """

    lab: Floats
    upper: float
    lower: Floats
    tooth_a: float | None

    @classmethod
    def of(cls, picture: Image, columns: Columns, unit_px: float) -> Colours:
        """The lower lip is seldom hidden and well lit. Of the upper one, which may be in shade or under a moustache, only
        the lightness next to its outer edge is taken."""
        blurred = cv2.GaussianBlur(picture, (0, 0), max(BLUR * unit_px, 0.3))
        lab = np.asarray(cv2.cvtColor(blurred.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
        upper_rows, lower_rows = columns.rows

        def seen(first: Floats, last: Floats, count: int) -> Floats:
            places = columns.places(columns.between(first, last, count))[columns.middle]
            return colours_at(lab, places).reshape(-1, 3)

        lower = np.median(seen(*(lower_rows[1] + (lower_rows[3] - lower_rows[1]) * s for s in (0.4, 0.9)), 9), axis=0)
        edge = np.ones_like(upper_rows[3]) * np.float32(THINNEST_LIP * unit_px)
        upper = np.clip(np.median(seen(0.3 * edge, 1.2 * edge, 5)[:, 0]), DARKEST_UPPER_LIP * lower[0], lower[0])
        core = seen(upper_rows[2], lower_rows[1], 15)
        core = core[core[:, 0] > lower[0] - TOOTH_DARKEST]
        palest = float(np.percentile(core[:, 1], 8)) if len(core) else float(lower[1])
        told = lower[1] - palest > max(TOOTH_PALER, TOOTH_PALER_SHARE * float(lower[1]))
        return cls(lab, float(upper), lower, palest if told else None)

    def inside(self, places: Floats, share: Floats) -> tuple[Floats, Floats]:
        """How much each place [..., 2] looks like tooth, and how much like tooth or hollow: float32 [...] in 0..1 each.

        share: [...], how far each place is on the way from the upper lip to the lower one.
        """
        colours = colours_at(self.lab, places)
        lightness, redness = colours[..., 0], colours[..., 1]
        lip = self.upper + (self.lower[0] - self.upper) * np.clip(share, 0, 1)
        hollow = (HOLLOW_DARKNESS - lightness / np.maximum(lip, 1)) / HOLLOW_SOFTNESS + 0.5
        lighter = lightness - lip
        if self.tooth_a is None:
            tooth = (lighter - TOOTH_BRIGHTER) / TOOTH_SOFTNESS + 0.5
        else:
            paler = (self.lower[1] - redness) / (self.lower[1] - self.tooth_a)
            tooth = np.minimum(2 * paler - 0.5, (lighter + TOOTH_DARKEST) / TOOTH_SOFTNESS + 0.5)
        tooth = np.clip(tooth, 0, 1).astype(np.float32)
        return tooth, np.maximum(tooth, np.clip(hollow, 0, 1)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Edges:
    """How far the inner points of either lip are from its edge, float32 [11, 2] px each, image left to right.

    teeth: height of what looks like tooth between the edges, at most, in eye distances; 0 where colour does not tell.
    """

    upper: Floats
    lower: Floats
    teeth: float


def inner_edges(points: Floats, picture: Image, unit_px: float) -> Edges:
    """The inner edges of the lips near those of the face points [468, 3]."""
    columns = Columns.of(points)
    colours = Colours.of(picture, columns, unit_px)
    count = round(REACH / STEP)
    offsets = np.arange(-count, count + 1, dtype=np.float32) * np.float32(STEP * unit_px)
    path = _cheapest_path(_cost(columns, colours, offsets, unit_px))
    found = [
        cv2.GaussianBlur(offsets[path[:, lip], None], (1, SMOOTHING), 0, borderType=cv2.BORDER_REPLICATE)[:, 0] for lip in (0, 1)
    ]
    upper, lower = (columns.rows[lip, 0] + found[lip] for lip in (0, 1))
    places = columns.between(upper, lower, 9)
    tooth, _ = colours.inside(columns.places(places), places / _length(columns))
    teeth = 0.0 if colours.tooth_a is None else float((tooth.mean(axis=1) * (lower - upper)).max()) / unit_px
    upper_move, lower_move = (_at_points(offset[:, None] * columns.across) for offset in found)
    return Edges(upper_move, lower_move, teeth)


def _at_points(along: Floats) -> Floats:
    """Of moves at the columns [n, 2], those at the 11 points; the corners take a share of their neighbours'."""
    moves = along[COLUMNS_PER_POINT - 1 :: COLUMNS_PER_POINT]
    return np.pad(moves, ((1, 1), (0, 0))).astype(np.float32)


def _length(columns: Columns) -> Floats:
    """From outer edge to outer edge, px [n, 1]."""
    return np.asarray(np.maximum(columns.rows[1, 3], 1)[:, None], np.float32)


def _cost(columns: Columns, colours: Colours, offsets: Floats, unit_px: float) -> Floats:
    """Cost of every pair of edges at every column: float32 [n, k, k], k offsets from the landmarks for either lip."""
    upper, lower = (columns.rows[lip, 0][:, None] + offsets for lip in (0, 1))
    length = _length(columns)
    stay = np.float32(STAY) * (offsets / (REACH * unit_px)) ** 2
    # A lip keeps its least height, or what it has if the landmarks give it less.
    thinnest = np.minimum(THINNEST_LIP * unit_px, length / 4)
    too_high = upper < np.minimum(thinnest, columns.rows[0, 0][:, None])
    too_low = length - lower < np.minimum(thinnest, length - columns.rows[1, 0][:, None])
    upper_cost = stay - _change(columns, colours, upper, unit_px) + NEVER * too_high
    lower_cost = stay + _change(columns, colours, lower, unit_px) + NEVER * too_low
    cost = upper_cost[:, :, None] + lower_cost[:, None, :]
    gap = lower[:, None, :] - upper[:, :, None]
    seam = stay[:, None] + stay - SEAM_GAIN * _seam(columns, colours, upper, unit_px)[:, :, None]
    touching = np.float32(STEP * unit_px / 2)
    cost = np.where(np.abs(gap) < touching, np.minimum(cost, seam), cost)
    return np.where(gap < -touching, np.float32(NEVER), cost).astype(np.float32)


def _change(columns: Columns, colours: Colours, depths: Floats, unit_px: float) -> Floats:
    """How much more of the inside is just below each depth than just above it: float32 like depths [n, k] in -1..1."""
    steps = round(WINDOW / STEP)
    pixel = np.float32(STEP * unit_px)
    beyond = np.arange(1, steps + 1, dtype=np.float32) * pixel
    around = np.concatenate([depths[:, :1] - beyond[::-1], depths, depths[:, -1:] + beyond], axis=1)
    _, inside = colours.inside(columns.places(around), around / _length(columns))
    summed = np.cumsum(np.pad(inside, ((0, 0), (1, 0))), axis=1)
    count = depths.shape[1]
    at = np.arange(count) + steps
    # The depth itself belongs to either side.
    above = summed[:, at + 1] - summed[:, at - steps]
    below = summed[:, at + steps + 1] - summed[:, at]
    return np.asarray((below - above) / (steps + 1), np.float32)


def _seam(columns: Columns, colours: Colours, depths: Floats, unit_px: float) -> Floats:
    """How much each depth [n, k] looks like the dark line between lips that touch: float32 in 0..1."""

    def lightness(at: Floats) -> Floats:
        return colours_at(colours.lab, columns.places(at))[..., 0]

    around = np.minimum(*(lightness(depths + side * np.float32(SEAM_WINDOW * unit_px)) for side in (1, -1)))
    return np.asarray(np.clip((around - lightness(depths)) / SEAM_CONTRAST, 0, 1), np.float32)


def _cheapest_path(cost: Floats) -> NDArray[np.intp]:
    """Through cost [n, a, b] from column to column, with BEND for every step sideways: indices [n, 2]."""
    columns, a, b = cost.shape
    total = cost[0]
    steps = range(-FARTHEST_STEP, FARTHEST_STEP + 1)
    moves = [(i, j) for i in steps for j in steps]
    came_by = np.zeros((columns, a, b), np.int8)
    far = FARTHEST_STEP
    for column in range(1, columns):
        padded = np.pad(total, far, constant_values=np.float32(NEVER * columns))
        before = np.stack([padded[far + i : far + i + a, far + j : far + j + b] + BEND * (i * i + j * j) for i, j in moves])
        came_by[column] = before.argmin(axis=0)
        total = cost[column] + before.min(axis=0)
    path = np.zeros((columns, 2), np.intp)
    path[-1] = np.unravel_index(int(total.argmin()), total.shape)
    for column in range(columns - 1, 0, -1):
        path[column - 1] = path[column] + moves[came_by[column][tuple(path[column])]]
    return path
