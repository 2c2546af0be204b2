"""Frames and the sound that belongs to them, on one clock: what a live service sends on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.engines.performance import Performance
from personare.errors import EngineError
from personare.types import SAMPLE_RATE, Frames, SpeechChunk

Voice = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames with their sound.

    frames: consecutive pictures.
    voice: float32 [m, channels] at the voice's own rate: what is heard while they are seen,
        from first / fps to (first + n) / fps.
    start: seconds on the performance's clock, exact.
    """

    frames: Frames
    voice: Voice
    start: Fraction


class Timed:
    """A performance that gives pieces: pictures and sound leave together.

    The clock is the timeline of frames. Frame i lasts from i / fps to (i + 1) / fps; the sample
    that falls on a border belongs to the frame that begins there, so over any run of frames the
    sound is as long as the pictures to within a sample, and never drifts. The last frame of an
    utterance is filled up with silence, as is idle time.
    """

    def __init__(self, performance: Performance, rate: int = SAMPLE_RATE, channels: int = 1) -> None:
        """rate, channels: of the voice that goes in and comes out again."""
        self.performance = performance
        self._rate, self._channels = rate, channels
        self._waiting: list[Voice] = []
        self._utterance = 0

    def feed(self, chunk: SpeechChunk) -> Iterator[Piece]:
        """Hear some speech; yield what is settled by now, as `Performance.feed`.

        Raises EngineError if the chunk's voice has another number of channels.
        """
        if chunk.voice.ndim != 2 or chunk.voice.shape[1] != self._channels:
            raise EngineError(f"the voice has shape {chunk.voice.shape}, not [m, {self._channels}]")
        frames = self.performance.feed(chunk.samples, chunk.phones)
        if frames.utterance != self._utterance:
            self._waiting, self._utterance = [], frames.utterance  # the last one was interrupted
        self._waiting.append(np.array(chunk.voice, np.float32))
        return map(self._piece, frames)

    def finish(self) -> Iterator[Piece]:
        """End the utterance; yield its remaining pieces."""
        for frames in self.performance.finish():
            yield self._piece(frames)
        self._waiting = []

    def idle(self, n: int) -> Piece:
        """The next n frames at rest, with silence."""
        frames = self.performance.idle(n)
        self._waiting = []  # of an utterance that was interrupted
        return self._piece(frames)

    def interrupt(self) -> None:
        """As `Performance.interrupt`, from any thread; the voice that waits goes with it."""
        self.performance.interrupt()

    def close(self) -> None:
        """Close the performance."""
        self.performance.close()

    def _piece(self, frames: Frames) -> Piece:
        fps = self.performance.fps
        first, end = (math.ceil(at * self._rate / fps) for at in (frames.first, frames.first + len(frames)))
        return Piece(frames, self._taken(end - first), Fraction(frames.first) / fps)

    def _taken(self, samples: int) -> Voice:
        """The next samples that wait, then silence."""
        taken: list[Voice] = []
        missing = samples
        while missing and self._waiting:
            head = self._waiting[0]
            taken.append(head[:missing])
            if len(head) > missing:
                self._waiting[0] = head[missing:]
            else:
                self._waiting.pop(0)
            missing -= len(taken[-1])
        taken.append(np.zeros((missing, self._channels), np.float32))
        return np.concatenate(taken)
