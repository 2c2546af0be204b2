"""Steps of long loops: what is told, how long the rest takes, and how they are stopped."""

from __future__ import annotations

import logging
import threading

import pytest

from personare.errors import Cancelled
from personare.ground import progress
from personare.ground.progress import Steps, cancellable, time_text
from personare.types import no_progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_every_step_is_told_with_its_figures():
    told = []
    steps = Steps(lambda *step: told.append(step), "tuning", 5, first=2)
    seen = []
    for step in steps:
        seen.append(step)
        steps.note(loss=1 / (step + 1), likeness=step)
    assert seen == [2, 3, 4]
    assert told == [
        ("tuning", 2, 5),
        ("tuning, loss 0.333, likeness 2", 3, 5),
        ("tuning, loss 0.25, likeness 3", 4, 5),
        ("tuning, loss 0.2, likeness 4", 5, 5),
    ]


def test_the_time_left_follows_the_last_fifty_steps(clock):
    steps = Steps(no_progress, "tuning", 200)
    loop = iter(steps)
    next(loop)
    assert steps.seconds_left is None
    for _ in range(100):
        clock[0] += 30.0 if steps.done < 40 else 2.0
        next(loop)
    assert steps.done == 100
    assert steps.seconds_left == 200.0


def test_a_line_in_the_log_tells_the_time_left(clock, caplog):
    caplog.set_level(logging.INFO, logger="personare")
    steps = Steps(no_progress, "tuning", 10)
    for _ in steps:
        steps.note(loss=0.5)
        clock[0] += 20.0
    assert [record.getMessage() for record in caplog.records] == [
        f"tuning: step {done} of 10, loss 0.5, {left} left"
        for done, left in ((2, "3 min"), (4, "2 min"), (6, "1 min"), (8, "40 s"), (10, "0 s"))
    ]


def test_a_loop_that_is_finished_tells_so_once():
    told = []
    assert list(Steps(lambda *step: told.append(step), "tuning", 5, first=5)) == []
    assert told == [("tuning", 5, 5)]


def test_another_thread_stops_a_loop_after_its_step():
    stop = threading.Event()
    told, kept = [], []

    def tune():
        steps = Steps(cancellable(lambda *step: told.append(step), stop.is_set), "tuning", 10)
        for step in steps:
            steps.note(loss=1)
            kept.append(step)
            if step == 3:
                thread = threading.Thread(target=stop.set)
                thread.start()
                thread.join()

    with pytest.raises(Cancelled, match="tuning was cancelled"):
        tune()
    assert kept == [0, 1, 2, 3]
    assert told[-1] == ("tuning, loss 1", 3, 10)


@pytest.mark.parametrize(("seconds", "text"), [(9.4, "9 s"), (90, "2 min"), (5400, "1.5 h"), (0, "0 s")])
def test_times(seconds, text):
    assert time_text(seconds) == text
