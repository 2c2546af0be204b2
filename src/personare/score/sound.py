"""What a voice asks of a mouth, at 100 Hz: how far it should be open, how loud it is, where it
is silent, where lips meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.types import SAMPLE_RATE, Phone, Progress, Speech, SpeechChunk, no_progress
from personare.voice.articulation import ArticulationFrames, ArticulationStream
from personare.voice.features import SILENT_DBFS
from personare.voice.visemes import FRAME_SAMPLES, VISEME, VISEMES, PhonePainter, visemes_of

Floats = NDArray[np.float64]
Span = tuple[float, float]
"""(start, end) in seconds."""

FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
APERTURE = np.array([0, 0, 0.15, 0.25, 0.2, 0.3, 0.25, 0.15, 0.25, 0.3, 1, 0.6, 0.4, 0.65, 0.35])
"""How far each viseme of VISEMES opens the mouth, 0..1: a rough scale, only used to compare
curves.
"""
SMOOTHING_FRAMES = 11
"""Hann window over curves before they are compared: a mouth has weight."""
SHORTEST_SILENCE_SECONDS = 0.3
STEADY_VOWEL_SECONDS = 0.25
_SILENT_BELOW_LOUD_DB = 32.0
_LOUD_PERCENTILE = 95
LOUDNESS_RANGE_DB = 35.0
_NO_VOICE = 0.5
_FIRST_VOWEL = VISEME["aa"]


@dataclass(frozen=True, slots=True)
class SoundHeard:
    """One voice. target, loudness: float64 [n] per 10 ms, 0..1 (frame t is centred at (t + 1/2)
    * 10 ms); spoken: bool [n].

    target: the opening that the sounds ask for, as the phones say it, or as our articulation
        network hears it.
    loudness: level over the last 35 dB below the loud frames.
    spoken: within 0.3 s of speech.
    silences: of at least 0.3 s.
    closures, bites, open_vowels, steady_vowels: from phones alone, None without: p b m; f v.
        vowels as in "father", "bed", "law"; any vowels of at least 0.25 s.
    """

    target: Floats
    loudness: Floats
    spoken: NDArray[np.bool_]
    silences: tuple[Span, ...]
    closures: tuple[Span, ...] | None
    bites: tuple[Span, ...] | None
    open_vowels: tuple[Span, ...] | None
    steady_vowels: tuple[Span, ...] | None

    @property
    def seconds(self) -> float:
        return len(self.target) * FRAME_SECONDS


def listen(
    speech: Speech, phones: Sequence[Phone] | None = None, progress: Progress = no_progress
) -> SoundHeard:
    """Hear a speech once, piece by piece; 32 bytes per 10 ms are kept.

    phones: where they are known they, and not the sound, say what is spoken. Raises
    UnreadableMedia and UnusableSpeech as the speech does.
    """
    total = None if speech.seconds is None else round(speech.seconds)
    stream, painter = ArticulationStream(), None
    if phones is not None:
        painter = PhonePainter()
        painter.add(sorted(phones, key=lambda phone: phone.start))
    heard = [_reduced(stream.push(chunk.samples), painter) for chunk in _told(speech, progress, total)]
    heard.append(_reduced(stream.finish(), painter))
    aperture, sil, voice, level = np.concatenate(heard, axis=1)
    loud = (
        max(float(np.percentile(level, _LOUD_PERCENTILE)), SILENT_DBFS + LOUDNESS_RANGE_DB)
        if len(level)
        else SILENT_DBFS
    )
    quiet = level < loud - _SILENT_BELOW_LOUD_DB
    silent = quiet & ((voice < _NO_VOICE) | (sil > _NO_VOICE))
    return SoundHeard(
        target=smooth(aperture),
        loudness=smooth(np.clip(1 + (level - loud) / LOUDNESS_RANGE_DB, 0, 1)),
        spoken=_near(~quiet & (voice >= _NO_VOICE), round(0.3 / FRAME_SECONDS)),
        silences=spans(silent, SHORTEST_SILENCE_SECONDS),
        closures=None if phones is None else _spoken(phones, "PP"),
        bites=None if phones is None else _spoken(phones, "FF"),
        open_vowels=None if phones is None else _spoken(phones, "aa", "E", "oh"),
        steady_vowels=None if phones is None else _steady(phones),
    )


def _told(speech: Speech, progress: Progress, total: int | None) -> Iterator[SpeechChunk]:
    samples = 0
    for chunk in speech.chunks():
        samples += len(chunk.samples)
        progress("listening", samples // SAMPLE_RATE, total)
        yield chunk


def _reduced(heard: ArticulationFrames, painter: PhonePainter | None) -> Floats:
    """float64 [4, n]: opening that the sounds ask for, probability of silence, of a voice,
    level in dBFS.
    """
    visemes = heard.visemes.astype(np.float64)
    if painter is not None:
        painted = painter.paint(heard.first, len(heard))
        visemes = painted.visemes.astype(np.float64)
        visemes[:, VISEME["sil"]] += 1 - painted.covered
    return np.stack([visemes @ APERTURE, visemes[:, VISEME["sil"]], heard.voice, heard.level_dbfs])


def smooth(curve: Floats) -> Floats:
    """A curve through a Hann window of SMOOTHING_FRAMES."""
    window = np.hanning(SMOOTHING_FRAMES + 2)[1:-1]
    return np.asarray(
        np.convolve(np.pad(curve, SMOOTHING_FRAMES // 2, mode="edge"), window / window.sum(), "valid")
    )


def spans(mask: NDArray[np.bool_], shortest_seconds: float) -> tuple[Span, ...]:
    """Runs of true frames that last long enough."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    runs = zip(edges[::2] * FRAME_SECONDS, edges[1::2] * FRAME_SECONDS, strict=True)
    return tuple((float(a), float(b)) for a, b in runs if b - a >= shortest_seconds - FRAME_SECONDS / 2)


def _near(mask: NDArray[np.bool_], frames: int) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    return np.asarray(np.convolve(mask, np.ones(2 * frames + 1), "full")[frames : frames + len(mask)] > 0)


def _spoken(phones: Sequence[Phone], *visemes: str) -> tuple[Span, ...]:
    found = []
    for phone in phones:
        begin = 0.0
        for heard, share in visemes_of(phone.symbol):
            start, end = (phone.start + (phone.end - phone.start) * part for part in (begin, begin + share))
            if VISEMES[heard] in visemes and end > start:
                found.append((start / SAMPLE_RATE, end / SAMPLE_RATE))
            begin += share
    return tuple(found)


def _steady(phones: Sequence[Phone]) -> tuple[Span, ...]:
    """Long vowels that are one viseme throughout."""
    long = [p for p in phones if (p.end - p.start) / SAMPLE_RATE >= STEADY_VOWEL_SECONDS]
    steady = [
        p for p in long if len(visemes_of(p.symbol)) == 1 and visemes_of(p.symbol)[0][0] >= _FIRST_VOWEL
    ]
    return tuple((p.start / SAMPLE_RATE, p.end / SAMPLE_RATE) for p in steady)
