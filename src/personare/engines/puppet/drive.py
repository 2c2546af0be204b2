"""Drive: speech (and phones, where the text is known) -> what the voice asks of the mouth, per
video frame.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np

from personare.engines.puppet.move.state import MouthFrame
from personare.types import SAMPLE_RATE, Phone, Samples, frame_count
from personare.voice import articulation, coarticulation
from personare.voice.articulation import (
    CLOSED,
    LABIODENTAL,
    OUTPUTS,
    VOICE,
    ArticulationFrames,
    ArticulationStream,
)
from personare.voice.coarticulation import Coarticulation
from personare.voice.features import SILENT_DBFS
from personare.voice.visemes import FRAME_SAMPLES, VISEME, VISEMES, PaintedFrames, PhonePainter

_FRAMES_PER_SECOND = Fraction(SAMPLE_RATE, FRAME_SAMPLES)
_LEAD_SECONDS = Fraction(1, 100)
"""Lips move before they sound: the mouth of a video frame is that of 10 ms later. The network
hears 10 ms early by itself; with more, the decoded mouth runs half a frame ahead of the phones.
"""

_FRAMES_BEHIND_END = (
    math.ceil(_LEAD_SECONDS * _FRAMES_PER_SECOND - Fraction(1, 2)) + 1 + coarticulation.LOOKAHEAD_FRAMES
)
"""Frames of silence that the last video frame looks at: lead and coarticulation."""

_LONGEST_CLOSURE_REACH = 2


class MouthDrive:
    """The mouth of one utterance at a video rate; how the speech is cut into pieces does not
    change a bit of it.
    """

    lookahead_seconds: ClassVar[float] = float(
        _LEAD_SECONDS
        + Fraction(1, 2) / _FRAMES_PER_SECOND  # A moment lies between the middles of two frames.
        + coarticulation.LOOKAHEAD_FRAMES / _FRAMES_PER_SECOND
        + Fraction(articulation.LOOKAHEAD_SAMPLES, SAMPLE_RATE)
    )
    """Video frame i is out as soon as the samples up to i / fps + lookahead_seconds have been
    pushed: 142.5 ms.
    """

    def __init__(self, fps: Fraction, expressiveness: float) -> None:
        """fps: 1 .. 120, exact. expressiveness: scale of the mouth's movement except closures,
        0.5 .. 1.5.
        """
        self._fps = fps
        self._articulation = ArticulationStream()
        self._painter = PhonePainter()
        reach = min(_LONGEST_CLOSURE_REACH, math.ceil(_FRAMES_PER_SECOND / fps / 2))
        self._coarticulation = Coarticulation(reach, expressiveness)
        self._mouth: deque[MouthFrame] = deque()
        self._mouth_first = 0
        self._samples = 0
        self._next_frame = 0

    def push(self, samples: Samples, phones: Sequence[Phone] | None = None) -> list[MouthFrame]:
        """Every video frame that is settled by now.

        samples: float32 [n], any n >= 0. phones: in time order, positions from the start of the
        utterance, each given no later than with the samples in which it starts; where they say
        what is spoken, they and not the sound drive the mouth. Raises EngineError after
        `finish`.
        """
        self._samples += len(samples)
        self._painter.add(phones or ())
        self._settle(self._articulation.push(samples))
        return list(self._video_frames())

    def finish(self) -> list[MouthFrame]:
        """The remaining frames, as if silence followed: over the utterance,
        frame_count(samples, fps) of them.
        """
        heard = self._articulation.finish()
        self._settle(heard)
        self._settle(_silence(heard.first + len(heard)))
        return list(self._video_frames())

    def _settle(self, heard: ArticulationFrames) -> None:
        mouth = self._coarticulation.push(_overruled(heard, self._painter.paint(heard.first, len(heard))))
        for t in range(len(mouth)):
            melody = float(mouth.loudness[t]), float(mouth.emphasis[t])
            self._mouth.append(MouthFrame(mouth.curves[t], float(mouth.tongue[t]), *melody))

    def _video_frames(self) -> Iterator[MouthFrame]:
        """Frames of the speech so far whose moment lies between two settled mouths."""
        while self._next_frame < frame_count(self._samples, self._fps):
            # Articulation frame t is centred at t + 1/2.
            at = (self._next_frame / self._fps + _LEAD_SECONDS) * _FRAMES_PER_SECOND - Fraction(1, 2)
            before, after = math.floor(at) - self._mouth_first, math.ceil(at) - self._mouth_first
            if after >= len(self._mouth):
                return
            yield _between(self._mouth[before], self._mouth[after], float(at % 1))
            self._next_frame += 1
            for _ in range(before):
                self._mouth.popleft()
            self._mouth_first += before


def _between(a: MouthFrame, b: MouthFrame, share: float) -> MouthFrame:
    return MouthFrame(
        curves=a.curves + np.float32(share) * (b.curves - a.curves),
        tongue=a.tongue + share * (b.tongue - a.tongue),
        loudness=a.loudness + share * (b.loudness - a.loudness),
        emphasis=a.emphasis + share * (b.emphasis - a.emphasis),
    )


def _overruled(heard: ArticulationFrames, said: PaintedFrames) -> ArticulationFrames:
    """What phones say in place of what was heard, in the share of each frame that they cover."""
    probabilities = heard.probabilities * (1 - said.covered)[:, None]
    probabilities[:, : len(VISEMES)] += said.visemes
    probabilities[:, VOICE] += said.covered - said.visemes[:, VISEME["sil"]]
    probabilities[:, CLOSED] = np.maximum(probabilities[:, CLOSED], said.closed)
    probabilities[:, LABIODENTAL] = np.maximum(probabilities[:, LABIODENTAL], said.labiodental)
    return ArticulationFrames(heard.first, probabilities, heard.level_dbfs, known=said.covered > 0.5)


def _silence(first: int) -> ArticulationFrames:
    probabilities = np.zeros((_FRAMES_BEHIND_END, OUTPUTS), np.float32)
    probabilities[:, VISEME["sil"]] = 1
    level = np.full(_FRAMES_BEHIND_END, SILENT_DBFS, np.float32)
    return ArticulationFrames(first, probabilities, level, known=np.zeros(_FRAMES_BEHIND_END, np.bool_))
