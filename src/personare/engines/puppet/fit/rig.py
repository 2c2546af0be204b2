"""The rig: a face fitted to its picture, ready to be moved.

A triangle mesh over the picture (468 face points and four rings around them), how far each of
the 52 ARKit units moves each of its vertices, and what eyes and mouth need. Axes are those of
the picture with depth: x right, y down, z towards the viewer. Lengths that depend on the person
are in eye distances: outer eye corner to outer eye corner, seen from the front.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit import (
    brows,
    eyes,
    frown,
    large_eyes,
    light,
    lip_texture,
    lips,
    rings,
    teeth,
)
from personare.engines.puppet.fit.relief import relief
from personare.heads import CHIN, head468, similarity
from personare.motion import UNIT
from personare.types import Feature, Image

Floats = NDArray[np.float32]

MOUTH_UNITS = [i for name, i in UNIT.items() if name.startswith(("mouth", "jaw"))]
JAW_OPEN = UNIT["jawOpen"]
JAW_UNITS = [JAW_OPEN, UNIT["mouthClose"]]
BLINKS = [UNIT["eyeBlinkRight"], UNIT["eyeBlinkLeft"]]
"""The blink of the eye at image left, the person's right one, comes first, as everywhere in
this wing.
"""

MOUTH_SCALE_LIMITS = (0.80, 1.25)
"""Deltas of mouth and jaw grow with the width of this mouth, but a grin must not open by half
as much again.
"""
GRIN_OPENS_LESS, SMILE_OPENS_LESS = 0.5, 0.15
"""A mouth that is wider than that of the head data hangs on no larger jaw, and most such mouths
grin: the jaw drops by this much less per width, and by this share less under raised corners.
An "ah" on a grin is a scream.
"""
PIVOT_BELOW_CHIN, PIVOT_DEPTH = 0.18, -0.55
"""Where the head turns on the neck, in eye distances from the chin and from the plane of the
face.
"""
FRAME_ASIDE, FRAME_BELOW, FRAME_ABOVE, FRAME_EDGE = 0.60, 0.36, 0.20, 0.12
"""Where glasses are, in eye distances from the middle between the eyes, and how softly the
region ends.
"""
SMALL_TEETH = 0.70
"""A mouth that is narrower than usual has a smaller row of teeth, but not smaller than this."""
IN_PLANE = np.array([1, 1, 0], np.float32)
FLIP_Y = np.array([1, -1, 1], np.float32)


@dataclass(frozen=True)
class Rig:
    """n vertices (the first 468 are the face points), m triangles; positions in pixels of the
    crop.

    points: float32 [n, 3] at rest.
    relief: float32 [n], the depth that a turn of the head sees, see relief.py.
    triangles: int32 [m, 3].
    deltas: float32 [52, n, 3] per unit of ARKIT_UNITS.
    head_weight: float32 [n], 1 where a vertex goes with the head, 0 where it stays.
    closure: float32 [n, 3] shuts the lips of a mouth that is open in the picture.
    lip_roll: float32 [n, 2] texture shift of lips that grow as they shut.
    lip_patch: uint8 [h, w, 3] the picture from pixel lip_patch_corner (x, y) on, with lip
        continued into the mouth.
    lid_slide: float32 [2, n, 2] texture shift of a full blink, per eye.
    eyeballs: float32 [2, 33, 3], see eyes.eyeballs.
    pivot: float32 [3].
    mouth_axes: float32 [3, 3] middle of the closed lips, unit vectors right and down along the
        teeth.
    photo_teeth: uint8 [h, w, 4] colours and alpha of the upper teeth in the picture at pixel
        photo_teeth_corner (x, y); fully transparent if it shows none.
    teeth_drop: biting edge of the upper teeth below the closed lips in eye distances.
    mouth_light: float32 [3], the picture's light in the mouth, 1 is white and bright.
    mouth_colours: float32 [3, 3], see light.mouth_colours.
    lid_colours: float32 [2, 3] skin near either eye.
    lash_colour: float32 [3].
    long_lashes: float32 [2], 0 if short .. 1.
    softness_px: standard deviation of the picture's own blur.
    glasses: their frames are held still.
    gaze_still: eyes behind dark lenses, and larger ones than a person's, do not look about.
    blinks: the lids that were found are those of the whole eye.
    """

    points: Floats
    relief: Floats
    triangles: NDArray[np.int32]
    deltas: Floats
    head_weight: Floats
    closure: Floats
    lip_roll: Floats
    lid_slide: Floats
    eyeballs: Floats
    pivot: Floats
    mouth_axes: Floats
    photo_teeth: NDArray[np.uint8]
    lip_patch: Image
    mouth_light: Floats
    mouth_colours: Floats
    lid_colours: Floats
    lash_colour: Floats
    long_lashes: Floats
    photo_teeth_corner: tuple[int, int]
    lip_patch_corner: tuple[int, int]
    teeth_drop: float
    softness_px: float
    eye_distance_px: float
    glasses: bool
    gaze_still: bool
    blinks: bool

    def textured(self, picture: Image) -> Image:
        """What the skin shows: a copy of the picture with the lips continued into the mouth."""
        shown = picture.copy()
        x, y = self.lip_patch_corner
        height, width = self.lip_patch.shape[:2]
        shown[y : y + height, x : x + width] = self.lip_patch
        return shown

    @cached_property
    def smile(self) -> float:
        """How much the face smiles in its picture, 0..1."""
        return lips.smile(self.points + self.closure, self.mouth_axes[2], self.eye_distance_px)

    @property
    def teeth_scale(self) -> float:
        """Size of the drawn teeth: an adult's is 1, a child's and many a drawn mouth's less."""
        width = _width_of_mouth(self.points, head468().neutral, self.eye_distance_px)
        return float(np.clip(width, SMALL_TEETH, 1.0))

    @property
    def outline(self) -> Floats:
        """float32 [36, 2]: the outermost ring, which never moves; nothing outside it does."""
        return np.ascontiguousarray(self.points[-len(rings.OVAL) :, :2])

    def to_feature(self) -> Feature:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        return Feature(arrays, {name: value for name, value in values.items() if name not in arrays})

    @classmethod
    def from_feature(cls, feature: Feature) -> Rig:
        values = {**feature.metadata, **feature.arrays}
        corners = {
            name: tuple(int(v) for v in values[name]) for name in ("photo_teeth_corner", "lip_patch_corner")
        }
        return cls(**{**values, **corners})


