"""Life: what a face does on its own. Blinks, gaze, small head motion in the voice's rhythm,
brows on emphasis.

Everything is drawn from one seed, in order, as time goes on: the same seed and the same voice
give the same bytes, and memory does not grow. Events lie in time, not in frames, so that 25 and
60 frames per second look alike.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.move.state import LifeFrame

BLINK_INTERVAL_MEDIAN_SECONDS, BLINK_INTERVAL_SPREAD = 3.2, 0.45
BLINK_INTERVAL_LIMITS = (1.2, 7.0)
BLINK_CLOSES_SECONDS, BLINK_STAYS_SECONDS, BLINK_OPENS_SECONDS = 0.10, 0.04, 0.20
DOUBLE_BLINK_CHANCE, DOUBLE_BLINK_SECONDS = 0.12, 0.45
BLINK_WITH_GAZE_CHANCE = 0.25
"""People often blink as they look elsewhere."""

GAZE_HOLD_SECONDS = (0.7, 2.6)
GAZE_SIGMA = (0.012, 0.006)
GAZE_LIMIT = (0.030, 0.015)
"""Of the jumps, right and down, in eye distances."""
GAZE_RETURN_CHANCE = 0.6
"""Every other jump or so goes back to the viewer."""
GAZE_JUMP_SECONDS = 0.05

SWAY_DEGREES = np.array([2.6, 1.5, 1.2])
"""Amplitude of the slow sway: yaw, pitch, roll."""
SWAY_HZ = np.array(
    [[0.067, 0.113, 0.19, 0.31, 0.47], [0.079, 0.137, 0.21, 0.33, 0.53], [0.059, 0.097, 0.17, 0.29, 0.41]]
)
SWAY_SHARES = np.array([1.0, 0.9, 0.6, 0.35, 0.2])
FREQUENCY_SPREAD = 0.15
"""Each person's frequencies differ by up to this share, and their ratios are no small integers:
no period one notices.
"""
IDLE_SHARE = 0.7
"""Head motion of a listener, as a share of a speaker's."""
NOD_DEGREES, NOD_HZ = 1.6, 2.2
"""A full emphasis presses the chin down by this much, through a critically damped spring of
this frequency.
"""
SHIFT_PER_DEGREE = np.array([0.0035, -0.0025])
"""The head does not turn on a pin: shift right per degree of yaw, down per degree of pitch, in
eye distances.
"""
EASE_IN_SECONDS = 0.6
"""A clip starts in the photo's own pose."""
LIVELINESS_SECONDS = 0.5
"""Time constant of the change between listening and speaking."""

BROW_ATTACK_SECONDS, BROW_RELEASE_SECONDS = 0.08, 0.25


class Life:
    """One face's life over one timeline. head_motion, blink_rate and gaze scale what they name;
    0 switches it off.
    """

    def __init__(
        self,
        seed: int,
        fps: Fraction,
        *,
        head_motion: float = 1.0,
        blink_rate: float = 1.0,
        gaze: float = 1.0,
    ) -> None:
        self._step = float(1 / fps)
        self._fps = fps
        self._frame = 0
        self._head_motion = head_motion
        sway, blinks, looks = np.random.SeedSequence(seed).spawn(3)
        source = np.random.Generator(np.random.PCG64(sway))
        self._sway_hz = SWAY_HZ * source.uniform(1 - FREQUENCY_SPREAD, 1 + FREQUENCY_SPREAD, SWAY_HZ.shape)
        self._sway_phase = source.uniform(0, 2 * np.pi, SWAY_HZ.shape)
        self._sway_start = self._sway(0.0)
        self._gaze = _Gaze(np.random.Generator(np.random.PCG64(looks)), gaze)
        self._blinks = _Blinks(np.random.Generator(np.random.PCG64(blinks)), blink_rate)
        self._nod = self._nod_speed = 0.0
        self._liveliness = IDLE_SHARE
        self._brow = 0.0

    def next(self, loudness: float, emphasis: float) -> LifeFrame:
        """The next frame, with the voice's loudness and emphasis in 0..1 (0, 0 while idle)."""
        time = float(self._frame / self._fps)
        self._frame += 1
        wanted = 1.0 if loudness > 0 else IDLE_SHARE
        self._liveliness += (wanted - self._liveliness) * (1 - np.exp(-self._step / LIVELINESS_SECONDS))
        self._press_chin(emphasis)
        self._raise_brow(emphasis)
        ease = _smoothstep(time / EASE_IN_SECONDS)
        head = (self._sway(time) - self._sway_start * (1 - ease)) * SWAY_DEGREES * ease * self._liveliness
        head[1] -= self._nod * NOD_DEGREES
        head *= self._head_motion
        shift = head[:2] * SHIFT_PER_DEGREE
        looks, jump_at = self._gaze.at(time)
        return LifeFrame(
            head=(float(head[0]), float(head[1]), float(head[2])),
            shift=(float(shift[0]), float(shift[1])),
            gaze=looks,
            blink=self._blinks.at(time, jump_at),
            brow=float(self._brow),
        )

    def _sway(self, time: float) -> NDArray[np.float64]:
        """Sum of slow sines per axis, about -1..1: float64 [3]."""
        waves = np.sin(2 * np.pi * self._sway_hz * time + self._sway_phase)
        return np.asarray(waves @ (SWAY_SHARES / SWAY_SHARES.sum()), np.float64)

    def _press_chin(self, emphasis: float) -> None:
        """A critically damped spring after the emphasis, solved exactly for the step (so that
        any frame rate is stable).
        """
        omega = 2 * np.pi * NOD_HZ
        away, decay = self._nod - emphasis, np.exp(-omega * self._step)
        change = self._nod_speed + omega * away
        self._nod = emphasis + (away + change * self._step) * decay
        self._nod_speed = (self._nod_speed - change * omega * self._step) * decay

    def _raise_brow(self, emphasis: float) -> None:
        seconds = BROW_ATTACK_SECONDS if emphasis > self._brow else BROW_RELEASE_SECONDS
        self._brow += (emphasis - self._brow) * (1 - np.exp(-self._step / seconds))


