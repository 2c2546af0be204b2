"""Voices: any sound file, or an array, as Speech."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import UnusableSpeech
from personare.media.local import shown
from personare.media.mix import Mix, chosen_track, mix_of, track_mix
from personare.media.resample import StreamResampler
from personare.media.sound_track import RATES_HZ, SoundTrack, Voice, empty, sound_tracks
from personare.types import SAMPLE_RATE, Phone, Speech, SpeechChunk

CHUNK_SECONDS = 0.25
"""Chunks are at least this long (but the last) and at most one codec packet longer."""

_MAX_CHANNELS = 64
"""Of an array; more are samples, and the array lies on its side."""


def open_speech(path: Path, track: int | None = None) -> Speech:
    """A sound track of a file as Speech; memory does not grow with its length.

    track: its number from 1; None for the one that speaks: the container's default unless that
        is silent, or hum, noise or music, and another speaks.

    Any rate, layout and sample format that FFmpeg decodes. Encoder delay is left out where the
    container declares it; a pause that was not sent, or a start later than the container's
    other tracks, is silence of that length (up to ten minutes; what is longer is a clock that
    jumped, and closed). More than two channels are mixed down to stereo with the ITU-R BS.775
    weights (channels of unknown place: to their mean). `samples` is the mean of `voice` over
    channels, where one in opposite phase to the loudest is turned round first; clean voices
    that are never louder than QUIET_DBFS are raised in it by one gain. Both are limited to
    [-1, 1].

    A file that ends too early plays up to its end, and packets that cannot be decoded are left
    out. Raises UnreadableMedia at once for a file without sound that can be decoded, or without
    that track, UnusableSpeech at once for one with zero samples, and UnusableSpeech from
    `chunks()` on NaN or infinite samples.
    """
    chosen = chosen_track(sound_tracks(path, track))
    mix = track_mix(chosen)
    # The mean of channels of unknown place is the voice itself, with their signs in it already.
    heard = Mix((1,), mix.gain) if chosen.layout == "mean" else mix

    def chunks() -> Iterator[SpeechChunk]:
        yield from _heard(_voice(chosen, mix), chosen.rate, shown(path), None, heard)

    channels = 2 if chosen.layout == "stereo" else 1
    return Speech(shown(path), chosen.rate, channels, chosen.seconds, chunks)


def speech_from_samples(
    samples: NDArray[Any], rate: int, name: str = "speech", phones: Sequence[Phone] | None = None
) -> Speech:
    """An array as Speech.

    samples: [n] or [n, channels], float in [-1, 1] (limited to it), int16, int32 or uint8 PCM.
    more than two channels are averaged to one. rate: Hz. phones: with positions at 16 kHz; each
    goes with the chunk in which it starts. Raises UnusableSpeech for no samples, another shape
    or type, an impossible rate, NaN or infinite samples.
    """
    if rate not in RATES_HZ:
        raise UnusableSpeech(
            f"{name} has an impossible sample rate of {rate} Hz", hint="give 1000 to 768000 Hz"
        )
    voice = _unit_range(samples, name)
    if voice.ndim == 1:
        voice = voice[:, None]
    if voice.ndim != 2 or not 0 < voice.shape[1] <= _MAX_CHANNELS:
        raise UnusableSpeech(f"{name} has shape {samples.shape}", hint="give an array [n] or [n, channels]")
    if len(voice) == 0:
        raise empty(name)
    voice = _finite(voice, 0, rate, name)
    step = _chunk_length(rate)
    mix = mix_of((voice[start : start + step] for start in range(0, len(voice), step)), rate, voice.shape[1])
    if voice.shape[1] > 2:
        voice, mix = mix.channels(voice)[:, None], Mix((1,), mix.gain)

    def pieces() -> Iterator[Voice]:
        for start in range(0, len(voice), step):
            yield voice[start : start + step]

    def chunks() -> Iterator[SpeechChunk]:
        return _heard(pieces(), rate, name, phones, mix)

    return Speech(name, rate, voice.shape[1], len(voice) / rate, chunks)


def _heard(
    pieces: Iterator[Voice], rate: int, name: str, phones: Sequence[Phone] | None, mix: Mix
) -> Iterator[SpeechChunk]:
    """Pieces of a voice with what engines hear of them: 16 kHz mono."""
    resampler = StreamResampler(rate, SAMPLE_RATE)
    waiting = None if phones is None else sorted(phones, key=lambda phone: phone.start)
    heard = 0
    piece: Voice | None = None
    # One piece ahead, to know the last chunk: it takes the resampler's tail and all phones that
    # are left.
    for upcoming in itertools.chain(pieces, [None]):
        if piece is not None:
            samples = resampler.push(mix(piece))
            if upcoming is None:
                samples = np.concatenate([samples, resampler.finish()])
            heard += len(samples)
            spoken = None
            if waiting is not None:
                starting = [phone for phone in waiting if upcoming is None or phone.start < heard]
                spoken, waiting = tuple(starting), waiting[len(starting) :]
            yield SpeechChunk(np.clip(samples, -1, 1), piece, spoken)
        elif upcoming is None:
            raise empty(name)
        piece = upcoming


def _voice(track: SoundTrack, mix: Mix) -> Iterator[Voice]:
    """The track in pieces of CHUNK_SECONDS or a little more, [m, 1 or 2], finite and within
    [-1, 1].
    """
    gathered: list[Voice] = []
    length = done = 0
    for decoded in track.pieces():
        piece = mix.channels(decoded)[:, None] if track.layout == "mean" else decoded
        gathered.append(_finite(piece, done, track.rate, shown(track.path)))
        length += len(piece)
        done += len(piece)
        if length >= _chunk_length(track.rate):
            yield np.concatenate(gathered)
            gathered, length = [], 0
    if length:
        yield np.concatenate(gathered)


def _chunk_length(rate: int) -> int:
    return int(rate * CHUNK_SECONDS)


def _finite(voice: Voice, position: int, rate: int, name: str) -> Voice:
    """The voice limited to [-1, 1]; `position` is where it begins. Raises UnusableSpeech on NaN
    or infinity.
    """
    bad = ~np.isfinite(voice)
    if bad.any():
        at = (position + int(np.flatnonzero(bad.any(axis=1))[0])) / rate
        raise UnusableSpeech(f"{name} has NaN or infinite samples at {at:.3f} s", hint="export it again")
    return np.clip(voice, -1, 1)


def _unit_range(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    if np.issubdtype(samples.dtype, np.floating):
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(samples, dtype=np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype in (np.int16, np.int32):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    raise UnusableSpeech(
        f"{name} has samples of type {samples.dtype}", hint="give float32, int16, int32 or uint8"
    )
