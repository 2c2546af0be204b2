"""What head and brows go by: where phrases begin and end, and which syllables are stressed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.motion import UNIT

QUIET, LOUD = 0.08, 0.15
"""Loudness below which a voice pauses, and from which it speaks."""
PAUSE_SECONDS = 0.22
"""The shortest pause after which a phrase begins."""
ENDS_SECONDS = 0.5
"""A voice that pauses for so long has come to an end."""
STRESSED, UNSTRESSED = 0.42, 0.30
"""Emphasis from which a syllable is stressed, and below which the next one can be."""
BEAT_SECONDS = 0.45
"""The shortest time between two stresses that are answered."""
ENERGY_SECONDS = 0.35
SPEAKING_SECONDS = 0.6
"""Time constants of the energy of the voice, and of the change between listening and
speaking.
"""

STILL = 0.01
"""What is left of speaking that is none, so that a face comes to rest."""


SUNG_SECONDS = 0.5
"""A mouth that is open and holds still for so long sings: in speech none does for .2 s."""
HELD_BELOW, OPEN_FROM, HELD_SMOOTHING_SECONDS = 2.0, 0.08, 0.11
"""Change of all the mouth's weights in a second below which it holds still, and the weight from
which it is open.
"""
HELD = [
    UNIT[name]
    for name in (
        "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthStretchLeft", "mouthLowerDownLeft"
    )
]  # fmt: skip


class Sustain:
    """For how long the mouth has been holding a vowel; call `push` once per frame."""

    def __init__(self, step: float) -> None:
        """step: seconds from frame to frame."""
        self._step = step
        self._share = 1 - math.exp(-step / HELD_SMOOTHING_SECONDS)
        self._last = np.zeros(len(HELD), np.float32)
        self._change = self._seconds = 0.0

    def push(self, curves: NDArray[np.float32]) -> float:
        """Seconds, 0 where it does not. curves: float32 [52] of the mouth."""
        shape = curves[HELD]
        change = float(np.abs(shape - self._last).sum()) / self._step
        self._last = shape
        self._change += (change - self._change) * self._share
        holds = self._change < HELD_BELOW and float(shape[0] - shape[1] + shape[2]) > OPEN_FROM
        self._seconds = self._seconds + self._step if holds else 0.0
        return self._seconds


@dataclass(frozen=True, slots=True)
class Beat:
    """One frame of a voice's rhythm.

    starts, stops, sings: a phrase begins, the voice has come to an end, a vowel begins to be
    held. stress: emphasis of a
    syllable that begins here, 0 for none. speaking: 0 listening .. 1 speaking, eased. energy: 0
    .. 1, the loudness of the last third of a second.
    """

    starts: bool
    stops: bool
    sings: bool
    stress: float
    speaking: float
    energy: float


class Rhythm:
    """The rhythm of one timeline; call `push` once per frame."""

    def __init__(self, step: float) -> None:
        """step: seconds from frame to frame."""
        self._step = step
        self._quiet = math.inf
        self._in_phrase = self._in_speech = False
        self._armed, self._since_beat = True, math.inf
        self._speaking = self._energy = self._held = 0.0

    def push(self, loudness: float, emphasis: float, held: float = 0.0) -> Beat:
        """loudness, emphasis: 0 .. 1, of this frame. held: seconds for which a vowel has been
        held; it sounds, however steadily.
        """
        sings = held >= SUNG_SECONDS > self._held
        self._held = held
        if held > PAUSE_SECONDS:
            loudness = max(loudness, LOUD)
        starts = stops = False
        if loudness >= LOUD and not self._in_phrase:
            starts = self._quiet >= PAUSE_SECONDS
            self._in_phrase = self._in_speech = True
        if loudness >= QUIET:
            self._quiet = 0.0
        else:
            self._quiet += self._step
            self._in_phrase = self._in_phrase and self._quiet < PAUSE_SECONDS
        if self._in_speech and self._quiet >= ENDS_SECONDS:
            self._in_speech, stops = False, True
        self._speaking += (self._in_speech - self._speaking) * self._share(SPEAKING_SECONDS)
        if self._speaking < STILL:
            self._speaking = 0.0
        self._energy += (loudness - self._energy) * self._share(ENERGY_SECONDS)
        return Beat(starts, stops, sings, self._stress(emphasis), self._speaking, self._energy)

    def _stress(self, emphasis: float) -> float:
        self._since_beat += self._step
        self._armed = self._armed or emphasis < UNSTRESSED
        if emphasis < STRESSED or not self._armed or self._since_beat < BEAT_SECONDS:
            return 0.0
        self._armed, self._since_beat = False, 0.0
        return emphasis

    def _share(self, seconds: float) -> float:
        return 1 - math.exp(-self._step / seconds)