class _Gaze:
    """Where the eyes look: jumps and holds."""

    def __init__(self, source: np.random.Generator, scale: float) -> None:
        self._source = source
        self._scale = scale
        self._from = self._to = np.zeros(2)
        self._jump_at = 0.0
        self._next_at = source.uniform(*GAZE_HOLD_SECONDS)

    def at(self, time: float) -> tuple[tuple[float, float], float | None]:
        """Gaze in eye distances, and when the jump began if one did since the last call. Time
        never goes back.
        """
        jump_at = None
        while time >= self._next_at:
            self._from, self._jump_at = self._to, self._next_at
            jump_at = self._next_at if self._scale else None
            away = np.clip(self._source.normal(0, GAZE_SIGMA), np.negative(GAZE_LIMIT), GAZE_LIMIT)
            back = self._source.uniform() < GAZE_RETURN_CHANCE and self._to.any()
            self._to = np.zeros(2) if back else away
            self._next_at += self._source.uniform(*GAZE_HOLD_SECONDS)
        part = _smoothstep((time - self._jump_at) / GAZE_JUMP_SECONDS)
        x, y = (self._from + (self._to - self._from) * part) * self._scale
        return (float(x), float(y)), jump_at


class _Blinks:
    """When the lids shut."""

    def __init__(self, source: np.random.Generator, rate: float) -> None:
        self._source = source
        self._rate = rate
        self._last = -np.inf
        self._next = source.uniform(0.6, 2.5) / rate if rate else np.inf

    def at(self, time: float, gaze_jump_at: float | None) -> float:
        """0 open .. 1 shut. Time never goes back."""
        if gaze_jump_at is not None and self._rate:
            self._pass(gaze_jump_at)
            rested = gaze_jump_at - self._last > BLINK_INTERVAL_LIMITS[0] and gaze_jump_at + 0.3 < self._next
            if rested and self._source.uniform() < BLINK_WITH_GAZE_CHANCE * min(self._rate, 1.0):
                self._next = gaze_jump_at
        self._pass(time)
        return _blink_shape(time - self._last)

    def _pass(self, time: float) -> None:
        while time >= self._next:
            self._last = self._next
            self._next += self._interval()

    def _interval(self) -> float:
        seconds = self._source.lognormal(np.log(BLINK_INTERVAL_MEDIAN_SECONDS), BLINK_INTERVAL_SPREAD)
        double = self._source.uniform() < DOUBLE_BLINK_CHANCE
        seconds = (
            DOUBLE_BLINK_SECONDS if double else float(np.clip(seconds, *BLINK_INTERVAL_LIMITS)) / self._rate
        )
        return max(seconds, DOUBLE_BLINK_SECONDS)


def _blink_shape(since: float) -> float:
    """Closedness this many seconds after a blink began."""
    if since < BLINK_CLOSES_SECONDS:
        return _smoothstep(since / BLINK_CLOSES_SECONDS)
    return 1 - _smoothstep((since - BLINK_CLOSES_SECONDS - BLINK_STAYS_SECONDS) / BLINK_OPENS_SECONDS)


def _smoothstep(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
