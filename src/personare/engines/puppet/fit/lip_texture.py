"""What lips show when an open mouth shuts: the picture, with lip continued to where teeth and
hollow were.

The lip next to its edge is mirrored inwards, so that it stays as sharp as the picture is, and
gets darker towards the line where the lips will meet. All this is done once per picture:
opening and shutting only move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.lip_colours import LOWER_ROWS, UPPER_ROWS, dense
from personare.heads import Rasteriser
from personare.types import Image

Floats = NDArray[np.float32]

LEAST_GAP = 0.008
"""Lips nearer than this everywhere, in eye distances, have nothing between them to be covered."""
UNSAFE, UNSAFE_SHARE = (0.022, 0.018), (0.40, 0.45)
"""The upper lip and the lower one nearer to their edges than this, in eye distances, or than
this share of their height, are mixed with what is behind them; over the upper teeth that may be
gums, which look like lips.
"""
REACHES = 1.3
"""Either lip is continued this share of the way to the middle of the mouth."""
MIRRORED_SHARE = 0.65
"""Of the lip's height; further inwards the last of it is repeated."""
SEAM_LIGHT, SEAM_DEEPENS = 0.52, 0.5
"""Share of the light that the line between shut lips keeps, and the power of the lip's own
colour that it takes on: what light gets there has bounced off lips.
"""
SEAM_WIDTH = 0.014
"""Standard deviation of the darkening next to that line, in eye distances; at least
SEAM_WIDTH_PX.
"""
SEAM_WIDTH_PX = 0.8
PARTED = 0.02
"""Lips this far apart, in eye distances, are continued and darkened in full; where they touch,
the picture has its own line between them and is left as it is.
"""
OUTWARDS = 0.05
"""The patch reaches this far into the lip, in eye distances."""
DEPTHS = 16


@dataclass(frozen=True, slots=True)
class LipPatch:
    """rgb: uint8 [h, w, 3], to lie at pixel `corner` (x, y) of the picture."""

    rgb: Image
    corner: tuple[int, int]


