"""What a photo is good for: the face's size, turn, sharpness, whether the mouth is open, glasses, and what to do about it.

Measured on the face turned upright and scaled to EYE_DISTANCE_PX between the outer eye corners. Sharpness is one minus the blur
of Crete et al. 2007 ("The blur effect", section 3), which needs no reference. Glasses are a guess from edges alone: a line
across the bridge of the nose, and rims below both eyes; thin or rimless ones are missed, and hard shadows may be taken for them.
docs/workshop.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.face import Face, find_face
from personare.types import Image

EYE_DISTANCE_PX = 160
_SIDE = 320
_LEFT_CORNER, _RIGHT_CORNER = 33, 263
_UPPER_LIP, _LOWER_LIP = 13, 14
_BROW_MIDDLE, _CHIN = 9, 152
_BRIDGE, _LOWER_LIDS, _CHEEKS = (8, 197), (145, 374), (50, 280)
_BLUR_REACH = 9

SMALL_EYE_DISTANCE_PX = 90.0
"""Below it a picture of 512 px is enlarged by more than a third."""
TURNED_DEGREES, TILTED_DEGREES, LEANING_DEGREES = 12.0, 18.0, 20.0
SOFT_BELOW = 0.45
OPEN_FROM = 0.035
"""Gap of the lips in eye distances."""
GLASSES_FROM = 1.0


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """width, height: of the picture in px. face_height_px: brows to chin. eye_distance_px: of the outer eye corners, as from the
    front. yaw, pitch, roll: degrees, see Face. sharpness: 0 (blurred) to 1. mouth_open: gap of the lips in eye distances.
    glasses: a guess; glasses_evidence: what it is from, 1 where it changes. advice: lines, none if the photo is good."""

    width: int
    height: int
    face_height_px: float
    eye_distance_px: float
    yaw: float
    pitch: float
    roll: float
    sharpness: float
    mouth_open: float
    glasses: bool
    glasses_evidence: float
    advice: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        return self.mouth_open > OPEN_FROM


def photo_report(picture: Image, name: str = "picture", *, moving: bool = False) -> PhotoReport:
    """Look at a photo, uint8 [H, W, 3] RGB. moving: it is the first picture of a video, which keeps its own size and whose mouth
    may be open; advice leaves both out. Raises what find_face raises where no face can be animated."""
    face = find_face(picture, name)
    points = face.landmarks[:, :2].astype(np.float64)
    evidence = _evidence_of_glasses(picture, face)
    report = PhotoReport(
        width=picture.shape[1],
        height=picture.shape[0],
        face_height_px=round(float(np.linalg.norm(points[_CHIN] - points[_BROW_MIDDLE])), 1),
        eye_distance_px=round(face.eye_distance_px, 1),
        yaw=round(face.yaw, 1),
        pitch=round(face.pitch, 1),
        roll=round(face.roll, 1),
        sharpness=round(sharpness(_as_shown(picture, face)), 3),
        mouth_open=round(float(np.linalg.norm(points[_LOWER_LIP] - points[_UPPER_LIP])) / face.eye_distance_px, 3),
        glasses=evidence >= GLASSES_FROM,
        glasses_evidence=round(evidence, 2),
        advice=(),
    )
    return _with_advice(report, moving)


def has_glasses(picture: Image, face: Face) -> bool:
    """A guess whether the face of a photo wears glasses; see `glasses_evidence`."""
    return _evidence_of_glasses(picture, face) >= GLASSES_FROM


def _evidence_of_glasses(picture: Image, face: Face) -> float:
    upright, place = _upright(picture, face)
    return glasses_evidence(upright, face.landmarks[:, :2].astype(np.float64) @ place[:, :2].T + place[:, 2])


def sharpness(grey: NDArray[np.float32]) -> float:
    """1 - blur of Crete et al. 2007 for a grey picture, float32 [H, W]: how much of its edges a further blur would take away."""
    blurs = []
    for axis in (0, 1):
        size = (1, _BLUR_REACH) if axis == 0 else (_BLUR_REACH, 1)  # OpenCV: (width, height)
        blurred = np.asarray(cv2.blur(grey, size), np.float32)
        edges = np.abs(np.diff(grey, axis=axis))[1:-1, 1:-1]
        left = np.abs(np.diff(blurred, axis=axis))[1:-1, 1:-1]
        lost = np.maximum(0, edges - left).sum()
        total = edges.sum()
        blurs.append(1.0 - float(lost / total) if total > 0 else 1.0)
    return 1.0 - max(blurs)


def glasses_evidence(upright: NDArray[np.float32], points: NDArray[np.floating[Any]]) -> float:
    """How much it looks like glasses: the weaker of a line across the nose's bridge and rims below both eyes, 1 at the border.

    upright: float32 [_SIDE, _SIDE] grey 0..255. points: landmarks in it, [468, 2].
    """
    smooth = np.asarray(cv2.GaussianBlur(upright, (0, 0), 1.2), np.float32)
    steps = np.abs(np.gradient(smooth, axis=0))
    contrast = float(np.percentile(smooth, 95) - np.percentile(smooth, 5)) or 1.0
    half = 0.06 * EYE_DISTANCE_PX
    bridge = _strongest_line(steps, points[_BRIDGE[0]], points[_BRIDGE[1]], half)
    rims = [
        _strongest_line(steps, points[lid] + [0, 0.05 * EYE_DISTANCE_PX], points[cheek], half)
        for lid, cheek in zip(_LOWER_LIDS, _CHEEKS, strict=True)
    ]
    return min(bridge / BRIDGE_STEP, min(rims) / RIM_STEP) / contrast


BRIDGE_STEP, RIM_STEP = 0.04, 0.05
"""Steps from pixel to pixel, as parts of the face's contrast, above which a line is a frame and not skin."""


