"""The voices that benchmarks speak with: held-out synthetic ones, held vowels, silences put in."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personare.types import SAMPLE_RATE, Phone, Samples
from personare.voice.tts import open_text

TEXT = (
    "Before the fever moved, my brother Bob asked the farmer for a cup of very warm coffee. Wow! How about a "
    "big apple pie? "
    "She sees the cheese, and we all laugh at father's joke. Five people from the village gave me a "
    "beautiful map of the river."
)
OTHER_TEXT = (
    "Every morning Peter puts bread, butter and plum jam on the table. Nobody ever believed the photograph "
    "of a whale above the "
    "village. My grandmother bakes pumpkin pie from a very old family book."
)
HELD_OUT_VOICES = {
    "en-us+Annie": TEXT, "en-gb+Michael": TEXT, "en-gb-x-gbclan+linda": OTHER_TEXT,
    "en-us-nyc+paul": OTHER_TEXT,
}  # fmt: skip
"""The network that ships heard espeak-ng's variants m1 to m7 and f1 to f5 in training, never
these; nor the accents of the last two, which read a text that the mouth was not tuned on.
"""
UNSEEN_TEXT = (
    "Paul put a jumping beetle into his bamboo box. Maybe the postman will come by on Monday afternoon. "
    "Our family prefers vanilla pudding, but a warm potato for breakfast would be fabulous. "
    "The lamp above the garden path is far from bright."
)
UNSEEN_VOICES = dict.fromkeys(
    ("en-us+Alicia", "en-gb-x-rp+Lee", "en-gb-x-gbcwmd+Andrea", "en-029+Gene"), UNSEEN_TEXT
)
"""Voices and a text by which nothing was trained, chosen or looked at."""
VOWELS = {
    "ɑː": (750, 1250, 2600),
    "iː": (280, 2250, 3000),
    "uː": (310, 870, 2250),
    "ɛ": (550, 1800, 2550),
    "ɔː": (500, 800, 2600),
}
"""Resonances in Hz."""
FOREIGN_SECONDS, SILENCE_EVERY_SECONDS, SILENCE_SECONDS = 20.0, 4.0, 0.6


def spoken(voice: str) -> tuple[Samples, list[Phone]]:
    text = (HELD_OUT_VOICES | UNSEEN_VOICES)[voice]
    chunks = list(open_text(text, voice).chunks())
    return np.concatenate([chunk.samples for chunk in chunks]), [
        phone for chunk in chunks for phone in chunk.phones or ()
    ]


def with_silences(samples: Samples) -> Samples:
    """The voice with a pause of digital silence every few seconds, faded over 10 ms."""
    samples = samples[: round(FOREIGN_SECONDS * SAMPLE_RATE)]
    step, gap, fade = (round(s * SAMPLE_RATE) for s in (SILENCE_EVERY_SECONDS, SILENCE_SECONDS, 0.01))
    pieces = []
    for at in range(0, len(samples), step):
        piece = samples[at : at + step].copy()
        ramp = np.linspace(0, 1, min(fade, len(piece)), dtype=np.float32)
        piece[: len(ramp)] *= ramp
        piece[len(piece) - len(ramp) :] *= ramp[::-1]
        pieces += [piece, np.zeros(gap, np.float32)]
    return np.concatenate(pieces)


def held_vowels(seconds: float) -> tuple[Samples, list[Phone]]:
    """A buzz of 120 Hz through the resonances of each vowel in turn, and its phones."""
    length = round(seconds * SAMPLE_RATE)
    t = np.arange(length) / SAMPLE_RATE
    sounds, phones = [], []
    for i, (symbol, resonances) in enumerate(VOWELS.items()):
        harmonics = 120.0 * np.arange(1, 40)
        gains = sum(1 / (1 + ((harmonics - centre) / 100) ** 2) for centre in resonances)
        sound = (gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * t)).sum(axis=0)
        sounds.append(0.25 * sound / np.abs(sound).max())
        phones.append(Phone(symbol, i * length, (i + 1) * length))
    return np.concatenate(sounds).astype(np.float32), phones


def write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path
