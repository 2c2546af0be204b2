"""Voices: any sound file, or an array, as Speech."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from personare.errors import UnreadableMedia, UnusableSpeech
from personare.media.demux import claimed_seconds, decoded_frames, opened_container
from personare.media.local import shown
from personare.media.resample import StreamResampler
from personare.types import SAMPLE_RATE, Phone, Speech, SpeechChunk

CHUNK_SECONDS = 0.25
"""Chunks are at least this long (but the last) and at most one codec packet longer."""

_RATES_HZ = range(1000, 768001)
_MAX_CHANNELS = 64
"""Of an array; more are samples, and the array lies on its side."""

Voice = NDArray[np.float32]
"""float32 [m, channels] in [-1, 1] at the voice's own rate, one or two channels."""


def open_speech(path: Path) -> Speech:
    """The first (or default) sound track of a file as Speech; memory does not grow with its
    length.

    Any rate, layout and sample format that FFmpeg decodes. Encoder delay is left out where the
    container declares it; gaps in the time stamps are closed. More than two channels are mixed
    down to stereo with the ITU-R BS.775 weights (channels of unknown place: to their mean);
    `samples` is the mean of `voice` over channels; both are limited to [-1, 1].

    A file that ends too early plays up to its end, and packets that cannot be decoded are left
    out. Raises UnreadableMedia at once for a file without sound that can be decoded,
    UnusableSpeech at once for one with zero samples, and UnusableSpeech from `chunks()` on NaN
    or infinite samples.
    """
    with opened_container(path, "sound") as container:
        stream = _sound_track(container, path)
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise _empty(shown(path))
        rate, layout = first.sample_rate, _voice_layout(first)
        if rate not in _RATES_HZ:
            raise UnreadableMedia(
                f"{shown(path)} has an impossible sample rate of {rate} Hz", hint="convert it to 48000 Hz"
            )
        seconds = claimed_seconds(container, stream)

    def chunks() -> Iterator[SpeechChunk]:
        with opened_container(path, "sound") as container:
            stream = _sound_track(container, path)
            yield from _heard(_voice(container, stream, path, rate, layout), rate, shown(path), phones=None)

    return Speech(shown(path), rate, _channels(layout), seconds, chunks)


def speech_from_samples(
    samples: NDArray[Any], rate: int, name: str = "speech", phones: Sequence[Phone] | None = None
) -> Speech:
    """An array as Speech.

    samples: [n] or [n, channels], float in [-1, 1] (limited to it), int16, int32 or uint8 PCM.
    more than two channels are averaged to one. rate: Hz. phones: with positions at 16 kHz; each
    goes with the chunk in which it starts. Raises UnusableSpeech for no samples, another shape
    or type, an impossible rate, NaN or infinite samples.
    """
    if rate not in _RATES_HZ:
        raise UnusableSpeech(
            f"{name} has an impossible sample rate of {rate} Hz", hint="give 1000 to 768000 Hz"
        )
    voice = _unit_range(samples, name)
    if voice.ndim == 1:
        voice = voice[:, None]
    if voice.ndim != 2 or not 0 < voice.shape[1] <= _MAX_CHANNELS:
        raise UnusableSpeech(f"{name} has shape {samples.shape}", hint="give an array [n] or [n, channels]")
    if len(voice) == 0:
        raise _empty(name)
    if voice.shape[1] > 2:
        voice = voice.mean(axis=1, keepdims=True, dtype=np.float32)
    voice = _finite(voice, 0, rate, name)

    def pieces() -> Iterator[Voice]:
        step = _chunk_length(rate)
        for start in range(0, len(voice), step):
            yield voice[start : start + step]

    def chunks() -> Iterator[SpeechChunk]:
        return _heard(pieces(), rate, name, phones)

    return Speech(name, rate, voice.shape[1], len(voice) / rate, chunks)


def _heard(
    pieces: Iterator[Voice], rate: int, name: str, phones: Sequence[Phone] | None
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
            samples = resampler.push(piece.mean(axis=1, dtype=np.float32))
            if upcoming is None:
                samples = np.concatenate([samples, resampler.finish()])
            heard += len(samples)
            spoken = None
            if waiting is not None:
                starting = [phone for phone in waiting if upcoming is None or phone.start < heard]
                spoken, waiting = tuple(starting), waiting[len(starting) :]
            yield SpeechChunk(np.clip(samples, -1, 1), piece, spoken)
        elif upcoming is None:
            raise _empty(name)
        piece = upcoming


def _voice(
    container: InputContainer, stream: AudioStream, path: Path, rate: int, layout: str
) -> Iterator[Voice]:
    """The track in pieces of CHUNK_SECONDS or a little more, [m, channels], finite and within
    [-1, 1].
    """
    gathered: list[Voice] = []
    length = done = 0
    for piece in _converted(_decoded(container, stream, path), rate, layout):
        gathered.append(_finite(piece, done, rate, shown(path)))
        length += len(piece)
        done += len(piece)
        if length >= _chunk_length(rate):
            yield np.concatenate(gathered)
            gathered, length = [], 0
    if length:
        yield np.concatenate(gathered)


def _decoded(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    frames = cast(Iterator[AudioFrame], decoded_frames(container, stream, path, "sound"))
    return (frame for frame in frames if frame.samples)


def _converted(frames: Iterator[AudioFrame], rate: int, layout: str) -> Iterator[Voice]:
    """Frames of any format as [m, channels] at one rate and layout, also where the format
    changes on the way.
    """
    resampler, source = None, None
    for frame in frames:
        if resampler is None or (frame.format.name, frame.layout.name, frame.sample_rate) != source:
            if resampler is not None:
                yield from _planar(resampler.resample(None), layout)
            resampler = av.AudioResampler(
                format="fltp", layout=frame.layout.name if layout == "mean" else layout, rate=rate
            )
            source = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame.pts = None  # else gaps in the time stamps would be filled with silence
        yield from _planar(resampler.resample(frame), layout)
    if resampler is not None:
        yield from _planar(resampler.resample(None), layout)


def _planar(frames: list[AudioFrame], layout: str) -> Iterator[Voice]:
    for frame in frames:
        voice = np.asarray(frame.to_ndarray().T, dtype=np.float32)
        yield voice.mean(axis=1, keepdims=True, dtype=np.float32) if layout == "mean" else voice


def _voice_layout(frame: AudioFrame) -> str:
    """What the voice keeps of a frame's channels: "mono", "stereo", or "mean" for many channels
    of unknown place.
    """
    if frame.layout.nb_channels <= 2:
        return "mono" if frame.layout.nb_channels == 1 else "stereo"
    placed = all(channel.name not in ("", "NONE", "UNK", "UNSD") for channel in frame.layout.channels)
    return "stereo" if placed and not frame.layout.name.endswith("channels") else "mean"


def _channels(layout: str) -> int:
    return 2 if layout == "stereo" else 1


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


def _empty(name: str) -> UnusableSpeech:
    return UnusableSpeech(f"{name} is empty: its sound has zero samples", hint="give a recording of a voice")


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


def _sound_track(container: InputContainer, path: Path) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise UnreadableMedia(f"{shown(path)} has no sound", hint="give a file with a voice in it")
    if stream.codec_context is None:
        raise UnreadableMedia(
            f"the sound of {shown(path)} is in a format without a decoder", hint="convert it to wav"
        )
    return stream