def fit(
    picture: Image,
    matte: NDArray[np.uint8],
    landmarks: Floats,
    eye_contours: Floats,
    irises: Floats,
    softness_px: float,
    glasses: bool = False,
    dark_lenses: bool = False,
) -> Rig:
    """Fit the head data to a face. glasses: brows, cheeks and squints leave the region of their
    frames as it is. dark_lenses: so do lids and gaze.

    picture: uint8 [S, S, 3].
    matte: uint8 [S, S], 255 where the person is.
    landmarks: [468, 3] pixels, z smaller is nearer.
    eye_contours: [2, 71, 2].
    irises: [2, 5, 2].
    """
    face, large = _settled(picture, landmarks, eye_contours, glasses)
    points, unit_px, head = face.points, face.unit_px, head468()
    mouth_scale = _mouth_scale(points, head.neutral, unit_px)
    closure, roll = _shut(face, _jaw_scale(mouth_scale) * face.turned(head.deltas[JAW_OPEN]))
    patch = lip_texture.continued(picture, points, roll, unit_px)
    deltas = _deltas(face, picture, closure, mouth_scale, glasses, dark_lenses)
    # The rims of glasses are no eye that goes on.
    whole = glasses or large is not None or eyes.end_at_their_lids(picture, points, irises, unit_px)
    blinks = whole and not dark_lenses
    deltas[BLINKS] = eyes.blink_deltas(points, large is not None) * blinks
    surround = rings.around(points, matte, unit_px)
    vertices = np.concatenate([points, surround.points])
    closure = np.concatenate([closure, surround.follow(closure[None])[0]])
    # Shut lips are at one place, so they get one depth, and stay shut when turned.
    depth = relief(vertices + closure)
    turning = np.column_stack([points[:, :2], depth[: len(points)]])
    down = face.rotation @ np.array([0, -1, 0], np.float32) * FLIP_Y
    axes = lips.mouth_axes(turning + closure[: len(points)], down, unit_px)
    deltas[JAW_UNITS] *= 1 - SMILE_OPENS_LESS * lips.smile(points + closure[: len(points)], axes[2], unit_px)
    skin = light.cheek_colour(picture, points)
    lid_colours = eyes.lid_colours(points, picture, unit_px, glasses)
    shown = teeth.photo_teeth(picture, points, axes, unit_px, skin)
    slides = eyes.lid_slides(points, picture) * blinks
    padding = len(surround.points)
    return Rig(
        points=vertices,
        relief=depth,
        triangles=np.concatenate([head.triangles, surround.triangles]).astype(np.int32),
        deltas=np.concatenate([deltas, surround.follow(deltas)], axis=1),
        head_weight=np.concatenate([np.ones(len(points), np.float32), surround.head_weight]),
        closure=closure,
        lip_roll=np.pad(roll, ((0, padding), (0, 0))),
        lid_slide=np.pad(slides, ((0, 0), (0, padding), (0, 0))),
        eyeballs=eyes.eyeballs(turning, irises),
        pivot=_pivot(points, unit_px),
        mouth_axes=axes,
        photo_teeth=shown.rgba,
        lip_patch=patch.rgb,
        mouth_light=shown.light,
        mouth_colours=light.mouth_colours(picture, points, skin),
        lid_colours=lid_colours,
        lash_colour=eyes.lash_colour(picture, points, unit_px),
        long_lashes=eyes.long_lashes(picture, points, lid_colours, unit_px),
        photo_teeth_corner=shown.corner,
        lip_patch_corner=patch.corner,
        teeth_drop=shown.drop,
        softness_px=softness_px,
        eye_distance_px=unit_px,
        glasses=glasses,
        gaze_still=dark_lenses or large is not None or not whole,
        blinks=blinks,
    )


