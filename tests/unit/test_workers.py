"""How many work: `most` may rise and fall while they do, and cores that go take nobody along."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from personare import Order, Settings
from personare.engines.neural import uses_gpu
from personare.studio.studio import Studio
from personare.work.batch import Staff, default_workers, devices_of
from personare.work.crew import Crew
from personare.work.jobs import Job
from personare.work.queue import Ended, MemoryQueue, Waiting
from personare.work.workers import Capacity, Terms, work_off

SECONDS = 30


def jobs(count: int) -> list[Job]:
    order = Order(portrait="a.jpg", speech="a.wav", output="a.mp4")
    return [Job(order, f"{number}", f"{number}") for number in range(count)]


class Site:
    """Workers that are threads. Each needs a core from its first job until it goes; a job ends
    when it may.
    """

    def __init__(self, cores: int) -> None:
        self.cores = threading.Semaphore(cores)
        self.may_end = threading.Event()
        self.dies: set[str] = set()
        self.at_work: set[str] = set()
        self.graphics: dict[str, bool] = {}
        self.done: list[str] = []

    def start(self, settings: Settings, terms: Terms) -> tuple[Connection, Any]:
        ours, theirs = Pipe()
        thread = threading.Thread(target=self._work, args=(theirs, terms), daemon=True)
        thread.start()
        return ours, _Person(thread)

    def _work(self, line: Connection, terms: Terms) -> None:
        has_core = False
        try:
            while (job := line.recv()) is not None:
                if not has_core:
                    self.cores.acquire()
                    has_core = True
                self.at_work.add(job.name)
                self.graphics[job.name] = terms.graphics
                while not self.may_end.wait(0.005) and job.name not in self.dies:
                    pass
                self.at_work.discard(job.name)
                if job.name in self.dies:
                    self.dies.discard(job.name)
                    has_core = False  # its machine is gone, and the core with it
                    return
                self.done.append(job.name)
                line.send(Ended(job))
        except EOFError:
            return
        finally:
            if has_core:
                self.cores.release()
            line.close()


class _Person:
    pid = exitcode = None

    def __init__(self, thread: threading.Thread) -> None:
        self.join, self.is_alive = thread.join, thread.is_alive

    def terminate(self) -> None:
        pass

    kill = terminate


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_a_batch_has_more_workers_when_there_is_room_for_more() -> None:
    site, most, ended = Site(9), [1], []
    queue = MemoryQueue(jobs(4))
    work = threading.Thread(
        target=lambda: ended.extend(work_off(queue, lambda: most[0], Settings(), site.start))
    )
    work.start()
    until(lambda: len(site.at_work) == 1)
    most[0] = 3
    until(lambda: len(site.at_work) == 3)
    site.may_end.set()
    work.join(SECONDS)
    assert sorted(end.job.name for end in ended) == ["0", "1", "2", "3"]


def test_a_batch_whose_machine_is_lost_ends_on_the_cores_that_are_left() -> None:
    """Those that have nothing to do hold no core that a job waits for."""
    site, most, ended = Site(4), [4], []
    queue = MemoryQueue(jobs(6), tries=2)
    work = threading.Thread(
        target=lambda: ended.extend(work_off(queue, lambda: most[0], Settings(), site.start)), daemon=True
    )
    work.start()
    until(lambda: len(site.at_work) == 4)
    most[0], site.dies = 2, {"2", "3"}
    until(lambda: not site.dies)
    site.may_end.set()
    work.join(SECONDS)
    assert not work.is_alive()
    assert sorted(end.job.name for end in ended) == ["0", "1", "2", "3", "4", "5"]


class _Pool:
    """Names that wait. heavy: those of engines with networks."""

    def __init__(self, count: int, heavy: str = "") -> None:
        self.tasks, self.ended, self.given_back = jobs(count), [], []
        self._heavy = heavy

    def waiting(self) -> list[Waiting]:
        return [Waiting(task.name, "", task.name in self._heavy) for task in self.tasks]

    def take(self, name: str) -> Job:
        return self.tasks.pop(next(i for i, task in enumerate(self.tasks) if task.name == name))

    def step(self, name: str, step: object) -> None:
        pass

    def end(self, ended: Ended) -> None:
        self.ended.append(ended.task.name)

    def give_back(self, lost: Ended, *, blameless: bool = False) -> None:
        self.given_back.append(lost.task.name)
        self.tasks.append(lost.task)


def test_a_crew_grows_and_shrinks_with_what_there_is() -> None:
    site, most, pool = Site(9), [1], _Pool(8)
    crew = Crew(pool, Settings(), count=lambda: most[0], start=site.start)
    crew.start()
    try:
        until(lambda: len(site.at_work) == 1)
        most[0] = 3
        until(lambda: (len(site.at_work), crew.workers) == (3, 3))
        most[0] = 2
        time.sleep(0.6)
        assert len(site.at_work) == 3, "what is under way goes on"
        site.may_end.set()
        until(lambda: len(pool.ended) == 8)
        until(lambda: crew.workers == 2)
    finally:
        crew.close()
    assert pool.given_back == []


def test_a_crew_whose_machine_is_lost_does_it_all_with_who_is_left() -> None:
    site, most, pool = Site(4), [4], _Pool(6)
    crew = Crew(pool, Settings(), count=lambda: most[0], start=site.start)
    crew.start()
    try:
        until(lambda: len(site.at_work) == 4)
        most[0], site.dies = 2, {"2", "3"}
        until(lambda: sorted(pool.given_back) == ["2", "3"])
        site.may_end.set()
        until(lambda: sorted(pool.ended) == ["0", "1", "2", "3", "4", "5"])
        until(lambda: crew.workers <= 2)
    finally:
        crew.close()


def test_who_has_a_share_of_a_gpu_does_what_needs_one_and_nothing_else() -> None:
    site, pool = Site(2), _Pool(6, heavy="14")
    crew = Crew(pool, Settings(), count=2, fillers=2, start=site.start, graphics=lambda name: False)
    crew.start()
    try:
        site.may_end.set()
        until(lambda: sorted(pool.ended) == ["0", "1", "2", "3", "4", "5"])
        assert crew.workers <= 2
    finally:
        crew.close()
    assert site.graphics == {name: name in "14" for name in "012345"}


def test_a_batch_on_gpus_has_as_many_workers_as_they_have_shares() -> None:
    there = Capacity(16, 3, gpus=(2.0, 1.0))

    def count(devices: set[str], gpu: float, there: Capacity = there) -> int:
        return default_workers(devices, Staff(lambda: there, gpu=gpu))()

    assert count({"auto"}, 0.25) == 12
    assert count({"cuda:0", "cpu"}, 0.6) == 3, "none is split between two"
    assert count({"auto"}, 0.0) == 3, "one for every machine"
    assert count({"cpu"}, 0.25) == 3
    assert count(set(), 0.25) == 16
    assert count({"auto"}, 0.25, Capacity(4, 2)) == 2


def test_a_batch_goes_by_the_engines_that_its_jobs_have(tmp_path, portrait) -> None:
    def job(engine: str, **options: object) -> Job:
        asked = {"portrait": portrait, "speech": "a.wav", "output": "a.mp4", "engine": engine}
        return Job(Order(**asked, options=options), "1", "1")

    studio = Studio(Settings(cache_dir=tmp_path))
    assert devices_of([job("puppet")], studio) == set()
    assert devices_of([job("puppet"), job("musetalk"), job("float", device="cpu")], studio) == {"auto", "cpu"}
    assert uses_gpu({"cpu", "cuda:1"})
    assert not uses_gpu({"cpu", "mps"})


def test_a_share_of_a_gpu_is_for_clusters(cli, tmp_path) -> None:
    ended = cli("batch", tmp_path, "--gpu", "0.5")
    assert ended.code == 2
    assert "--gpu goes with --on" in ended.err


@pytest.mark.slow
def test_a_limit_of_memory_counts_what_comes_beside_what_is_there() -> None:
    code = """if True:
        import numpy as np
        from personare.ground.machine import allowed_memory
        from personare.ground.tuning import data_bytes, limit_memory
        held = np.ones(40 << 20, np.uint8)
        assert data_bytes() > 40 << 20
        limit_memory(80 << 20, data_bytes())
        np.ones(60 << 20, np.uint8)
        try:
            np.ones(120 << 20, np.uint8)
        except MemoryError:
            print(allowed_memory(None), allowed_memory(5), allowed_memory(0) > 1 << 28)
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "None 5 True\n"
