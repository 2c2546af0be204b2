"""Texts of several voices, and pauses, joined to one speech with right phone times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
import soxr
from numpy.typing import NDArray

from personare.errors import UnusableSpeech
from personare.types import SAMPLE_RATE, Phone, Samples, SpeechChunk

_LONGEST_SILENT_CHUNK = 1.0
_JOIN_SILENCE = 0.04
"""Seconds of silence that stay where a sentence goes on in another voice, on either side."""
_LATE_CUE_PAUSE = 0.2
"""Seconds before what should have been said already."""
_SILENT = 2e-3


@dataclass(frozen=True, slots=True)
class Segment:
    """What one voice says in one go.

    speak: chunks from its own start; a voice's rate, and whether it has phones. None: only a
        pause.
    rate: of those chunks, in Hz.
    start: the second at which it is said, or as soon after as the one before has ended.
    pause: seconds of silence before it.
    goes_on: it stands in the middle of the sentence of the one before.
    """

    speak: Callable[[], Iterator[SpeechChunk]] | None
    rate: int
    start: float | None = None
    pause: float = 0.0
    goes_on: bool = False


def joined(segments: Sequence[Segment], rate: int, *, phones: bool) -> Iterator[SpeechChunk]:
    """The chunks of all segments, one after another, with a voice of `rate` Hz.

    phones: whether all voices have phone times. Segments begin where both clocks, that of the
    voice and 16 kHz, have a whole sample, so that a speech of n samples is exactly as long as
    its voice. Raises UnusableSpeech if no segment has any sound.
    """
    clock = _Clock(rate, phones)
    heard = False
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        wanted = round(segment.pause * SAMPLE_RATE)
        if segment.start is not None:
            late = round(_LATE_CUE_PAUSE * SAMPLE_RATE) if clock.now else 0
            wanted = max(round(segment.start * SAMPLE_RATE) - clock.now, late)
        yield from clock.silence(wanted)
        if segment.speak is None:
            continue
        chunks = _trimmed(
            segment.speak(),
            clock.unit,
            head=segment.goes_on,
            tail=following is not None and following.goes_on,
        )
        try:
            for chunk in clock.placed(chunks, segment.rate):
                heard = True
                yield chunk
        except UnusableSpeech:  # a part without a sound, such as marks alone
            continue
    if not heard:
        raise UnusableSpeech(
            "the voice has no sound for any of the text", hint="give a voice that knows its language"
        )


class _Clock:
    """How much has been given. now: 16 kHz samples. unit: 16 kHz samples after which the voice
    has a whole sample as well.
    """

    def __init__(self, rate: int, phones: bool) -> None:
        self.now = 0
        self.unit = SAMPLE_RATE // gcd(rate, SAMPLE_RATE)
        self._rate, self._phones = rate, phones

    def silence(self, samples: int) -> Iterator[SpeechChunk]:
        """Silence of about so many samples: whole units."""
        left = round(samples / self.unit) * self.unit
        most = max(self.unit, int(_LONGEST_SILENT_CHUNK * SAMPLE_RATE) // self.unit * self.unit)
        while left > 0:
            count = min(left, most)
            yield self._silent(count, count * self._rate // SAMPLE_RATE)
            left -= count

    def placed(self, chunks: Iterator[SpeechChunk], rate: int) -> Iterator[SpeechChunk]:
        """The chunks of a voice of `rate` Hz from now on, and silence up to the next whole
        unit.
        """
        began, given = self.now, 0
        resampler = (
            None
            if rate == self._rate
            else soxr.ResampleStream(rate, self._rate, 1, dtype="float32", quality="HQ")
        )
        for chunk in chunks:
            voice = chunk.voice if resampler is None else resampler.resample_chunk(chunk.voice)
            phones = None
            if self._phones:
                phones = tuple(Phone(p.symbol, p.start + began, p.end + began) for p in chunk.phones or ())
            given += len(voice)
            self.now += len(chunk.samples)
            yield SpeechChunk(chunk.samples, voice, phones)
        rest = -(self.now - began) % self.unit
        wanted = (self.now - began + rest) * self._rate // SAMPLE_RATE
        voice = np.empty((0, 1), np.float32)
        if resampler is not None:
            voice = resampler.resample_chunk(voice, last=True)[: max(0, wanted - given)]
        missing = wanted - given - len(voice)
        if rest or len(voice) or missing:
            silent = self._silent(rest, max(0, missing))
            yield replace(silent, voice=np.concatenate([voice, silent.voice]))

    def _silent(self, samples: int, voice: int) -> SpeechChunk:
        began, self.now = self.now, self.now + samples
        phones = (Phone("", began, self.now),) if samples else ()
        return SpeechChunk(
            np.zeros(samples, np.float32),
            np.zeros((voice, 1), np.float32),
            phones if self._phones else None,
        )


def _trimmed(chunks: Iterator[SpeechChunk], unit: int, *, head: bool, tail: bool) -> Iterator[SpeechChunk]:
    """The chunks without most of the silence before the first sound (head) and after the last
    one (tail). The last chunk is held back to know it.
    """
    if not head and not tail:
        yield from chunks
        return
    cut = 0
    kept: SpeechChunk | None = None
    for chunk in chunks:
        if kept is not None:
            yield _shifted(kept, cut)
        elif head:
            cut = _quiet(chunk.samples) // unit * unit
            chunk = _without_start(chunk, cut)
        kept = chunk
    if kept is not None:
        yield _shifted(_without_end(kept, _quiet(kept.samples[::-1]), unit) if tail else kept, cut)


def _quiet(samples: Samples) -> int:
    """Samples of silence at the start beyond what stays; all of them sound if nothing does."""
    loud = np.flatnonzero(np.abs(samples) > _SILENT)
    return max(0, int(loud[0]) - round(_JOIN_SILENCE * SAMPLE_RATE)) if len(loud) else 0


def _voice_count(chunk: SpeechChunk, samples: int) -> int:
    return round(samples * len(chunk.voice) / max(1, len(chunk.samples)))


def _without_start(chunk: SpeechChunk, cut: int) -> SpeechChunk:
    """Without the first `cut` samples; phones keep their positions."""
    if not cut:
        return chunk
    phones = chunk.phones and tuple(replace(p, start=max(p.start, cut)) for p in chunk.phones if p.end > cut)
    voice: NDArray[np.float32] = chunk.voice[_voice_count(chunk, cut) :]
    return SpeechChunk(chunk.samples[cut:], voice, phones)


def _without_end(chunk: SpeechChunk, cut: int, unit: int) -> SpeechChunk:
    cut = cut // unit * unit
    if not cut or not len(chunk.samples):
        return chunk
    left = len(chunk.samples) - cut
    phones = chunk.phones
    if phones:
        end = phones[-1].end - cut
        phones = tuple(replace(p, end=min(p.end, end)) for p in phones if p.start < end)
    voice: NDArray[np.float32] = chunk.voice[: len(chunk.voice) - _voice_count(chunk, cut)]
    return SpeechChunk(chunk.samples[:left], voice, phones)


def _shifted(chunk: SpeechChunk, cut: int) -> SpeechChunk:
    if not cut or not chunk.phones:
        return chunk
    moved = tuple(replace(p, start=p.start - cut, end=p.end - cut) for p in chunk.phones)
    return replace(chunk, phones=moved)
