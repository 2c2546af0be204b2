"""The 15 viseme classes, and which of them each spoken sound is: IPA in, mouth classes at 100
Hz out.

The classes, their order and the sound -> class table are those the articulation network was
trained with.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.types import Phone

FRAME_SAMPLES = 160
"""One articulation frame is 10 ms; frame t covers the samples [160 t, 160 (t + 1))."""

VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")
"""Silence, closed lips (p b m), lip on teeth (f v), th, t d, k g, ch sh, s z, n l, r; five
vowels, open to round.
"""

VISEME = {name: i for i, name in enumerate(VISEMES)}
"""Position of each class in an array of posteriors."""

_SOUNDS = {
    "PP": "p b m ɓ β",
    "FF": "f v ʋ ɱ",
    "TH": "θ ð",
    "DD": "t d ɖ ʈ ɗ ɾ r ɽ",
    "kk": "k ɡ g ŋ x ɣ χ q h ħ ʕ ʔ c ɟ ç ɠ ʝ ɦ ɴ ɰ ʁ ʀ",
    "CH": "ʃ ʒ ʧ ʤ ɕ ʑ ʂ ʐ ʨ ʥ",
    "SS": "s z ʦ ʣ",
    "nn": "n l ɭ ɫ ʎ ɲ ɳ ɬ",
    "RR": "ɹ ɻ ɚ ɝ",
    "aa": "a ɑ ɐ ɒ æ",
    "E": "e ɛ ɜ ə ɘ ᵊ ʌ",
    "ih": "i ɪ y j ɨ ʏ ɯ ᵻ",
    "oh": "o ɔ ø œ ɤ",
    "ou": "u ʊ w ʍ ʉ ɵ ɥ ɸ ᵝ",
}
_CLASS = {sound: VISEME[name] for name, sounds in _SOUNDS.items() for sound in sounds.split()}
_VOWELS = range(VISEME["aa"], VISEME["ou"] + 1)
_PALATAL_SIBILANTS = frozenset("ʃʒɕʑʂʐ")
_SIBILANTS = frozenset("sz")
_VOWELS_COLOURED_BY_R = frozenset("ɜəɚɝ")
_R_SOUNDS = frozenset("ɹɚɻ")
_PAUSES = frozenset(" _|;:,.!?—…\"'()“”。、，！？")
_SHARES = {1: (1.0,), 2: (0.6, 0.4), 3: (0.4, 0.3, 0.3)}
"""How the parts of a diphthong or triphthong divide its duration."""

SHORTEST_CLOSURE_SAMPLES = 480
"""A p, b, m, f or v shuts the mouth for 30 ms at least, so that at least two frames lie mostly
inside it.
"""


def visemes_of(symbol: str) -> list[tuple[int, float]]:
    """The classes of one IPA sound in time order, each with its share of the duration (shares
    sum to 1).

    Stress, length, tone and other marks are ignored; "" and punctuation are silence; an unknown
    sound gives [].
    """
    if not symbol or symbol[0] in _PAUSES:
        return [(VISEME["sil"], 1.0)]
    letters = [letter for letter in unicodedata.normalize("NFD", symbol) if letter in _CLASS]
    if not letters:
        return []
    classes = _affricate(letters) or _vowel_parts(letters) or [_CLASS[letters[0]]]
    return list(zip(classes, _SHARES[len(classes)], strict=True))


def _affricate(letters: list[str]) -> list[int] | None:
    match letters:
        case ["t" | "d", second, *_] if second in _PALATAL_SIBILANTS:
            return [VISEME["CH"]]
        case ["t" | "d", second, *_] if second in _SIBILANTS:
            return [VISEME["SS"]]
        case ["p", "f", *_]:
            return [VISEME["PP"], VISEME["FF"]]
    return None


def _vowel_parts(letters: list[str]) -> list[int] | None:
    first = _CLASS[letters[0]]
    if first not in _VOWELS:
        return None
    if letters[0] in _VOWELS_COLOURED_BY_R and letters[-1] in _R_SOUNDS:
        return [VISEME["RR"]]
    parts = [first]
    for letter in letters[1:]:
        if _CLASS[letter] != parts[-1]:
            parts.append(_CLASS[letter])
    return parts[:3]


@dataclass(frozen=True, slots=True)
class PaintedFrames:
    """What known phones say about n consecutive frames.

    visemes: float32 [n, 15], the share of each frame that each class fills.
    closed, labiodental: float32 [n], 1 where the lips have to meet, or the lower lip the teeth.
    covered: float32 [n], the share of the frame of which phones say something; ==
        visemes.sum(axis=1).
    """

    visemes: NDArray[np.float32]
    closed: NDArray[np.float32]
    labiodental: NDArray[np.float32]
    covered: NDArray[np.float32]


class PhonePainter:
    """Turns phones into frames, in order, forgetting what lies behind.

    A frame looks only at phones that start before its end, so it does not matter how far ahead
    phones are announced.
    """

    def __init__(self) -> None:
        self._segments: deque[tuple[int, int, int]] = deque()

    def add(self, phones: Iterable[Phone]) -> None:
        """Phones in time order, with positions from the start of the utterance. Phones of no
        duration are ignored.
        """
        for phone in phones:
            begin, share_done = phone.start, 0.0
            for viseme, share in visemes_of(phone.symbol):
                share_done += share
                end = phone.start + round((phone.end - phone.start) * share_done)
                if end > begin:
                    self._segments.append((begin, end, viseme))
                begin = end

    def paint(self, first: int, n: int) -> PaintedFrames:
        """Frames first .. first + n - 1. Frames must be asked for in order, each once."""
        visemes = np.zeros((n, len(VISEMES)), np.float32)
        shut = np.zeros((n, len(VISEMES)), np.float32)
        edges = np.arange(first, first + n + 1) * FRAME_SAMPLES
        horizon = edges[0] - SHORTEST_CLOSURE_SAMPLES
        while self._segments and self._segments[0][1] <= horizon:
            self._segments.popleft()
        for begin, end, viseme in self._segments:
            if begin >= edges[-1]:
                break
            visemes[:, viseme] += _overlap(edges, begin, end)
            if viseme in (VISEME["PP"], VISEME["FF"]):
                shut[:, viseme] += _overlap(edges, begin, max(end, begin + SHORTEST_CLOSURE_SAMPLES))
        covered = visemes.sum(axis=1)
        visemes /= np.maximum(covered, 1)[:, None]
        return PaintedFrames(
            visemes=visemes,
            closed=(shut[:, VISEME["PP"]] >= 0.5).astype(np.float32),
            labiodental=(shut[:, VISEME["FF"]] >= 0.5).astype(np.float32),
            covered=np.minimum(covered, 1),
        )


def _overlap(edges: NDArray[np.int64], begin: int, end: int) -> NDArray[np.float32]:
    """Share of each frame between neighbouring `edges` that lies in [begin, end)."""
    inside = np.clip(edges, begin, end)
    return (np.diff(inside) / FRAME_SAMPLES).astype(np.float32)
