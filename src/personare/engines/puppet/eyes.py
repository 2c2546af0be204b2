"""The eyes: lids that shut, eyeballs that turn under them, and the line of the lashes.

Blinks are geometry of this face, not units of the head data: the upper lid has to meet the lower one to the pixel. The iris
looks about by sliding under lids that stay.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

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
"""Face points, the eye at image left first: lid edges [2, 9] from the outer to the inner corner; two rows [2, 7] above the
upper lid's inner points."""
INSIDE = slice(1, -1)

CONTOUR_TRUST = 0.06
"""The iris network's lid edges are taken unless they lie further off than this on average, in widths of the eye pair."""
UPPER_LID_FALLS, LOWER_LID_RISES = 0.98, 0.06
"""Share of the eye's opening. Together a little over 1: shut lids overlap, they do not leave a slit."""
CREASE_FALLS, BROW_BONE_FALLS = 0.50, 0.12
LID_SLIDES = np.array([0.35, 0.62, 0.70, 0.72, 0.70, 0.62, 0.35], np.float32)
"""How far the texture of the upper lid's edge slides towards the crease in a blink. Lid skin covers the eye then; without
this, lashes and iris are smeared over it."""
CREASE_SLIDES = 0.45
"""Share of that by which the crease's own texture slides on upwards, so that no skin is compressed to a line."""
IRIS_MARGIN, IRIS_LIMIT = 1.15, 0.80
"""Radius of the part of the eyeball that moves whole, in iris radii, and in shares of the way to the lids."""
LASH_WIDTH, LASH_ALPHA = 0.018, 0.72
"""Line of the lashes on a shut lid: width in eye distances, opacity."""
LASH_SUPERSAMPLING = 2


def refine_contours(points: Floats, contours: Floats) -> Floats:
    """Face points [468, 3] with the lid edges of the iris network, contours [2, 71, 2], where both roughly agree."""
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
    for delta, upper, lower, crease, bone in zip(deltas, UPPER_LIDS, LOWER_LIDS, CREASES, BROW_BONES, strict=True):
        opening = (points[lower, :2] - points[upper, :2])[INSIDE]
        delta[upper[INSIDE], :2] = UPPER_LID_FALLS * opening
        delta[lower[INSIDE], :2] = -LOWER_LID_RISES * opening
        delta[crease, :2] = CREASE_FALLS * opening
        delta[bone, :2] = BROW_BONE_FALLS * opening
    return deltas


def lid_slides(points: Floats) -> Floats:
    """Texture shift of a full blink of either eye, float32 [2, 468, 2]."""
    slides = np.zeros((2, 468, 2), np.float32)
    for slide, upper, crease, bone in zip(slides, UPPER_LIDS, CREASES, BROW_BONES, strict=True):
        amount = LID_SLIDES[:, None]
        slide[upper[INSIDE]] = amount * (points[crease, :2] - points[upper[INSIDE], :2])
        slide[crease] = CREASE_SLIDES * amount * (points[bone, :2] - points[crease, :2])
    return slides


def eyeballs(points: Floats, irises: Floats) -> Floats:
    """Vertices of both eyeballs, float32 [2, 33, 3]: iris centre, 16 around the iris, 16 on the lid edges."""
    return np.stack([_eyeball(points, *eye) for eye in zip(UPPER_LIDS, LOWER_LIDS, irises, strict=True)])


def _eyeball(points: Floats, upper: NDArray[np.intp], lower: NDArray[np.intp], iris: Floats) -> Floats:
    edge = points[np.concatenate([upper, lower[INSIDE][::-1]])]
    middle = edge.mean(axis=0)
    inside = cv2.pointPolygonTest(np.ascontiguousarray(edge[:, :2]), (float(iris[0, 0]), float(iris[0, 1])), False)
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


EYEBALL_MOVES = np.concatenate([np.ones(17, np.float32), np.zeros(16, np.float32)])[:, None]
"""Which vertices of an eyeball the gaze moves: the iris, not the edge where it goes under the lids."""


def lash_colour(picture: Image, points: Floats, unit_px: float) -> Floats:
    """Colour of the lashes, float32 [3]: the median over the upper lids' points of the darkest pixels around each."""
    reach = max(1, round(0.03 * unit_px))
    height, width = picture.shape[:2]
    darkest = []
    for x, y in np.floor(points[UPPER_LIDS[:, 2:7].ravel(), :2]).astype(int).clip(0, [width - 1, height - 1]):
        patch = picture[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach + 1].reshape(-1, 3)
        order = patch.sum(axis=1, dtype=np.int32).argsort(kind="stable")
        darkest.append(patch[order[: max(1, len(patch) // 8)]].mean(axis=0))
    return np.median(darkest, axis=0).astype(np.float32)


def draw_lashes(frame: Image, lid_edge: Floats, colour: Floats, unit_px: float, blink: float) -> None:
    """Draw the line of the lashes into a frame, in place. lid_edge: smooth line float32 [k, 2]; blink: 0..1."""
    margin = 3 + round(LASH_WIDTH * unit_px)
    height, width = frame.shape[:2]
    x0, y0 = np.floor(lid_edge.min(axis=0) - margin).astype(int).clip(0, [width, height])
    x1, y1 = np.ceil(lid_edge.max(axis=0) + margin).astype(int).clip(0, [width, height])
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    fine = LASH_SUPERSAMPLING
    mask = np.zeros(((y1 - y0) * fine, (x1 - x0) * fine), np.uint8)
    line = np.rint(((lid_edge - (x0, y0)) * fine - 0.5) * 16).astype(np.int32)
    thickness = max(1, round(LASH_WIDTH * unit_px * fine))
    cv2.polylines(mask, [line], isClosed=False, color=255, thickness=thickness, lineType=cv2.LINE_AA, shift=4)
    mask = cv2.resize(cv2.GaussianBlur(mask, (0, 0), 1.1), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    along = np.linspace(-1, 1, x1 - x0, dtype=np.float32)
    thinner_at_the_corners = np.clip((1 - along**4) * 1.2, 0, 1)
    alpha = mask * thinner_at_the_corners * np.float32(LASH_ALPHA * min(1.0, blink * 1.2) / 255)
    patch = frame[y0:y1, x0:x1]
    patch[:] = np.rint(patch + (colour - patch) * alpha[..., None])
