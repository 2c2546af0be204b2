"""How a head has moved since it was first seen: what does not move with expression is followed
by its pixels.

The landmark network fits an average face. It sees a nod as two thirds of one, and raised brows
as another: good enough to find a face, too little to move another one by it. So the places of
nose, eye corners and cheeks come from the network once, in the reference picture; from there on
their texture is followed (Lucas and Kanade 1981, in pyramids: Bouguet 2000), always against the
reference, so that nothing drifts. The rotation is that of the network's own relief of the face
in the reference under weak perspective, by Gauss-Newton with Huber's weights. Brows are
followed in the same way. Where texture is lost (blur, a hand) the network's places take over.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.head_pose import head_orientation
from personare.types import Image

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

RIGID = (
    1, 4, 5, 6, 168, 195, 197, 33, 133, 263, 362, 116, 345, 34, 264, 143, 372, 35, 265,
    2, 94, 98, 327,
)  # fmt: skip
"""Nose, corners of the eyes, cheekbones and temples."""
BROWS = (
    70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285,
)  # fmt: skip
"""Upper and lower edge of the brow at image left, from its outer to its inner end; then of the
other.
"""
STEADY = (33, 133, 362, 263, 168, 6, 197, 195, 5)
"""What the network holds still best: the picture is straightened by it before it is followed."""
CROP_PX, EYE_DISTANCE_PX = 192, 80.0
"""The straightened picture: its side, and the eye distance in it."""
WINDOW_PX, LEVELS = 17, 2
STRAYED_PX = ((8.0, 12.0), (14.0, 20.0))
"""Of the straightened picture: rigid points and brows that are further than the first from
where the network has them are trusted less, from the second on not at all.
"""
UNLIKE = ((14.0, 30.0), (28.0, 50.0))
"""The same for the mean difference of a point's surroundings from the reference, grey levels;
a frown draws lines.
"""
SAME_HEAD = 0.6
"""A head that comes back and of which this share can be followed is that of the reference."""
HUBER = 0.036
"""Points that are off by more than this share of how far the points reach count less for the
rotation.
"""
STEPS = 7
NOD_SEEN = 0.66
"""The share of a nod that the network sees; for the pose of a reference picture against another
one.
"""


@dataclass(frozen=True, slots=True)
class HeadView:
    """A head in one picture.

    rotation: float64 [3, 3] since the first reference; axes x to image right, y down, z to the
        viewer.
    orientation: the same of a frontal head into the picture.
    centre: (x, y) px of the middle of the rigid points.
    away: (x, y) of that middle from where the reference had it, in eye distances.
    unit_px: eye distance, as seen from the front.
    brows: float32 [20, 2] px of BROWS.
    trust: 0 .. 1, share of the rigid points that could be followed.
    """

    rotation: Doubles
    orientation: Doubles
    centre: Doubles
    away: Doubles
    unit_px: float
    brows: Floats
    trust: float

    def in_head(self, points: Floats) -> Floats:
        """Points [..., 3] of the picture (px, z smaller is nearer, 0 at the rigid points'
        middle) in the head's own axes (x to image right, y up), float32 [..., 2] in eye
        distances from that middle.
        """
        placed = (points - [*self.centre, 0.0]) * [1, 1, -1] / self.unit_px
        return np.asarray((placed @ self.orientation)[..., :2] * [1, -1], np.float32)


class HeadMotion:
    """One head from picture to picture."""

    def __init__(self) -> None:
        self._first: Doubles | None = None
        self._reference: _Reference | None = None

    def see(self, image: Image, landmarks: Floats, begins: bool) -> HeadView:
        """landmarks: [468, 3] of the picture uint8 [H, W, 3]. begins: the head is not where it
        was; unless it looks as in the reference, there is a new one from here on.
        """
        if self._reference is not None:
            view = _viewed(self._reference, image, landmarks)
            if not begins or view.trust >= SAME_HEAD:
                return view
        self._reference = self._referred(image, landmarks)
        return _viewed(self._reference, image, landmarks)

    def _referred(self, image: Image, landmarks: Floats) -> _Reference:
        upright, unit_px = head_orientation(landmarks)
        flip = np.array([1.0, -1.0, 1.0])
        orientation = upright * flip[:, None] * flip
        nods = _nodded(orientation, 1 / NOD_SEEN)
        if self._first is None:
            self._first = nods
        steady = landmarks[list(STEADY), :2].astype(np.float64)
        steady = (steady - steady.mean(axis=0)) * (EYE_DISTANCE_PX / unit_px) + CROP_PX / 2
        straight, grey = _straightened(image, landmarks, steady)
        places = landmarks[list(RIGID + BROWS), :2] @ straight[:, :2].T + straight[:, 2]
        rigid = landmarks[list(RIGID)].astype(np.float64) * [1, 1, -1]
        centre = rigid[:, :2].mean(axis=0)
        return _Reference(
            grey=grey,
            places=places.astype(np.float32),
            steady=steady,
            shape=rigid - rigid.mean(axis=0),
            centre=centre,
            unit_px=unit_px,
            orientation=orientation,
            base=nods @ self._first.T,
        )


@dataclass(frozen=True, slots=True)
class _Reference:
    """grey: uint8 [CROP_PX, CROP_PX] with RIGID and BROWS at places float32 [45, 2], and STEADY
    at steady [9, 2]; shape: of RIGID, [25, 3] px of the picture; base: its rotation since the
    first reference.
    """

    grey: NDArray[np.uint8]
    places: Floats
    steady: Doubles
    shape: Doubles
    centre: Doubles
    unit_px: float
    orientation: Doubles
    base: Doubles


def _viewed(reference: _Reference, image: Image, landmarks: Floats) -> HeadView:
    straight, grey = _straightened(image, landmarks, reference.steady)
    places = landmarks[list(RIGID + BROWS), :2].astype(np.float64)
    expected = (places @ straight[:, :2].T + straight[:, 2]).astype(np.float32)
    found, trust = _followed(reference, grey, expected)
    back = cv2.invertAffineTransform(straight)
    found = found @ back[:, :2].T + back[:, 2]
    rotation, scale, centre = turned(reference.shape, found[: len(RIGID)])
    return HeadView(
        rotation=rotation @ reference.base,
        orientation=rotation @ reference.orientation,
        centre=centre,
        away=(centre - reference.centre) / reference.unit_px,
        unit_px=reference.unit_px * scale,
        brows=found[len(RIGID) :].astype(np.float32),
        trust=float(trust[: len(RIGID)].mean()),
    )


def _straightened(image: Image, landmarks: Floats, steady: Doubles) -> tuple[Doubles, NDArray[np.uint8]]:
    """The similarity [2, 3] that brings STEADY to where they are wanted, and the grey picture
    there.
    """
    here = landmarks[list(STEADY), :2].astype(np.float64)
    a, b = ((p - p.mean(axis=0)) @ [1, 1j] for p in (here, steady))
    z = (b * a.conj()).sum() / (np.abs(a) ** 2).sum()
    turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
    matrix = np.column_stack([turn, steady.mean(axis=0) - turn @ here.mean(axis=0)])
    crop = cv2.warpAffine(
        image, matrix, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return matrix, np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)


def _followed(reference: _Reference, grey: NDArray[np.uint8], expected: Floats) -> tuple[Doubles, Doubles]:
    """Where the reference's points are, [45, 2] in the straightened picture, and how far to
    believe it, [45] 0..1; the rest is taken from `expected`.
    """
    found, status, unlike = cv2.calcOpticalFlowPyrLK(
        reference.grey,
        grey,
        reference.places,
        expected.copy(),
        winSize=(WINDOW_PX, WINDOW_PX),
        maxLevel=LEVELS,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    strayed = np.linalg.norm(found - expected, axis=1)
    trust = status[:, 0].astype(np.float64)
    for measure, limits in ((strayed, STRAYED_PX), (unlike[:, 0], UNLIKE)):
        full, none = np.repeat(np.array(limits), [len(RIGID), len(BROWS)], axis=0).T
        trust *= np.clip((none - measure) / (none - full), 0, 1)
    return expected + (found - expected) * trust[:, None], trust


def turned(shape: Doubles, places: Doubles) -> tuple[Doubles, float, Doubles]:
    """(rotation [3, 3], scale, centre [2]) with scale * (rotation @ shape)[:2] + centre at the
    places: robust least squares.

    shape: [n, 3] around the origin, axes x right, y down, z to the viewer. places: [n, 2] px.
    """
    rotation, scale, centre = np.eye(3), 1.0, places.mean(axis=0)
    limit = HUBER * float(np.linalg.norm(shape, axis=1).max())
    for _ in range(STEPS):
        posed = scale * shape @ rotation.T
        x, y, z = posed.T
        none, one = np.zeros_like(x), np.ones_like(x)
        # Columns: rotation about x, y and z, relative change of scale, centre.
        across = np.column_stack([none, z, -y, x, one, none])
        down = np.column_stack([-z, none, x, y, none, one])
        off = places - posed[:, :2] - centre
        weight = np.sqrt(np.minimum(1, limit / np.maximum(np.linalg.norm(off, axis=1), 1e-9)))[:, None]
        change = np.linalg.lstsq(
            np.concatenate([across * weight, down * weight]),
            np.concatenate([off[:, 0], off[:, 1]]) * np.tile(weight[:, 0], 2),
            rcond=None,
        )[0]
        rotation = np.asarray(cv2.Rodrigues(change[:3])[0]) @ rotation
        scale *= 1 + change[3]
        centre = centre + change[4:]
    return rotation, float(scale), centre


def angles(rotation: Doubles) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of a rotation in picture axes (x right, y down, z to the
    viewer): applied in the order pitch, yaw, roll. yaw > 0 turns the nose to image right, pitch
    > 0 lifts it, roll > 0 tilts clockwise in the picture.
    """
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def rotation(yaw: float, pitch: float, roll: float) -> Doubles:
    """The rotation [3, 3] with these `angles`, in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(tilt @ turn @ nod, np.float64)


def _nodded(orientation: Doubles, gain: float) -> Doubles:
    """The orientation with `gain` times its pitch."""
    pitch = np.arctan2(orientation[2, 1], orientation[2, 2])
    nod = np.asarray(cv2.Rodrigues(np.array([(gain - 1) * pitch, 0.0, 0.0]))[0])
    return np.asarray(orientation @ nod, np.float64)
