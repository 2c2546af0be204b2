"""One sound track of a container: decoded piece by piece, in its own time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from personare.errors import UnreadableMedia, UnusableSpeech
from personare.media.demux import check_decoder, claimed_seconds, decoded_frames, opened_container
from personare.media.local import shown

RATES_HZ = range(1000, 768001)

MOST_CHANNELS = 64
"""What FFmpeg's resampler takes."""

Voice = NDArray[np.float32]
"""float32 [m, channels] in [-1, 1] at the voice's own rate."""

SHORTEST_PAUSE_SECONDS = 0.06
"""Time stamps tremble by less; a longer gap was not sent, or was lost."""
LONGEST_PAUSE_SECONDS = 600
LATEST_START_SECONDS = 10
"""For a container that has nothing but the sound: its clock may have been running before."""
MOST_SILENCE_SECONDS = 3600
"""A longer gap, or more of them in all, is a clock that jumped: it is closed."""
_BACK_SECONDS = -1
_SILENCE_PIECE_SECONDS = 0.25
_CLOCKS_FROM_ZERO = "mov"


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """A track that can be decoded from its start any number of times.

    number: from 1, among the tracks of sound.
    rate: Hz.
    layout: "mono", "stereo", or "mean" for many channels of unknown place.
    channels: of what `pieces` gives: 1, 2, or all of them for "mean".
    seconds: what the container claims.
    """

    path: Path
    number: int
    rate: int
    layout: str
    channels: int
    seconds: float | None

    def pieces(self) -> Generator[Voice]:
        """[m, channels], one per codec packet or less; silence where the time stamps say that
        nothing was sent. Not checked for NaN, not limited to [-1, 1].
        """
        with opened_container(self.path, "sound") as container:
            stream = container.streams.audio[self.number - 1]
            clock = _Clock(_origin(container, stream), self.rate)
            with closing(_decoded(container, stream, self.path)) as frames:
                try:
                    yield from _converted(frames, self, clock)
                except av.FFmpegError as error:  # of the resampler: the form changed on the way
                    raise UnreadableMedia(
                        f"the sound of {shown(self.path)} changes into a form that cannot be converted",
                        hint="convert it to wav",
                    ) from error


def sound_tracks(path: Path, number: int | None = None) -> list[SoundTrack]:
    """The tracks of sound that can be decoded, the container's default first; or the one of
    this number.

    Raises UnreadableMedia for a file without one, or none of this number, or an impossible
    rate; UnusableSpeech if all are empty.
    """
    failed: UnreadableMedia | UnusableSpeech | None = None
    tracks: list[SoundTrack] = []
    with opened_container(path, "sound") as container:
        streams = list(container.streams.audio)
        best = container.streams.best("audio")
        if best is None or not streams:
            raise UnreadableMedia(f"{shown(path)} has no sound", hint="give a file with a voice in it")
        if number is not None and not 1 <= number <= len(streams):
            raise UnreadableMedia(
                f"{shown(path)} has {len(streams)} sound track{'s' if len(streams) > 1 else ''}, "
                f"no track {number}",
                hint=f"give a number from 1 to {len(streams)}",
            )
        default = cast(AudioStream, best).index
        numbers = sorted(range(1, len(streams) + 1), key=lambda n: streams[n - 1].index != default)
        numbers = numbers if number is None else [number]
        try:
            tracks.append(_track(container, path, numbers[0]))
        except (UnreadableMedia, UnusableSpeech) as error:
            failed = error
    for other in numbers[1:]:
        try:
            with opened_container(path, "sound") as container:  # at its start again
                tracks.append(_track(container, path, other))
        except (UnreadableMedia, UnusableSpeech):
            continue
    if not tracks and failed is not None:
        raise failed
    return tracks


def empty(name: str) -> UnusableSpeech:
    """The error for a sound without samples."""
    return UnusableSpeech(f"{name} is empty: its sound has zero samples", hint="give a recording of a voice")


def _track(container: InputContainer, path: Path, number: int) -> SoundTrack:
    stream = container.streams.audio[number - 1]
    check_decoder(stream, path, "sound")
    with closing(_decoded(container, stream, path)) as frames:
        first = next(frames, None)
    if first is None:
        raise empty(shown(path))
    rate, layout = first.sample_rate, _voice_layout(first)
    if rate not in RATES_HZ:
        raise UnreadableMedia(
            f"{shown(path)} has an impossible sample rate of {rate} Hz", hint="convert it to 48000 Hz"
        )
    if first.layout.nb_channels > MOST_CHANNELS:
        raise UnreadableMedia(
            f"{shown(path)} has {first.layout.nb_channels} channels of sound, more than {MOST_CHANNELS}",
            hint="mix it down to stereo first",
        )
    channels = {"mono": 1, "stereo": 2}.get(layout, first.layout.nb_channels)
    return SoundTrack(path, number, rate, layout, channels, claimed_seconds(container, stream))


