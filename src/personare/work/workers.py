"""Processes that make clips. One that dies (out of memory, a crash in a codec) fails the job it
was at, and is replaced.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Protocol, TypeAlias

from personare.ground import interruption
from personare.ground.machine import allowed_memory, machine
from personare.ground.progress import cancellable
from personare.ground.tuning import keep_memory, limit_memory
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.types import Progress, no_progress
from personare.work.making import make
from personare.work.queue import Ended, Queue
from personare.work.tasks import Step, Stop, Task

_STEP_SECONDS = 0.1
"""Between two steps that are told."""
_ROUND_SECONDS = 1.0
_PATIENCE_SECONDS = 15.0
"""How long an interrupted worker may take to remove what is half-written."""


class Running(Protocol):
    """What is asked of the process of a worker; `multiprocessing` has it."""

    @property
    def pid(self) -> int | None: ...
    @property
    def exitcode(self) -> int | None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How workers of a service work.

    tells: whether they say how far they are, and hear that a task is not wanted any more.
    memory_bytes: that one may have, see `allowed_memory`; none on systems that have no such
        limit.
    graphics: whether its tasks may be such as run on a GPU.
    """

    tells: bool = False
    memory_bytes: int | None = None
    graphics: bool = False


Start: TypeAlias = Callable[[Settings, Terms], tuple[Connection, Running]]
"""Starts what a worker is: on the connection tasks go in, `Step` and `Ended` come out, and it
breaks when that dies.
"""


