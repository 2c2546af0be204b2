"""What lips show when an open mouth shuts: the picture, with lip continued to where teeth and hollow were.

The lip next to its edge is mirrored inwards, so that it stays as sharp as the picture is, and gets darker towards the
line where the lips will meet. All this is done once per picture: opening and shutting only move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.contour import LOWER_ROWS, UPPER_ROWS
from personare.heads import Rasteriser
from personare.types import Image

Floats = NDArray[np.float32]

LEAST_GAP = 0.008
"""Lips nearer than this everywhere, in eye distances, have nothing between them to be covered."""
UNSAFE, UNSAFE_SHARE = 0.014, 0.35
"""Lip nearer to its edge than this, in eye distances, or than this share of its height is mixed with what is behind it."""
MIRRORED_SHARE = 0.75
"""Of the lip's height; further inwards the last of it is repeated."""
SEAM_DARK = np.array([0.52, 0.62, 0.60], np.float32)
"""Share of the light that the line between shut lips loses, per channel: what gets there has bounced off red."""
SEAM_WIDTH = 0.0085
"""Standard deviation of the darkening on either side of that line, in eye distances; at least SEAM_WIDTH_PX."""
SEAM_WIDTH_PX = 0.8
INWARDS, OUTWARDS = 0.03, 0.05
"""The patch reaches this far beyond the line between the shut lips and into the lip, in eye distances."""
DEPTHS = 16
PIECES = 4
"""Columns between neighbouring points."""


@dataclass(frozen=True, slots=True)
class Patch:
    """rgb: uint8 [h, w, 3], to lie at pixel `corner` (x, y) of the picture."""

    rgb: Image
    corner: tuple[int, int]


def continued(picture: Image, points: Floats, roll: Floats, unit_px: float) -> Patch:
    """The mouth's part of the picture with either lip continued inwards; one pixel of the picture itself if the lips touch.

    points: face points [468, 3] with the lips on their edges. roll: texture shift [468, 2] of `lips.roll_out`.
    """
    upper, lower = points[UPPER_ROWS[0], :2], points[LOWER_ROWS[0], :2]
    gap = lower - upper
    if np.linalg.norm(gap, axis=1).max() < LEAST_GAP * unit_px:
        return Patch(picture[:1, :1].copy(), (0, 0))
    size = np.array(picture.shape[1::-1])
    around = np.concatenate([points[UPPER_ROWS[3], :2], points[LOWER_ROWS[3], :2]])
    corner = np.floor(around.min(axis=0)).astype(int).clip(0, size - 2)
    width, height = (int(v) for v in np.ceil(around.max(axis=0)).astype(int).clip(2, size) - corner)
    strips = [_strip(points, rows, roll, unit_px) for rows in (UPPER_ROWS, LOWER_ROWS)]
    vertices = np.concatenate([strip.vertices for strip in strips])
    vertices[:, :2] -= corner
    attributes = np.concatenate([strip.attributes for strip in strips])
    triangles = np.concatenate([strips[0].triangles, strips[1].triangles + len(strips[0].vertices)])
    raster = Rasteriser(width, height)
    seen = raster.draw(vertices, triangles.astype(np.int32), attributes)
    patch = picture[corner[1] : corner[1] + height, corner[0] : corner[0] + width].copy()
    x, y, near = (np.ascontiguousarray(seen[..., i]) for i in range(3))
    lip = cv2.remap(picture, x - 0.5, y - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    # `near` is 1 + the distance from the seam; 0 where nothing was drawn
    sigma = max(SEAM_WIDTH * unit_px, SEAM_WIDTH_PX)
    dark = np.exp(-0.5 * (np.maximum(near - 1, 0) / sigma) ** 2)[..., None] * SEAM_DARK
    covered = raster.covered
    patch[covered] = np.rint(lip * (1 - dark))[covered]
    return Patch(patch, (int(corner[0]), int(corner[1])))


@dataclass(frozen=True, slots=True)
class _Strip:
    """A lip's inner part and what continues it: vertices [k, 3]; attributes [k, 3]: source (x, y) and 1 + px from the seam."""

    vertices: Floats
    attributes: Floats
    triangles: NDArray[np.int32]


def _strip(points: Floats, rows: NDArray[np.intp], roll: Floats, unit_px: float) -> _Strip:
    edge, outer, shift = (_dense(values) for values in (points[rows[0], :2], points[rows[3], :2], roll[rows[0]]))
    height = np.linalg.norm(outer - edge, axis=1)[:, None]
    outwards = (outer - edge) / np.maximum(height, 1e-3)
    seam = -(shift * outwards).sum(axis=1, keepdims=True)  # px inwards of the edge
    sideways = shift + seam * outwards
    first, last = -seam - INWARDS * unit_px, np.minimum(OUTWARDS * unit_px, height)
    depth = first + (last - first) * np.linspace(0, 1, DEPTHS, dtype=np.float32)  # [n, DEPTHS], px outwards of the edge
    safe = np.minimum(UNSAFE * unit_px, UNSAFE_SHARE * height)
    source = np.where(depth < safe, np.minimum(2 * safe - depth, MIRRORED_SHARE * height), depth)
    aside = np.clip(-depth / np.maximum(seam, 1e-3), 0, 1)[..., None] * sideways[:, None]
    place = edge[:, None] + outwards[:, None] * depth[..., None] + aside
    shows = edge[:, None] + outwards[:, None] * source[..., None]
    z = -np.abs(depth)[..., None]  # the nearer lip covers the other
    vertices = np.concatenate([place, z], axis=2).reshape(-1, 3)
    attributes = np.concatenate([shows, 1 + np.abs(depth + seam)[..., None]], axis=2).reshape(-1, 3)
    return _Strip(vertices.astype(np.float32), attributes.astype(np.float32), _grid_triangles(len(edge), DEPTHS))


def _dense(points: Floats) -> Floats:
    """Points [11, 2] with PIECES - 1 more between neighbours."""
    at = np.arange((len(points) - 1) * PIECES + 1) / PIECES
    return np.stack([np.interp(at, np.arange(len(points)), points[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)


def _grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """int32 [2 (rows - 1) (columns - 1), 3] over vertices in rows."""
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)]).astype(np.int32)
