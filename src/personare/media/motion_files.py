"""Curves of a face as files: ARKit weights and head pose per frame, to edit, to compare, to
drive other programs' heads.

    .json   everything that a frame is drawn from; written and read, exactly
    .csv    the columns of Live Link Face (61 values per frame), for Unreal, Unity,
            Blender and the like

    {"format": "personare-curves", "version": 1, "fps": "25", "names": ["browDownLeft", ...],
    "frames": [ {"blendshapes": [0.0, ...], "head": [yaw, pitch, roll], "tongue": 0.0, "shift":
    [x, y], "gaze": [x, y]}, ... ]}

Numbers are written so that the same float32 or float64 is read back: curves out and in again
give the same frames. A file from elsewhere needs `fps` and `frames` with `blendshapes`: a list
in the order of `names`, an object by name, or MediaPipe's list of categories; the rest is then
0. Also read, told by what is in the file: Audio2Face's JSON (`exportFps`, `facsNames`,
`weightMat`), Rhubarb's mouth cues (`mouthCues`), and tables with a column per curve. Names are
understood in the spellings of other programs (curve_names.py); columns that are no curves are
left out with a warning.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Protocol, TextIO, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from personare.errors import UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media import rhubarb
from personare.media.curve_names import places_of
from personare.media.curve_rows import CurveRows, RowsBuilder
from personare.media.json_stream import members
from personare.media.live_link import LiveLinkTable, read_table, warn_of_unknown
from personare.media.local import open_local, shown
from personare.motion import ARKIT_UNITS, FaceState
from personare.types import frame_rate

FORMAT = "personare-curves"
MAX_BYTES = 512 * 1024 * 1024
"""A file larger than this is not read; it is read piece by piece."""
_SUFFIXES = (".json", ".csv")

Weight = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Degrees = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Second = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]


class CurveSink(Protocol):
    """Takes the states of a clip, frame after frame."""

    def write(self, state: FaceState) -> None: ...


@dataclass(frozen=True, slots=True)
class CurveTrack:
    """The states of a whole clip, one per frame, at an exact frame rate."""

    fps: Fraction
    states: Sequence[FaceState]


class _Category(BaseModel):
    """MediaPipe's way to write one blendshape; snake case in Python, camel case in JavaScript."""

    category_name: str = Field(validation_alias="categoryName")
    score: Weight
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _Frame(BaseModel):
    model_config = ConfigDict(extra="ignore")

    blendshapes: list[Weight] | list[_Category] | dict[str, Weight]
    head: tuple[Degrees, Degrees, Degrees] = (0.0, 0.0, 0.0)
    tongue: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    shift: tuple[Share, Share] = (0.0, 0.0)
    gaze: tuple[Share, Share] = (0.0, 0.0)


class _Cue(BaseModel):
    model_config = ConfigDict(extra="ignore")

    start: Second
    end: Second
    value: Literal["A", "B", "C", "D", "E", "F", "G", "H", "X"]


class _Head(BaseModel):
    """What stands in the file once."""

    model_config = ConfigDict(extra="ignore")

    format: Literal["personare-curves"] = "personare-curves"
    version: Literal[1] = 1
    fps: str | float | int | None = None
    exportFps: str | float | int | None = None  # noqa: N815 - as Audio2Face writes it
    names: list[str] | None = None
    facsNames: list[str] | None = None  # noqa: N815


_WEIGHTS = TypeAdapter(list[Weight])


