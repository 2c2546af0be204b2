"""What a photo is good for: the face's size, turn, sharpness, whether the mouth is open,
glasses, and what to do about it.

Sharpness is one minus the blur of Crete et al. 2007 ("The blur effect", section 3), which needs
no reference; glasses are a guess, see glasses.py. docs/workshop.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.errors import InputError
from personare.perception.face import Face, find_face
from personare.perception.glasses import EYE_DISTANCE_PX, look_for_glasses
from personare.types import Image

_UPPER_LIP, _LOWER_LIP = 13, 14
_BROW_MIDDLE, _CHIN = 9, 152
_BLUR_REACH = 9

SMALL_EYE_DISTANCE_PX = 90.0
"""Below it a picture of 512 px is enlarged by more than a third."""
TURNED_DEGREES, TILTED_DEGREES, LEANING_DEGREES = 12.0, 18.0, 20.0
SOFT_BELOW = 0.45
OPEN_FROM, WIDE_OPEN_FROM = 0.035, 0.20
"""Gap of the lips in eye distances; smiles shut well, mouths open wider than that less well."""


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """width, height: of the picture in px.
    face_height_px: brows to chin.
    eye_distance_px: of the outer eye corners, as from the front.
    yaw, pitch, roll: degrees, see Face.
    sharpness: 0 (blurred) to 1.
    mouth_open: gap of the lips in eye distances.
    glasses, dark_lenses: a guess.
    glasses_evidence: what it is from, 1 where it changes.
    faces: those about as large.
    person: whether it surely is one; False for what may be an animal or a doll.
    advice: lines, none if the photo is good.
    """

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
    dark_lenses: bool
    glasses_evidence: float
    faces: int
    person: bool
    advice: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        return self.mouth_open > OPEN_FROM


def photo_report(picture: Image, name: str = "picture", *, moving: bool = False) -> PhotoReport:
    """Look at a photo, uint8 [H, W, 3] RGB. moving: it is the first picture of a video, which
    keeps its own size and whose mouth may be open; advice leaves both out. Raises what
    find_face raises where no face can be animated.
    """
    face = find_face(picture, name)
    points = face.landmarks[:, :2].astype(np.float64)
    glasses = look_for_glasses(picture, face)
    report = PhotoReport(
        width=picture.shape[1],
        height=picture.shape[0],
        face_height_px=round(float(np.linalg.norm(points[_CHIN] - points[_BROW_MIDDLE])), 1),
        eye_distance_px=round(face.eye_distance_px, 1),
        yaw=round(face.yaw, 1),
        pitch=round(face.pitch, 1),
        roll=round(face.roll, 1),
        sharpness=round(sharpness(_as_shown(picture, face)), 3),
        mouth_open=round(
            float(np.linalg.norm(points[_LOWER_LIP] - points[_UPPER_LIP])) / face.eye_distance_px, 3
        ),
        glasses=glasses.worn,
        dark_lenses=glasses.dark,
        glasses_evidence=round(glasses.evidence, 2),
        faces=face.faces,
        person=not face.is_doubtful,
        advice=(),
    )
    return _with_advice(report, moving)


def look_at(portrait: Path) -> PhotoReport | None:
    """What a photo, or a video's first picture, is good for; None where no face is found
    (engines may see more than we do).
    """
    try:
        return report_of(portrait)
    except InputError:
        return None


def report_of(portrait: Path) -> PhotoReport:
    """As `look_at`; raises what portrait_template and photo_report raise."""
    from personare.perception.portrait import portrait_template

    template = portrait_template(portrait)
    return photo_report(next(iter(template)), portrait.name, moving=template.moving)


def sharpness(grey: NDArray[np.float32]) -> float:
    """1 - blur of Crete et al. 2007 for a grey picture, float32 [H, W]: how much of its edges a
    further blur would take away.
    """
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


def _as_shown(picture: Image, face: Face) -> NDArray[np.float32]:
    """The face's box, grey, as it is; a large one scaled down to what a clip of 512 px shows of
    it.
    """
    low = np.maximum(face.landmarks[:, :2].min(axis=0).astype(int), 0)
    high = face.landmarks[:, :2].max(axis=0).astype(int) + 1
    grey = np.asarray(
        cv2.cvtColor(picture[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY), np.float32
    )
    scale = EYE_DISTANCE_PX / face.eye_distance_px
    if scale < 1:
        grey = np.asarray(
            cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32
        )
    return grey


def _with_advice(report: PhotoReport, moving: bool) -> PhotoReport:
    advice = []
    if not report.person:
        advice.append("is this a person? It may be an animal or a doll, and gets a person's lips and teeth")
    if report.faces > 1:
        advice.append(
            f"{report.faces} faces seen: the largest, or the one nearest the middle, speaks; for another, "
            f"option face=left, face=right or face=N, counted from the left"
        )
    if report.eye_distance_px < SMALL_EYE_DISTANCE_PX and not moving:
        advice.append(
            f"the face is small ({report.eye_distance_px:.0f} px between the eyes' outer corners): it will "
            f"look soft; "
            f"a closer or larger photo with at least {SMALL_EYE_DISTANCE_PX:.0f} px is better"
        )
    if abs(report.yaw) > TURNED_DEGREES:
        advice.append(
            f"the head is turned {abs(report.yaw):.0f} degrees aside: a photo from the front moves better"
        )
    if abs(report.pitch) > TILTED_DEGREES:
        advice.append(
            f"the head looks {'up' if report.pitch > 0 else 'down'}: a photo at eye level moves better"
        )
    if abs(report.roll) > LEANING_DEGREES:
        advice.append(f"the head leans by {abs(report.roll):.0f} degrees: turn the photo upright")
    if report.sharpness < SOFT_BELOW:
        advice.append("the face is blurred: a sharper photo shows better teeth, eyes and skin")
    if report.mouth_open > WIDE_OPEN_FROM and not moving:
        advice.append("the mouth is wide open: a photo with closed or smiling lips gives a cleaner mouth")
    if report.dark_lenses:
        advice.append(
            "dark lenses hide the eyes: they stay still; a photo without them looks at the viewer and blinks"
        )
    elif report.glasses:
        advice.append(
            "this looks like glasses: what is behind the frames is kept still but for the eyes; without them "
            "the face is livelier"
        )
    return replace(report, advice=tuple(advice))
