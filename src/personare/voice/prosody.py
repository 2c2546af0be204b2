"""How a voice moves, without look-ahead: whether anyone speaks, how loudly for this voice, what
is stressed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_VOICE_ON, _VOICE_STAYS = 0.5, 0.35
_SILENCE_OFF, _SILENCE_STAYS = 0.5, 0.65
_FRAMES_TO_START = 3
_FRAMES_TO_STOP = 12
_ABOVE_FLOOR_DB = 6.0
_FLOOR_AT_START_DBFS = -40.0
_FRAMES_TO_FIND_FLOOR = 30
_FLOOR_RISE_DB = 0.05
_LEVEL_SMOOTHING = 0.25
_RISE, _FALL = 1 / 5, 1 / 20
"""The mouth wakes within 50 ms and comes to rest over 200 ms."""


class SpeechActivity:
    """Whether someone speaks, with hysteresis: decided frame by frame from what the network
    hears and from the level.

    To start it takes three frames in a row that sound like speech and stand 6 dB above the
    noise floor, which steady noise does not, though the network takes it for speech now and
    then. To stop it takes 120 ms without a voice. The floor is the lowest level so far, rising
    5 dB per second; for 300 ms, until something is known, at most -40 dBFS.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._floor_dbfs = math.inf
        self._frames_like_speech = 0
        self._frames_unlike_speech = _FRAMES_TO_STOP

    def push(self, voice: float, silence: float, level_dbfs: float, known: bool) -> bool:
        """One frame: probabilities of voice and silence, smoothed level; `known` if phones say
        what is spoken.
        """
        self._frames += 1
        self._floor_dbfs = min(level_dbfs, self._floor_dbfs + _FLOOR_RISE_DB)
        found = self._frames > _FRAMES_TO_FIND_FLOOR
        floor_dbfs = self._floor_dbfs if found else min(self._floor_dbfs, _FLOOR_AT_START_DBFS)
        stands_out = known or level_dbfs > floor_dbfs + _ABOVE_FLOOR_DB
        like_speech = voice > _VOICE_ON and silence < _SILENCE_OFF and stands_out
        self._frames_like_speech = self._frames_like_speech + 1 if like_speech else 0
        active = self._frames_unlike_speech < _FRAMES_TO_STOP
        stays = active and voice > _VOICE_STAYS and silence < _SILENCE_STAYS
        if stays or self._frames_like_speech >= _FRAMES_TO_START:
            self._frames_unlike_speech = 0
        else:
            self._frames_unlike_speech += 1
        return self._frames_unlike_speech < _FRAMES_TO_STOP


class RunningQuantile:
    """A quantile of a stream, by steps up and down in the ratio of the odds (Robbins-Monro);
    forgets slowly.
    """

    def __init__(self, probability: float, start: float, step: float) -> None:
        self.value = start
        self._up, self._down = probability * step, (1 - probability) * step

    def push(self, value: float) -> None:
        self.value += self._up if value > self.value else -self._down


@dataclass(frozen=True, slots=True)
class ProsodyFrame:
    """The voice in one frame of 10 ms.

    presence: 0 (mouth at rest) .. 1 (speaking), eased.
    relative_level: 0 at this voice's quiet frames, 1 at its loud ones, unclipped.
    loudness, emphasis: 0 .. 1, 0 at rest; emphasis is high on syllables louder than those
        before.
    """

    presence: float
    relative_level: float
    loudness: float
    emphasis: float


class Prosody:
    """Presence, loudness and emphasis of one utterance, frame by frame."""

    _QUIET_QUANTILE, _LOUD_QUANTILE = 0.10, 0.92
    _QUIET_BELOW_ONSET_DB, _LOUD_ABOVE_ONSET_DB = 6.0, 12.0
    _STEP_DB = 0.6
    _SMALLEST_RANGE_DB = 6.0
    _MEAN_SMOOTHING = 1 / 150
    _EMPHASIS_FROM, _EMPHASIS_RANGE = 0.15, 0.45
    _EMPHASIS_ATTACK, _EMPHASIS_RELEASE = 0.3, 0.06

    def __init__(self) -> None:
        self._activity = SpeechActivity()
        self._level_dbfs: float | None = None
        self._quiet: RunningQuantile | None = None
        self._loud: RunningQuantile | None = None
        self._mean_level = 0.5
        self._presence = 0.0
        self._emphasis = 0.0

    def push(self, voice: float, silence: float, level_dbfs: float, known: bool) -> ProsodyFrame:
        """One frame of 10 ms; arguments as for SpeechActivity, the level not smoothed."""
        level = level_dbfs if self._level_dbfs is None else self._level_dbfs
        level += _LEVEL_SMOOTHING * (level_dbfs - level)
        self._level_dbfs = level
        active = self._activity.push(voice, silence, level, known)
        relative = self._relative(level, active)
        self._presence = min(1.0, self._presence + _RISE) if active else max(0.0, self._presence - _FALL)
        stress = _unit((relative - self._mean_level - self._EMPHASIS_FROM) / self._EMPHASIS_RANGE)
        speed = self._EMPHASIS_ATTACK if stress > self._emphasis else self._EMPHASIS_RELEASE
        self._emphasis += speed * (stress - self._emphasis)
        if active:
            self._mean_level += self._MEAN_SMOOTHING * (relative - self._mean_level)
        presence = self._presence**2 * (3 - 2 * self._presence)
        return ProsodyFrame(presence, relative, presence * _unit(relative), presence * self._emphasis)

    def _relative(self, level: float, active: bool) -> float:
        """Where the level lies between this voice's quiet (0) and loud (1) frames."""
        if self._quiet is None or self._loud is None:
            if not active:
                return 0.0
            self._quiet = RunningQuantile(
                self._QUIET_QUANTILE, level - self._QUIET_BELOW_ONSET_DB, self._STEP_DB
            )
            self._loud = RunningQuantile(
                self._LOUD_QUANTILE, level + self._LOUD_ABOVE_ONSET_DB, self._STEP_DB
            )
        if active:
            self._quiet.push(level)
            self._loud.push(level)
        span = max(self._SMALLEST_RANGE_DB, self._loud.value - self._quiet.value)
        return (level - self._quiet.value) / span


def _unit(x: float) -> float:
    return min(1.0, max(0.0, x))
