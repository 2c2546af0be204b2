"""The states of a clip as rows of numbers: an hour of them takes 25 MB."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from personare.motion import ARKIT_UNITS, FaceState

MAX_FRAMES = 500_000
"""More are refused: over five hours at 25 frames per second, and 136 MB."""
_BLOCK = 1024
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True, eq=False)
class CurveRows(Sequence[FaceState]):
    """One FaceState per row. curves: float32 [n, 52]. others: float64 [n, 8], tongue, head (3),
    shift (2) and gaze (2).
    """

    curves: NDArray[np.float32]
    others: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.curves)

    @overload
    def __getitem__(self, index: int) -> FaceState: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FaceState, ...]: ...
    def __getitem__(self, index: int | slice) -> FaceState | tuple[FaceState, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        tongue, yaw, pitch, roll, x, y, gaze_x, gaze_y = (float(v) for v in self.others[index])
        return FaceState(self.curves[index], tongue, (yaw, pitch, roll), (x, y), (gaze_x, gaze_y))


class RowsBuilder:
    """Takes row after row. Raises ValueError for more than MAX_FRAMES."""

    def __init__(self, width: int = len(ARKIT_UNITS)) -> None:
        self.count = 0
        self._width = width
        self._curves: list[NDArray[np.float32]] = []
        self._others: list[NDArray[np.float64]] = []

    def add(
        self,
        curves: NDArray[np.float32] | Sequence[float],
        tongue: float = 0.0,
        head: Sequence[float] = (0.0, 0.0, 0.0),
        shift: Sequence[float] = (0.0, 0.0),
        gaze: Sequence[float] = (0.0, 0.0),
    ) -> None:
        if self.count == MAX_FRAMES:
            raise ValueError(f"more than {MAX_FRAMES:,} frames; split the file")
        place = self.count % _BLOCK
        if place == 0:
            self._curves.append(np.zeros((_BLOCK, self._width), np.float32))
            self._others.append(np.zeros((_BLOCK, 8)))
        self._curves[-1][place] = curves
        self._others[-1][place] = (tongue, *head, *shift, *gaze)
        self.count += 1

    def rows(self) -> CurveRows:
        """All rows. Raises ValueError if there is none."""
        if not self.count:
            raise ValueError("frames: there is none")
        return CurveRows(
            np.concatenate(self._curves)[: self.count], np.concatenate(self._others)[: self.count]
        )


def read_number(text: str, lowest: float, highest: float) -> float:
    """A number as programs write it, between the two. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    value = float(text)
    if not lowest <= value <= highest:
        raise ValueError(f"{text[:40]} is not between {lowest:g} and {highest:g}")
    return value
