"""What making a clip cost: the report of `speak --json`, and the watch that measures it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Report:
    """What was made and what it cost.

    timings: seconds of each preparation stage that was computed or read, of "perform" (voice to frames), of "write" (waiting for
    the encoder and the file) and "total". realtime_factor: seconds of clip made per second of perform + write (preparation not
    counted); above 1 is faster than real time. peak_memory_mb: of the whole process, None where the system does not tell.
    """

    output: str
    engine: str
    avatar: str
    frames: int
    fps: float
    width: int
    height: int
    audio_seconds: float
    timings: Mapping[str, float]
    cache: Mapping[str, Any]
    realtime_factor: float
    peak_memory_mb: float | None


@dataclass
class Stopwatch:
    """Adds up seconds by name."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time that making them takes counts for `name`, the time that using them takes does not."""
        iterator, done = iter(items), object()
        while True:
            with self(name):
                item = next(iterator, done)
            if item is done:
                return
            yield item  # type: ignore[misc]

    @contextmanager
    def leaving(self, name: str, block: AbstractContextManager[Item]) -> Iterator[Item]:
        """The block; the time that it takes to end counts for `name`, the time inside does not."""
        with ExitStack() as stack:
            yield stack.enter_context(block)
            with self(name):
                stack.close()

    def total(self) -> float:
        """Seconds since the watch was made."""
        return time.perf_counter() - self._began


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process in MB (10^6 bytes), None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
