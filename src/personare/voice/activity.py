"""When a voice speaks: a gate that lets mouths rest in silence, for engines whose networks
quiver there.

samples -> articulation (voice and silence probabilities, level) -> SpeechActivity (hysteresis)
-> widened, eased -> per video frame
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.types import SAMPLE_RATE, Samples, frame_count
from personare.voice import articulation
from personare.voice.articulation import ArticulationFrames, ArticulationStream
from personare.voice.prosody import SpeechActivity
from personare.voice.visemes import FRAME_SAMPLES, VISEME

OPENS_BEFORE, STAYS_AFTER = 8, 12
"""Frames of 10 ms by which speech is widened: mouths move before they sound, and close after."""
EASE = 6
"""Half the length of the change between rest and speech, in frames of 10 ms."""
LOOKAHEAD_SECONDS = (
    articulation.LOOKAHEAD_SAMPLES / SAMPLE_RATE + (OPENS_BEFORE + EASE + 1) * FRAME_SAMPLES / SAMPLE_RATE
)
"""A video frame is settled when the samples until this long after its time are known."""


class ActivityGate:
    """One utterance: samples in, one value per video frame out, 0 (at rest) .. 1 (speaking).

    How the speech is cut into pieces does not change a bit of it. fps: exact.
    """

    def __init__(self, fps: Fraction) -> None:
        self._fps = fps
        self._stream = ArticulationStream()
        self._activity = SpeechActivity()
        self._active: list[bool] = []
        self._first = 0  # 10 ms frame of _active[0]
        self._samples = 0
        self._frame = 0

    def push(self, samples: Samples) -> list[float]:
        """The video frames that are settled by now. samples: float32 [n]."""
        self._samples += len(samples)
        self._hear(self._stream.push(samples))
        return list(self._settled(self._first + len(self._active) - OPENS_BEFORE - EASE))

    def finish(self) -> list[float]:
        """The other frames: over the utterance, frame_count(samples, fps) of them."""
        self._hear(self._stream.finish())
        self._active += [False] * (OPENS_BEFORE + EASE + 1)
        return list(self._settled(None))

    def _hear(self, heard: ArticulationFrames) -> None:
        silence = heard.visemes[:, VISEME["sil"]]
        for t in range(len(heard)):
            level = float(heard.level_dbfs[t])
            self._active.append(self._activity.push(float(heard.voice[t]), float(silence[t]), level, False))

    def _settled(self, end: int | None) -> Iterator[float]:
        """Video frames whose moment lies before 10 ms frame `end` (None: all of the utterance)."""
        while self._frame < frame_count(self._samples, self._fps):
            moment = math.floor(self._frame / self._fps * SAMPLE_RATE / FRAME_SAMPLES)
            if end is not None and moment >= end:
                return
            yield self._openness(moment)
            self._frame += 1
        forget = (
            math.floor(self._frame / self._fps * SAMPLE_RATE / FRAME_SAMPLES)
            - STAYS_AFTER
            - EASE
            - self._first
        )
        if forget > 0:
            del self._active[:forget]
            self._first += forget

    def _openness(self, moment: int) -> float:
        """Mean over the ease of whether speech is near."""
        first = max(0, moment - EASE - STAYS_AFTER - self._first)
        last = moment + EASE + OPENS_BEFORE + 1 - self._first
        near = np.array(self._active[first:last], np.bool_)
        spoken = np.flatnonzero(near) + first + self._first
        here = np.arange(moment - EASE, moment + EASE + 1)
        open_ = _within(here, spoken)
        share = float(open_.mean())
        return share * share * (3 - 2 * share)


def _within(frames: NDArray[np.int64], spoken: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each frame has a spoken one at most OPENS_BEFORE after it or STAYS_AFTER before
    it.
    """
    gap = spoken[None, :] - frames[:, None]
    return np.asarray(((gap <= OPENS_BEFORE) & (gap >= -STAYS_AFTER)).any(axis=1))
