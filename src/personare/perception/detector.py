"""Where faces are: BlazeFace short range (Bazarevsky et al. 2019), on the whole picture and,
for small faces, on tiles of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.networks import network
from personare.perception.regions import Region
from personare.types import Image

NETWORK = "face_detection_short_range"
MIN_SCORE = 0.5
_MAX_OVERLAP = 0.3
_GRIDS = ((16, 2), (8, 6))  # cells per side, anchors per cell
_TILE_FRACTIONS = (1.0, 0.5, 0.25, 0.125)
_MIN_TILE_PX = 256


@dataclass(frozen=True, slots=True)
class Detection:
    """A face as the detector sees it, in pixels of the picture.

    box: float32 [4] x0 y0 x1 y1. keypoints: float32 [6, 2] right eye, left eye, nose tip,
    mouth, right ear, left ear (the subject's right is image left). score: in [0, 1].
    """

    box: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    score: float

    @property
    def size_px(self) -> float:
        return float((self.box[2:] - self.box[:2]).max())


def detections_by_scale(image: Image) -> Iterator[tuple[float, list[Detection]]]:
    """(side in px of what the detector was shown, faces by falling score): the whole picture,
    then ever smaller tiles of it.

    The detector finds faces wider than about a tenth of what it is shown. Tiles overlap by
    half, so that each face up to half a tile lies whole in one of them; those that a tile cuts
    are left to its neighbour.
    """
    height, width = image.shape[:2]
    for fraction in _TILE_FRACTIONS:
        side = max(height, width) * fraction
        if fraction < 1.0 and side < _MIN_TILE_PX:
            return
        found = [
            detection
            for y in _tile_centres(height, side)
            for x in _tile_centres(width, side)
            for detection in _detect(image, Region(x, y, side))
        ]
        yield side, _merged(found)


def detections_in(image: Image, region: Region) -> list[Detection]:
    """Faces by falling score in an upright region, those wider than about a tenth of it."""
    return _merged(_detect(image, region))


def best_score(image: Image, region: Region) -> float:
    """The score of the most face-like place in a region, which may be turned."""
    return float(_read(image, region)[1].max())


def _tile_centres(length: int, side: float) -> NDArray[np.float64]:
    if length <= side:
        return np.array([length / 2])
    count = int(np.ceil((length - side) / (side / 2))) + 1
    return np.linspace(side / 2, length - side / 2, count)


def _detect(image: Image, region: Region) -> list[Detection]:
    """Every anchor above MIN_SCORE whose box an upright region does not cut."""
    raw_boxes, scores = _read(image, region)
    chosen = np.flatnonzero(scores >= MIN_SCORE)
    raw = raw_boxes[chosen]
    centres = raw[:, :2] + _anchors()[chosen]
    half_sizes = raw[:, 2:4] / 2
    corners = np.stack([centres - half_sizes, centres + half_sizes], axis=1)  # [n, 2, 2]
    keypoints = raw[:, 4:].reshape(-1, 6, 2) + _anchors()[chosen, None]
    points = region.to_image(np.concatenate([corners, keypoints], axis=1))  # [n, 8, 2]
    return [
        Detection(box=p[:2].reshape(4), keypoints=p[2:], score=float(score))
        for p, score in zip(points, scores[chosen], strict=True)
        if _whole_in(region, p[0], p[1], image)
    ]


def _read(image: Image, region: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the network says: boxes and keypoints relative to the anchors [896, 16] in region
    sides, and scores [896].
    """
    reader = network(NETWORK)
    boxes, logits = reader(region.crop(image, reader.side_px, cv2.BORDER_CONSTANT) / 127.5 - 1.0)
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits[0, :, 0], -80.0, 80.0)))
    return boxes[0] / np.float32(reader.side_px), scores.astype(np.float32)


def _whole_in(region: Region, low: NDArray[np.float32], high: NDArray[np.float32], image: Image) -> bool:
    """Whether a box is not cut by the region's sides (those at or beyond the edge of the
    picture cut nothing).
    """
    for axis, centre in enumerate((region.x, region.y)):
        start, end = centre - region.side / 2, centre + region.side / 2
        if (start > 0 and low[axis] < start) or (end < image.shape[1 - axis] and high[axis] > end):
            return False
    return True


def _merged(detections: list[Detection]) -> list[Detection]:
    """Weighted non-maximum suppression: overlapping detections become their score-weighted mean
    with the best score.
    """
    rest = sorted(detections, key=lambda detection: -detection.score)
    merged = []
    while rest:
        overlapping = [d for d in rest if d is rest[0] or _overlap(rest[0].box, d.box) > _MAX_OVERLAP]
        weights = np.array([d.score for d in overlapping], np.float32)
        merged.append(
            Detection(
                box=np.average([d.box for d in overlapping], axis=0, weights=weights).astype(np.float32),
                keypoints=np.average([d.keypoints for d in overlapping], axis=0, weights=weights).astype(
                    np.float32
                ),
                score=rest[0].score,
            )
        )
        kept = {id(d) for d in overlapping}
        rest = [d for d in rest if id(d) not in kept]
    return merged


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    shared = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)))
    return shared / max(float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared, 1e-9)


@cache
def _anchors() -> NDArray[np.float32]:
    """Centres of the 896 anchors in the order of the network's outputs, float32 [896, 2] in
    0..1.
    """
    grids = []
    for cells, per_cell in _GRIDS:
        y, x = np.mgrid[0:cells, 0:cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells
        grids.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(grids).astype(np.float32)
