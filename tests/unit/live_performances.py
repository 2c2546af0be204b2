"""A performance whose pictures tell which sample they belong to, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from personare.engines.performance import Made, Performance
from personare.engines.utterance import Utterance
from personare.serve.live.pace import Pace

TICK = 640
LOOKAHEAD_TICKS = 4


class Mirror(Performance):
    """Frame k shows the level of sample k * 16000 / fps, LOOKAHEAD_TICKS late; 0 at rest."""

    def __init__(self, fps: Fraction = Fraction(25), *, guided: bool = False) -> None:
        super().__init__(guided=guided)
        self.fps, self.size = fps, (2, 2)
        self.drawn = 0
        self.fails_at = 10**9
        self._heard = np.zeros(0, np.float32)
        self._made = 0

    def _begin(self, said: Utterance) -> None:
        self._heard, self._made = np.zeros(0, np.float32), 0

    def _hear(self, said, samples, phones) -> Iterator[Made]:
        self._heard = np.concatenate([self._heard, samples])
        while (self._made + 1 + LOOKAHEAD_TICKS) * 16000 / self.fps <= len(self._heard):
            yield self._frame()

    def _end(self, said) -> Iterator[Made]:
        if not said.samples:  # a guide of ten frames
            said.expected = 10
            self._heard = np.full(10 * TICK, 0.5, np.float32)
        while self._made < self._count(said):
            yield self._frame()

    def _frame(self) -> Made:
        if self._made >= self.fails_at:
            raise RuntimeError("a fault of the wing")
        at = -(-self._made * 16000 // self.fps)
        self._made += 1
        self.drawn += 1
        return Made(np.full((1, 2, 2, 3), round(float(self._heard[int(at)]) * 255), np.uint8))

    def _rest(self, n) -> Made:
        self.drawn += n
        return Made(np.zeros((n, 2, 2, 3), np.uint8))

    def _pass(self, n) -> None:
        pass


class TurnedClock:
    """Time passes when somebody waits, or `passes` says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.woken = False
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> bool:
        woken, self.woken = self.woken, False
        if not woken:
            self.waits.append(seconds)
            self.time += seconds
        return woken

    def wake(self) -> None:
        self.woken = True

    def passes(self, seconds: float) -> None:
        self.time += seconds


def paced(clock: TurnedClock, fps: Fraction = Fraction(25)) -> Pace:
    return Pace(fps, clock)