def read_curves(path: Path, fps: Fraction | None = None) -> CurveTrack:
    """The curves in a file of any of the forms above. fps: for what has no rate of its own:
    cues (25 by default) and tables without times.

    Raises UnreadableMedia with the place in the file and what is wrong there.
    """
    hint = (
        'curves are JSON: {"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}, ...]}, or Live Link csv'
    )
    with open_local(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size > MAX_BYTES:
            raise UnreadableMedia(f"{shown(path)} is larger than {MAX_BYTES >> 20} MB", hint="split it")
        try:
            if path.suffix.lower() == ".csv":
                lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                return CurveTrack(*read_table(lines, fps))
            return _Json(fps).read(file)
        except ValueError as error:
            raise UnreadableMedia(f"{shown(path)}: {error}", hint=hint) from None


class _Json:
    """Reads one JSON file of curves."""

    def __init__(self, fps: Fraction | None) -> None:
        self._fps = fps
        self._once: dict[str, Any] = {}
        self._rows = RowsBuilder()
        self._listed: RowsBuilder | None = None
        self._cues: list[rhubarb.Cue] = []
        self._unknown: dict[str, None] = {}
        self._known = False

    def read(self, file: BinaryIO) -> CurveTrack:
        for key, index, value in members(file, _Head.model_fields):
            if index < 0:
                if key in _Head.model_fields:
                    self._once[key] = value
            elif key == "frames":
                self._frame(index, value)
            elif key == "weightMat":
                weights: list[float] = _validated(_WEIGHTS, value, f"weightMat.{index}")
                self._listed_row(index, weights)
            elif key == "mouthCues":
                self._cue(index, value)
        head = _validated(TypeAdapter(_Head), self._once, "")
        if self._cues:
            return self._spoken(head)
        rate = head.exportFps if head.fps is None else head.fps
        if rate is None:
            raise ValueError("fps: it is missing")
        fps = frame_rate(rate)
        if self._listed is not None:
            names = head.names or head.facsNames or list(ARKIT_UNITS)
            rows = self._by_names(names, self._listed.rows())
        else:
            rows = self._rows.rows()
            if self._unknown and not self._known:
                raise ValueError(
                    f"{next(iter(self._unknown))[:60]!r} is not an ARKit blendshape, nor is any other"
                )
        warn_of_unknown(list(self._unknown))
        return CurveTrack(fps, rows)

    def _frame(self, index: int, value: Any) -> None:
        frame = _validated(_FRAME, value, f"frames.{index}")
        given = frame.blendshapes
        rest = (frame.tongue, frame.head, frame.shift, frame.gaze)
        if isinstance(given, list):
            if not given or isinstance(given[0], float):
                self._listed_row(index, [w for w in given if isinstance(w, float)], *rest)
                return
            given = {c.category_name: c.score for c in given if isinstance(c, _Category)}
        if self._listed is not None:
            raise ValueError(f"frames.{index}: blendshapes are an object, and a list before")
        curves = np.zeros(len(ARKIT_UNITS), np.float32)
        for name, weight in given.items():
            places = places_of(name)
            if places is None:
                if len(self._unknown) < 1000:
                    self._unknown[name] = None
                continue
            self._known = True
            for place, share in places:
                # two columns of one unit (its sides): the larger counts
                curves[place] = max(curves[place], share * weight) if curves[place] else share * weight
        self._rows.add(curves, *rest)

    def _listed_row(self, index: int, weights: Sequence[float], *rest: Any) -> None:
        if self._rows.count:
            raise ValueError(f"frames.{index}: blendshapes are a list, and an object before")
        if self._listed is None:
            self._listed, self._width = RowsBuilder(len(weights)), len(weights)
        if len(weights) != self._width:
            raise ValueError(f"frame {index} has {len(weights)} blendshapes, the first one {self._width}")
        self._listed.add(weights, *rest)

    def _by_names(self, names: Sequence[str], rows: CurveRows) -> CurveRows:
        if rows.curves.shape[1] != len(names):
            raise ValueError(f"frame 0 has {rows.curves.shape[1]} blendshapes for {len(names)} names")
        if list(names) == list(ARKIT_UNITS):
            return rows
        curves = np.zeros((len(rows), len(ARKIT_UNITS)), np.float32)
        for column, name in zip(rows.curves.T, names, strict=True):
            places = places_of(name)
            if places is None:
                self._unknown[name] = None
                continue
            self._known = True
            for place, share in places:
                curves[:, place] = np.maximum(curves[:, place], share * column)
        if not self._known:
            raise ValueError(f"{names[0][:60]!r} is not an ARKit blendshape, nor is any other")
        return CurveRows(curves, rows.others)

    def _cue(self, index: int, value: Any) -> None:
        cue = _validated(_CUE, value, f"mouthCues.{index}")
        if len(self._cues) == 200_000:
            raise ValueError("more than 200,000 mouth cues; split the file")
        if cue.end < cue.start or (self._cues and cue.start < self._cues[-1].start):
            raise ValueError(f"mouthCues.{index}: it ends before it starts, or starts before the one before")
        self._cues.append(rhubarb.Cue(cue.start, cue.end, cue.value))

    def _spoken(self, head: _Head) -> CurveTrack:
        fps = frame_rate(head.fps) if head.fps is not None else self._fps or rhubarb.DEFAULT_FPS
        curves, tongue = rhubarb.curves_of(self._cues, fps)
        others = np.zeros((len(curves), 8))
        others[:, 0] = tongue
        return CurveTrack(fps, CurveRows(curves, others))


_FRAME, _CUE = TypeAdapter(_Frame), TypeAdapter(_Cue)
_T = TypeVar("_T")


def _validated(form: TypeAdapter[_T], value: Any, where: str) -> _T:
    try:
        return form.validate_python(value)
    except ValidationError as error:
        # of several forms that it might have, the one that fits best is wrong the deepest
        first = max(error.errors(), key=lambda found: len(found["loc"]))
        inside = [where, *(str(part) for part in first["loc"])]
        raise ValueError(f"{'.'.join(part for part in inside if part)}: {first['msg']}") from None


@contextmanager
def curves_written(path: Path, fps: Fraction) -> Iterator[CurveSink]:
    """A sink for the states of a clip; the file appears when the block succeeds. Memory does
    not grow.

    path: ends in .json or .csv. Raises UnwritableOutput, also from `write`.
    """
    checked_curves_target(path)
    callers: BaseException | None = None
    try:
        with replaced_when_complete(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            form = _JsonSink(file, fps) if path.suffix.lower() == ".json" else LiveLinkTable(file, fps)
            try:
                yield _ToldSink(form, path)
            except BaseException as error:
                callers = error
                raise
            form.end()
    except OSError as error:
        if error is callers:
            raise
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> UnwritableOutput:
    return UnwritableOutput(
        f"cannot write {shown(path)}: {error.strerror or error}",
        hint="check the folder, and that the disk has space",
    )


class _ToldSink:
    """Says what the disk refuses as its own error, wherever in the caller's block that happens."""

    def __init__(self, form: _JsonSink | LiveLinkTable, path: Path) -> None:
        self._form, self._path = form, path

    def write(self, state: FaceState) -> None:
        try:
            self._form.write(state)
        except OSError as error:
            raise _refused(self._path, error) from error


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


class _JsonSink:
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
