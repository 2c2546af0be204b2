"""Where the lips really end: their edges, found by colour near the landmarks.

The landmarks of a smile are often off by the height of a tooth, and what is then taken for lip
is tooth. Each of 37 columns from the upper to the lower lip is searched at once: of all smooth
pairs of edges near the landmarks, that pair is taken across which the picture changes most from
lip to what is not lip (dynamic programming over both edges). Where the lips touch, the pair is
one line on the darkest place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.lip_colours import (
    COLUMNS_PER_POINT,
    LOWER_ROWS,
    UPPER_ROWS,
    Colours,
    Columns,
    Lab,
)
from personare.types import Image

Floats = NDArray[np.float32]

STEP, REACH = 0.005, 0.075
"""Edges are searched in these steps as far as this from the landmarks, in eye distances."""
WINDOW = 0.022
"""Height of the strips on either side of an edge that are compared, in eye distances."""
THINNEST_LIP, BEYOND_OUTER = 0.030, 0.015
"""A lip keeps this height, or the landmarks' if that is less, in eye distances: its outer edge
gives way for an inner one, which may be found as far as this beyond it.
"""
STAY = 0.45
"""Cost of an edge at the end of the reach; a perfect edge gains 1."""
BEND = 0.06
"""Cost of a step sideways from one column to the next, times its square."""
FARTHEST_STEP = 2
SHARPENS, PLAIN_CHANGE = 3, 0.3
"""An inner edge is then set on the greatest change within this many steps, if that is at least
this much.
"""
SEAM_GAIN, SEAM_CONTRAST = 1.1, 18.0
"""What lips that touch gain on a line that is darker than its surroundings by this much (L*)."""
SEAM_WINDOW = 0.03
OUTER_REACH, OUTER_STAY = 0.025, 0.4
"""The same for the outer edges, which the landmarks have better."""
OUTER_MOVES_AT_MOST = 0.35
"""Of the lip's height."""
OUTER_PALER = 6.0
"""Skin is less red than the lip next to it by this much (a*), or the outer edge is not searched
for.
"""
OUTSIDE = (0.02, 0.045)
"""Where the skin next to a lip is looked at, outwards of the landmarks, in eye distances."""
NEVER = 99.0
CORNER_REACH = 0.85
"""A hollow beyond the inner corner takes it this far towards the outer one, at most."""
CORNER_NEIGHBOURS = (0.6, 0.25)
"""The points next to the corner go along by these shares."""
CORNER_PULL = 0.7
"""The corners follow the edges next to them by this share, and the rows' corners by these
shares of that.
"""
CORNER_ROWS = (1.0, 0.85, 0.5)
SMOOTHING = 7
"""Columns over which the edges found are smoothed."""


@dataclass(frozen=True, slots=True)
class Found:
    """points: float32 [468, 3], the face points with the lips' inner rows on the edges that the
    picture shows.

    teeth: height of what looks like tooth between the edges, at most, in eye distances; 0 where
    colour does not tell.
    """

    points: Floats
    teeth: float


def outer_edges(points: Floats, picture: Image, unit_px: float) -> Floats:
    """The face points [468, 3] with the lips' outer rows where red ends, if the skin next to a
    lip is that much paler.

    Under a moustache, and next to pale lips, the landmarks stay.
    """
    columns = Columns.of(points)
    lab = Lab.around(columns, picture, unit_px)
    count = round(OUTER_REACH / STEP)
    offsets = np.arange(-count, count + 1, dtype=np.float32) * np.float32(STEP * unit_px)
    stay = np.float32(OUTER_STAY) * (offsets / (OUTER_REACH * unit_px)) ** 2

    def redness(depths: Floats) -> Floats:
        return lab.at(columns.places(depths))[..., 1]

    moves = []
    for rows, downwards in zip(
        columns.rows, (1, -1), strict=True
    ):  # downwards is into the upper lip and out of the lower one
        lip = np.median(redness(columns.between(rows[3], rows[2], 5))[columns.middle])
        away = [rows[3] - np.float32(downwards * share * unit_px) for share in OUTSIDE]
        skin = np.median(redness(columns.between(away[0], away[1], 5))[columns.middle])
        found: Floats = np.zeros(len(columns.start), np.float32)
        if lip - skin > OUTER_PALER:
            depths = rows[3][:, None] + offsets

            def reddening(at: Floats, skin: np.float32 = skin, lip: np.float32 = lip) -> Floats:
                share: Floats = np.clip((redness(at) - skin) / (lip - skin), 0, 1)
                return share

            change = _change(reddening, depths, unit_px)
            path = _cheapest_path((stay - downwards * change)[..., None])[:, 0]
            found = _smooth(_sharpened(path, downwards * change, offsets, 1))
            most = OUTER_MOVES_AT_MOST * np.abs(rows[3] - rows[0])
            found = np.clip(found, -most, most)
        moves.append(_at_points(found, columns))
    nothing = np.zeros_like(moves[0])
    return _moved(points, (nothing, nothing), moves)


