"""A text as a `Speech`: synthesised anew each time it is heard, piece by piece, never held."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import soxr
from numpy.typing import NDArray

from personare.errors import EngineError, InputError, UnusableSpeech
from personare.types import SAMPLE_RATE, Phone, Samples, Speech, SpeechChunk
from personare.voice.tts import japanese
from personare.voice.tts.backends import BackEnd, CatalogueVoice, Phoneme, Sound
from personare.voice.tts.catalogue import Chosen, choose_voice, voice_for
from personare.voice.tts.child import HINT
from personare.voice.tts.cues import TextPart, Timing, parts_of
from personare.voice.tts.joined import Segment, joined
from personare.voice.tts.scripts import (
    ScriptRun,
    first_kanji,
    guess_language,
    readable_scripts,
    split_by_script,
)
from personare.voice.tts.text import can_be_spoken, checked_length, clean_text, split_text, tidy
from personare.voice.tts.timing import SHORTEST_PAUSE_SECONDS, phones_of

_LONGEST_CLAUSE_SECONDS = 10


def open_text(
    text: str,
    voice: str | None = None,
    back_ends: Sequence[BackEnd] | None = None,
    timing: Timing = "cues",
) -> Speech:
    """A speech that says `text`, with phone times if the back end is a library.

    Letters that the voice cannot read are read by one that can, in the same style where there
    is one (see voice_for). Every chunk ends in a pause if the text has any within 10 s.

    text: plain text, markdown, HTML, SSML or subtitles; nothing of the markup is read out (see
        markup.py and cues.py).
    voice: a language tag (en, zh, ja, de, fr, es, en-gb, ...) or a voice name of `voices()`,
        either with a variant ("en-us+f3"), a neural voice ("piper:en_US-joe-medium",
        "kokoro:af_heart", or the path of a Piper voice), a network voice ("gtts:fr",
        "edge:de-DE-KatjaNeural"); None guesses the language from the script (see
        guess_language).
    back_ends: those of find_back_ends() by default.
    timing: of subtitles; "cues": each at its time, silence between; "flow": without their
        times.

    Raises UnusableSpeech (nothing to speak), InputError (too long; letters that no installed
    voice reads; kanji without the extra `japanese`; SSML that cannot be done), UnknownName (no
    such voice), WeightsMissing (no synthesiser). `chunks()` raises EngineError if synthesis
    fails.
    """
    parts = [replace(part, text=tidy(part.text)) for part in parts_of(checked_length(text), timing)]
    plain = clean_text("\n".join(part.text for part in parts))
    wanted = voice or guess_language(plain)
    main = choose_voice(wanted, back_ends)
    rate = main[2].rate
    segments, phones = _segments(parts, wanted, main, back_ends)
    first_words = plain[:30].replace("\n", " ")

    def chunks() -> Iterator[SpeechChunk]:
        if len(segments) == 1 and segments[0].speak and not segments[0].start and not segments[0].pause:
            return segments[0].speak()
        return joined(segments, rate, phones=phones)

    return Speech(
        name=f"text {first_words + ('…' if len(plain) > 30 else '')!r}",
        voice_rate=rate,
        voice_channels=1,
        seconds=None,
        chunks=chunks,
    )


def _segments(
    parts: Sequence[TextPart], wanted: str, main: Chosen, back_ends: Sequence[BackEnd] | None
) -> tuple[list[Segment], bool]:
    """What is said, voice by voice, and whether all voices have phone times. Raises InputError."""
    readable = readable_scripts(tag for _, tag in main[2].languages)
    knows = bool(main[2].languages)  # a service on the network reads what it reads
    voices: dict[str | None, Chosen] = {None: main}
    segments: list[Segment] = []
    for part in parts:
        runs = split_by_script(part.text, readable) if knows else [ScriptRun(None, part.text)]
        runs = [run for run in runs if can_be_spoken(run.text)]
        if not runs:
            segments.append(Segment(None, main[2].rate, part.start, part.pause))
        for i, run in enumerate(runs):
            if run.language not in voices:
                voices[run.language] = voice_for(run.language or "", run.text, wanted, back_ends)
            back_end, identifier, entry = voices[run.language]
            pieces = _read_kanji(split_text(run.text), voices[run.language])
            speak = partial(_speak, back_end, pieces, identifier, entry)
            if i:
                segments.append(Segment(speak, entry.rate, goes_on=True))
            else:
                segments.append(Segment(speak, entry.rate, part.start, part.pause))
    return segments, all(back_end.has_phones for back_end, _, _ in voices.values())


def _read_kanji(pieces: Sequence[str], chosen: Chosen) -> Sequence[str]:
    """The pieces for a voice that may read kana only. Raises InputError if they have kanji and
    nothing reads them.
    """
    back_end, _, entry = chosen
    kanji = first_kanji("".join(pieces))
    if not kanji or back_end.reads_kanji or all(tag != "ja" for _, tag in entry.languages):
        return pieces
    if japanese.is_installed():
        return [japanese.kana(piece) for piece in pieces]
    raise InputError(
        f"the Japanese voice of {back_end.name} reads kana only, and the text has {kanji!r}",
        hint=f"{japanese.INSTALL_HINT} reads kanji; or write the text in kana, or give a recording",
    )


def _speak(
    back_end: BackEnd, pieces: Sequence[str], identifier: str, voice: CatalogueVoice
) -> Iterator[SpeechChunk]:
    pending = _Pending(back_end, voice.rate)
    for item in back_end.speak(pieces, identifier):
        if isinstance(item, Phoneme):
            pending.add_phoneme(item)
            continue
        # only now is every phoneme known that starts in the sound so far
        if (end := pending.settled_end()) is not None:
            yield pending.take(end)
        if isinstance(item, Sound):
            if item.rate != voice.rate:
                raise EngineError(f"{back_end.name} speaks at {item.rate} Hz, not {voice.rate} Hz", hint=HINT)
            pending.add_sound(item)
    pending.finish()
    if pending.received == 0:
        raise UnusableSpeech(
            "the voice has no sound for any of the text", hint="give a voice that knows its language"
        )
    if pending.received > pending.taken:
        yield pending.take(pending.received)


class _Pending:
    """Sound and phonemes of the clause under way. Positions count samples of the voice from the
    utterance's start.
    """

    def __init__(self, back_end: BackEnd, rate: int) -> None:
        self.received = 0
        self.taken = 0
        self._has_phones = back_end.has_phones
        self._reports_units = back_end.reports_units
        self._rate = rate
        self._sound: NDArray[np.int16] = np.empty(0, np.int16)
        self._phonemes: deque[Phoneme] = deque()
        self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        self._heard: Samples = np.empty(0, np.float32)

    def add_sound(self, sound: Sound) -> None:
        self._sound = np.concatenate([self._sound, sound.samples])
        self.received += len(sound.samples)
        self._resample(sound.samples, last=False)

    def add_phoneme(self, phoneme: Phoneme) -> None:
        """Keep a phoneme; one that goes back or beyond the sound is moved to where it can be."""
        earliest = self._phonemes[-1].sample if self._phonemes else self.taken
        self._phonemes.append(Phoneme(min(max(phoneme.sample, earliest), self.received), phoneme.symbol))

    def finish(self) -> None:
        self._resample(np.empty(0, np.int16), last=True)
        missing = max(0, self._heard_count(self.received) - len(self._heard))
        self._heard = np.concatenate([self._heard, np.zeros(missing, np.float32)])

    def settled_end(self) -> int | None:
        """Where the sound can be cut: in the last complete pause, or anywhere if none comes;
        None to wait for more.
        """
        given = self._heard_before(self.taken) + len(self._heard)
        resampled_end = given * self._rate // SAMPLE_RATE
        if not self._has_phones:
            end = resampled_end
        elif (pause := self._last_pause()) is not None:
            end = pause
        elif self.received - self.taken > _LONGEST_CLAUSE_SECONDS * self._rate:
            latest = self._phonemes[-1].sample if self._phonemes else self.taken
            # without phonemes for so long the sound must go out all the same
            end = min(latest, resampled_end) if latest > self.taken else resampled_end
        else:
            return None
        return end if self.taken < end <= resampled_end else None

    def take(self, end: int) -> SpeechChunk:
        """The sound up to `end`, both ways, and the phones that start in it."""
        count = end - self.taken
        sound, self._sound = self._sound[:count], self._sound[count:]
        heard_count = self._heard_count(end)
        samples, self._heard = self._heard[:heard_count], self._heard[heard_count:]
        phones = self._take_phones(sound, end)
        self.taken = end
        return SpeechChunk(samples, _as_float(sound)[:, None], phones)

    def _take_phones(self, sound: NDArray[np.int16], end: int) -> tuple[Phone, ...] | None:
        if not self._has_phones:
            return None
        inside = []
        while self._phonemes and self._phonemes[0].sample < end:
            inside.append(self._phonemes.popleft())
        return phones_of(inside, sound, self.taken, self._rate, units=self._reports_units)

    def _last_pause(self) -> int | None:
        """Just before the end of the last long pause, so that the closure of a stop after it
        stays with the stop.
        """
        tail = 2 * round(SHORTEST_PAUSE_SECONDS * self._rate)
        pauses = zip(self._phonemes, list(self._phonemes)[1:], strict=False)
        ends = [
            after.sample - tail
            for p, after in pauses
            if p.symbol == "" and after.sample - p.sample > 2 * tail
        ]
        return ends[-1] if ends else None

    def _resample(self, samples: NDArray[np.int16], last: bool) -> None:
        heard = self._resampler.resample_chunk(_as_float(samples), last=last)
        self._heard = np.concatenate([self._heard, np.clip(heard, -1.0, 1.0)])

    def _heard_before(self, end: int) -> int:
        """16 kHz samples up to sample `end` of the voice."""
        return -(-end * SAMPLE_RATE // self._rate)

    def _heard_count(self, end: int) -> int:
        """16 kHz samples from the last cut to `end`."""
        return self._heard_before(end) - self._heard_before(self.taken)


def _as_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32768)
