"""Motion: what a face does, frame after frame, as numbers that pass between engines and into
files.

A motion lives in a named space. `arkit-60` is the one that other programs know: the 52 ARKit
blendshape weights, then what a head needs beside them. An engine says which space it `moves` in
and which spaces it `shows`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError

Floats = NDArray[np.float32]

ARKIT_UNITS: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""The 52 ARKit blendshape units in alphabetical order, the order of every array of curves in
personare.
"""

UNIT = {name: place for place, name in enumerate(ARKIT_UNITS)}
"""The place of each ARKit unit in an array of curves."""


@dataclass(frozen=True, slots=True)
class FaceState:
    """What a face does in one frame: curves that other programs know too.

    curves: float32 [52], weights of ARKIT_UNITS, 0 to about 1.
    tongue: 0 (down) .. 1 (tip at the upper teeth).
    head: (yaw, pitch, roll) in degrees from the portrait's own pose; yaw > 0 turns the nose to
        image right, pitch > 0 lifts it, roll > 0 tilts clockwise in the image.
    shift: (x, y) of the head in eye distances, image right and down.
    gaze: (x, y) of both irises in eye distances, image right and down.
    """

    curves: NDArray[np.float32]
    tongue: float
    head: tuple[float, float, float]
    shift: tuple[float, float]
    gaze: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Space:
    """What the columns of a motion mean.

    name: for example "arkit-60": whose convention, and how many numbers a frame has.
    columns: one name per number.
    """

    name: str
    columns: tuple[str, ...]

    @property
    def width(self) -> int:
        """Numbers a frame."""
        return len(self.columns)


ARKIT = Space(
    "arkit-60",
    (
        *ARKIT_UNITS,
        "tongue",
        "headYaw",
        "headPitch",
        "headRoll",
        "shiftX",
        "shiftY",
        "gazeX",
        "gazeY",
    ),
)
"""The 52 ARKit weights in the order of ARKIT_UNITS, then the rest of a FaceState in its units.

Live Link Face writes 61 values; those of the eyes follow from the gaze. 52 weights alone would
not draw the same frame again: the head would stand still.
"""

FLAME = Space(
    "flame-106",
    (
        *(f"expression{number}" for number in range(100)),
        *(f"head{axis}" for axis in "XYZ"),
        *(f"jaw{axis}" for axis in "XYZ"),
    ),
)
"""What moves a FLAME head (Li et al. 2017): weights of its 100 expressions, then the turns of
head and jaw as axis times angle in radians; x to image right, y up, z to the viewer.
"""


@dataclass(frozen=True, slots=True)
class Motion:
    """Consecutive frames of motion.

    space: what the columns mean.
    fps: frames a second.
    values: float32 [n, width].

    Raises EngineError for values of another shape.
    """

    space: Space
    fps: Fraction
    values: Floats

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != self.space.width:
            raise EngineError(
                f"a motion in {self.space.name} is [n, {self.space.width}], not {self.values.shape}"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Motion:
        """Some of the frames."""
        return Motion(self.space, self.fps, self.values[rows])

    def resampled(self, fps: Fraction) -> Motion:
        """The same motion at another rate: linear between the frames on either side, the last
        one held. Frame i stands for the moment i / fps.
        """
        if fps == self.fps or not len(self):
            return Motion(self.space, fps, self.values)
        count = math.ceil(len(self) * fps / self.fps)
        places = np.array([float(i * self.fps / fps) for i in range(count)])
        before = np.minimum(places.astype(np.intp), len(self) - 1)
        after = np.minimum(before + 1, len(self) - 1)
        share = (places - before)[:, None].astype(np.float32)
        values = self.values[before] + share * (self.values[after] - self.values[before])
        return Motion(self.space, fps, values.astype(np.float32))


def row_of(state: FaceState) -> Floats:
    """A face's state as a row of ARKIT, float32 [60]."""
    rest = (state.tongue, *state.head, *state.shift, *state.gaze)
    return np.concatenate([np.asarray(state.curves, np.float32), np.array(rest, np.float32)])


def state_of(row: Floats) -> FaceState:
    """The face's state in a row of ARKIT, float32 [60]."""
    curves, rest = row[: len(ARKIT_UNITS)], [float(value) for value in row[len(ARKIT_UNITS) :]]
    return FaceState(
        curves=np.asarray(curves, np.float32),
        tongue=rest[0],
        head=(rest[1], rest[2], rest[3]),
        shift=(rest[4], rest[5]),
        gaze=(rest[6], rest[7]),
    )


def motion_of(states: Iterable[FaceState], fps: Fraction) -> Motion:
    """Face states, one a frame, as a motion in ARKIT."""
    rows = [row_of(state) for state in states]
    return Motion(ARKIT, fps, np.stack(rows) if rows else np.zeros((0, ARKIT.width), np.float32))