def in_a_process(settings: Settings, terms: Terms) -> tuple[Connection, Running]:
    """A process on this machine."""
    # A fork would copy the threads' locks and not the threads.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, settings, terms), daemon=True)
    # The child begins with them held back, until `_work` has said what they mean to it:
    # before, it would end with a traceback of its own.
    with _held_back():
        process.start()
    theirs.close()
    return ours, process


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is for workers: cores of all machines, how many machines, the GPUs of each
    that has some and tells.
    """

    cores: int
    machines: int = 1
    gpus: tuple[float, ...] = ()


def shares_in(gpus: float, share: float) -> int:
    """How many have such a share of one of these GPUs; none is split between two."""
    return int(gpus) * int(1 / share + 1e-6)


def here() -> Capacity:
    """That of this machine."""
    return Capacity(machine().cores)


def work_off(
    queue: Queue,
    most: Callable[[], int],
    settings: Settings,
    start: Start = in_a_process,
    terms: Terms = Terms(),
) -> Iterator[Ended]:
    """Make every job of a queue; yields each as it ends, in no order, until nothing waits and
    nothing is under way. Closed early, or interrupted, nothing half-written is left.

    most: workers at a time. It is asked again and again: where there are to be more they are
    added, where fewer they go when their job has ended.
    """
    crew: list[Worker] = []
    leaving: list[threading.Thread] = []
    try:
        while True:
            while len(crew) < max(1, most()) and (job := queue.take()) is not None:
                crew.append(worker := Worker(settings, terms, start))
                worker.give(job)
            if not crew:
                return
            working = {worker.connection: worker for worker in crew}
            for connection in wait(list(working), _ROUND_SECONDS):
                assert isinstance(connection, Connection)
                worker = working[connection]
                ended, died = worker.ended()
                told = queue.give_back(ended) if died else ended
                if not died:
                    queue.end(ended)
                if told is not None:
                    yield told
                if died:
                    crew.remove(worker)
                elif len(crew) <= max(1, most()) and (job := queue.take()) is not None:
                    worker.give(job)
                else:
                    crew.remove(worker)
                    leaving.append(retire(worker))
    finally:
        dismiss(crew)
        for one in leaving:
            one.join()


_OF_THE_PARENT = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals wait until the block has ended; processes that it starts begin in that state."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which lets signals through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*_OF_THE_PARENT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """One process, here or elsewhere, and the task it is at."""

    def __init__(self, settings: Settings, terms: Terms = Terms(), start: Start = in_a_process) -> None:
        self.connection, self.process = start(settings, terms)
        self.task: Task | None = None

    def give(self, task: Task | None) -> None:
        """The next task, None for a rest."""
        self.task = task
        if task is not None:
            with suppress(OSError):  # it died before: `ended` says so
                self.connection.send(task)

    def stop(self) -> None:
        """Say that its task is not wanted any more; it ends as `Cancelled` at its next step."""
        if self.task is not None:
            with suppress(OSError):
                self.connection.send(Stop(self.task.name))

    def said(self) -> Step | Ended | None:
        """What the process has to tell about its task; None: it is gone. The connection is
        ready.
        """
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            return None
        assert isinstance(message, Step | Ended)
        return message

    def ended(self) -> tuple[Ended, bool]:
        """How the task ended, and whether the process died of it; the connection has something
        to tell, or has broken.
        """
        if isinstance(ended := self.said(), Ended):
            self.task = None
            return ended, False
        return self.lost(), True

    def lost(self) -> Ended:
        """How the task ended of a process that is gone."""
        task, self.task = self.task, None
        assert task is not None
        self.process.join(_PATIENCE_SECONDS)
        self.connection.close()
        code = self.process.exitcode
        how = "was lost" if code is None else f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was killed by signal {-code}"
        return Ended(
            task,
            error=f"the process that made {task.name} {how}",
            hint="out of memory? try fewer --workers; the other jobs went on",
            kind="WorkerLost",
        )


def retire(worker: Worker) -> threading.Thread:
    """A worker at no task ends, and what it holds is free; the thread that sees to it."""
    thread = threading.Thread(target=dismiss, args=([worker],), name="personare-retire")
    thread.start()
    return thread


def dismiss(crew: Sequence[Worker]) -> None:
    """End processes; those at a task are interrupted, and leave nothing half-written."""
    for worker in crew:
        if worker.task is None:
            with suppress(OSError):
                worker.connection.send(None)
        else:
            worker.process.terminate()
    for worker in crew:
        worker.process.join(_PATIENCE_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()


def _work(connection: Connection, settings: Settings, terms: Terms) -> None:
    """A worker's whole life. Ctrl-C and the end of a terminal are the parent's to answer: it
    ends its workers with SIGTERM.
    """
    for number in _OF_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is held yet
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*_OF_THE_PARENT, signal.SIGTERM])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    logging.basicConfig(format="%(levelname)s: %(message)s".lower())
    studio = Studio(settings)
    try:
        interruption.begin()
        signal.signal(signal.SIGTERM, interruption.interrupt)
        limit_memory(allowed_memory(terms.memory_bytes))
        while (task := connection.recv()) is not None:
            if isinstance(task, Stop):  # of one that had just ended
                continue
            ended = make(task, studio, _told(connection, task) if terms.tells else no_progress)
            if interruption.arrived():  # whatever a library made of it
                raise KeyboardInterrupt
            connection.send(ended)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        interruption.end(signal.SIGTERM)
        studio.store.close()
        # Every block has ended by now. What an interrupted call still holds, Python would
        # complain about (see cli.main.run).
        os._exit(0)


def _told(connection: Connection, task: Task) -> Progress:
    """A progress that the parent hears of, and that it can stop."""
    told_at, stopped, lock = 0.0, False, threading.Lock()

    def is_stopped() -> bool:
        nonlocal stopped
        with lock:
            while not stopped and connection.poll():
                message = connection.recv()
                stopped = isinstance(message, Stop) and message.name == task.name
        return stopped

    def tell(what: str, done: int, total: int | None) -> None:
        nonlocal told_at
        with lock:
            if (now := time.monotonic()) - told_at >= _STEP_SECONDS:
                told_at = now
                connection.send(Step(what, done, total))

    return cancellable(tell, is_stopped)


def _end_with_parent() -> None:
    """A batch that was killed takes its workers with it: each removes what it has half-written."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
