"""Files of motion in all their kinds: those of `media.motions`, and .pt, which torch reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np

from personare.errors import InvalidOption, UnwritableOutput
from personare.heads.flame_motion import FLAME_FPS, SUFFIX, read_flame_motion, write_flame_motion
from personare.media import motions
from personare.media.local import shown
from personare.media.motions import Floats, MotionSink
from personare.motion import FLAME, Motion, Space


def read_motion(path: Path, fps: Fraction | None = None) -> Motion:
    """The motion in a file. Raises UnreadableMedia with what is wrong and where, and what
    `read_flame_motion` raises.

    fps: for curves without a rate of their own.
    """
    return read_flame_motion(path) if path.suffix.lower() == SUFFIX else motions.read_motion(path, fps)


def checked_motion_target(path: Path, space: Space | None) -> Space:
    """The space that will be written. Raises InvalidOption and UnwritableOutput for what can be
    known before anything is made.
    """
    if path.suffix.lower() != SUFFIX or space is None:
        return motions.checked_motion_target(path, space)
    if space.name != FLAME.name:
        raise InvalidOption(
            f"{SUFFIX} holds the motion of a FLAME head, and this engine moves in {space.name}",
            hint="write .npz",
        )
    return motions.checked_motion_target(path.with_suffix(".npz"), space)


@contextmanager
def motion_written(path: Path, space: Space | None, fps: Fraction) -> Iterator[MotionSink]:
    """A sink whose file appears when the block ends without an error.

    path: its suffix says how it is written.
    space: of the engine that is seen, None if it has none.

    Raises InvalidOption, UnwritableOutput.
    """
    space = checked_motion_target(path, space)
    if path.suffix.lower() != SUFFIX:
        with motions.motion_written(path, space, fps) as sink:
            yield sink
        return
    if fps != FLAME_FPS:
        raise InvalidOption(
            f"{SUFFIX} holds {FLAME_FPS} frames per second, and the clip has {float(fps):g}",
            hint="write .npz",
        )
    kept = _Kept()
    yield kept
    try:
        write_flame_motion(path, np.concatenate(kept.rows))
    except OSError as error:
        raise UnwritableOutput(
            f"cannot write {shown(path)}: {error.strerror or error}", hint="check the folder and the disk"
        ) from error


class _Kept:
    def __init__(self) -> None:
        self.rows: list[Floats] = [np.zeros((0, FLAME.width), np.float32)]

    def write(self, values: Floats) -> None:
        self.rows.append(np.array(values, np.float32))