def _strongest_line(
    steps: NDArray[np.float32], top: NDArray[np.floating[Any]], bottom: NDArray[np.floating[Any]], half: float
) -> float:
    """The largest step across level lines of width 2 * half between two heights, the median along each: a spot is no line."""
    rows = range(max(0, round(float(top[1]))), min(len(steps), round(float(bottom[1])) + 1))
    middle = np.linspace(float(top[0]), float(bottom[0]), max(1, len(rows)))
    lines = [np.median(steps[y, max(0, round(x - half)) : max(1, round(x + half))]) for y, x in zip(rows, middle, strict=True)]
    return float(max(lines, default=0.0))


def _upright(picture: Image, face: Face) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The face, grey, upright at EYE_DISTANCE_PX, and the affine map [2, 3] into it."""
    corners = face.landmarks[[_LEFT_CORNER, _RIGHT_CORNER], :2].astype(np.float64)
    direction = corners[1] - corners[0]
    scale = EYE_DISTANCE_PX / face.eye_distance_px
    angle = np.arctan2(direction[1], direction[0])
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    place = np.concatenate([turn, (np.array([_SIDE / 2, _SIDE * 0.4]) - turn @ corners.mean(axis=0))[:, None]], axis=1)
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
    if scale < 1:  # else the warp would skip pixels
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.4 / scale), np.float32)
    return np.asarray(cv2.warpAffine(grey, place, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE), np.float32), place


def _as_shown(picture: Image, face: Face) -> NDArray[np.float32]:
    """The face's box, grey, as it is; a large one scaled down to what a clip of 512 px shows of it."""
    low = np.maximum(face.landmarks[:, :2].min(axis=0).astype(int), 0)
    high = face.landmarks[:, :2].max(axis=0).astype(int) + 1
    grey = np.asarray(cv2.cvtColor(picture[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY), np.float32)
    scale = EYE_DISTANCE_PX / face.eye_distance_px
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)
    return grey


def _with_advice(report: PhotoReport, moving: bool) -> PhotoReport:
    advice = []
    if report.eye_distance_px < SMALL_EYE_DISTANCE_PX and not moving:
        advice.append(
            f"the face is small ({report.eye_distance_px:.0f} px between the eyes' outer corners): it will look soft; "
            f"a closer or larger photo with at least {SMALL_EYE_DISTANCE_PX:.0f} px is better"
        )
    if abs(report.yaw) > TURNED_DEGREES:
        advice.append(f"the head is turned {abs(report.yaw):.0f} degrees aside: a photo from the front moves better")
    if abs(report.pitch) > TILTED_DEGREES:
        advice.append(f"the head looks {'up' if report.pitch > 0 else 'down'}: a photo at eye level moves better")
    if abs(report.roll) > LEANING_DEGREES:
        advice.append(f"the head leans by {abs(report.roll):.0f} degrees: turn the photo upright")
    if report.sharpness < SOFT_BELOW:
        advice.append("the face is blurred: a sharper photo shows better teeth, eyes and skin")
    if report.is_open and not moving:
        advice.append("the mouth is open: a photo with closed lips gives a cleaner mouth")
    if report.glasses:
        advice.append(
            "this looks like glasses: brows and cheeks are kept still below the frames; without them the face is livelier"
        )
    return replace(report, advice=tuple(advice))
