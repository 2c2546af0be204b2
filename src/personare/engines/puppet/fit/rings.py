"""Rings of vertices around the face that carry its motion into hair, neck and background, and
let it fade out.

The innermost goes with the head, the outermost stays. Where the person matte shows where the
head ends, the third ring lies just outside the silhouette: hair moves whole with the head, and
only a narrow band of background bends.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.heads import CHIN, FACE_OVAL

Floats = NDArray[np.float32]

OVAL = list(FACE_OVAL)
RADII = np.array([1.10, 1.25, 1.50, 2.00], np.float32)
"""Of the rings, in radii of the face oval, where the silhouette is not known."""
HEAD_WEIGHT_ASIDE = np.array([1.0, 0.93, 0.62, 0.0], np.float32)
HEAD_WEIGHT_HAIR = np.array([1.0, 1.0, 0.96, 0.0], np.float32)
HEAD_WEIGHT_NECK = np.array([0.80, 0.50, 0.15, 0.0], np.float32)
"""Share of the head's motion: beside and above the face, on hair up to a known silhouette, and
below the chin.
"""
EXPRESSION_WEIGHT = np.array([0.75, 0.42, 0.12, 0.0], np.float32)
"""Share of the nearest oval point's expression: the jaw takes the skin under it along."""
HAIR_RISE = 0.9
"""Rings rise above the forehead by this much more than their radius says, in eye distances per
radius: heads are higher than faces.
"""
RING_DEPTH = 0.12
"""Every ring lies this much further back than the one inside it, in eye distances."""
NECK_STARTS, NECK_SPREAD = -0.25, 0.5
"""The neck's weights take over from this far below the chin, over this distance, in eye
distances.
"""
SILHOUETTE_MARGIN = 0.08
SILHOUETTE_LIMITS = (1.22, 2.30)
FADE_BAND = 0.55
"""Background outside the silhouette that may bend, in radii of the oval."""
PERSON = 0.5 * 255


@dataclass(frozen=True, slots=True)
class Rings:
    """points: float32 [4 * 36, 3], innermost ring first. triangles: int32 [k, 3], indices count
    from the face points.

    head_weight: float32 [4 * 36].
    """

    points: Floats
    triangles: NDArray[np.int32]
    head_weight: Floats

    def follow(self, deltas: Floats) -> Floats:
        """What face deltas [u, 468, 3] do to the rings: [u, 4 * 36, 3]."""
        oval = deltas[:, OVAL]
        return np.concatenate([oval * weight for weight in EXPRESSION_WEIGHT], axis=1)


def centre(points: Floats) -> Floats:
    """float32 [2]: middle of the face oval."""
    return np.asarray(points[OVAL, :2].mean(axis=0), np.float32)


def around(points: Floats, matte: NDArray[np.uint8], unit_px: float) -> Rings:
    """Rings around face points [468, 3]; matte: uint8 [S, S], 255 where the person is."""
    oval = points[OVAL]
    middle = centre(points)
    edge, known = _silhouette(oval[:, :2], middle, matte)
    radii = np.stack([np.full(len(oval), RADII[0]), (RADII[0] + edge) / 2, edge, edge + FADE_BAND])
    radii = RADII[:, None] * (1 - known) + radii * known
    rings = np.empty((len(RADII), len(oval), 3), np.float32)
    rings[..., :2] = middle + (oval[:, :2] - middle) * radii[..., None]
    above = np.clip((middle[1] - rings[..., 1]) / unit_px, 0, 1)
    rings[..., 1] -= above * unit_px * (radii - 1) * HAIR_RISE * (1 - known)
    rings[..., 2] = oval[:, 2] - unit_px * RING_DEPTH * np.arange(1, len(RADII) + 1)[:, None]
    neck = np.clip((rings[..., 1] - points[CHIN, 1] - NECK_STARTS * unit_px) / (NECK_SPREAD * unit_px), 0, 1)
    head = HEAD_WEIGHT_ASIDE[:, None] * (1 - known) + HEAD_WEIGHT_HAIR[:, None] * known
    weight = head * (1 - neck) + HEAD_WEIGHT_NECK[:, None] * neck
    return Rings(rings.reshape(-1, 3), triangles(len(points)), weight.reshape(-1).astype(np.float32))


def _silhouette(oval: Floats, middle: Floats, matte: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Radius at which the person ends beyond every oval point, [36] in radii of the oval, and
    how far to trust it, 0..1.

    Unknown where the matte never ends within reach (neck, shoulders, long hair), or only at the
    picture's border.
    """
    steps = np.linspace(1.0, SILHOUETTE_LIMITS[1] + 0.1, 80, dtype=np.float32)
    reach = middle + (oval - middle)[:, None] * steps[:, None]
    x, y = (np.ascontiguousarray(reach[..., i] - 0.5) for i in (0, 1))
    seen = cv2.remap(matte, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    person = seen > PERSON
    last = np.where(person.any(axis=1), len(steps) - 1 - person[:, ::-1].argmax(axis=1), 0)
    known = (last < len(steps) - 1).astype(np.float32)
    edge = np.clip(steps[last] + SILHOUETTE_MARGIN, *SILHOUETTE_LIMITS)
    return _smooth_circle(np.where(known > 0, edge, RADII[2])), _smooth_circle(known)


def _smooth_circle(values: NDArray[np.floating]) -> Floats:
    kernel = np.array([1, 2, 3, 2, 1], np.float32) / 9
    wrapped = np.concatenate([values[-2:], values, values[:2]])
    return np.convolve(wrapped, kernel, mode="valid").astype(np.float32)


def triangles(first: int) -> NDArray[np.int32]:
    """int32 [k, 3] between the face's outline and the rings, whose vertices count from `first`
    on.
    """
    count = len(OVAL)
    loops = np.concatenate([[OVAL], first + np.arange(len(RADII) * count).reshape(len(RADII), count)])
    inner, outer = loops[:-1], loops[1:]
    inner_next, outer_next = np.roll(inner, -1, axis=1), np.roll(outer, -1, axis=1)
    sides = [np.stack([inner, inner_next, outer], -1), np.stack([inner_next, outer_next, outer], -1)]
    return np.stack(sides, axis=2).reshape(-1, 3).astype(np.int32)
