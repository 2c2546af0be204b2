"""Processes that make clips. One that dies (out of memory, a crash in a codec) fails the job it
was at, and is replaced.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from personare.errors import PersonareError
from personare.ground import interruption
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.work.jobs import Job
from personare.work.queue import Ended, Queue

_PATIENCE_SECONDS = 15.0
"""How long an interrupted worker may take to remove what is half-written."""


def work_off(queue: Queue, count: int, settings: Settings) -> Iterator[Ended]:
    """Make every job of a queue in `count` processes; yields each as it ends, in no order,
    until nothing waits and nothing is under way. Closed early, or interrupted, nothing
    half-written is left.
    """
    crew = [_Worker(settings) for _ in range(count)]
    try:
        for worker in crew:
            worker.give(queue.take())
        while busy := {worker.connection: worker for worker in crew if worker.job is not None}:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy[connection]
                ended, died = worker.ended()
                told = queue.give_back(ended) if died else ended
                if not died:
                    queue.end(ended)
                if told is not None:
                    yield told
                job = queue.take()
                if died and job is not None:
                    crew[crew.index(worker)] = worker = _Worker(settings)
                worker.give(job)
    finally:
        _dismiss(crew)


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


class _Worker:
    """One process and the job it is at."""

    def __init__(self, settings: Settings) -> None:
        # A fork would copy the threads' locks and not the threads.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, settings), daemon=True)
        # The child begins with them held back, until `_work` has said what they mean to it:
        # before, it would end with a traceback of its own.
        with _held_back():
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job | None) -> None:
        """The next job, None for a rest."""
        self.job = job
        if job is not None:
            with suppress(OSError):  # it died before: `ended` says so
                self.connection.send(job)

    def ended(self) -> tuple[Ended, bool]:
        """How the job ended, and whether the process died of it; the connection has something
        to tell, or has broken.
        """
        job, self.job = self.job, None
        assert job is not None
        try:
            ended = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE_SECONDS)
            self.connection.close()
            code = self.process.exitcode
            how = (
                f"was killed by signal {-code}"
                if code is not None and code < 0
                else f"ended with code {code}"
            )
            hint = "out of memory? try fewer --workers; the other jobs went on"
            return Ended(job, error=f"the process that made {job.name} {how}", hint=hint), True
        assert isinstance(ended, Ended)
        return ended, False


def _dismiss(crew: Sequence[_Worker]) -> None:
    for worker in crew:
        if worker.job is None:
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


def _work(connection: Connection, settings: Settings) -> None:
    """A worker's whole life. Ctrl-C and the end of a terminal are the parent's to answer: it
    ends its workers with SIGTERM.
    """
    for number in _OF_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is held yet
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*_OF_THE_PARENT, signal.SIGTERM])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(levelname)s: %(message)s".lower())
    studio = Studio(settings)
    try:
        interruption.begin()
        signal.signal(signal.SIGTERM, interruption.interrupt)
        while isinstance(job := connection.recv(), Job):
            ended = make(job, studio)
            if interruption.arrived():  # whatever a library made of it
                raise KeyboardInterrupt
            connection.send(ended)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        interruption.end(signal.SIGTERM)
        studio.store.close()
        # Every block has ended by now. What an interrupted call still holds, Python would
        # complain about (see cli.main.run).
        os._exit(0)


def make(job: Job, studio: Studio) -> Ended:
    """Make one clip. Whatever fails is told, not raised."""
    try:
        job.order.output.parent.mkdir(parents=True, exist_ok=True)
        return Ended(job, report=asdict(studio.make(job.order)))
    except PersonareError as error:
        return Ended(job, error=error.message, hint=error.hint)
    except Exception as error:  # a fault of ours in one job is no reason to give up the others
        what = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Ended(job, error=what, hint="please report it")


def _end_with_parent() -> None:
    """A batch that was killed takes its workers with it: each removes what it has half-written."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