def _sharpened(path: NDArray[np.intp], change: Floats, offsets: Floats, steps: int) -> Floats:
    """The offsets of a path [n], drawn to the landmarks and smooth, moved to the greatest
    change [n, k] within some steps.

    float32 [n]. Only where there is a change to speak of; between the steps by a parabola.
    """
    count = len(offsets)
    rows = np.arange(len(path))
    near = np.clip(path[:, None] + np.arange(-steps, steps + 1), 0, count - 1)
    best = near[rows, np.take_along_axis(change, near, axis=1).argmax(axis=1)]
    inner = np.clip(best, 1, count - 2)
    before, here, after = (change[rows, inner + i] for i in (-1, 0, 1))
    bend = before - 2 * here + after
    between = np.clip((before - after) / (2 * np.where(bend < -1e-3, bend, -1e9)), -0.5, 0.5) * (
        inner == best
    )
    sharp = offsets[best] + between * (offsets[1] - offsets[0])
    return np.where(change[rows, best] > PLAIN_CHANGE, sharp, offsets[path]).astype(np.float32)


def _smooth(found: Floats) -> Floats:
    """Values [n] or [n, c] at the columns, smoothed along them."""
    values = np.ascontiguousarray(found.reshape(len(found), -1))
    return np.asarray(
        cv2.GaussianBlur(values, (1, SMOOTHING), 0, borderType=cv2.BORDER_REPLICATE).reshape(found.shape),
        np.float32,
    )


def _at_points(moves: Floats, columns: Columns) -> Floats:
    """Moves [n] px along the columns as [9, 2] px at the points between the corners."""
    at_points = slice(COLUMNS_PER_POINT - 1, None, COLUMNS_PER_POINT)
    return np.asarray(moves[at_points, None] * columns.across[at_points], np.float32)


def find(points: Floats, picture: Image, unit_px: float) -> Found:
    """The inner edges of the lips near those of the face points [468, 3].

    Inner points go to the edges, outer ones stay, and the rows between keep their share of the
    way. A hollow beyond an inner corner takes that corner along first.
    """
    columns = Columns.of(points)
    colours = Colours.of(columns, Lab.around(columns, picture, unit_px))
    points = _wider(points, colours)
    columns = Columns.of(points)
    count = round(REACH / STEP)
    offsets = np.arange(-count, count + 1, dtype=np.float32) * np.float32(STEP * unit_px)
    path = _cheapest_path(_cost(columns, colours, offsets, unit_px))
    into, out_of = (
        _entering(columns, colours, columns.rows[lip, 0][:, None] + offsets, unit_px) for lip in (0, 1)
    )
    sharp = [_sharpened(path[:, lip], change, offsets, SHARPENS) for lip, change in ((0, into), (1, -out_of))]
    found = _smooth(np.stack(sharp, axis=1))
    upper, lower = (columns.rows[lip, 0] + found[:, lip] for lip in (0, 1))
    places = columns.between(upper, lower, 9)
    tooth, _ = colours.inside(columns.places(places), places / columns.length)
    teeth = 0.0 if colours.tooth_a is None else float((tooth.mean(axis=1) * (lower - upper)).max()) / unit_px
    own = np.stack([columns.rows[0, 0], columns.rows[1, 3] - columns.rows[1, 0]], axis=1)
    left = np.stack([upper, columns.rows[1, 3] - lower], axis=1)
    give = np.maximum(np.minimum(own, THINNEST_LIP * unit_px) - left, 0) * np.array([-1, 1], np.float32)
    inner, outer = ([_at_points(moves[:, lip], columns) for lip in (0, 1)] for moves in (found, give))
    return Found(_moved(points, inner, outer), teeth)


def _wider(points: Floats, colours: Colours) -> Floats:
    """Points whose inner corners, and a little those next to them, are moved outwards as far as
    there is hollow or tooth.
    """
    wider = points.copy()
    share = np.linspace(0, 1, 13, dtype=np.float32)
    for corner in (0, -1):
        inner, outer = points[UPPER_ROWS[0, corner], :2], points[UPPER_ROWS[3, corner], :2]
        _, inside = colours.inside(inner + (outer - inner) * share[:, None], np.full_like(share, 0.5))
        hollow = np.cumprod(inside > 0.5).sum() / len(share)
        move = (outer - inner) * np.float32(min(float(hollow), CORNER_REACH))
        for row, pull in zip(UPPER_ROWS[:3], CORNER_ROWS, strict=True):
            wider[row[corner], :2] += move * pull
        step = 1 if corner == 0 else -1
        for away, pull in enumerate(CORNER_NEIGHBOURS, start=1):
            for rows in (UPPER_ROWS, LOWER_ROWS):
                wider[rows[0, corner + step * away], :2] += move * pull
    return wider


