"""Life: what a face does on its own. Blinks and gaze; head, brows and cheeks in the voice's
rhythm.

Everything is drawn from one seed, in order, as time goes on: the same seed and the same voice
give the same bytes, and memory does not grow. Events lie in time, not in frames, so that 25 and
60 frames per second look alike.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from personare.engines.puppet.move.features import Features
from personare.engines.puppet.move.glide import Glide
from personare.engines.puppet.move.head import Head
from personare.engines.puppet.move.rhythm import Rhythm, Sustain
from personare.engines.puppet.move.state import LifeFrame, MouthFrame

BLINK_INTERVAL_MEDIAN_SECONDS, BLINK_INTERVAL_SPREAD = 3.2, 0.45
BLINK_INTERVAL_LIMITS = (1.2, 7.0)
BLINK_CLOSES_SECONDS, BLINK_STAYS_SECONDS, BLINK_OPENS_SECONDS = 0.10, 0.04, 0.20
DOUBLE_BLINK_CHANCE, DOUBLE_BLINK_SECONDS = 0.12, 0.45
BLINK_WITH_GAZE_CHANCE = 0.25
"""People often blink as they look elsewhere."""

GAZE_HOLD_SECONDS = (0.7, 2.6)
GAZE_SIGMA = (0.012, 0.009)
GAZE_LIMIT = (0.030, 0.020)
"""Of the jumps, right and down, in eye distances."""
GAZE_RETURN_CHANCE = 0.6
"""Every other jump or so goes back to the viewer."""
GAZE_JUMP_SECONDS = 0.05

SHUTS_CHANCE, SHUTS_SECONDS = 0.4, 0.35
"""How many held vowels of a singer shut the eyes, and how fast."""
EASE_IN_SECONDS = 1.0
"""A clip starts in the photo's own pose."""


class Life:
    """One face's life over one timeline. head_motion, blink_rate and gaze scale what they name;
    0 switches it off. Without head motion a face that does not speak is still.
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
        self._fps = fps
        self._frame = 0
        head, blinks, looks, features, singing = (
            np.random.Generator(np.random.PCG64(part)) for part in np.random.SeedSequence(seed).spawn(5)
        )
        self._sustain, self._rhythm = Sustain(float(1 / fps)), Rhythm(float(1 / fps))
        self._head = Head(head, head_motion)
        self._features = Features(features, listening=min(1.0, head_motion))
        self._gaze = _Gaze(looks, gaze)
        self._blinks = _Blinks(blinks, blink_rate)
        self._singing = _Singing(singing, min(1.0, blink_rate))

    def next(self, mouth: MouthFrame) -> LifeFrame:
        """The next frame, with what the voice asks of the mouth."""
        time = float(self._frame / self._fps)
        self._frame += 1
        held = self._sustain.push(mouth.curves)
        beat = self._rhythm.push(mouth.loudness, mouth.emphasis, held)
        eased = _smoothstep(time / EASE_IN_SECONDS)
        yaw, pitch, roll, right, down = (float(v) for v in self._head.at(time, eased, beat))
        looks, jump_at = self._gaze.at(time)
        return LifeFrame(
            head=(yaw, pitch, roll),
            shift=(right, down),
            gaze=looks,
            blink=max(self._blinks.at(time, jump_at), self._singing.at(time, beat.sings, held)),
            curves=self._features.at(time, eased, beat, looks[1]),
        )


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


class _Singing:
    """Eyes that shut on some of the vowels that are held, for as long as these are."""

    def __init__(self, source: np.random.Generator, chance: float) -> None:
        self._source = source
        self._chance = SHUTS_CHANCE * chance
        self._lids = Glide(1)
        self._shut = False

    def at(self, time: float, begins: bool, held: float) -> float:
        """0 open .. 1 shut. Time never goes back. begins: a vowel begins to be held."""
        if begins and self._source.uniform() < self._chance:
            self._shut = True
            self._lids.go(time, ((1.0,), SHUTS_SECONDS))
        elif self._shut and not held:
            self._shut = False
            self._lids.go(time, ((0.0,), SHUTS_SECONDS))
        return min(1.0, max(0.0, float(self._lids.at(time)[0])))


def _blink_shape(since: float) -> float:
    """Closedness this many seconds after a blink began."""
    if since < BLINK_CLOSES_SECONDS:
        return _smoothstep(since / BLINK_CLOSES_SECONDS)
    return 1 - _smoothstep((since - BLINK_CLOSES_SECONDS - BLINK_STAYS_SECONDS) / BLINK_OPENS_SECONDS)


def _smoothstep(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
