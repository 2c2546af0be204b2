"""Something like speech where no voice is at hand, to measure engines by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.types import SAMPLE_RATE


def syllables(seconds: float) -> NDArray[np.float32]:
    """Four syllables a second at 16 kHz, float32 [n]: a buzz of 120 Hz through two formants
    that move between vowels.
    """
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    envelope = np.clip(np.sin(2 * np.pi * 4 * time_s), 0, None) ** 0.5
    vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * time_s)
    voice = np.zeros_like(time_s)
    for harmonic in range(1, 30):
        frequency = 120.0 * harmonic
        open_vowel = np.exp(-(((frequency - 700) / 150) ** 2)) + 0.5 * np.exp(
            -(((frequency - 1200) / 200) ** 2)
        )
        close_vowel = np.exp(-(((frequency - 300) / 120) ** 2)) + 0.5 * np.exp(
            -(((frequency - 2300) / 250) ** 2)
        )
        voice += (vowel * open_vowel + (1 - vowel) * close_vowel + 0.02) * np.sin(
            2 * np.pi * frequency * time_s
        )
    voice *= envelope
    return np.asarray(0.5 * voice / np.abs(voice).max(), np.float32)
