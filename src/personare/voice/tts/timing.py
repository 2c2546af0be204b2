"""From espeak's phoneme events to phones with the times at which the mouth makes them.

espeak reports an event where the recorded or synthesised unit of a phoneme starts, which is not
where the phone starts:

* A stop (or affricate) is reported at its burst. Its closure is a run of zeros before, so it
  begins where those begin.
* After a closure (stop or nasal) the unit still holds the transition into the next
  sound: lips open before the event.

Measured on the energy dips (600-5000 Hz) of 159 p, b and m in six languages, median of the
start and the end minus the dip's: p -2, +14 ms (raw events +37, +36; the rest at its end is
aspiration), b -3, +2 (-3, +22), m -2, -2 (-3, +20).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from personare.types import SAMPLE_RATE, Phone
from personare.voice.tts.backends import Phoneme

SHORTEST_PAUSE_SECONDS = 0.060
"""A shorter silence inside speech is part of a sound (a closure, a glottal stop), not a pause."""

_LONGEST_CLOSURE_SECONDS = 0.060
_RELEASE_SECONDS = 0.022

_STOPS = frozenset("pbtdkgɡqɢcɟʈɖɓɗɠʔ")
_NASALS = frozenset("mnŋɲɳɱɴ")
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")

# espeak's ASCII names that remain in its IPA, mostly in Mandarin
_IPA = (("ts.", "ʈʂ"), ("s.", "ʂ"), ("z.", "ʐ"), ("i.", "ɨ"), ("nɡ", "ŋ"), ("-", ""))
_ASPIRATED = re.compile(r"(?<=[ptkʂɕs])h")


@dataclass(frozen=True, slots=True)
class _Segment:
    symbol: str
    start: int
    end: int

    @property
    def first(self) -> str:
        """The letter that says how the sound begins; "" for a pause."""
        return self.symbol.lstrip("ˈˌ")[:1]


def phones_of(
    phonemes: Sequence[Phoneme], sound: NDArray[np.int16], origin: int, rate: int, *, units: bool = True
) -> tuple[Phone, ...]:
    """Phones that cover `sound` without gaps, silences of SHORTEST_PAUSE_SECONDS and more as
    "".

    phonemes: events inside the sound, in order; units: they are where espeak's units start, and
    are moved to where the phones do. sound: int16 [n]; its first sample is the utterance's
    number `origin`. Returns positions at 16 kHz from the start of the utterance, ceil(sample *
    16000 / rate).
    """
    segments = _segments(phonemes, origin + len(sound), origin)
    if not units:
        return _phones(_joined_pauses(segments), rate)
    segments = _without_false_pauses(segments, sound, origin, round(SHORTEST_PAUSE_SECONDS * rate))
    for i in range(1, len(segments)):
        boundary = _boundary(segments[i - 1], segments[i], sound, origin, rate)
        segments[i - 1] = replace(segments[i - 1], end=boundary)
        segments[i] = replace(segments[i], start=boundary)
    return _phones(segments, rate)


def _phones(segments: Sequence[_Segment], rate: int) -> tuple[Phone, ...]:
    return tuple(Phone(s.symbol, _at_16_khz(s.start, rate), _at_16_khz(s.end, rate)) for s in segments)


def _joined_pauses(segments: Sequence[_Segment]) -> list[_Segment]:
    joined: list[_Segment] = []
    for segment in segments:
        if joined and segment.symbol == joined[-1].symbol == "":
            joined[-1] = replace(joined[-1], end=segment.end)
        else:
            joined.append(segment)
    return joined


def _at_16_khz(sample: int, rate: int) -> int:
    return -(-sample * SAMPLE_RATE // rate)


def _ipa(symbol: str) -> str:
    for ascii_name, letters in _IPA:
        symbol = symbol.replace(ascii_name, letters)
    return _ASPIRATED.sub("ʰ", symbol)


def _segments(phonemes: Sequence[Phoneme], end: int, origin: int) -> list[_Segment]:
    """Events as segments; language switches and sounds without length leave their time to the
    one before.
    """
    segments: list[_Segment] = []
    for phoneme, following in itertools.pairwise([*phonemes, Phoneme(end, "")]):
        stop = following.sample
        switch = _LANGUAGE_SWITCH.fullmatch(phoneme.symbol) is not None
        if segments and (switch or stop <= phoneme.sample):
            segments[-1] = replace(segments[-1], end=max(stop, segments[-1].end))
        elif stop > phoneme.sample:
            segments.append(_Segment("" if switch else _ipa(phoneme.symbol), phoneme.sample, stop))
    first = segments[0].start if segments else end
    return [_Segment("", origin, first), *segments] if first > origin else segments


def _without_false_pauses(
    segments: Sequence[_Segment], sound: NDArray[np.int16], origin: int, shortest: int
) -> list[_Segment]:
    """Pauses joined to one; what sounds or is too short becomes part of the sound before it."""
    joined: list[_Segment] = []
    for segment in segments:
        part = sound[segment.start - origin : segment.end - origin]
        audible = segment.symbol == "" and np.count_nonzero(part) > len(part) // 2
        if joined and (audible or segment.symbol == joined[-1].symbol == ""):
            joined[-1] = replace(joined[-1], end=segment.end)
        else:
            joined.append(segment)
    kept: list[_Segment] = []
    for segment in joined:
        false_pause = segment.symbol == "" and segment.end - segment.start < shortest
        # the closure of a stop that follows is found again by _boundary, which looks at the
        # sound
        if kept and false_pause:
            kept[-1] = replace(kept[-1], end=segment.end)
        elif len(kept) == 1 and kept[0].symbol == "" and kept[0].end - kept[0].start < shortest:
            kept[0] = replace(segment, start=kept[0].start)
        else:
            kept.append(segment)
    return kept


def _boundary(before: _Segment, after: _Segment, sound: NDArray[np.int16], origin: int, rate: int) -> int:
    """Where `before` ends and `after` starts, at most half of `before` earlier than reported."""
    length = before.end - before.start
    if after.first in _STOPS:
        reach = min(round(_LONGEST_CLOSURE_SECONDS * rate), length // 2)
        history = sound[after.start - reach - origin : after.start - origin]
        sounding = np.flatnonzero(history)
        closure = reach - 1 - int(sounding[-1]) if len(sounding) else reach
        return after.start - closure
    if after.symbol and before.first in _STOPS | _NASALS:
        return after.start - min(round(_RELEASE_SECONDS * rate), length // 2)
    return after.start
