"""The eyes: lids that shut, eyeballs that turn under them, and the line of the lashes.

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
UPPER_LID_FALLS, LOWER_LID_RISES = 0.98, 0.06
"""Share of the eye's opening. Together a little over 1: shut lids overlap, they do not leave a
slit.
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
UNDER_EYE = 0.10
"""Bare skin is looked at this far below the lower lid, in eye distances."""
LID_BLUR_ALONG, LID_BLUR_ACROSS = 0.050, 0.012
"""A shut lid is smooth: its stretched texture is blurred this much along and across the lid, in
eye distances.
"""
LID_TINT = 0.45
"""Share of bare skin colour mixed into a shut lid."""
DARK_LID, DARK_LID_TINT = 0.80, 0.75
"""A lid that is darker than this share of bare skin (a deep socket, the hair of a low brow) is
mixed with more of it, up to the second share where it is half as bright as that: what it shows
lay in the socket's shadow, and a lid that has come down does not.
"""
LID_EDGE_BLUR = 0.018
IRIS_MARGIN, IRIS_LIMIT = 1.30, 0.80
"""Radius of the part of the eyeball that moves whole, in iris radii, and in shares of the way
to the lids.
"""
LASH_WIDTH, LASH_ALPHA = 0.016, 0.68
"""Line of the lashes on a shut lid: width in eye distances, opacity."""
LONG_LASHES = (0.085, 0.115)
"""Darkness of fine strokes above the lid's crease, as a share of bare skin: the last face
without long lashes, the first with.
"""
STROKE_WIDTH, STROKES_UP = 0.035, (0.6, 0.85)
"""Lashes are strokes up to this wide, in eye distances; shares of the way from the crease to
the bone below the brow on which they are looked for, and painted out.
"""
LONG_LASHES_GONE = 0.35
"""Blink by which the lashes that stood on the lid are no longer seen on it."""
LASH_BLUR_PX = 0.55
LASH_SUPERSAMPLING = 2


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


def blink_deltas(points: Floats) -> Floats:
    """Delta of a full blink of either eye, float32 [2, 468, 3]."""
    deltas = np.zeros((2, 468, 3), np.float32)
    for delta, upper, lower, crease, bone in zip(
        deltas, UPPER_LIDS, LOWER_LIDS, CREASES, BROW_BONES, strict=True
    ):
        opening = (points[lower, :2] - points[upper, :2])[INSIDE]
        delta[upper[INSIDE], :2] = UPPER_LID_FALLS * opening
        delta[lower[INSIDE], :2] = -LOWER_LID_RISES * opening
        delta[crease, :2] = CREASE_FALLS * opening
        delta[bone, :2] = BROW_BONE_FALLS * opening
    return deltas


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


def lid_colours(points: Floats, picture: Image, unit_px: float) -> Floats:
    """Bare skin near either eye, float32 [2, 3]."""
    down = np.array([0, 1], np.float32)
    return np.stack([bare_skin(points, picture, lower, down, unit_px) for lower in LOWER_LIDS])


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
    strokes = cv2.morphologyEx(picture, cv2.MORPH_BLACKHAT, _stroke_kernel(unit_px)).max(axis=2)
    way = np.linspace(0, STROKES_UP[0], 8, dtype=np.float32)[:, None, None]
    found = np.zeros(2, np.float32)
    for eye, (crease, bone, colour) in enumerate(zip(CREASES, BROW_BONES, colours, strict=True)):
        places = points[crease, :2] + (points[bone, :2] - points[crease, :2]) * way
        dark = float(colours_at(cv2.merge([strokes] * 3), places).mean()) / max(float(colour.mean()), 1.0)
        found[eye] = np.clip((dark - LONG_LASHES[0]) / (LONG_LASHES[1] - LONG_LASHES[0]), 0, 1)
    # Both eyes have the same lashes; in a shaded socket they are hard to see.
    return np.full(2, found.mean(), np.float32)


def _stroke_kernel(unit_px: float) -> NDArray[np.uint8]:
    wide = max(3, round(STROKE_WIDTH * unit_px) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide)), np.uint8)


