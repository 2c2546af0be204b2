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
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from personare.errors import PersonareError
from personare.media.text_file import read_text_file
from personare.studio.studio import CacheMode, Studio
from personare.types import Speech
from personare.work.jobs import Job

_PATIENCE_SECONDS = 15.0
"""How long an interrupted worker may take to remove what is half-written."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """How workers open their studio."""

    cache_dir: Path | None = None
    cache: CacheMode = "use"
    weights: Path | None = None
    keep_clips: bool = True
    cache_remote: str | None = None

    def studio(self) -> Studio:
        return Studio(
            self.cache_dir,
            self.cache,
            self.weights,
            keep_clips=self.keep_clips,
            cache_remote=self.cache_remote,
        )


@dataclass(frozen=True, slots=True)
class Made:
    """How a job ended: a report as plain values, or an error in one line and what to do."""

    job: Job
    report: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""


def make_all(jobs: Sequence[Job], count: int, workplace: Workplace) -> Iterator[Made]:
    """Make every job in `count` processes; yields each as it ends, in no order. Closed early,
    or interrupted, nothing half-written is left.
    """
    waiting = list(reversed(jobs))
    crew = [_Worker(workplace) for _ in range(min(count, len(jobs)))]
    try:
        for worker in crew:
            worker.give(waiting.pop())
        while busy := {worker.connection: worker for worker in crew if worker.job is not None}:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy[connection]
                yield worker.ended()
                if not worker.process.is_alive():
                    crew[crew.index(worker)] = worker = _Worker(workplace)
                if waiting:
                    worker.give(waiting.pop())
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

    def __init__(self, workplace: Workplace) -> None:
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would copy the threads' locks and not the threads
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, workplace), daemon=True)
        # The child begins with them held back, until `_work` has said what they mean to it:
        # before, it would end with a traceback of its own.
        with _held_back():
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it died before: `ended` says so
            self.connection.send(job)

    def ended(self) -> Made:
        """How the job ended; the connection has something to tell, or has broken."""
        job, self.job = self.job, None
        assert job is not None
        try:
            made = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE_SECONDS)
            code = self.process.exitcode
            how = (
                f"was killed by signal {-code}"
                if code is not None and code < 0
                else f"ended with code {code}"
            )
            hint = "out of memory? try fewer --workers; the other jobs went on"
            return Made(job, error=f"the process that made {job.name} {how}", hint=hint)
        assert isinstance(made, Made)
        return made


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


def _work(connection: Connection, workplace: Workplace) -> None:
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
    studio = workplace.studio()
    try:
        signal.signal(signal.SIGTERM, _interrupted)
        while isinstance(job := connection.recv(), Job):
            connection.send(make(job, studio))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        studio.store.close()
        # Every block has ended by now. What an interrupted call still holds, Python would
        # complain about (see cli.main.run).
        os._exit(0)


def make(job: Job, studio: Studio) -> Made:
    """Make one clip. Whatever fails is told, not raised."""
    from dataclasses import asdict

    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        cast = studio.cast(job.portrait, job.engine, job.options)
        report = studio.speak(cast, open_voice(job), job.output)
    except PersonareError as error:
        return Made(job, error=error.message, hint=error.hint)
    except Exception as error:  # a fault of ours in one job is no reason to give up the others
        return Made(
            job,
            error=f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            hint="please report it",
        )
    return Made(job, report=asdict(report))


def open_voice(job: Job) -> Speech:
    """The speech of a job. Raises PersonareError."""
    if job.speech is not None:
        from personare.media.audio import open_speech

        return open_speech(job.speech)
    from personare.voice.tts import open_text

    return open_text(job_text(job), job.voice)


def job_text(job: Job) -> str:
    """The text of a job that has one. Raises UnreadableMedia."""
    if job.text_file is None:
        return job.text or ""
    return read_text_file(job.text_file)


def _interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """A batch that was killed takes its workers with it: each removes what it has half-written."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
