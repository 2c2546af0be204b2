"""What a session in play takes of the processor while it speaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

SPOKEN_TICKS = 250
"""Ten seconds of speech or so: with fewer, a quiet passage would count for all."""


class Spent:
    """Cores of this process, all its threads, over ticks of speech that follow one another."""

    def __init__(self, fps: Fraction, tell: Callable[[float], None]) -> None:
        """tell: takes the cores of each SPOKEN_TICKS."""
        self._fps, self._tell = float(fps), tell
        self._since: float | None = None
        self._spent, self._ticks = 0.0, 0

    def begin(self) -> None:
        """Time has stood still, or somebody else watches."""
        self._since, self._spent, self._ticks = None, 0.0, 0

    def tick(self, speaking: bool) -> None:
        """A tick has left."""
        now, since = time.process_time(), self._since
        self._since = now if speaking else None
        if since is None or not speaking:
            return
        self._spent, self._ticks = self._spent + now - since, self._ticks + 1
        if self._ticks == SPOKEN_TICKS:
            self._tell(self._spent / self._ticks * self._fps)
            self._spent, self._ticks = 0.0, 0
