"""How far a long loop is, how long the rest of it will take, and how another thread stops it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator

from personare.errors import Cancelled
from personare.types import Progress

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 30.0
_PACE_OVER_STEPS = 50


class Steps:
    """The steps of a long loop: iterating gives their numbers and tells a Progress after each.

        steps = Steps(inputs.progress, "tuning", 2600, first=1400)
        for step in steps:                                      # 1400, 1401, ... 2599
            loss = ...
            steps.note(loss=loss)
            if inputs.workspace.due():
                inputs.workspace.save(state, step=step + 1, steps=2600)

    What is told is "tuning, loss 0.12", the steps done, and `total`. A line in the log says the
    same with the time left, at most twice a minute. The Progress is told after the body of the
    loop, so that a checkpoint is kept before a Progress stops the loop with Cancelled.
    """

    def __init__(self, progress: Progress, what: str, total: int, first: int = 0) -> None:
        self.done = first
        self.total = total
        self._progress = progress
        self._what = what
        self._figures = ""
        self._marks: deque[tuple[float, int]] = deque(maxlen=_PACE_OVER_STEPS + 1)
        self._logged_at = time.monotonic()

    def __iter__(self) -> Iterator[int]:
        self._tell()
        while self.done < self.total:
            yield self.done
            self.done += 1
            self._tell()

    def note(self, **figures: float) -> None:
        """What the next report tells beside the step: note(loss=0.1234) gives ", loss 0.123"."""
        self._figures = "".join(f", {name} {value:.3g}" for name, value in figures.items())

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the pace of the last 50 steps; None before one is done."""
        if len(self._marks) < 2:
            return None
        (began, first), (now, done) = self._marks[0], self._marks[-1]
        return (now - began) / (done - first) * (self.total - done)

    def _tell(self) -> None:
        now = time.monotonic()
        self._marks.append((now, self.done))
        if now - self._logged_at >= LOG_EVERY_SECONDS and (left := self.seconds_left) is not None:
            self._logged_at = now
            log.info(
                "%s: step %d of %d%s, %s left",
                self._what,
                self.done,
                self.total,
                self._figures,
                time_text(left),
            )
        self._progress(f"{self._what}{self._figures}", self.done, self.total)


def cancellable(progress: Progress, cancelled: Callable[[], bool]) -> Progress:
    """A Progress that raises Cancelled once `cancelled()` is true, such as the `is_set` of an
    event: how another thread stops a preparation. What a long stage saved stays.
    """

    def tell(what: str, done: int, total: int | None) -> None:
        if cancelled():
            raise Cancelled(f"{what.partition(',')[0]} was cancelled")
        progress(what, done, total)

    return tell


def time_text(seconds: float) -> str:
    """5400 -> "1.5 h", 90 -> "2 min", 9 -> "9 s"."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