@dataclass(frozen=True, slots=True)
class _Face:
    """The face points of a picture, and how the head data lies on them.

    points: float32 [468, 3].
    rotation: float32 [3, 3] from the head's axes (y up) to the face's.
    unit_px: an eye distance.
    """

    points: Floats
    rotation: Floats
    unit_px: float

    def turned(self, motions: Floats) -> Floats:
        """Motions [..., 3] of the head data, in eye distances, as this face makes them, in px."""
        return np.asarray(motions @ self.rotation.T * self.unit_px * FLIP_Y, np.float32)

    def turned_back(self, points: Floats) -> Floats:
        """Places or motions [..., 3] of this face in the axes and eye distances of the head
        data.
        """
        return (points * FLIP_Y @ self.rotation / self.unit_px).astype(np.float32)


def _settled(
    picture: Image, landmarks: Floats, eye_contours: Floats, glasses: bool
) -> tuple[_Face, Floats | None]:
    """The points where the picture's own lids and lips are, and the outlines of eyes that are
    larger than a person's.
    """
    points = eyes.refine_contours(landmarks * np.array([1, 1, -1], np.float32), eye_contours)
    scale, rotation, _ = similarity(head468().neutral, points * FLIP_Y)
    unit_px = float(scale)
    large = None if glasses else large_eyes.outlines(picture, points, unit_px)
    points = (
        eyes.lower_lid_edges(points, picture, unit_px) if large is None else large_eyes.laid_on(points, large)
    )
    return _Face(lips.settle(points, picture, unit_px), rotation, unit_px), large


def _shut(face: _Face, jaw_open: Floats) -> tuple[Floats, Floats]:
    """What shuts the lips, float32 [468, 3], and how their texture rolls out then, float32
    [468, 2]. The jaw takes its share: what of jaw_open, px, the mouth is open by.
    """
    raised_jaw = -lips.jaw_share(face.points, jaw_open, face.unit_px) * jaw_open * IN_PLANE
    closure = lips.closure_delta(face.points + raised_jaw, face.unit_px)
    roll = lips.roll_out(face.points, closure, face.unit_px)
    closure += raised_jaw
    return closure, roll


def _deltas(
    face: _Face,
    picture: Image,
    closure: Floats,
    mouth_scale: float,
    glasses: bool,
    dark_lenses: bool,
) -> Floats:
    """Motion of the face points per unit of ARKIT_UNITS, float32 [52, 468, 3] px: the head
    data's, with this face's own corners of the mouth, brows and lids.
    """
    head = head468()
    units = head.deltas.copy()
    falling, fall = frown.frown_deltas(head, face.turned_back(face.points + closure))
    units[falling] = fall
    if glasses:
        units *= (1 - _framed(head.neutral))[:, None]
    units[brows.UNITS] = (
        0 if dark_lenses else brows.brow_deltas(head.neutral, face.points, picture, face.unit_px, glasses)
    )
    deltas = face.turned(units)
    deltas[MOUTH_UNITS] *= mouth_scale
    deltas[JAW_UNITS] *= _jaw_scale(mouth_scale) / mouth_scale
    return deltas


def _framed(neutral: Floats) -> Floats:
    """How firmly glasses hold each face point, float32 [n] 0..1: 1 between the temples, from
    the brows to the cheekbones.
    """

    def inside(values: Floats, low: float, high: float) -> Floats:
        beyond = np.maximum(low - values, values - high) / FRAME_EDGE
        t = np.clip(1 - beyond, 0, 1)
        return np.asarray(t * t * (3 - 2 * t), np.float32)

    return inside(np.abs(neutral[:, 0]), 0.0, FRAME_ASIDE) * inside(neutral[:, 1], -FRAME_BELOW, FRAME_ABOVE)


def _mouth_scale(points: Floats, neutral: Floats, unit_px: float) -> float:
    return float(np.clip(_width_of_mouth(points, neutral, unit_px), *MOUTH_SCALE_LIMITS))


def _jaw_scale(mouth_scale: float) -> float:
    return min(mouth_scale, 1 - GRIN_OPENS_LESS * (mouth_scale - 1))


def _width_of_mouth(points: Floats, neutral: Floats, unit_px: float) -> float:
    """From corner to corner, in widths of the mouth of the head data."""
    left, right = lips.CORNERS
    here = float(np.linalg.norm(points[left] - points[right]))
    return here / (float(np.linalg.norm(neutral[left] - neutral[right])) * unit_px)


def _pivot(points: Floats, unit_px: float) -> Floats:
    x = rings.centre(points)[0]
    return np.array([x, points[CHIN, 1] + PIVOT_BELOW_CHIN * unit_px, PIVOT_DEPTH * unit_px], np.float32)
