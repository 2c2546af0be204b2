"""A mark that people hear: "AI" in Morse code at the start of a clip, which GB 45438-2025 takes
for a label of sound: short, long; short, short.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNIT_SECONDS = 0.08
TONE_HZ = 880.0
PEAK = 0.1
"""Of full scale: heard beside a voice, and not over it."""
_EDGE_SECONDS = 0.005
_SIGNS = ((1, 3), (1, 1))
"""Letters A and I; the lengths of their signs in units, one unit apart, letters three."""

Floats = NDArray[np.float32]


def morse_cue(rate: int) -> Floats:
    """The signal, float32 [m] at `rate` Hz: 11 units, 0.88 s."""
    pieces: list[Floats] = []
    for letter in _SIGNS:
        pieces += [_silence(3, rate)] if pieces else []
        for place, units in enumerate(letter):
            pieces += [_silence(1, rate)] if place else []
            pieces.append(_tone(units, rate))
    return np.concatenate(pieces)


class Cue:
    """The signal on its way into one clip's sound. What moves the portrait never hears it."""

    def __init__(self, rate: int) -> None:
        self._left = morse_cue(rate)

    def mixed(self, voice: Floats) -> Floats:
        """The next samples of the voice, float32 [m, channels], with what is left of the
        signal. A voice that is shorter has its beginning only.
        """
        part, self._left = self._left[: len(voice)], self._left[len(voice) :]
        if not len(part):
            return voice
        mixed = np.array(voice, np.float32)
        mixed[: len(part)] = np.clip(mixed[: len(part)] + part[:, None], -1, 1)
        return mixed


def _tone(units: int, rate: int) -> Floats:
    count = round(units * UNIT_SECONDS * rate)
    time = np.arange(count) / rate
    edge = np.clip(np.minimum(time, time[-1] - time) / _EDGE_SECONDS, 0, 1)
    return np.asarray(PEAK * edge * np.sin(2 * np.pi * TONE_HZ * time), np.float32)


def _silence(units: int, rate: int) -> Floats:
    return np.zeros(round(units * UNIT_SECONDS * rate), np.float32)
