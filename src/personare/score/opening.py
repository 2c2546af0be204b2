"""What a talking face shows, picture by picture: a handful of numbers from raw landmarks and
pixels.

All lengths are in eye distances (outer corner to outer corner, as seen from the front), but for
spikes, which are in pixels of a picture whose shorter side is 512.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.heads import (
    CHIN,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LOWER_INNER_LIP,
    LOWER_LIP_ROWS,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    UPPER_INNER_LIP,
    UPPER_LIP_ROWS,
    head468,
)
from personare.media.video import VideoFrameAt
from personare.motion import UNIT
from personare.perception.head_pose import head_pose
from personare.score.landmark_reader import LandmarkReader, Landmarks
from personare.types import Image

Floats = NDArray[np.float64]

SPIKE_SIDE_PX = 512
_UPPER_MIDDLE, _LOWER_MIDDLE = list(UPPER_INNER_LIP)[4:7], list(LOWER_INNER_LIP)[4:7]
_CORNERS = (61, 291)
_EYES = ((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER), (LEFT_EYE_UPPER, LEFT_EYE_LOWER))
_STILL_DELTA = 0.004
"""A point that no unit of mouth, jaw, lids or brows moves by more is skin that should be still."""
_LIPS = sorted({point for row in (*UPPER_LIP_ROWS, *LOWER_LIP_ROWS) for point in row})
_BROWS = ((105, 66, 107), (334, 296, 336))
"""The inner two thirds of either brow, image left first, as the eyes in _EYES."""
_NOSE_BRIDGE, _NOSE_BASE = 6, 2
_NOSE_TIP = 1
_PATCH_HALF_WIDTH = 0.45
_PATCH_FROM, _PATCH_TO = 0.25, 0.85
"""The patch between eyes and mouth: across in eye distances, down in shares of the way from the
nose's bridge to its base.
"""


@dataclass(frozen=True, slots=True)
class FaceSeen:
    """One clip: float64 [n] each, NaN where no face was seen.

    seconds: of the picture, from the first one.
    gap: between the inner lips, mean of the three middle pairs of points.
    width: corner to corner of the mouth.
    eye_opening: between the lids, mean of both eyes, in widths of the eye.
    brow: height of the brows over the middle of their eyes, mean of both.
    chin: from the tip of the nose to the chin.
    corners_tilt: how much lower the mouth's corner at image right is.
    yaw, pitch, roll: degrees.
    skin_spike_px, lip_spike_px: how far the worst point of the still skin, or of the lips,
        jumps away for this one picture and back.
    sharpness: standard deviation of the Laplacian between eyes and mouth, grey levels.
    brightness: mean grey level there, its middle counting most.
    """

    seconds: Floats
    gap: Floats
    width: Floats
    eye_opening: Floats
    brow: Floats
    chin: Floats
    corners_tilt: Floats
    yaw: Floats
    pitch: Floats
    roll: Floats
    skin_spike_px: Floats
    lip_spike_px: Floats
    sharpness: Floats
    brightness: Floats

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def seen(self) -> NDArray[np.bool_]:
        return np.isfinite(self.gap)


def watch(frames: Iterable[VideoFrameAt], tell: Callable[[int], None] | None = None) -> FaceSeen:
    """Measure a clip picture by picture; 112 bytes of each picture are kept. tell(pictures
    done) is called after each.
    """
    columns = {field.name: array("d") for field in fields(FaceSeen)}
    for row in _measured(frames):
        for name, value in row.items():
            columns[name].append(value)
        if tell is not None:
            tell(len(columns["seconds"]))
    return FaceSeen(**{name: np.array(values, np.float64) for name, values in columns.items()})


def measure(image: Image, landmarks: Landmarks) -> dict[str, float]:
    """The measures of one picture but for its time and spikes; see FaceSeen."""
    pose = head_pose(landmarks)
    unit = pose.eye_distance_px
    points = landmarks[:, :2].astype(np.float64)
    upper, lower = points[_UPPER_MIDDLE], points[_LOWER_MIDDLE]
    patch = _patch(image, points, unit)
    return {
        "gap": float(np.linalg.norm(lower - upper, axis=1).mean() / unit),
        "width": float(np.linalg.norm(points[_CORNERS[0]] - points[_CORNERS[1]]) / unit),
        "eye_opening": float(np.mean([_eye_opening(points, *lids) for lids in _EYES])),
        "brow": _brow_height(points) / unit,
        "chin": float(np.linalg.norm(points[CHIN] - points[_NOSE_TIP]) / unit),
        "corners_tilt": float((points[_CORNERS[1]] - points[_CORNERS[0]])[1] / unit),
        "yaw": pose.yaw,
        "pitch": pose.pitch,
        "roll": pose.roll,
        "sharpness": float(cv2.Laplacian(patch, cv2.CV_32F).std()) if patch.size else float("nan"),
        "brightness": _brightness(patch) if patch.size else float("nan"),
    }


def spikes_px(before: Landmarks, here: Landmarks, after: Landmarks) -> Floats:
    """How far each point jumps away in one picture and back in the next: float64 [468], pixels.

    The smaller of the two steps if they go opposite ways; steady movement, however fast, is
    none.
    """
    came, went = (here - before)[:, :2].astype(np.float64), (here - after)[:, :2].astype(np.float64)
    back = (came * went).sum(axis=1) > 0
    return np.asarray(
        np.where(back, np.minimum(np.linalg.norm(came, axis=1), np.linalg.norm(went, axis=1)), 0.0)
    )


def _measured(frames: Iterable[VideoFrameAt]) -> Iterator[dict[str, float]]:
    """One picture behind, for a spike is known when the next picture is."""
    reader = LandmarkReader()
    nothing = {field.name: float("nan") for field in fields(FaceSeen)}
    before: Landmarks | None = None
    here: Landmarks | None = None
    row: dict[str, float] | None = None
    scale = 1.0
    for frame in frames:
        scale = SPIKE_SIDE_PX / min(frame.image.shape[:2])
        after = reader.landmarks(frame.image)
        if row is not None:
            yield {**row, **_spikes(before, here, after, scale)}
        measures = {} if after is None else measure(frame.image, after)
        row = {**nothing, "seconds": frame.seconds, **measures}
        before, here = here, after
    if row is not None:
        yield {**row, **_spikes(before, here, None, scale)}


def _spikes(
    before: Landmarks | None, here: Landmarks | None, after: Landmarks | None, scale: float
) -> dict[str, float]:
    if here is None:
        return {}
    if before is None or after is None:
        return {"skin_spike_px": 0.0, "lip_spike_px": 0.0}
    jumps = spikes_px(before, here, after) * scale
    return {"skin_spike_px": float(jumps[_still_skin()].max()), "lip_spike_px": float(jumps[_LIPS].max())}


@cache
def _still_skin() -> NDArray[np.intp]:
    moving = [i for name, i in UNIT.items() if name.startswith(("mouth", "jaw", "eyeBlink", "brow"))]
    reach = np.linalg.norm(head468().deltas[moving], axis=2).max(axis=0)
    return np.flatnonzero(reach < _STILL_DELTA)


def _eye_opening(points: Floats, upper: tuple[int, ...], lower: tuple[int, ...]) -> float:
    lids = np.linalg.norm(points[list(upper[3:6])] - points[list(lower[3:6])], axis=1).mean()
    return float(lids / max(np.linalg.norm(points[upper[0]] - points[upper[-1]]), 1e-6))


def _brow_height(points: Floats) -> float:
    """Pixels that the brows lie above the middle between their eye's corners, mean of both."""
    heights = [
        points[[upper[0], upper[-1]], 1].mean() - points[list(brow), 1].mean()
        for brow, (upper, _) in zip(_BROWS, _EYES, strict=True)
    ]
    return float(np.mean(heights))


def _brightness(patch: NDArray[np.float32]) -> float:
    """Mean grey level, fading out to the edges of the patch: a landmark's own trembling must
    not look like flicker.
    """
    down, across = (np.hanning(length + 2)[1:-1] for length in patch.shape)
    return float(down @ patch @ across / (down.sum() * across.sum()))


def _patch(image: Image, points: Floats, unit: float) -> NDArray[np.float32]:
    """The skin between eyes and mouth in grey, at the picture's own scale, placed between
    pixels so that it moves with the face.
    """
    x = points[[_NOSE_BRIDGE, _NOSE_BASE], 0].mean()
    top, base = points[_NOSE_BRIDGE, 1], points[_NOSE_BASE, 1]
    y = top + (_PATCH_FROM + _PATCH_TO) / 2 * (base - top)
    width, height = round(2 * _PATCH_HALF_WIDTH * unit), round((_PATCH_TO - _PATCH_FROM) * (base - top))
    if width < 3 or height < 3:
        return np.zeros((0, 0), np.float32)
    part = cv2.getRectSubPix(image, (width, height), (float(x) - 0.5, float(y) - 0.5))
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.float32)
