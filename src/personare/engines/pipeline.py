"""Steps that work at the same time: while one batch is being composed, the next is rendered and
a third is on its way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

from personare.engines.utterance import Cut
from personare.ground.stopwatch import Stopwatch

Step = tuple[str, Callable[[Any], Any]]
"""The name under which its seconds are counted ("" for a step that counts its own), and what it
does with one item.
"""


def overlapped(
    items: Iterable[Any], *steps: Step, watch: Stopwatch, depth: int = 2, cut: Cut | None = None
) -> Generator[Any, None, None]:
    """Each item through all steps, in order: the results of running one step after another,
    byte for byte.

    items: read in a thread of its own, at most as far ahead as the belts are long.
    steps: each works in one thread, so its state needs no lock; names are distinct.
    watch: gets the seconds of each step.
    depth: finished items that may wait before each step and before the consumer, so memory is
        bounded by (depth + 1) * (steps + 1) items.
    cut: an interruption closes the belts at once, in whatever thread it comes from.

    An error in a step, or in `items`, is raised here after the results of the items before it;
    then all threads have ended. Closing the generator ends them too, each after the item that
    it has in hand. Threads start with the first `next`. torch's inference mode belongs to a
    thread: a step that runs a network has to enter it itself.
    """
    belts = _Belts(len(steps) + 1, depth)
    threads = [threading.Thread(target=_carry, args=(items, belts), name="personare-source", daemon=True)]
    for place, (name, work) in enumerate(steps):
        arguments = (name, work, place, belts, watch)
        threads.append(threading.Thread(target=_work, args=arguments, name=f"personare-{name}", daemon=True))
    if cut is not None:
        cut.tell(partial(belts.close, len(steps)))
    for thread in threads:
        thread.start()
    try:
        for result in belts.taken_from(len(steps)):
            yield result
            del result
    finally:
        belts.close(upto=len(steps))
        for thread in threads:
            thread.join()


class _Failure:
    """An error that travels in the place of the item that it stopped."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class _Belts:
    """Bounded queues in a row under one lock: belt 0 leads to the first step, the last one to
    the consumer.

    A closed belt takes nothing more and has nothing more to give; whoever waits at it is woken.
    """

    def __init__(self, count: int, depth: int) -> None:
        self._depth = depth
        self._belts: list[deque[Any]] = [deque() for _ in range(count)]
        self._closed = [False] * count
        self._changed = threading.Condition()

    def put(self, belt: int, item: Any) -> bool:
        """Lay the item on the belt as soon as there is space; False if the belt is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed[belt] or len(self._belts[belt]) < self._depth)
            if not self._closed[belt]:
                self._belts[belt].append(item)
                self._changed.notify_all()
            return not self._closed[belt]

    def get(self, belt: int) -> Any:
        """The next item as soon as there is one; _END if the belt is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed[belt] or bool(self._belts[belt]))
            if self._closed[belt]:
                return _END
            self._changed.notify_all()
            return self._belts[belt].popleft()

    def taken_from(self, belt: int) -> Generator[Any, None, None]:
        """The belt's items up to its end. Raises the error that comes in an item's place."""
        while (item := self.get(belt)) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
            del item

    def close(self, upto: int) -> None:
        """Close the belts 0 .. upto: nobody behind them wants anything more."""
        with self._changed:
            for belt in range(upto + 1):
                self._closed[belt] = True
                self._belts[belt].clear()
            self._changed.notify_all()


def _carry(items: Iterable[Any], belts: _Belts) -> None:
    """The thread of the source."""
    try:
        for item in items:
            if not belts.put(0, item):
                return
            del item
        belts.put(0, _END)
    except BaseException as error:
        belts.put(0, _Failure(error))
    finally:
        if isinstance(items, Generator):
            items.close()


def _work(name: str, work: Callable[[Any], Any], place: int, belts: _Belts, watch: Stopwatch) -> None:
    """The thread of one step."""
    while True:
        item = belts.get(place)
        if item is _END or isinstance(item, _Failure):
            belts.put(place + 1, item)
            return
        try:
            with watch(name) if name else nullcontext():
                item = work(item)
        except BaseException as error:
            belts.put(place + 1, _Failure(error))
            belts.close(upto=place)
            return
        if not belts.put(place + 1, item):
            belts.close(upto=place)
            return
        del item
