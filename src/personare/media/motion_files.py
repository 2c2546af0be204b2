"""Curves of a face as files: ARKit weights and head pose per frame, to edit, to compare, to
drive other programs' heads.

    .json   everything that a frame is drawn from; written and read, exactly
    .csv    the columns of Live Link Face (61 values per frame), for Unreal, Unity,
            Blender and the like; written only

    {"format": "personare-curves", "version": 1, "fps": "25", "names": ["browDownLeft", ...],
    "frames": [ {"blendshapes": [0.0, ...], "head": [yaw, pitch, roll], "tongue": 0.0, "shift":
    [x, y], "gaze": [x, y]}, ... ]}

Numbers are written so that the same float32 or float64 is read back: curves out and in again
give the same frames. A file from elsewhere needs `fps` and `frames` with `blendshapes`, a list
in the order of `names` or an object by name; the rest is then 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TextIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personare.errors import UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.local import open_local, shown
from personare.types import ARKIT_UNITS, FaceState, frame_rate

FORMAT = "personare-curves"
MAX_BYTES = 512 * 1024 * 1024
"""A file larger than this (about ten hours) is not read."""
_SUFFIXES = (".json", ".csv")

Weight = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Degrees = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]


class CurveSink(Protocol):
    """Takes the states of a clip, frame after frame."""

    def write(self, state: FaceState) -> None: ...


@dataclass(frozen=True, slots=True)
class CurveTrack:
    """The states of a whole clip, one per frame, at an exact frame rate."""

    fps: Fraction
    states: tuple[FaceState, ...]


class _Frame(BaseModel):
    model_config = ConfigDict(extra="ignore")

    blendshapes: list[Weight] | dict[str, Weight]
    head: tuple[Degrees, Degrees, Degrees] = (0.0, 0.0, 0.0)
    tongue: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    shift: tuple[Share, Share] = (0.0, 0.0)
    gaze: tuple[Share, Share] = (0.0, 0.0)


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: Literal["personare-curves"] = "personare-curves"
    version: Literal[1] = 1
    fps: str | float | int
    names: list[str] = list(ARKIT_UNITS)
    frames: Annotated[list[_Frame], Field(min_length=1)]


def read_curves(path: Path) -> CurveTrack:
    """The curves in a .json file. Raises UnreadableMedia with the place in the file and what is
    wrong there.
    """
    hint = 'curves are JSON: {"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}, ...]}'
    with open_local(path) as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise UnreadableMedia(f"{shown(path)} is larger than {MAX_BYTES >> 20} MB", hint="split it")
    try:
        read = _File.model_validate_json(raw)
        fps = frame_rate(read.fps)
        return CurveTrack(fps, tuple(_state(frame, read.names, i) for i, frame in enumerate(read.frames)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableMedia(
            f"{shown(path)}: {where + ': ' if where else ''}{first['msg']}", hint=hint
        ) from None
    except ValueError as error:
        raise UnreadableMedia(f"{shown(path)}: {error}", hint=hint) from None


def _state(frame: _Frame, names: list[str], index: int) -> FaceState:
    given = frame.blendshapes
    if isinstance(given, list):
        if len(given) != len(names):
            raise ValueError(f"frame {index} has {len(given)} blendshapes for {len(names)} names")
        given = dict(zip(names, given, strict=True))
    if unknown := sorted(given.keys() - set(ARKIT_UNITS)):
        raise ValueError(f"frame {index}: {unknown[0]!r} is not an ARKit blendshape")
    curves = np.array([given.get(name, 0.0) for name in ARKIT_UNITS], np.float32)
    return FaceState(curves, frame.tongue, frame.head, frame.shift, frame.gaze)


@contextmanager
def curves_written(path: Path, fps: Fraction) -> Iterator[CurveSink]:
    """A sink for the states of a clip; the file appears when the block succeeds. Memory does
    not grow.

    path: ends in .json or .csv. Raises UnwritableOutput.
    """
    checked_curves_target(path)
    own = True
    try:
        with replaced_when_complete(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            sink = _Json(file, fps) if path.suffix.lower() == ".json" else _LiveLink(file, fps)
            try:
                yield sink
            except BaseException:
                own = False
                raise
            sink.end()
    except OSError as error:
        if not own:
            raise
        raise UnwritableOutput(
            f"cannot write {shown(path)}: {error.strerror or error}", hint="check the folder and the disk"
        ) from error


def checked_curves_target(path: Path) -> None:
    """Raises UnwritableOutput for what can be known before anything is made."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UnwritableOutput(
            f"{shown(path)} does not end in {' or '.join(_SUFFIXES)}", hint="name the file of curves so"
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UnwritableOutput(
            f"{shown(path)} cannot be written there", hint="name a file in an existing folder"
        )


