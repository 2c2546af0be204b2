"""Steps that work at the same time: order, bounds, errors, and the end of every thread."""

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from personare.engines.pipeline import overlapped
from personare.ground.stopwatch import Stopwatch


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("personare-")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    gc.collect()
    assert ours() == []


def double(x: np.ndarray) -> np.ndarray:
    return x * 2


def plus_one(x: np.ndarray) -> np.ndarray:
    return x + 1


def test_results_are_those_of_one_room_after_another() -> None:
    items = [np.random.default_rng(i).normal(size=(3, 5)) for i in range(40)]
    watch = Stopwatch()
    made = list(overlapped(iter(items), ("double", double), ("plus", plus_one), watch=watch))
    assert b"".join(x.tobytes() for x in made) == b"".join(plus_one(double(x)).tobytes() for x in items)
    assert set(watch.seconds) == {"double", "plus"}


def test_without_rooms_or_items() -> None:
    assert list(overlapped([1, 2, 3], watch=Stopwatch())) == [1, 2, 3]
    assert list(overlapped([], ("double", double), watch=Stopwatch())) == []
    assert list(overlapped([None, False], ("same", lambda x: x), watch=Stopwatch())) == [None, False]


def test_rooms_work_at_the_same_time() -> None:
    """Each step waits for the other to be busy with another item: run one after another this
    would never end.
    """
    meeting = threading.Barrier(2, timeout=20)

    def meet(x: int) -> int:
        if 0 < x < 9:
            meeting.wait()
        return x

    def meet_later(x: int) -> int:
        if x < 8:
            meeting.wait()
        return x

    assert list(overlapped(range(10), ("first", meet), ("second", meet_later), watch=Stopwatch())) == list(
        range(10)
    )


@pytest.mark.parametrize(("steps", "depth"), [(0, 1), (1, 1), (1, 2), (3, 2)])
def test_the_source_is_read_exactly_as_far_as_the_belts_are_long(steps: int, depth: int) -> None:
    """While the consumer holds one item: full belts, one item in the hands of each step and one
    in those of the source.
    """
    wanted = 1 + (depth + 1) * (steps + 1)
    as_far, further = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        for i in range(1, 1000):
            if i == wanted:
                as_far.set()
            elif i > wanted:
                further.set()
            yield i

    same = [(f"step{i}", lambda x: x) for i in range(steps)]
    pipeline = overlapped(source(), *same, watch=Stopwatch(), depth=depth)
    assert next(pipeline) == 1
    assert as_far.wait(60)
    assert not further.wait(0.2)
    pipeline.close()


@pytest.mark.parametrize("faulty", [0, 1, 2])
def test_an_error_comes_after_the_results_before_it_and_ends_all_threads(faulty: int) -> None:
    def step(place: int, x: int) -> int:
        if place == faulty and x == 5:
            raise ValueError("step is on fire")
        return x

    steps = [(f"step{place}", lambda x, place=place: step(place, x)) for place in range(3)]
    made: list[int] = []
    with pytest.raises(ValueError, match="on fire"):
        made.extend(overlapped(range(1000), *steps, watch=Stopwatch()))
    assert made == [0, 1, 2, 3, 4]
    assert ours() == []


def test_an_error_of_the_source_surfaces_too() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("tape torn")

    pipeline = overlapped(source(), ("same", lambda x: x), watch=Stopwatch())
    assert next(pipeline) == 1
    with pytest.raises(OSError, match="tape torn"):
        next(pipeline)
    assert ours() == []


def test_close_ends_all_threads_and_the_source_while_every_belt_is_full() -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    pipeline = overlapped(source(), ("a", lambda x: x), ("b", lambda x: x), watch=Stopwatch(), depth=1)
    assert [next(pipeline) for _ in range(3)] == [0, 1, 2]
    assert len(ours()) == 3
    pipeline.close()
    assert ours() == []
    assert closed == [True]


def test_nothing_starts_before_the_first_item_is_asked_for() -> None:
    overlapped(range(3), ("a", lambda x: x), watch=Stopwatch()).close()
    assert ours() == []


def test_a_consumer_that_fails_leaves_no_thread() -> None:
    def consume() -> None:
        for x in overlapped(range(100), ("a", lambda x: x), watch=Stopwatch()):
            if x == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