def bare_lid(frame: Image, posed: Floats, eye: int, unit_px: float, strength: float) -> None:
    """Paint long lashes out that stood on a lid that shuts, in place. posed: vertices of the
    frame.
    """
    crease, bone = posed[CREASES[eye], :2], posed[BROW_BONES[eye], :2]
    outline = np.concatenate([posed[UPPER_LIDS[eye], :2], (crease + STROKES_UP[1] * (bone - crease))[::-1]])
    kernel = _stroke_kernel(unit_px)
    window = _window(frame, outline, len(kernel))
    if window is None:
        return
    patch, corner = window
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint((outline - corner - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), max(LID_EDGE_BLUR * unit_px, 0.5)).astype(np.float32) * np.float32(
        strength / 255
    )
    # What is left between strokes in place of them, smooth as lids are.
    closed = cv2.GaussianBlur(
        cv2.morphologyEx(patch, cv2.MORPH_CLOSE, kernel), (0, 0), max(0.25 * len(kernel), 0.5)
    )
    patch[:] = cv2.blendLinear(closed, np.ascontiguousarray(patch), soft, 1 - soft)


def smooth_lid(frame: Image, posed: Floats, eye: int, colour: Floats, unit_px: float, blink: float) -> None:
    """Make the lid of a shutting eye smooth skin, in place. posed: vertices of the frame;
    colour: of bare skin.
    """
    # From the crease's corners over the lid to its edge: the skin that was folded away while
    # the eye was open.
    edge, crease = posed[UPPER_LIDS[eye], :2], posed[CREASES[eye], :2]
    outline = np.concatenate([edge, crease[::-1]])
    window = _window(frame, outline, round(2 * LID_BLUR_ALONG * unit_px) + 2)
    if window is None:
        return
    patch, corner = window
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint((outline - corner - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), max(LID_EDGE_BLUR * unit_px, 0.5)) * np.float32(
        min(1.0, blink * 1.2) / 255
    )
    sigma = (max(LID_BLUR_ALONG * unit_px, 0.5), max(LID_BLUR_ACROSS * unit_px, 0.3))
    smooth = cv2.GaussianBlur(patch, (0, 0), sigma[0], sigmaY=sigma[1]).astype(np.float32)
    dark = np.clip(
        1 - smooth.mean(axis=2, keepdims=True) / np.float32(DARK_LID * max(float(colour.mean()), 1.0)), 0, 1
    )
    smooth += (colour - smooth) * (LID_TINT + (DARK_LID_TINT - LID_TINT) * np.minimum(2 * dark, 1))
    patch[:] = np.rint(patch + (smooth - patch) * soft[..., None])


def _window(frame: Image, outline: Floats, margin: int) -> tuple[Image, NDArray[np.int_]] | None:
    """The part of the frame around an outline, and its corner (x, y); None if it lies outside
    the frame.
    """
    size = np.array(frame.shape[1::-1])
    low = np.clip(np.floor(outline.min(axis=0) - margin).astype(int), 0, size)
    high = np.clip(np.ceil(outline.max(axis=0) + margin).astype(int), 0, size)
    if (high - low < 2).any():
        return None
    return frame[low[1] : high[1], low[0] : high[0]], low


def draw_lashes(
    frame: Image, lid_edge: Floats, colour: Floats, unit_px: float, softness_px: float, blink: float
) -> None:
    """Draw the line of the lashes into a frame, in place. lid_edge: smooth line float32 [k, 2];
    softness_px: of the picture; blink: 0..1.
    """
    window = _window(frame, lid_edge, 3 + round(LASH_WIDTH * unit_px))
    if window is None:
        return
    patch, corner = window
    height, width = patch.shape[:2]
    fine = LASH_SUPERSAMPLING
    mask = np.zeros((height * fine, width * fine), np.uint8)
    line = np.rint(((lid_edge - corner) * fine - 0.5) * 16).astype(np.int32)
    thickness = max(1, round(LASH_WIDTH * unit_px * fine))
    cv2.polylines(mask, [line], isClosed=False, color=255, thickness=thickness, lineType=cv2.LINE_AA, shift=4)
    mask = cv2.resize(
        cv2.GaussianBlur(mask, (0, 0), fine * float(np.hypot(LASH_BLUR_PX, softness_px))),
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
    left, right = lid_edge[[0, -1], 0] - corner[0]
    along = (np.arange(width, dtype=np.float32) + 0.5 - (left + right) / 2) / max(
        abs(float(right - left)) / 2, 0.5
    )
    thinner_at_the_corners = np.clip((1 - along**4) * 1.2, 0, 1)
    alpha = mask * thinner_at_the_corners * np.float32(LASH_ALPHA * min(1.0, blink * 1.2) / 255)
    patch[:] = np.rint(patch + (colour - patch) * alpha[..., None])
