"""Motion as files.

.json   ARKit curves, exactly; for people and other programs (motion_files.py)
.csv    ARKit curves as Live Link Face has them (motion_files.py)
.npz    any space: "values" float32 [n, width], "fps", "space", "columns"
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from personare.errors import InvalidOption, PersonareError, UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.encoder import unwritable
from personare.media.local import open_local, shown
from personare.motion import ARKIT, Motion, Space, motion_of, state_of
from personare.types import frame_rate

if TYPE_CHECKING:
    from personare.media.motion_files import CurveSink

Floats = NDArray[np.float32]

SUFFIXES = (".json", ".csv", ".npz")
MAX_BYTES = 512 * 1024 * 1024
"""A larger file is not read: at 106 numbers a frame, about thirteen hours."""


class MotionSink(Protocol):
    """Takes the motion of a clip, some frames at a time."""

    def write(self, values: Floats) -> None:
        """values: float32 [n, width]."""
        ...


@contextmanager
def motion_written(path: Path, space: Space | None, fps: Fraction) -> Iterator[MotionSink]:
    """A sink whose file appears when the block ends without an error.

    path: its suffix says how it is written. space: of the engine that is seen, None if it has
    none. Raises InvalidOption, UnwritableOutput.
    """
    space = checked_motion_target(path, space)
    if path.suffix.lower() in (".json", ".csv"):
        from personare.media.motion_files import curves_written

        with curves_written(path, fps) as curves:
            yield _Curves(curves)
        return
    kept = _Rows(space)
    yield kept
    try:
        with replaced_when_complete(path) as part, part.open("wb") as file:
            np.savez(
                file,
                values=kept.values(),
                fps=np.array(str(fps)),
                space=np.array(space.name),
                columns=np.array(space.columns),
            )
    except OSError as error:
        raise UnwritableOutput(
            f"cannot write {shown(path)}: {error.strerror or error}", hint="check the folder and the disk"
        ) from error


def checked_motion_target(path: Path, space: Space | None) -> Space:
    """The space that will be written. Raises InvalidOption and UnwritableOutput for what can be
    known before anything is made.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UnwritableOutput(
            f"{shown(path)} does not end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            hint="name the file of motion so",
        )
    if space is None:
        raise InvalidOption(
            "the engine that makes this clip has no motion to write",
            hint="`personare engines` says which engines move",
        )
    if suffix in (".json", ".csv") and space.name != ARKIT.name:
        raise InvalidOption(
            f"{suffix} holds ARKit curves, and this engine moves in {space.name}", hint="write .npz"
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UnwritableOutput(
            f"{shown(path)} cannot be written there", hint="name a file in an existing folder"
        )
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise unwritable(shown(path), error) from error
    return space


def read_motion(path: Path, fps: Fraction | None = None) -> Motion:
    """The motion in a file. fps: for curves without a rate of their own (see read_curves).
    Raises UnreadableMedia with what is wrong and where.
    """
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    from personare.media.motion_files import read_curves

    track = read_curves(path, fps)
    return motion_of(track.states, track.fps)


class _Curves:
    def __init__(self, curves: CurveSink) -> None:
        self._curves = curves

    def write(self, values: Floats) -> None:
        for row in values:
            self._curves.write(state_of(row))


class _Rows:
    def __init__(self, space: Space) -> None:
        self._rows: list[Floats] = [np.zeros((0, space.width), np.float32)]

    def write(self, values: Floats) -> None:
        self._rows.append(np.array(values, np.float32))

    def values(self) -> Floats:
        return np.concatenate(self._rows)


def _read_npz(path: Path) -> Motion:
    hint = "a motion has values [n, width], fps, space and columns; personare speak --motion writes one"
    with open_local(path) as file:
        try:
            if sum(entry.file_size for entry in zipfile.ZipFile(file).infolist()) > MAX_BYTES:
                raise UnreadableMedia(f"{shown(path)} holds more than {MAX_BYTES >> 20} MB", hint="split it")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                values = np.asarray(arrays["values"])
                space, fps = str(arrays["space"]), frame_rate(str(arrays["fps"]))
                columns = tuple(str(name) for name in arrays["columns"])
        except PersonareError:
            raise
        except Exception as error:  # whatever the parsers of zip, numpy and Python meet in its headers
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UnreadableMedia(f"{shown(path)} is no motion: {reason}", hint=hint) from None
    if values.ndim != 2 or values.shape[1] != len(columns) or values.dtype.kind != "f":
        raise UnreadableMedia(f"{shown(path)}: values {values.dtype} {values.shape}", hint=hint)
    return Motion(Space(space, columns), fps, _finite(path, values))


def _finite(path: Path, values: NDArray[np.floating]) -> Floats:
    kept: Floats = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(kept).all():
        raise UnreadableMedia(f"{shown(path)} has NaN or infinite values", hint="check what wrote it")
    return kept