class _Json:
    def __init__(self, file: TextIO, fps: Fraction) -> None:
        self._file, self._first = file, True
        head = {"format": FORMAT, "version": 1, "fps": str(fps), "names": list(ARKIT_UNITS)}
        file.write(json.dumps(head)[:-1] + ', "frames": [')

    def write(self, state: FaceState) -> None:
        frame: dict[str, Any] = {
            # The shortest text of each float32: what is read back is the same float32.
            "blendshapes": [float(str(weight)) for weight in np.asarray(state.curves, np.float32)],
            "head": list(state.head),
            "tongue": state.tongue,
            "shift": list(state.shift),
            "gaze": list(state.gaze),
        }
        self._file.write(("\n" if self._first else ",\n") + json.dumps(frame, allow_nan=False))
        self._first = False

    def end(self) -> None:
        self._file.write("\n]}\n")


_LIVE_LINK_ORDER = (
    "EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft",
    "EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight",
    "EyeLookUpRight", "EyeSquintRight", "EyeWideRight", "JawForward", "JawRight", "JawLeft", "JawOpen",
    "MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft", "MouthSmileLeft",
    "MouthSmileRight", "MouthFrownLeft", "MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight",
    "MouthStretchLeft", "MouthStretchRight", "MouthRollLower", "MouthRollUpper", "MouthShrugLower",
    "MouthShrugUpper", "MouthPressLeft", "MouthPressRight", "MouthLowerDownLeft", "MouthLowerDownRight",
    "MouthUpperUpLeft", "MouthUpperUpRight", "BrowDownLeft", "BrowDownRight", "BrowInnerUp",
    "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff", "CheekSquintLeft", "CheekSquintRight",
    "NoseSneerLeft", "NoseSneerRight", "TongueOut",
)  # fmt: skip
_POSES = (
    "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw",
    "RightEyePitch", "RightEyeRoll",
)  # fmt: skip
_PLACES = [ARKIT_UNITS.index(name[0].lower() + name[1:]) for name in _LIVE_LINK_ORDER]
EYE_RADIUS = 12.0 / 88.0
"""Of an eyeball, in distances between the outer eye corners (12 mm of 88): turns a shift of the
iris into an angle.
"""


class _LiveLink:
    """Live Link Face's table: time code, count, 52 weights, then head and eye angles in
    radians.
    """

    def __init__(self, file: TextIO, fps: Fraction) -> None:
        self._file, self._fps, self._frame = file, fps, 0
        file.write(",".join(["Timecode", "BlendShapeCount", *_LIVE_LINK_ORDER, *_POSES]) + "\r\n")

    def write(self, state: FaceState) -> None:
        weights = [float(state.curves[place]) for place in _PLACES]
        head = [math.radians(angle) for angle in state.head]
        eye = [math.asin(max(-1.0, min(1.0, along / EYE_RADIUS))) for along in state.gaze]
        values = [*weights, *head, eye[0], -eye[1], 0.0, eye[0], -eye[1], 0.0]
        row = [self._timecode(), str(len(values)), *(f"{value:.6f}" for value in values)]
        self._file.write(",".join(row) + "\r\n")
        self._frame += 1

    def end(self) -> None:
        pass

    def _timecode(self) -> str:
        """HH:MM:SS:FF.mmm: the frame within its second, and the thousandths of a frame that an
        odd rate leaves.
        """
        seconds = Fraction(self._frame) / self._fps
        whole = math.floor(seconds)
        within = (seconds - whole) * self._fps
        frame = math.floor(within)
        thousandths = math.floor((within - frame) * 1000)
        return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}.{thousandths:03d}"
