"""Workers of a service: stopped at one task, replaced when they die, loaded beforehand."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from multiprocessing import Pipe
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from personare.studio.order import Order
from personare.studio.settings import Settings
from personare.work.crew import Crew
from personare.work.jobs import Job
from personare.work.queue import Ended, Waiting
from personare.work.tasks import Creation, place_of
from tests.conftest import write_wav
from tests.serve.conftest import until

pytestmark = pytest.mark.slow


class ListPool:
    """Tasks in memory; a lost one is tried again."""

    def __init__(self, tasks=()):
        self.tasks, self.ended, self.taken, self.steps = deque(tasks), {}, [], []
        self.given_back, self.dismissed = [], []
        self.news = threading.Event()

    def waiting(self):
        return [Waiting(task.name, place_of(task)) for task in self.tasks]

    def take(self, name):
        task = next(task for task in self.tasks if task.name == name)
        self.tasks.remove(task)
        self.taken.append(name)
        return task

    def step(self, name, step):
        self.steps.append((name, step))

    def end(self, ended):
        self.ended[ended.task.name] = ended

    def give_back(self, lost, *, blameless=False):
        (self.dismissed if blameless else self.given_back).append(lost)
        self.tasks.append(lost.task)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    """With features that are kept from test to test."""
    return Settings(cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def long_voice(voice_samples, tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("long") / "long.wav", np.resize(voice_samples, 16000 * 600))


def test_complaint_09_and_11_a_task_is_stopped_a_dead_worker_replaced_an_error_told(
    tmp_path, portrait, voice, long_voice, settings
):
    def job(name, speech, **options):
        options = {"size": 256, **options}
        order = Order(portrait=portrait, speech=speech, options=options, output=tmp_path / f"{name}.mp4")
        return Job(order, name, name)

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    pool = ListPool([job("long", long_voice), job("after", voice)])
    crew = Crew(pool, settings, count=1, warm=("puppet",))
    crew.start()
    until(lambda: crew.is_warm)
    assert pool.taken in ([], ["long"]), "what is to be loaded comes first"

    until(lambda: any(step.what == "speaking" for _, step in pool.steps))
    first = crew.processes
    crew.stop("long")
    until(lambda: "after" in pool.ended)
    assert pool.ended["long"].kind == "Cancelled"
    assert pool.ended["after"].report["frames"] > 0
    assert crew.processes == first, "the worker has kept its networks"
    assert not (tmp_path / "long.mp4").exists()

    pool.tasks.append(Creation("make", "otto", broken))
    crew.wake()
    until(lambda: "make" in pool.ended)
    assert pool.ended["make"].kind == "UnreadableMedia"

    pool.tasks.append(job("killed", voice, seed=1))  # a clip that is not kept yet
    crew.wake()
    until(lambda: pool.taken[-1] == "killed")
    os.kill(crew.processes[0], signal.SIGKILL)
    until(lambda: "killed" in pool.ended)
    assert [lost.kind for lost in pool.given_back] == ["WorkerLost"]
    assert pool.ended["killed"].report["frames"] > 0
    assert crew.processes != first

    pool.tasks.append(job("last", long_voice))
    crew.wake()
    until(lambda: ("last", "speaking") in {(name, step.what) for name, step in pool.steps})
    crew.close()
    assert [lost.task.name for lost in pool.dismissed] == ["last"]
    assert not list(tmp_path.glob(".*part*"))


def test_of_several_that_wait_each_goes_to_a_free_worker_that_knows_its_avatar(settings):
    """Though one that nobody knows waits before it. The workers here do a task in no time."""

    def in_a_thread(settings, terms):
        ours, theirs = Pipe()

        def work():
            with contextlib.suppress(EOFError, OSError):
                while (task := theirs.recv()) is not None:
                    theirs.send(Ended(task))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return ours, SimpleNamespace(
            pid=None, exitcode=None, join=thread.join, is_alive=thread.is_alive, terminate=int, kill=int
        )

    class Held(ListPool):
        """Tasks that wait are seen when all of them are there."""

        seen = True

        def waiting(self):
            return super().waiting() if self.seen else []

    def made(name, avatar):
        return Creation(name, avatar, portrait=None)

    pool = Held()
    crew = Crew(pool, settings, count=2, warm=("anna", "otto"), start=in_a_thread)
    crew.start()
    until(lambda: crew.is_warm and not crew.busy)
    pool.seen = False
    pool.tasks += [made("1", "zoe"), made("2", "anna")]
    pool.seen = True
    crew.wake()
    until(lambda: len(pool.ended) == 2)
    assert [hand.been for hand in crew._hands] == [{"anna"}, {"otto", "zoe"}]
    crew.close()


def test_who_does_not_hear_is_ended_and_who_takes_too_long(tmp_path, portrait, long_voice, settings):
    order = Order(portrait=portrait, speech=long_voice, options={"size": 256}, output=tmp_path / "x.mp4")
    pool = ListPool([Job(order, "deaf", "deaf")])
    crew = Crew(pool, settings, count=1, task_seconds=1.0)
    crew.start()
    try:
        until(lambda: "deaf" in pool.taken)
        os.kill(crew.processes[0], signal.SIGSTOP)  # so that it hears nothing
        began = time.monotonic()
        until(lambda: "deaf" in pool.ended)
    finally:
        crew.close()
    assert pool.ended["deaf"].kind == "TooSlow"
    assert time.monotonic() - began < 60, "a stopped process was waited for"
    assert pool.given_back == [], "what took too long is not tried again"


def test_a_picture_that_takes_too_much_memory_ends_its_own_task(tmp_path, portrait, settings):
    bomb = tmp_path / "bomb.png"
    cv2.imwrite(str(bomb), np.zeros((7000, 7000, 3), np.uint8))
    assert bomb.stat().st_size < 200_000
    pool = ListPool([Creation("bomb", "bomb", bomb)])
    crew = Crew(pool, settings, count=1, memory_bytes=448 << 20)
    crew.start()
    try:
        until(lambda: "bomb" in pool.ended)
        pool.tasks.append(Creation("photo", "otto", portrait, options={"size": 256}))
        crew.wake()
        until(lambda: "photo" in pool.ended)
    finally:
        crew.close()
    assert pool.ended["bomb"].error
    assert not pool.ended["photo"].error