def _decoded(container: InputContainer, stream: AudioStream, path: Path) -> Generator[AudioFrame]:
    frames = cast(Iterator[AudioFrame], decoded_frames(container, stream, path, "sound"))
    for frame in frames:
        if frame.samples:
            yield frame


def _origin(container: InputContainer, stream: AudioStream) -> tuple[float, float]:
    """When the container begins, and up to how late its sound may: in seconds."""
    begins = (container.start_time or 0) / av.time_base
    if any(other is not stream and other.start_time is not None for other in container.streams):
        return begins, LONGEST_PAUSE_SECONDS
    if container.format.name.startswith(_CLOCKS_FROM_ZERO):  # an edit list says what comes before
        return min(begins, 0.0), LATEST_START_SECONDS
    return begins, 0.0


class _Clock:
    """Tells how much silence belongs before each frame, in samples of the track's rate.

    A pause begins where a frame comes later than the one before it ends; its silence ends where
    the frame's time stamp says, so that nothing adds up. Small overlaps are left; a clock that
    jumps back, or far ahead, goes on from where it was.
    """

    def __init__(self, origin: tuple[float, float], rate: int) -> None:
        self._origin, self._latest = origin  # all times are in seconds
        self._rate = rate
        self._first = True
        self._given = 0.0  # sound and silence so far
        self._before_ends = 0.0  # by the time stamp of the frame before
        self._silence = 0.0

    def silence_before(self, frame: AudioFrame) -> int:
        begins, pause = self._before_ends, 0.0
        if frame.pts is not None and frame.time_base is not None:
            begins = frame.pts * frame.time_base.numerator / frame.time_base.denominator - self._origin
            late = begins - self._before_ends
            longest = self._latest if self._first else LONGEST_PAUSE_SECONDS
            if not _BACK_SECONDS <= late <= max(longest, SHORTEST_PAUSE_SECONDS):
                begins = self._before_ends
                self._origin += late
            elif late >= SHORTEST_PAUSE_SECONDS:
                pause = max(0.0, begins - self._given)
        if self._silence + pause > MOST_SILENCE_SECONDS:
            begins -= pause
            self._origin += pause
            pause = 0.0
        lasts = frame.samples / frame.sample_rate
        self._first = False
        self._silence += pause
        self._given += pause + lasts
        self._before_ends = begins + lasts
        return round(pause * self._rate)


def _converted(frames: Iterator[AudioFrame], track: SoundTrack, clock: _Clock) -> Iterator[Voice]:
    """Frames of any format as [m, channels] at one rate and layout, also where the format
    changes on the way.
    """
    resampler, source = None, None
    for frame in frames:
        if resampler is None or (frame.format.name, frame.layout.name, frame.sample_rate) != source:
            if resampler is not None:
                yield from _arrays(resampler.resample(None), track)
            # Packed: the planes of more than eight channels are beyond what the binding reads.
            resampler = av.AudioResampler(
                format="flt",
                layout=frame.layout.name if track.layout == "mean" else track.layout,
                rate=track.rate,
            )
            source = (frame.format.name, frame.layout.name, frame.sample_rate)
        yield from _silence(clock.silence_before(frame), track)
        frame.pts = None  # gaps are filled by the clock alone
        yield from _arrays(resampler.resample(frame), track)
    if resampler is not None:
        yield from _arrays(resampler.resample(None), track)


def _arrays(frames: list[AudioFrame], track: SoundTrack) -> Iterator[Voice]:
    for frame in frames:
        voice = np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels)
        if voice.shape[1] != track.channels:  # unknown places, and another number of them than before
            voice = np.repeat(voice.mean(axis=1, keepdims=True, dtype=np.float32), track.channels, axis=1)
        yield voice


def _silence(samples: int, track: SoundTrack) -> Iterator[Voice]:
    step = max(1, int(track.rate * _SILENCE_PIECE_SECONDS))
    for start in range(0, samples, step):
        yield np.zeros((min(step, samples - start), track.channels), np.float32)


def _voice_layout(frame: AudioFrame) -> str:
    """What the voice keeps of a frame's channels: "mono", "stereo", or "mean" for many channels
    of unknown place.
    """
    if frame.layout.nb_channels <= 2:
        return "mono" if frame.layout.nb_channels == 1 else "stereo"
    placed = all(channel.name not in ("", "NONE", "UNK", "UNSD") for channel in frame.layout.channels)
    return "stereo" if placed and not frame.layout.name.endswith("channels") else "mean"
