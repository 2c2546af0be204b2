"""The eyes: lids that shut, eyeballs that turn under them, and the colour of the lashes.

Blinks are geometry of this face, not units of the head data: the upper lid has to meet the
lower one to the pixel. The iris looks about by sliding under lids that stay.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.light import colours_at
from personare.heads import (
    LEFT_BELOW_BROW,
    LEFT_EYE_LOWER,
    LEFT_EYE_OUTER,
    LEFT_EYE_UPPER,
    LEFT_LID_CREASE,
    RIGHT_BELOW_BROW,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_OUTER,
    RIGHT_EYE_UPPER,
    RIGHT_LID_CREASE,
)
from personare.types import Image

Floats = NDArray[np.float32]

UPPER_LIDS = np.array([RIGHT_EYE_UPPER, LEFT_EYE_UPPER])
LOWER_LIDS = np.array([RIGHT_EYE_LOWER, LEFT_EYE_LOWER])
CREASES = np.array([RIGHT_LID_CREASE, LEFT_LID_CREASE])
BROW_BONES = np.array([RIGHT_BELOW_BROW, LEFT_BELOW_BROW])
"""Face points, the eye at image left first: lid edges [2, 9] from the outer to the inner
corner; two rows [2, 7] above the upper lid's inner points.
"""
INSIDE = slice(1, -1)

CONTOUR_TRUST = 0.06
"""The iris network's lid edges are taken unless they lie further off than this on average, in
widths of the eye pair.
"""
LOWER_LID_RISES, LIDS_OVERLAP = 0.10, 0.02
"""Share of the eye's opening by which the lower lid comes up to meet the upper one, and by
which either goes beyond the line where they meet: shut lids leave no slit.
"""
CREASE_FALLS, BROW_BONE_FALLS = 0.50, 0.12
LID_SLIDES = np.array([0.35, 0.62, 0.70, 0.72, 0.70, 0.62, 0.35], np.float32)
"""How far the texture of the upper lid's edge slides towards the crease in a blink. Lid skin
covers the eye then; without this, lashes and iris are smeared over it.
"""
LID_SLIDE_LIMIT = 0.94
BARE_SKIN = 0.80
"""The texture slides at least as far as LID_SLIDES and on to where the lid is this bright
compared with its brightest place: beyond drawn lines, long lashes and shadow.
"""
CREASE_SLIDES = 0.45
"""Share of that by which the crease's own texture slides on upwards, so that no skin is
compressed to a line.
"""
EDGE_REACH = 0.05
EDGE_TOLERANCE = 0.30
"""The lower lid's edge is looked for this far below where the networks have it (drawn eyes are
larger than real ones), in eye distances; skin is what differs less than this share from the
cheek below.
"""
GOES_ON, SKIN_BELOW = (0.02, 0.06), (0.15, 0.20)
"""Where an eye larger than the lids found for it would go on, and where it has ended, below the
lower lid in eye distances.
"""
MOSTLY_IRIS, PLAIN_IRIS = 0.6, 95.0
"""Share of that place that looks like iris rather than skin, and the distance of their colours
in grey levels, from which on an eye is larger than its lids. Photos: at most .5.
"""
UNDER_EYE = 0.10
"""Bare skin is looked at this far below the lower lid, in eye distances."""
DARKEST_BEHIND_GLASSES = 0.6
"""Of the skin below the eye."""
IRIS_MARGIN, IRIS_LIMIT = 1.30, 0.80
"""Radius of the part of the eyeball that moves whole, in iris radii, and in shares of the way
to the lids.
"""
LONG_LASHES = (0.085, 0.115)
"""Darkness of fine strokes above the lid's crease, as a share of bare skin: the last face
without long lashes, the first with.
"""
STROKE_WIDTH, STROKES_UP = 0.035, 0.6
"""Lashes are strokes up to this wide, in eye distances; share of the way from the crease to the
bone below the brow on which they are looked for.
"""


def refine_contours(points: Floats, contours: Floats) -> Floats:
    """Face points [468, 3] with the lid edges of the iris network, contours [2, 71, 2], where
    both roughly agree.
    """
    refined = points.copy()
    for upper, lower, crease, contour in zip(UPPER_LIDS, LOWER_LIDS, CREASES, contours, strict=True):
        edge = np.concatenate([lower, upper[INSIDE]])
        limit = CONTOUR_TRUST * np.linalg.norm(points[RIGHT_EYE_OUTER, :2] - points[LEFT_EYE_OUTER, :2])
        if np.linalg.norm(contour[: len(edge)] - points[edge, :2], axis=1).mean() < limit:
            refined[crease, :2] += contour[9:16] - points[upper[INSIDE], :2]
            refined[edge, :2] = contour[: len(edge)]
    return refined


def blink_deltas(points: Floats, drawn: bool = False) -> Floats:
    """Delta of a full blink of either eye, float32 [2, 468, 3]: both lids go to one line.

    drawn: the lower lids are deep arcs, and stay; see large_eyes.py.
    """
    deltas = np.zeros((2, 468, 3), np.float32)
    for delta, upper, lower, crease, bone in zip(
        deltas, UPPER_LIDS, LOWER_LIDS, CREASES, BROW_BONES, strict=True
    ):
        opening = (points[lower, :2] - points[upper, :2])[INSIDE]
        line = (points[lower, :2] if drawn else _shut_line(points[upper, :2], points[lower, :2]))[INSIDE]
        falls = line - points[upper[INSIDE], :2]
        delta[upper[INSIDE], :2] = falls + LIDS_OVERLAP * opening
        delta[lower[INSIDE], :2] = line - points[lower[INSIDE], :2] - LIDS_OVERLAP * opening
        delta[crease, :2] = CREASE_FALLS * falls
        delta[bone, :2] = BROW_BONE_FALLS * falls
    return deltas


def _shut_line(upper: Floats, lower: Floats) -> Floats:
    """Where the lids [9, 2] of an eye meet, float32 [9, 2]: a smooth arc from corner to corner
    (a cubic by least squares), for the edge of a lower lid as found wavers, and a shut eye does
    not.
    """
    start, end = lower[0], lower[-1]
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-3)
    across = np.array([-along[1], along[0]], np.float32)
    met = lower + LOWER_LID_RISES * (upper - lower)
    t = ((upper + lower) / 2 - start) @ along / max(float((end - start) @ along), 1e-3)
    t = np.clip(t, 0, 1)
    arcs = np.stack([t * (1 - t), t * t * (1 - t)], axis=1)
    depth = arcs @ np.linalg.lstsq(arcs, (met - start) @ across, rcond=None)[0]
    line = start + t[:, None] * (end - start) + depth[:, None] * across
    return np.asarray(line, np.float32)


def lower_lid_edges(points: Floats, picture: Image, unit_px: float) -> Floats:
    """Points [468, 3] whose lower lids lie where the eye ends and skin begins, if that is a
    little lower than they are.
    """
    found = points.copy()
    steps = np.linspace(0, EDGE_REACH, 16, dtype=np.float32) * unit_px
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        edge = points[lower[INSIDE], :2]
        opening = edge - points[upper[INSIDE], :2]
        down = opening[3] / max(float(np.linalg.norm(opening[3])), 1e-3)
        skin = bare_skin(points, picture, lower, down, unit_px)
        colours = colours_at(picture, edge[:, None] + steps[:, None] * down)
        eye = np.abs(colours - skin).max(axis=-1) > EDGE_TOLERANCE * max(float(skin.max()), 1.0)
        # Past the last place that is not skin, unless all are: then this is no lid's edge but a
        # dark picture.
        last = np.where(eye.any(axis=1), len(steps) - 1 - eye[:, ::-1].argmax(axis=1), 0)
        last[last == len(steps) - 1] = 0
        lower_by = np.convolve(np.pad(steps[last], 1), np.array([0.25, 0.5, 0.25], np.float32), "valid")
        found[lower[INSIDE], :2] += lower_by[:, None] * down
    return found


def end_at_their_lids(picture: Image, points: Floats, irises: Floats, unit_px: float) -> bool:
    """Whether the eyes end where their lids were found: those of a drawing may be far larger
    than any that the networks have seen, and a lid that comes half the way down is worse than
    none. points: [468, 3]. irises: [2, 5, 2].
    """
    shares, contrasts = [], []
    for upper, lower, iris in zip(UPPER_LIDS, LOWER_LIDS, irises, strict=True):
        colour = np.median(colours_at(picture, iris[0] + 0.6 * (iris[1:] - iris[0])), axis=0)
        opening = points[lower[4], :2] - points[upper[4], :2]
        down = opening / max(float(np.linalg.norm(opening)), 1e-3)
        steps = np.linspace(GOES_ON, SKIN_BELOW, 2, dtype=np.float32) * np.float32(unit_px)
        near, far = (
            colours_at(
                picture,
                points[lower[2:7], None, :2] + np.linspace(a, b, 9, dtype=np.float32)[:, None] * down,
            ).reshape(-1, 3)
            for a, b in steps
        )
        skin = np.median(far, axis=0)
        like_iris = np.linalg.norm(near - colour, axis=1) < np.linalg.norm(near - skin, axis=1)
        shares.append(float(like_iris.mean()))
        contrasts.append(float(np.linalg.norm(colour - skin)))
    return sum(shares) / 2 < MOSTLY_IRIS or sum(contrasts) / 2 < PLAIN_IRIS


def bare_skin(
    points: Floats, picture: Image, lower: NDArray[np.intp], down: Floats, unit_px: float
) -> Floats:
    """Colour of the skin under an eye, float32 [3]: the median of a small patch clear of
    lashes.
    """
    below = points[lower[3:6], :2] + down * (UNDER_EYE * unit_px)
    spread = np.linspace(-0.02, 0.02, 5, dtype=np.float32) * unit_px
    places = below[:, None, None] + np.stack(np.meshgrid(spread, spread), axis=-1)
    return np.asarray(np.median(colours_at(picture, places).reshape(-1, 3), axis=0), np.float32)


def lid_colours(points: Floats, picture: Image, unit_px: float, glasses: bool = False) -> Floats:
    """Bare skin near either eye, float32 [2, 3]. Behind glasses it is not lighter than that of
    the lid: below the eye there may be a rim, a reflection, or skin outside the lens.
    """
    down = np.array([0, 1], np.float32)
    colours = np.stack([bare_skin(points, picture, lower, down, unit_px) for lower in LOWER_LIDS])
    if glasses:
        above = ((points[CREASES, :2] + points[BROW_BONES, :2]) / 2).astype(np.float32)
        own = np.median(colours_at(picture, above[:, 1:-1]), axis=1)
        light = own.mean(axis=1) / np.maximum(colours.mean(axis=1), 1)
        colours *= np.clip(light, DARKEST_BEHIND_GLASSES, 1)[:, None]
    return np.asarray(colours, np.float32)


def lid_slides(points: Floats, picture: Image) -> Floats:
    """Texture shift of a full blink of either eye, float32 [2, 468, 2]."""
    slides = np.zeros((2, 468, 2), np.float32)
    for slide, upper, crease, bone in zip(slides, UPPER_LIDS, CREASES, BROW_BONES, strict=True):
        edge = points[upper[INSIDE], :2]
        amount = np.maximum(LID_SLIDES, _way_to_bare_skin(edge, points[crease, :2], picture))[:, None]
        slide[upper[INSIDE]] = amount * (points[crease, :2] - edge)
        clear = _way_clear_of_brow(points[crease, :2], points[bone, :2], picture)[:, None]
        slide[crease] = np.minimum(CREASE_SLIDES * amount, clear) * (points[bone, :2] - points[crease, :2])
    return slides


def _way_clear_of_brow(crease: Floats, bone: Floats, picture: Image) -> Floats:
    """Share of the way from the crease up to the brow bone, float32 [7], before it turns dark
    as a low brow's hair.
    """
    way = np.linspace(0, 1, 16, dtype=np.float32)
    bright = colours_at(picture, crease[:, None] + (bone - crease)[:, None] * way[:, None]).mean(axis=-1)
    hair = bright < BARE_SKIN * np.maximum.accumulate(bright, axis=1)
    share = np.where(hair.any(axis=1), way[np.maximum(hair.argmax(axis=1) - 1, 0)], np.float32(1))
    return np.convolve(
        np.pad(share, 1, mode="edge"), np.array([0.25, 0.5, 0.25], np.float32), "valid"
    ).astype(np.float32)


def _way_to_bare_skin(edge: Floats, crease: Floats, picture: Image) -> Floats:
    """Share of the way from the lid's edge to the crease, float32 [7], at which it is bright,
    tapering to the corners.
    """
    way = np.linspace(0, LID_SLIDE_LIMIT, 16, dtype=np.float32)
    bright = colours_at(picture, edge[:, None] + (crease - edge)[:, None] * way[:, None]).mean(axis=-1)
    bare = bright >= BARE_SKIN * bright.max(axis=1, keepdims=True)
    share = way[bare.argmax(axis=1)]
    return np.convolve(np.pad(share, 1), np.array([0.25, 0.5, 0.25], np.float32), "valid").astype(np.float32)


def eyeballs(points: Floats, irises: Floats) -> Floats:
    """Vertices of both eyeballs, float32 [2, 33, 3]: iris centre, 16 around the iris, 16 on the
    lid edges.
    """
    return np.stack([_eyeball(points, *eye) for eye in zip(UPPER_LIDS, LOWER_LIDS, irises, strict=True)])


def _eyeball(points: Floats, upper: NDArray[np.intp], lower: NDArray[np.intp], iris: Floats) -> Floats:
    edge = points[np.concatenate([upper, lower[INSIDE][::-1]])]
    middle = edge.mean(axis=0)
    inside = cv2.pointPolygonTest(
        np.ascontiguousarray(edge[:, :2]), (float(iris[0, 0]), float(iris[0, 1])), False
    )
    if inside > 0:
        middle[:2] = iris[0]
    radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
    way = edge - middle
    reach = np.linalg.norm(way[:, :2], axis=1, keepdims=True)
    around = middle + way * np.minimum(IRIS_LIMIT, IRIS_MARGIN * radius / np.maximum(reach, 1e-3))
    return np.concatenate([middle[None], around, edge]).astype(np.float32)


def eyeball_triangles() -> NDArray[np.int32]:
    """int32 [48, 3] over the vertices of one eyeball."""
    here = np.arange(16)
    there = np.roll(here, -1)
    iris = np.stack([np.zeros(16, np.intp), 1 + here, 1 + there], axis=1)
    white = [np.stack([1 + here, 1 + there, 17 + here], 1), np.stack([1 + there, 17 + there, 17 + here], 1)]
    return np.concatenate([iris, *white]).astype(np.int32)


def _edge_follows() -> Floats:
    """float32 [33, 2]: how far the texture of each vertex of an eyeball follows a gaze to the
    side.
    """
    along = np.linspace(-1, 1, UPPER_LIDS.shape[1], dtype=np.float32)
    follows = 1 - along**2
    slide = np.zeros((33, 2), np.float32)
    slide[17:, 0] = np.concatenate([follows, follows[INSIDE][::-1]])
    return slide


EYEBALL_EDGES = np.concatenate([UPPER_LIDS, LOWER_LIDS[:, INSIDE][:, ::-1]], axis=1)
"""Face points on the lids under which the last 16 vertices of either eyeball lie, [2, 16]."""
EYEBALL_MOVES = np.repeat([1.0, 0.0], [17, 16]).astype(np.float32)
"""Which vertices of an eyeball the gaze moves: the iris, not the edge where it goes under the
lids.
"""

EDGE_FOLLOWS = _edge_follows()


def edge_slide(gaze_x: float) -> Floats:
    """Texture shift float32 [33, 2] that lets the edge follow a gaze to the side along the
    lids, but for the corners.

    Without it an iris that touches the lids would be sheared by them.
    """
    return EDGE_FOLLOWS * np.float32(-gaze_x)


def lash_colour(picture: Image, points: Floats, unit_px: float) -> Floats:
    """Colour of the lashes, float32 [3]: the median over the upper lids' points of the darkest
    pixels around each.
    """
    reach = max(1, round(0.03 * unit_px))
    height, width = picture.shape[:2]
    darkest = []
    for x, y in np.floor(points[UPPER_LIDS[:, 2:7].ravel(), :2]).astype(int).clip(0, [width - 1, height - 1]):
        patch = picture[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach + 1].reshape(-1, 3)
        order = patch.sum(axis=1, dtype=np.int32).argsort(kind="stable")
        darkest.append(patch[order[: max(1, len(patch) // 8)]].mean(axis=0))
    return np.asarray(np.median(darkest, axis=0), np.float32)


def long_lashes(picture: Image, points: Floats, colours: Floats, unit_px: float) -> Floats:
    """How far to believe that either eye has long lashes, float32 [2] 0..1: fine dark strokes
    stand above its lid's crease.
    """
    strokes = cv2.morphologyEx(picture, cv2.MORPH_BLACKHAT, stroke_kernel(unit_px)).max(axis=2)
    way = np.linspace(0, STROKES_UP, 8, dtype=np.float32)[:, None, None]
    found = np.zeros(2, np.float32)
    for eye, (crease, bone, colour) in enumerate(zip(CREASES, BROW_BONES, colours, strict=True)):
        places = points[crease, :2] + (points[bone, :2] - points[crease, :2]) * way
        dark = float(colours_at(cv2.merge([strokes] * 3), places).mean()) / max(float(colour.mean()), 1.0)
        found[eye] = np.clip((dark - LONG_LASHES[0]) / (LONG_LASHES[1] - LONG_LASHES[0]), 0, 1)
    # Both eyes have the same lashes; in a shaded socket they are hard to see.
    return np.full(2, found.mean(), np.float32)


def stroke_kernel(unit_px: float) -> NDArray[np.uint8]:
    """Wider than any lash, uint8 [k, k]."""
    wide = max(3, round(STROKE_WIDTH * unit_px) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide)), np.uint8)
