"""Seconds by name: what each step of a run took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")


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
        """The items; the time that making them takes counts for `name`, the time that using
        them takes does not.
        """
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
