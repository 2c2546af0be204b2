"""When a tick is due."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from typing import Protocol

SLIP_SECONDS = 0.5
"""Who is later than this does not catch up."""


class Clock(Protocol):
    """Time, and a wait that can be cut short."""

    def now(self) -> float:
        """Seconds; never goes back."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until `wake`; whether it was woken."""
        ...

    def wake(self) -> None:
        """End the wait, from any thread; a wait that comes later ends at once."""
        ...


class SystemClock:
    """The machine's."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        woken = self._woken.wait(seconds)
        self._woken.clear()
        return woken

    def wake(self) -> None:
        self._woken.set()


class Pace:
    """Tick i is due i / fps after the beginning.

    A tick that is woken (an interruption) may come at once, but never more than one tick before
    its time: so the first idle picture does not wait, and the clock does not run away.
    """

    def __init__(self, fps: Fraction, clock: Clock) -> None:
        self.clock = clock
        self.slips = 0
        """How often the clock was set back because ticks took too long."""
        self._fps = fps
        self._begun = clock.now()
        self._first = 0

    def begin(self, index: int) -> None:
        """Tick `index` is due now."""
        self._begun, self._first = self.clock.now(), index

    def wait(self, index: int) -> None:
        """Wait until tick `index` may be made."""
        earlier = 0.0
        while (left := self._due(index) - earlier - self.clock.now()) > 0:
            if self.clock.wait(left):
                earlier = float(1 / self._fps)
        if left + earlier < -SLIP_SECONDS:
            self._begun += -(left + earlier)
            self.slips += 1

    def late(self, index: int) -> float:
        """Seconds by which tick `index` is late now; below 0: there is time."""
        return self.clock.now() - self._due(index)

    def _due(self, index: int) -> float:
        return self._begun + float((index - self._first) / self._fps)
