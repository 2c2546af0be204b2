"""Tables of curves: that of Live Link Face (61 values per frame), and those of other programs
with a column per curve.
"""

from __future__ import annotations

import csv
import logging
import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from personare.media.curve_names import closest, places_of
from personare.media.curve_rows import CurveRows, RowsBuilder, read_number
from personare.motion import ARKIT_UNITS, UNIT, FaceState

_LOG = logging.getLogger(__name__)

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
_PLACES = [UNIT[name[0].lower() + name[1:]] for name in _LIVE_LINK_ORDER]
EYE_RADIUS = 12.0 / 88.0
"""Of an eyeball, in distances between the outer eye corners (12 mm of 88): turns a shift of the
iris into an angle.
"""


class LiveLinkTable:
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


# ---------------------------------------------------------------- reading

_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})[:;](\d{1,3})(?:\.(\d{1,6}))?")
_TIMES = frozenset({"timecode", "time", "timestamp"})
_USUAL_RATES = [Fraction(rate) for rate in (24, 25, 30, 48, 50, 60, 90, 100, 120)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 60)
]
_LONGEST_LINE = 1 << 16
_HEAD = {name.lower(): i for i, name in enumerate(_POSES)}


def read_table(file: TextIO, fps: Fraction | None) -> tuple[Fraction, CurveRows]:
    """The frame rate and the rows of a table with a header. fps: what to take if the table has
    no times.

    A row without values (the face was lost) keeps those of the row before. Raises ValueError
    with the line that is wrong.
    """
    lines = _lines(file)
    header_line = next(lines, "")
    delimiter = max(",;\t", key=header_line.count)
    rows = csv.reader(lines, delimiter=delimiter)
    header = [
        name.strip().strip("\ufeff") for name in next(csv.reader([header_line], delimiter=delimiter), [])
    ]
    columns = _Columns(header)
    built = RowsBuilder()
    times: list[str] = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            built.add(*columns.values(row))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if columns.time is not None:
            times.append(row[columns.time].strip() if columns.time < len(row) else "")
    found = built.rows()
    rate = _rate(times) or fps
    if rate is None:
        raise ValueError("no column of times, and no frame rate was given")
    return rate, found


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError("a line is too long for a table of curves")
        yield line


_Row = tuple[NDArray[np.float32], float, tuple[float, ...], tuple[float, ...], tuple[float, ...]]
"""Curves, tongue, head, shift and gaze."""


class _Columns:
    """Which column is what."""

    def __init__(self, header: Sequence[str]) -> None:
        self.time = next((i for i, name in enumerate(header) if name.lower() in _TIMES), None)
        self._curves: list[tuple[int, int, float]] = []
        self._poses: dict[int, int] = {}
        unknown = []
        for i, name in enumerate(header):
            if name.lower() in _HEAD:
                self._poses[_HEAD[name.lower()]] = i
            elif (places := places_of(name)) is None:
                unknown.append(name)
            else:
                self._curves += [(i, place, share) for place, share in places]
        if not self._curves:
            raise ValueError(f"no column is an ARKit blendshape: {', '.join(header[:5])!r}")
        warn_of_unknown(unknown)
        self._last: _Row = (np.zeros(len(ARKIT_UNITS), np.float32), 0.0, (0.0,) * 3, (0.0,) * 2, (0.0,) * 2)

    def values(self, row: Sequence[str]) -> _Row:
        cells = {i: row[i].strip() for i, _, _ in self._curves if i < len(row)}
        if not any(cells.values()):
            return self._last
        curves = np.zeros(len(ARKIT_UNITS), np.float32)
        for i, place, share in self._curves:
            if cell := cells.get(i):
                curves[place] = max(curves[place], share * read_number(cell, -2, 2))
        angles = [self._angle(row, pose) for pose in range(len(_POSES))]
        head = tuple(math.degrees(angle) for angle in angles[:3])
        gaze = (
            EYE_RADIUS * math.sin((angles[3] + angles[6]) / 2),
            -EYE_RADIUS * math.sin((angles[4] + angles[7]) / 2),
        )
        self._last = (curves, 0.0, head, (0.0, 0.0), gaze)
        return self._last

    def _angle(self, row: Sequence[str], pose: int) -> float:
        i = self._poses.get(pose)
        cell = row[i].strip() if i is not None and i < len(row) else ""
        return read_number(cell, -math.pi / 2, math.pi / 2) if cell else 0.0


def warn_of_unknown(unknown: Sequence[str]) -> None:
    """Says which columns are left out."""
    if not unknown:
        return
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    meant = closest(unknown[0])
    _LOG.warning(
        "%r%s: no ARKit blendshape, left out%s",
        unknown[0][:60],
        more,
        f" (is {meant} meant?)" if meant else "",
    )


def _rate(times: Sequence[str]) -> Fraction | None:
    """Frames per second from the times of the rows: seconds, or time codes whose last number is
    the frame within its second; the usual rate that is nearest. None if they tell nothing.
    """
    codes = [_TIMECODE.fullmatch(time) for time in times]
    if all(codes) and len(codes) > 1:
        seconds = [int(c[1]) * 3600 + int(c[2]) * 60 + int(c[3]) for c in codes if c]
        inside = [s for s in seconds if seconds[0] < s < seconds[-1]]
        whole = len(set(inside))
        # of a table within one second, or two, only the largest number of a frame tells
        mean = len(inside) / whole if whole else max(int(c[4]) for c in codes if c) + 1
        return min(_USUAL_RATES, key=lambda rate: abs(float(rate) - mean))
    try:
        moments = [read_number(time, -1e7, 1e7) for time in times]
    except ValueError:
        return None
    if len(moments) < 2 or moments[-1] <= moments[0]:
        return None
    mean = (len(moments) - 1) / (moments[-1] - moments[0])
    nearest = min(_USUAL_RATES, key=lambda rate: abs(float(rate) - mean))
    close = abs(float(nearest) - mean) < 0.02 * mean
    return nearest if close else Fraction(mean).limit_denominator(1001)