def continued(picture: Image, points: Floats, roll: Floats, unit_px: float) -> LipPatch:
    """The mouth's part of the picture with either lip continued inwards; one pixel of the
    picture itself if the lips touch.

    points: face points [468, 3] with the lips on their edges. roll: texture shift [468, 2] of
    `lips.roll_out`.
    """
    upper, lower = points[UPPER_ROWS[0], :2], points[LOWER_ROWS[0], :2]
    gap = lower - upper
    if np.linalg.norm(gap, axis=1).max() < LEAST_GAP * unit_px:
        return LipPatch(picture[:1, :1].copy(), (0, 0))
    size = np.array(picture.shape[1::-1])
    around = np.concatenate([points[UPPER_ROWS[3], :2], points[LOWER_ROWS[3], :2]])
    corner = np.floor(around.min(axis=0)).astype(int).clip(0, size - 2)
    width, height = (int(v) for v in np.ceil(around.max(axis=0)).astype(int).clip(2, size) - corner)
    half = dense(np.linalg.norm(gap, axis=1, keepdims=True) / 2)
    strips = [
        _strip(points, rows, roll, half, unit_px, UNSAFE[lip] * unit_px, UNSAFE_SHARE[lip])
        for lip, rows in enumerate((UPPER_ROWS, LOWER_ROWS))
    ]
    vertices = np.concatenate([strip.vertices for strip in strips])
    vertices[:, :2] -= corner
    attributes = np.concatenate([strip.attributes for strip in strips])
    triangles = np.concatenate([strips[0].triangles, strips[1].triangles + len(strips[0].vertices)])
    raster = Rasteriser(width, height)
    seen = raster.draw(vertices, triangles.astype(np.int32), attributes)
    x, y, away = (np.ascontiguousarray(seen[..., i]) for i in range(3))
    parted = raster.draw(
        vertices, triangles.astype(np.int32), np.concatenate([strip.parted for strip in strips])
    )
    patch = picture[corner[1] : corner[1] + height, corner[0] : corner[0] + width].copy()
    lip = cv2.remap(picture, x - 0.5, y - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    near = np.exp(-0.5 * (np.maximum(away, 0) / max(SEAM_WIDTH * unit_px, SEAM_WIDTH_PX)) ** 2)[..., None]
    covered = raster.covered
    light = _seam_light(lip[covered].astype(np.float32))
    mouth = np.zeros(covered.shape, np.uint8)
    cv2.fillPoly(mouth, [np.rint(np.concatenate([upper, lower[::-1]]) - corner - 0.5).astype(np.int32)], 1)
    # Where neither lip is continued to
    patch[(mouth > 0) & ~covered] = np.rint(np.median(lip[covered], axis=0) * light)
    shut = patch + (lip * (1 - near * (1 - light)) - patch) * parted
    patch[covered] = np.rint(shut[covered])
    return LipPatch(patch, (int(corner[0]), int(corner[1])))


@dataclass(frozen=True, slots=True)
class _Strip:
    """A lip's inner part and what continues it: vertices [k, 3]; attributes [k, 3]: source (x,
    y) and px outwards of the seam; parted [k, 3]: how far the lips are apart, 0..1, three
    times.
    """

    vertices: Floats
    attributes: Floats
    parted: Floats
    triangles: NDArray[np.int32]


def _strip(
    points: Floats,
    rows: NDArray[np.intp],
    roll: Floats,
    half_gap: Floats,
    unit_px: float,
    unsafe_px: float,
    unsafe_share: float,
) -> _Strip:
    edge, outer, shift = (
        dense(values) for values in (points[rows[0], :2], points[rows[3], :2], roll[rows[0]])
    )
    height = np.linalg.norm(outer - edge, axis=1)[:, None]
    outwards = (outer - edge) / np.maximum(height, 1e-3)
    seam = -(shift * outwards).sum(axis=1, keepdims=True)  # px inwards of the edge
    sideways = shift + seam * outwards
    first, last = -np.maximum(seam, REACHES * half_gap) - 2, np.minimum(OUTWARDS * unit_px, height)
    depth = first + (last - first) * np.linspace(
        0, 1, DEPTHS, dtype=np.float32
    )  # [n, DEPTHS], px outwards of the edge
    safe = np.minimum(unsafe_px, unsafe_share * height)
    source = np.where(depth < safe, np.minimum(2 * safe - depth, MIRRORED_SHARE * height), depth)
    aside = np.clip(-depth / np.maximum(seam, 1e-3), 0, 1)[..., None] * sideways[:, None]
    place = edge[:, None] + outwards[:, None] * depth[..., None] + aside
    shows = edge[:, None] + outwards[:, None] * source[..., None]
    z = -np.abs(depth)[..., None]  # the nearer lip covers the other
    vertices = np.concatenate([place, z], axis=2).reshape(-1, 3)
    attributes = np.concatenate([shows, (depth + seam)[..., None]], axis=2).reshape(-1, 3)
    parted = np.broadcast_to(np.clip(2 * half_gap / (PARTED * unit_px), 0, 1), depth.shape).reshape(-1, 1)
    return _Strip(
        vertices.astype(np.float32),
        attributes.astype(np.float32),
        np.repeat(parted, 3, axis=1).astype(np.float32),
        _grid_triangles(len(edge), DEPTHS),
    )


def _seam_light(lip: Floats) -> Floats:
    """Share of the light per channel that the seam between lips of these colours [k, 3] keeps,
    float32 [3].
    """
    colour = np.maximum(np.median(lip, axis=0), 1)
    return np.asarray(SEAM_LIGHT * (colour / colour.max()) ** SEAM_DEEPENS, np.float32)


def _grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """int32 [2 (rows - 1) (columns - 1), 3] over vertices in rows."""
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)]).astype(np.int32)
