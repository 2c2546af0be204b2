"""A queue's three moves, and that workers need nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from personare.studio.order import Order
from personare.work.jobs import Job
from personare.work.queue import Ended, MemoryQueue


def job(name):
    return Job(Order(text="Hello.", output=Path(name)), f"list: {name}", name)


def test_first_in_first_out_and_every_job_is_somewhere():
    queue = MemoryQueue([job("a")])
    queue.add(job("b"))
    assert (queue.state("a"), queue.state("b")) == ("waiting", "waiting")
    first = queue.take()
    assert first == job("a")
    assert (queue.state("a"), queue.state("b")) == ("under way", "waiting")
    queue.end(Ended(first, report={"frames": 1}))
    second = queue.take()
    queue.end(Ended(second, error="no face", hint="another photo"))
    assert (queue.state("a"), queue.state("b")) == ("made", "failed")
    assert queue.take() is None
    with pytest.raises(KeyError):
        queue.state("c")


def test_a_job_whose_worker_dies_is_tried_so_often_and_no_more():
    queue = MemoryQueue([job("a"), job("b")], tries=2)
    lost = Ended(queue.take(), error="killed by signal 9")
    assert queue.give_back(lost) is None
    assert queue.state("a") == "waiting"
    assert queue.take() == job("b"), "others are not kept waiting"
    assert queue.take() == job("a")
    assert queue.give_back(lost) == lost
    assert queue.state("a") == "failed"
    assert queue.take() is None
