"""What of a file's sound is the voice: which track speaks, which channels would cancel, how far
a clean but very quiet voice is raised.

All of it is found in the first minutes, once, before anything is heard: the same file sounds
the same in whatever pieces it is heard.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.errors import UnreadableMedia, UnusableSpeech
from personare.media.resample import StreamResampler
from personare.media.sound_track import SoundTrack, Voice
from personare.types import SAMPLE_RATE, Samples

LISTEN_SECONDS = 180
"""How much of a track is listened to at most."""
ENOUGH_SECONDS = 5.0
"""Of sound, to know how its channels are related."""
ENOUGH_SPEECH_SECONDS = 30.0
"""Of sound, to know whether a track speaks."""
CANCELS_BELOW = -0.8
"""Correlation with the loudest channel below which a channel is turned round before mixing."""
QUIET_DBFS = -42.0
"""A clean voice that never becomes louder than this is raised to LOUDEST_DBFS, where speech of
-26 dBFS RMS has its loudest tenth of a second. Down to here the running level of what engines
hear is enough.
"""
LOUDEST_DBFS = -18.0
MOST_GAIN_DB = 60.0
CLEAN_DB = 25.0
"""Between its loudest tenth of a second and its quiet parts, without which a quiet sound is
noise and not raised.
"""
SOUND_DBFS = -60.0
"""What is quieter is silence, for all that it says about channels and tracks."""
SPEAKS_SHARE = 0.25
"""The default track is kept if it speaks for this share of the time of the one that speaks
most.
"""

_BLOCK = SAMPLE_RATE // 10
_SHORT = SAMPLE_RATE // 100
_SILENCE_DBFS = -120.0
_WINDOW = SAMPLE_RATE
_FRAME, _HOP = 640, 320
_PITCH_HZ = (70, 400)
_VOICED = 0.55
_RANGE_DB = 12.0
_VOICED_SHARES = (0.15, 0.97)
_CHANGING_CENTROID = 0.25


@dataclass(frozen=True, slots=True)
class Mix:
    """How the channels of a track become what engines hear: each times its sign, their mean,
    times the gain.
    """

    signs: tuple[int, ...]
    gain: float = 1.0

    def __call__(self, voice: Voice) -> Samples:
        """float32 [m, channels] -> [m], not limited."""
        mono = self.channels(voice)
        return mono if self.gain == 1 else np.asarray(mono * np.float32(self.gain))

    def channels(self, voice: Voice) -> Samples:
        """The mean of the channels, none of which cancels another: float32 [m]."""
        if min(self.signs) < 0:
            voice = voice * np.array(self.signs, np.float32)
        return np.asarray(voice.mean(axis=1, dtype=np.float32))


def chosen_track(tracks: list[SoundTrack]) -> SoundTrack:
    """The track that speaks: the default (the first) unless another speaks and it hardly does."""
    if len(tracks) == 1:
        return tracks[0]
    spoken: list[float] = []
    loudest: list[float] = []
    for track in tracks:
        try:
            with closing(_first_minutes(track)) as pieces:
                mono = _heard(pieces, track.rate, track.channels, ENOUGH_SPEECH_SECONDS).mono
        except (UnreadableMedia, UnusableSpeech):
            mono = np.zeros(0, np.float32)
        spoken.append(speech_seconds(mono))
        loudest.append(_loudest_dbfs(mono))
    if max(spoken) > 0:
        return tracks[0] if spoken[0] >= SPEAKS_SHARE * max(spoken) else tracks[int(np.argmax(spoken))]
    return tracks[0] if loudest[0] > SOUND_DBFS else tracks[int(np.argmax(loudest))]


def mix_of(pieces: Iterable[Voice], rate: int, channels: int) -> Mix:
    """The mix for a voice in pieces of [m, channels] at `rate` Hz, from its first minutes."""
    heard = _heard(iter(pieces), rate, channels, 0.0 if channels == 1 else ENOUGH_SECONDS, QUIET_DBFS)
    return Mix(heard.signs, 1.0 if heard.loud else _gain(heard.mono))


def track_mix(track: SoundTrack) -> Mix:
    """The same for a track of a file."""
    with closing(_first_minutes(track)) as pieces:
        return mix_of(pieces, track.rate, track.channels)


def speech_seconds(mono: Samples) -> float:
    """For how long a sound at 16 kHz is like speech, in steps of half a second: its level rises
    and falls, part of it is voiced, and its spectrum moves, as that of hum, noise, beeps and
    most music does not.
    """
    starts = range(0, len(mono) - _WINDOW + 1, _WINDOW // 2)
    return sum(_like_speech(mono[start : start + _WINDOW]) for start in starts) / 2


def _first_minutes(track: SoundTrack) -> Generator[Voice]:
    seconds = 0.0
    with closing(track.pieces()) as pieces:
        for piece in pieces:
            yield np.clip(np.nan_to_num(piece), -1, 1)
            seconds += len(piece) / track.rate
            if seconds >= LISTEN_SECONDS:
                return


@dataclass(frozen=True, slots=True)
class _Heard:
    """mono: 16 kHz. signs: of the channels. loud: whether anything was above a level."""

    mono: Samples
    signs: tuple[int, ...]
    loud: bool


def _heard(
    pieces: Iterator[Voice],
    rate: int,
    channels: int,
    enough_seconds: float,
    loud_dbfs: float = _SILENCE_DBFS,
) -> _Heard:
    """The first minutes; fewer when that much sound was heard, and something above that level."""
    together = np.zeros((channels, channels))
    resampler = StreamResampler(rate, SAMPLE_RATE)
    mono: list[Samples] = []
    loud, sound_seconds, seconds = False, 0.0, 0.0
    for piece in pieces:
        wide = piece.astype(np.float64) - piece.mean(axis=0, dtype=np.float64)  # an offset is no sound
        together += np.einsum("ic,id->cd", wide, wide)  # on one thread: BLAS would wake all cores
        mono.append(resampler.push(Mix(_signs(together))(piece)))
        level = _dbfs(float((wide**2).mean())) if len(piece) else _SILENCE_DBFS
        seconds += len(piece) / rate
        sound_seconds += len(piece) / rate if level > SOUND_DBFS else 0.0
        loud = loud or level > loud_dbfs
        if seconds >= LISTEN_SECONDS or (loud and sound_seconds >= enough_seconds):
            break
    mono.append(resampler.finish())
    return _Heard(np.concatenate(mono), _signs(together), loud)


def _signs(together: NDArray[np.float64]) -> tuple[int, ...]:
    """-1 for channels that would cancel the loudest one."""
    power = np.diag(together)
    loudest = int(power.argmax())
    scale = np.sqrt(power * power[loudest])
    related = np.divide(together[loudest], scale, out=np.zeros(len(power)), where=scale > 0)
    signs = np.where(related < CANCELS_BELOW, -1, 1)
    return tuple(int(sign) for sign in signs * (signs[0] if signs.min() < 0 else 1))


def _gain(mono: Samples) -> float:
    """1 for all but clean, very quiet speech."""
    loudest = _loudest_dbfs(mono)
    if not _SILENCE_DBFS < loudest < QUIET_DBFS:
        return 1.0
    clean = loudest - float(np.percentile(_levels_dbfs(mono, _SHORT), 10)) >= CLEAN_DB
    if not clean or speech_seconds(_with_second(mono)) == 0:
        return 1.0
    return float(10 ** (min(LOUDEST_DBFS - loudest, MOST_GAIN_DB) / 20))


def _with_second(mono: Samples) -> Samples:
    """At least a second of it, for one word is shorter."""
    return np.pad(mono, (0, max(0, _WINDOW - len(mono))))


def _loudest_dbfs(mono: Samples) -> float:
    return float(_levels_dbfs(mono, _BLOCK).max(initial=_SILENCE_DBFS))


def _levels_dbfs(mono: Samples, block: int) -> NDArray[np.float64]:
    """RMS of each whole block; of a shorter sound, of all of it."""
    count = len(mono) // block
    blocks = mono[: count * block].reshape(count, block) if count else mono[None, :]
    if blocks.size == 0:
        return np.zeros(0)
    power = (blocks.astype(np.float64) ** 2).mean(axis=1)
    return np.asarray(10 * np.log10(power + 10 ** (_SILENCE_DBFS / 10)))


def _like_speech(window: Samples) -> bool:
    levels = _levels_dbfs(window, _SHORT)
    if (
        levels.max() <= _SILENCE_DBFS + 20
        or np.percentile(levels, 90) - np.percentile(levels, 10) < _RANGE_DB
    ):
        return False
    count = (len(window) - _FRAME) // _HOP + 1
    frames = np.lib.stride_tricks.sliding_window_view(window.astype(np.float64), _FRAME)[::_HOP][:count]
    power = (frames**2).mean(axis=1)
    frames = frames[power > power.max() * 1e-3] * np.hanning(_FRAME)
    spectrum = np.abs(np.fft.rfft(frames, 2 * _FRAME)) ** 2
    related = np.fft.irfft(spectrum)[:, : _FRAME // 2]
    lags = slice(SAMPLE_RATE // _PITCH_HZ[1], SAMPLE_RATE // _PITCH_HZ[0])
    voiced = float(((related[:, lags].max(axis=1) / related[:, 0]) > _VOICED).mean())
    hz = np.arange(spectrum.shape[1])
    centroid = (spectrum * hz).sum(axis=1) / spectrum.sum(axis=1)
    low, high = _VOICED_SHARES
    return low <= voiced <= high and float(np.log(centroid + 1).std()) > _CHANGING_CENTROID


def _dbfs(power: float) -> float:
    return float(10 * np.log10(power + 10 ** (_SILENCE_DBFS / 10)))
