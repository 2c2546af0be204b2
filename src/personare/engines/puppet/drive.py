"""Drive: speech in pieces of any size -> what the mouth does in each video frame.

    samples -> ArticulationStream (100 Hz) -> known phones painted over -> Coarticulation -> closures, loudness, rest -> video rate

Times are exact: video frame i shows the mouth of the moment i / fps + LEAD, in rational arithmetic.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.state import UNIT, MouthFrame
from personare.types import Phone, Samples, frame_count
from personare.voice.articulation import LOOKAHEAD_SAMPLES, ArticulationFrames, ArticulationStream
from personare.voice.coarticulation import AHEAD_FRAMES, Coarticulation, MouthShape, shut
from personare.voice.visemes import VISEME, VISEMES, PhonePainter

Floats = NDArray[np.float32]

FRAMES_PER_SECOND = 100
LEAD = Fraction(20, 1000)
"""Lips move ahead of the sound; viewers forgive that far rather than the reverse."""

CLOSED_FROM, CLOSED_AT = 0.50, 0.68
LABIODENTAL_FROM, LABIODENTAL_AT = 0.35, 0.50
"""Network probabilities at which a closure begins and is complete."""
QUIET_SILENCE, QUIET_VOICE, QUIET_DBFS = 0.5, 0.2, -62.0
"""A frame is quiet if silence is this likely, or voice this unlikely, or the level lower."""
REST_AFTER_FRAMES = 12
OPENING_FRAMES, RESTING_FRAMES = 5, 12
"""Frames of quiet after which the mouth goes to rest, and how long it takes to leave rest and to reach it."""
LOUD_RANGE_DB = 30.0
LOUDEST_START_DBFS, LOUDEST_ATTACK, LOUDEST_DECAY_DB = -24.0, 0.3, 0.015
"""The voice's loud syllables: followed upwards fast, downwards by 1.5 dB per second."""
LOUDNESS_SMOOTHING, SLOW_SMOOTHING = 0.15, 0.01
JAW_GAIN_BASE, JAW_GAIN_LOUDNESS = 0.60, 0.60
EMPHASIS_RANGE = 0.30
"""A syllable this much louder than the running mean is fully stressed."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """One settled frame of 10 ms."""

    curves: Floats
    tongue: float
    closed: float
    labiodental: float
    loudness: float
    emphasis: float
    presence: float


class MouthDrive:
    """The mouth of one utterance.

    Video frame i is returned by the `push` that makes `lookahead_seconds` of speech after its time i / fps known, at the
    latest; `finish` returns the rest.
    """

    lookahead_seconds = float(LEAD) + (1 + AHEAD_FRAMES) / FRAMES_PER_SECOND + LOOKAHEAD_SAMPLES / 16000

    def __init__(self, fps: Fraction, expressiveness: float) -> None:
        self._fps = fps
        self._expressiveness = np.float32(expressiveness)
        self._articulation = ArticulationStream()
        self._painter = PhonePainter()
        self._coarticulation = Coarticulation()
        self._voice = _Voice()
        self._waiting: deque[tuple[float, float, float]] = deque()
        self._moments: deque[_Moment] = deque()
        self._first_moment = 0
        self._samples = 0
        self._next_frame = 0
        self._closure_window = max(2, math.ceil(FRAMES_PER_SECOND / fps))

    def push(self, samples: Samples, phones: Sequence[Phone] | None = None) -> list[MouthFrame]:
        """Frames that are settled by now. phones: those that start within these samples, if the text is known."""
        self._samples += len(samples)
        self._painter.add(phones or ())
        self._take(self._articulation.push(samples))
        return self._sample()

    def finish(self) -> list[MouthFrame]:
        """The remaining frames; over the utterance ceil(samples * fps / 16000) of them."""
        self._take(self._articulation.finish())
        made = self._sample()
        silence = np.eye(len(VISEMES), dtype=np.float32)[VISEME["sil"]]
        while self._next_frame < frame_count(self._samples, self._fps):
            self._step(silence, 0.0, 0.0, quiet=True, level_dbfs=-100.0)
            made += self._sample()
        return made

    def _take(self, heard: ArticulationFrames) -> None:
        painted = self._painter.paint(heard.first, len(heard))
        for t in range(len(heard)):
            known = painted.covered[t]
            visemes = painted.visemes[t] + heard.visemes[t] * (1 - known)
            listening = known < 0.5
            closed = _soft(heard.closed[t], CLOSED_FROM, CLOSED_AT) if listening else painted.closed[t]
            labiodental = _soft(heard.labiodental[t], LABIODENTAL_FROM, LABIODENTAL_AT) if listening else painted.labiodental[t]
            level = float(heard.level_dbfs[t])
            quiet = bool(visemes[VISEME["sil"]] > QUIET_SILENCE or level < QUIET_DBFS)
            if listening:
                quiet = quiet or bool(heard.voice[t] < QUIET_VOICE)
            self._step(visemes, float(closed), float(labiodental), quiet=quiet, level_dbfs=level)

    def _step(self, visemes: Floats, closed: float, labiodental: float, *, quiet: bool, level_dbfs: float) -> None:
        shape = self._coarticulation.push(visemes, closed, labiodental)
        self._waiting.append(self._voice.push(quiet, level_dbfs))
        if shape is not None:
            # Presence is that of the frame just heard: the mouth leaves its rest a little before the sound.
            presence = self._waiting[-1][2]
            loudness, emphasis, _ = self._waiting.popleft()
            self._moments.append(self._moment(shape, loudness, emphasis, presence))

    def _moment(self, shape: MouthShape, loudness: float, emphasis: float, presence: float) -> _Moment:
        curves = shape.curves * self._expressiveness
        curves[UNIT["jawOpen"]] *= np.float32(JAW_GAIN_BASE + JAW_GAIN_LOUDNESS * loudness)
        return _Moment(curves, shape.tongue, shape.closed, shape.labiodental, loudness * presence, emphasis * presence, presence)

    def _sample(self) -> list[MouthFrame]:
        made: list[MouthFrame] = []
        while self._next_frame < frame_count(self._samples, self._fps):
            place = (self._next_frame / self._fps + LEAD) * FRAMES_PER_SECOND - Fraction(1, 2)
            before = math.floor(place)
            if self._first_moment + len(self._moments) < before + 2:
                break
            made.append(self._mouth(before, np.float32(place - before)))
            self._next_frame += 1
            while self._first_moment < before + 1 - self._closure_window:
                self._moments.popleft()
                self._first_moment += 1
        return made

    def _mouth(self, before: int, part: np.float32) -> MouthFrame:
        here = [self._moments[before + i - self._first_moment] for i in (0, 1)]
        # A closure is shorter than a video frame: the strongest since the last frame counts.
        low = max(before + 2 - self._closure_window, self._first_moment)
        around = [self._moments[i - self._first_moment] for i in range(low, before + 2)]

        def mixed(values: tuple[float, float]) -> float:
            return float(values[0] + (values[1] - values[0]) * part)

        presence = mixed((here[0].presence, here[1].presence))
        curves = here[0].curves + (here[1].curves - here[0].curves) * part
        closed = max(moment.closed for moment in around)
        labiodental = max(moment.labiodental for moment in around)
        return MouthFrame(
            curves=np.clip(shut(curves, closed, labiodental) * np.float32(presence), 0, 1),
            tongue=mixed((here[0].tongue, here[1].tongue)) * presence,
            loudness=mixed((here[0].loudness, here[1].loudness)),
            emphasis=mixed((here[0].emphasis, here[1].emphasis)),
        )


class _Voice:
    """How loud the voice is for this speaker, which syllables are stressed, and whether anyone speaks at all."""

    def __init__(self) -> None:
        self._loudest_dbfs = LOUDEST_START_DBFS
        self._loudness = self._slow = 0.0
        self._quiet_frames = REST_AFTER_FRAMES
        self._presence = 0.0

    def push(self, quiet: bool, level_dbfs: float) -> tuple[float, float, float]:
        """Loudness, emphasis and presence after one more frame, each 0..1."""
        if level_dbfs > self._loudest_dbfs:
            self._loudest_dbfs += LOUDEST_ATTACK * (level_dbfs - self._loudest_dbfs)
        elif not quiet:
            self._loudest_dbfs -= LOUDEST_DECAY_DB
        now = 0.0 if quiet else min(max(1 + (level_dbfs - self._loudest_dbfs) / LOUD_RANGE_DB, 0.0), 1.0)
        self._loudness += LOUDNESS_SMOOTHING * (now - self._loudness)
        self._slow += SLOW_SMOOTHING * (self._loudness - self._slow)
        emphasis = min(max((self._loudness - self._slow) / EMPHASIS_RANGE, 0.0), 1.0)
        self._quiet_frames = self._quiet_frames + 1 if quiet else 0
        step = -1 / RESTING_FRAMES if self._quiet_frames >= REST_AFTER_FRAMES else 1 / OPENING_FRAMES
        self._presence = min(max(self._presence + step, 0.0), 1.0)
        if self._presence < 0.5 / RESTING_FRAMES:
            self._presence = 0.0
        return self._loudness, emphasis, self._presence * self._presence * (3 - 2 * self._presence)


def _soft(probability: float, start: float, full: float) -> float:
    return float(min(max((probability - start) / (full - start), 0.0), 1.0))
