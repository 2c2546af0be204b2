"""What head and brows go by: where phrases begin and end, and which syllables are stressed."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Beat:
    """One frame of a voice's rhythm.

    starts, stops: a phrase begins, or the voice has come to an end. stress: emphasis of a
    syllable that begins here, 0 for none. speaking: 0 listening .. 1 speaking, eased. energy: 0
    .. 1, the loudness of the last third of a second.
    """

    starts: bool
    stops: bool
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
        self._speaking = self._energy = 0.0

    def push(self, loudness: float, emphasis: float) -> Beat:
        """loudness, emphasis: 0 .. 1, of this frame."""
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
        return Beat(starts, stops, self._stress(emphasis), self._speaking, self._energy)

    def _stress(self, emphasis: float) -> float:
        self._since_beat += self._step
        self._armed = self._armed or emphasis < UNSTRESSED
        if emphasis < STRESSED or not self._armed or self._since_beat < BEAT_SECONDS:
            return 0.0
        self._armed, self._since_beat = False, 0.0
        return emphasis

    def _share(self, seconds: float) -> float:
        return 1 - math.exp(-self._step / seconds)
