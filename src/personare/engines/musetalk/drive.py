"""Speech -> what the UNet hears at each frame: tokens float32 [50, width], ten rows of whisper
times its five hidden states.

    samples -> hearing (rows, 50 a second) -> SpeechDrive (one window per frame) -> motion

Frame i takes the ten rows from four before floor(50 i / fps), in exact rational arithmetic, at
any frame rate. The published program truncates the rate to a whole number and pads by another
rule (`published=True`); at whole rates from 25 to 49 both agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from personare.engines.musetalk.hearing import (
    ROWS_PER_SECOND,
    Ears,
    Hearing,
    Pieces,
    Whole,
    Windowed,
)
from personare.types import SAMPLE_RATE, Progress, Samples, frame_count, no_progress

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.musetalk.options import MuseTalkOptions

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Which rows a frame hears.

    edge: what stands for rows before the first and after the last: "zeros" (the current front
        end) or "repeat" (the original one).
    left, right: rows of context in frames at 25 fps.
    published: as the published program counts, with its drift.
    """

    fps: Fraction
    edge: Literal["zeros", "repeat"] = "zeros"
    published: bool = False
    left: int = 2
    right: int = 2

    @property
    def rows(self) -> int:
        """Rows in a window."""
        return 2 * (self.left + self.right + 1)

    def first_row(self, frame: int) -> int:
        """The first row of a frame's window; negative before the start."""
        step = ROWS_PER_SECOND / int(self.fps) if self.published else ROWS_PER_SECOND / self.fps
        return math.floor(frame * step) - self.rows_before

    @property
    def rows_before(self) -> int:
        """Rows of a window that come before its frame's own."""
        return (math.ceil(ROWS_PER_SECOND / int(self.fps)) if self.published else 2) * self.left

    def row_count(self, samples: int) -> int:
        """Rows of a speech of so many samples."""
        if self.published:
            return math.floor(samples / SAMPLE_RATE * ROWS_PER_SECOND)  # 18560 samples: 57 rather than 58
        return samples * ROWS_PER_SECOND // SAMPLE_RATE


class SpeechDrive:
    """One utterance: samples in, one window per frame out, in order."""

    def __init__(self, hearing: Hearing, rule: WindowRule) -> None:
        self.hearing = hearing
        self._windows = Windows(rule)
        self._samples = 0

    def push(self, samples: Samples) -> Iterator[Floats]:
        """Hear float32 [n]; yield the windows [50, width] of the frames that are settled."""
        self._samples += len(samples)
        for rows in self.hearing.push(samples):
            yield from self._windows.push(rows)

    def finish(self) -> Iterator[Floats]:
        """The other frames: in all, ceil(samples * fps / 16000)."""
        for rows in self.hearing.finish():
            yield from self._windows.push(rows)
        rule = self._windows.rule
        yield from self._windows.finish(
            rule.row_count(self._samples),
            frame_count(self._samples, rule.fps),
            lambda: self.hearing.ears.row_shape,
        )


def open_drive(
    options: MuseTalkOptions,
    ears: Ears,
    fps: Fraction,
    store: FeatureStore | None = None,
    progress: Progress = no_progress,
) -> SpeechDrive:
    """The drive of one utterance, as the options (without any auto left) say.

    audio=exact hears pieces of 30 s (the original front end: the whole utterance) before their
    frames are settled, and keeps them in the store; audio=streaming settles a frame less than a
    second after it is heard, and keeps nothing.
    """
    original = options.front_end == "original"
    hearing: Hearing
    if options.audio == "streaming":
        hearing = Windowed(ears, "original" if original else "current")
    else:
        hearing = (Whole if original else Pieces)(ears, store, progress)
    return SpeechDrive(
        hearing, WindowRule(fps, edge="repeat" if original else "zeros", published=options.published_windows)
    )


class Windows:
    """Rows in, windows out; keeps only the rows that later windows need."""

    def __init__(self, rule: WindowRule) -> None:
        self.rule = rule
        self._kept: Floats | None = None
        self._kept_from = 0
        self._frame = 0

    def push(self, rows: Floats) -> Iterator[Floats]:
        """Rows float32 [n, states, width]; yields each frame's tokens [rows * states, width]
        once its last row is there.
        """
        self._kept = rows if self._kept is None else np.concatenate([self._kept, rows])
        end = (
            self._kept_from + len(self._kept) - self.rule.published
        )  # whose last row may turn out not to count
        if self.rule.published and end < self.rule.rows_before:
            return
        while self.rule.first_row(self._frame) + self.rule.rows <= end:
            yield self._next(self._kept, end)
        # One row is kept in any case: the last is what "repeat" repeats.
        forget = min(self.rule.first_row(self._frame) - self._kept_from, len(self._kept) - 1)
        if forget > 0:
            self._kept, self._kept_from = self._kept[forget:].copy(), self._kept_from + forget

    def finish(
        self, row_count: int, frames: int, row_shape: Callable[[], tuple[int, int]]
    ) -> Iterator[Floats]:
        """The windows of the frames that reach beyond the last row. row_shape: of a row, asked
        only if there was none at all.
        """
        kept = self._kept if self._kept is not None else np.zeros((0, *row_shape()), np.float32)
        # The published program takes its padding from the rows themselves, and so has less of
        # it for a very short speech.
        early = max(0, self.rule.rows_before - row_count) if self.rule.published else 0
        while self._frame < frames:
            yield self._next(kept, min(row_count, self._kept_from + len(kept)), early)

    def _next(self, kept: Floats, end: int, early: int = 0) -> Floats:
        first = self.rule.first_row(self._frame) + early
        wanted = np.arange(first, first + self.rule.rows)
        self._frame += 1
        if self.rule.edge == "repeat" and end > self._kept_from:
            wanted = np.clip(wanted, 0, end - 1)
        there = (wanted >= 0) & (wanted < end)
        window = np.zeros((self.rule.rows, *kept.shape[1:]), np.float32)
        window[there] = kept[wanted[there] - self._kept_from]
        return window.reshape(-1, kept.shape[2])  # [10, 5, width] -> [50, width], state fastest


def positional_encoding(tokens: int, width: int) -> Floats:
    """What is added to the tokens of a window before the UNet hears them: float32 [tokens,
    width], sines and cosines interleaved (Vaswani et al. 2017).
    """
    position = np.arange(tokens, dtype=np.float64)[:, None]
    frequency = np.exp(np.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = np.empty((tokens, width), np.float32)
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency)[:, : width // 2]
    return table