def _moved(points: Floats, inner: Sequence[Floats], outer: Sequence[Floats]) -> Floats:
    """Points whose inner and outer lips between the corners are moved by [9, 2] px each, of the
    upper and of the lower lip.

    The corners, which the lips have in common, follow the points next to them.
    """
    moved = points.copy()
    between = slice(1, -1)
    for rows, inner_moves, outer_moves in zip((UPPER_ROWS, LOWER_ROWS), inner, outer, strict=True):
        across = points[rows[0, between], :2] - points[rows[3, between], :2]
        length = np.maximum((across**2).sum(axis=1), 1e-3)
        for row in rows[:, between]:
            share = np.clip(
                ((points[row, :2] - points[rows[3, between], :2]) * across).sum(axis=1) / length, 0, 1
            )[:, None]
            moved[row, :2] += inner_moves * share + outer_moves * (1 - share)
    upper, lower = inner
    corners = CORNER_PULL * (upper[[0, -1]] + lower[[0, -1]]) / 2
    for row, pull in zip(UPPER_ROWS[:3], CORNER_ROWS, strict=True):
        moved[row[[0, -1]], :2] += corners * pull
    return moved


def _cost(columns: Columns, colours: Colours, offsets: Floats, unit_px: float) -> Floats:
    """Cost of every pair of edges at every column: float32 [n, k, k], k offsets from the
    landmarks for either lip.
    """
    upper, lower = (columns.rows[lip, 0][:, None] + offsets for lip in (0, 1))
    length = columns.length
    stay = np.float32(STAY) * (offsets / (REACH * unit_px)) ** 2
    beyond = np.float32(BEYOND_OUTER * unit_px)
    too_high, too_low = upper < -beyond, lower > length + beyond
    upper_cost = stay - _entering(columns, colours, upper, unit_px) + NEVER * too_high
    lower_cost = stay + _entering(columns, colours, lower, unit_px) + NEVER * too_low
    cost = upper_cost[:, :, None] + lower_cost[:, None, :]
    gap = lower[:, None, :] - upper[:, :, None]
    seam = stay[:, None] + stay - SEAM_GAIN * _seam(columns, colours, upper, unit_px)[:, :, None]
    touching = np.float32(STEP * unit_px / 2)
    cost = np.where(np.abs(gap) < touching, np.minimum(cost, seam), cost)
    return np.where(gap < -touching, np.float32(NEVER), cost).astype(np.float32)


def _entering(columns: Columns, colours: Colours, depths: Floats, unit_px: float) -> Floats:
    """How much more of the mouth's inside is just below each depth [n, k] than just above it:
    float32 [n, k], -1..1.
    """
    return _change(lambda at: colours.inside(columns.places(at), at / columns.length)[1], depths, unit_px)


def _change(signal: Callable[[Floats], Floats], depths: Floats, unit_px: float) -> Floats:
    """How much more of a signal (of depths [n, k], 0..1) is just below each depth than just
    above it: float32 [n, k], -1..1.

    depths: evenly spaced by STEP.
    """
    steps = round(WINDOW / STEP)
    beyond = np.arange(1, steps + 1, dtype=np.float32) * np.float32(STEP * unit_px)
    seen = signal(np.concatenate([depths[:, :1] - beyond[::-1], depths, depths[:, -1:] + beyond], axis=1))
    summed = np.cumsum(np.pad(seen, ((0, 0), (1, 0))), axis=1)
    at = np.arange(depths.shape[1]) + steps
    # The depth itself belongs to either side.
    above = summed[:, at + 1] - summed[:, at - steps]
    below = summed[:, at + steps + 1] - summed[:, at]
    return np.asarray((below - above) / (steps + 1), np.float32)


def _seam(columns: Columns, colours: Colours, depths: Floats, unit_px: float) -> Floats:
    """How much each depth [n, k] looks like the dark line between lips that touch: float32 in
    0..1.
    """

    def lightness(at: Floats) -> Floats:
        return colours.lab.at(columns.places(at))[..., 0]

    around = np.minimum(*(lightness(depths + side * np.float32(SEAM_WINDOW * unit_px)) for side in (1, -1)))
    return np.asarray(np.clip((around - lightness(depths)) / SEAM_CONTRAST, 0, 1), np.float32)


def _cheapest_path(cost: Floats) -> NDArray[np.intp]:
    """Through cost [n, a, b] from column to column, with BEND for every step sideways: indices
    [n, 2].
    """
    columns, a, b = cost.shape
    total = cost[0]
    steps = range(-FARTHEST_STEP, FARTHEST_STEP + 1)
    moves = [(i, j) for i in steps for j in steps]
    came_by = np.zeros((columns, a, b), np.int8)
    far = FARTHEST_STEP
    for column in range(1, columns):
        padded = np.pad(total, far, constant_values=np.float32(NEVER * columns))
        before = np.stack(
            [padded[far + i : far + i + a, far + j : far + j + b] + BEND * (i * i + j * j) for i, j in moves]
        )
        came_by[column] = before.argmin(axis=0)
        total = cost[column] + before.min(axis=0)
    path = np.zeros((columns, 2), np.intp)
    path[-1] = np.unravel_index(int(total.argmin()), total.shape)
    for column in range(columns - 1, 0, -1):
        path[column - 1] = path[column] + moves[came_by[column][tuple(path[column])]]
    return path
