"""The run behind every performance: timeline, utterances, guards, interruptions from any
thread.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from personare.engines.performance import Made, Movement, Performance
from personare.engines.utterance import Utterance
from personare.errors import Cancelled, EngineError, UnusableSpeech
from personare.motion import Motion, Space

TOY = Space("toy-1", ("value",))
SECOND = np.zeros(16000, np.float32)


class Toy(Performance):
    """A frame per 40 ms of speech, of one pixel that counts the frames of its utterance."""

    shows = frozenset({"toy-1"})

    def __init__(self, *, guided: bool = False, forgets: int = 0) -> None:
        super().__init__(guided=guided)
        self.fps, self.size = Fraction(25), (1, 1)
        self.began = self.closed = 0
        self.dropped: list[int] = []
        self.forgets = forgets
        self.before_frame = lambda said: None
        self._made = 0

    def _begin(self, said: Utterance) -> None:
        self.began += 1
        self._made = 0

    def _hear(self, said, samples, phones) -> Iterator[Made]:
        yield from self._frames(said, (len(samples) * 25) // 16000)

    def _end(self, said) -> Iterator[Made]:
        if not said.samples:
            said.expected = 4
        yield from self._frames(said, self._count(said) - self._made - self.forgets)

    def _frames(self, said, count) -> Iterator[Made]:
        for _ in range(count):
            self.before_frame(said)
            yield Made(np.full((1, 1, 1, 3), self._made % 256, np.uint8))
            self._made += 1

    def _show(self, motion) -> Iterator[Made]:
        return (Made(np.full((1, 1, 1, 3), row[0], np.uint8), row[None]) for row in motion.values)

    def _rest(self, n) -> Made:
        return Made(np.zeros((n, 1, 1, 3), np.uint8))

    def _drop(self, said) -> None:
        self.dropped.append(said.shown)

    def _close(self) -> None:
        self.closed += 1


def values(frames) -> list[int]:
    return [int(image.flat[0]) for part in frames for image in part.images]


def test_utterances_and_idle_time_share_one_timeline() -> None:
    toy = Toy()
    made = [toy.idle(2), *toy.feed(SECOND[:3200]), *toy.feed(SECOND[:100]), *toy.finish(), toy.idle(1)]
    made += [*toy.feed(SECOND[:640]), *toy.finish()]
    assert [part.first for part in made] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [part.utterance for part in made] == [0, 1, 1, 1, 1, 1, 1, 0, 2]
    assert toy.began == 2


def test_what_is_left_unread_comes_with_the_next_call() -> None:
    toy = Toy()
    first = toy.feed(SECOND[:6400])
    assert values([next(first)]) == [0]
    second = toy.feed(SECOND[:6400])
    assert values(second) == list(range(1, 20))
    assert list(first) == []
    toy.feed(SECOND[:640])
    assert values(toy.finish()) == [20]


def test_a_new_utterance_waits_for_the_end_of_the_last() -> None:
    toy = Toy()
    list(toy.feed(SECOND[:640]))
    left = toy.finish()
    toy_fed = SECOND[:1600]
    assert list(left) == []
    list(toy.feed(toy_fed))
    toy.finish()
    with pytest.raises(EngineError, match="under way"):
        toy.feed(SECOND)
    with pytest.raises(EngineError, match="under way"):
        toy.idle(1)


def test_after_an_interruption_nothing_of_the_old_utterance_comes() -> None:
    toy = Toy()
    frames = toy.feed(SECOND)
    assert values([next(frames), next(frames)]) == [0, 1]
    toy.interrupt()
    assert list(frames) == []
    assert toy.dropped == [2]
    again = toy.feed(SECOND[:640])
    assert [(part.first, part.utterance) for part in again] == [(2, 2)]
    toy.interrupt()
    toy.interrupt()
    toy.idle(1)
    assert toy.dropped == [2, 1]


def test_an_interruption_while_a_frame_is_made_swallows_it() -> None:
    """The frame is made, and not handed out: `interrupt` had returned before it was counted."""
    toy, made, waiting, go = Toy(), [], threading.Event(), threading.Event()

    def slow(said) -> None:
        if said.shown == 3:
            waiting.set()
            go.wait(10)

    toy.before_frame = slow
    frames = toy.feed(SECOND)
    reader = threading.Thread(target=lambda: made.extend(frames))
    reader.start()
    assert waiting.wait(10)
    toy.interrupt()
    go.set()
    reader.join(10)
    assert values(made) == [0, 1, 2]
    assert toy.dropped == [3]
    assert toy.idle(1).first == 3


def test_two_threads_that_read_at_once_are_refused() -> None:
    toy, waiting, go = Toy(), threading.Event(), threading.Event()

    def slow(said) -> None:
        waiting.set()
        go.wait(10)

    toy.before_frame = slow
    frames = toy.feed(SECOND[:640])
    reader = threading.Thread(target=lambda: list(frames))
    reader.start()
    assert waiting.wait(10)
    for call in (lambda: toy.feed(SECOND), lambda: toy.idle(1), toy.finish):
        with pytest.raises(EngineError, match="already"):
            call()
    toy.close()
    assert toy.closed == 0
    go.set()
    reader.join(10)
    assert toy.closed == 1
    with pytest.raises(EngineError, match="closed"):
        toy.idle(1)


def test_a_fault_of_the_wing_ends_its_utterance_alone() -> None:
    toy = Toy()

    def broken(said) -> None:
        if said.number == 1 and said.shown == 2:
            raise ZeroDivisionError

    toy.before_frame = broken
    frames = toy.feed(SECOND)
    assert values([next(frames), next(frames)]) == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(frames)
    assert list(frames) == []
    assert values([*toy.feed(SECOND[:1280]), *toy.finish()]) == [0, 1]


def test_frames_that_are_missing_at_the_end_are_told() -> None:
    toy = Toy(forgets=1)
    list(toy.feed(SECOND[:100]))
    with pytest.raises(EngineError, match="made 0 frames where 1 belong"):
        list(toy.finish())
    toy.forgets = 0
    assert values([*toy.feed(SECOND[:100]), *toy.finish()]) == [0]


def test_progress_ends_long_work_of_an_interrupted_utterance() -> None:
    toy, told = Toy(), []
    toy.progress = lambda *step: told.append(step)

    def long(said) -> None:
        report = toy._told(said)
        report("hearing", 1, 2)
        toy.interrupt()
        report("hearing", 2, 2)

    toy.before_frame = long
    assert list(toy.feed(SECOND)) == []
    assert told == [("hearing", 1, 2)]
    assert toy.dropped == [0]


def test_cancelled_by_the_caller_is_raised() -> None:
    toy = Toy()

    def cancelled(said) -> None:
        raise Cancelled("stopped by the user")

    toy.before_frame = cancelled
    with pytest.raises(Cancelled):
        list(toy.feed(SECOND))
    toy.before_frame = lambda said: None
    assert values([*toy.feed(SECOND[:640]), *toy.finish()]) == [0]


def test_a_guide_is_played_by_finish_alone() -> None:
    toy = Toy(guided=True)
    assert values(toy.finish()) == [0, 1, 2, 3]
    assert values([*toy.feed(SECOND[:640]), *toy.finish()]) == [0]
    assert list(Toy().finish()) == []


def test_motion_is_shown_frame_by_frame() -> None:
    toy = Toy()
    motion = Motion(TOY, Fraction(25), np.arange(3, dtype=np.float32)[:, None])
    shown = list(toy.show(motion))
    assert values(shown) == [0, 1, 2]
    assert [part.motion.tolist() for part in shown if part.motion is not None] == [[[0]], [[1]], [[2]]]
    with pytest.raises(EngineError, match="at 30 frames"):
        toy.show(Motion(TOY, Fraction(30), motion.values))
    with pytest.raises(EngineError, match="no motion in other-1; it shows: toy-1"):
        toy.show(Motion(Space("other-1", ("x",)), Fraction(25), motion.values))


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros((4, 2)), EngineError),
        (np.array([np.nan]), UnusableSpeech),
        (np.array([np.inf]), UnusableSpeech),
    ],
)
def test_speech_that_is_none_begins_nothing(samples, error) -> None:
    toy = Toy()
    with pytest.raises(error):
        toy.feed(samples)
    assert toy.idle(1).first == 0


def test_closing_once_closes_and_a_view_that_is_left_over_ends() -> None:
    toy = Toy()
    frames = toy.feed(SECOND)
    next(frames)
    toy.close()
    toy.close()
    toy.interrupt()
    assert (toy.closed, list(frames), toy.dropped) == (1, [], [1])
    for call in (lambda: toy.feed(SECOND), toy.finish, lambda: toy.idle(1)):
        with pytest.raises(EngineError, match="closed"):
            call()


def test_a_run_that_is_forgotten_is_freed() -> None:
    """No thread, listener or iterator keeps it alive."""
    import weakref

    toy = Toy()
    frames = toy.feed(SECOND)
    next(frames)
    gone = weakref.ref(toy)
    del toy, frames
    gc.collect()
    assert gone() is None


class Steps(Movement):
    """Motion that counts frames."""

    space, fps = TOY, Fraction(25)

    def _hear(self, said, samples, phones) -> Iterator[np.ndarray]:
        return iter(())

    def _end(self, said) -> Iterator[np.ndarray]:
        for i in range(self._count(said)):
            yield np.full((1, 1), i, np.float32)


def test_a_movement_gives_motion_and_has_no_idle_time_unless_written() -> None:
    steps = Steps()
    made = [*steps.feed(SECOND[:1600]), *steps.finish()]
    assert [part.values.tolist() for part in made] == [[[0]], [[1]], [[2]]]
    assert all(part.space == TOY for part in made)
    with pytest.raises(EngineError, match="no idle motion"):
        steps.idle(1)
