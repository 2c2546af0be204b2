"""The handle of one worker process, in the event loop of the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

from personare.serve.live.worker import work
from personare.studio.settings import Settings
from personare.work.workers import Running

END_SECONDS = 3.0
_MOST_WAITING = 64
"""Commands; voice comes in messages of at most 1 MiB."""
_ONE_THREAD = ("OPENCV_FOR_THREADS_NUM", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Line(Protocol):
    """How messages go to a worker and come back; one thread sends, another receives."""

    def send(self, message: Any, /) -> None: ...
    def recv(self) -> Any: ...
    def close(self) -> None: ...


Start: TypeAlias = Callable[[Settings], tuple[Line, Running]]
"""Starts a worker. Its line raises EOFError or OSError when it is gone."""


def in_a_process(settings: Settings, memory_bytes: int | None = None) -> tuple[Line, Running]:
    """A worker in a spawned process of this machine. memory_bytes: that it may have; see
    `allowed_memory`.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, settings, memory_bytes), daemon=True)
    with _one_thread_each():
        process.start()
    theirs.close()
    return ours, process


class WorkerProcess:
    """A worker elsewhere. Messages come in the event loop, in order; after `lost` none comes."""

    def __init__(self, settings: Settings, start: Start = in_a_process) -> None:
        self._connection, self.process = start(settings)
        self._loop = asyncio.get_running_loop()
        self._heard: Callable[..., None] = lambda *_: None
        self._lost: Callable[[], None] = lambda: None
        self._ended = False
        self._outgoing: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        writer = threading.Thread(target=self._write, daemon=True)
        writer.start()
        threading.Thread(target=self._read, args=(self._connection, writer), daemon=True).start()

    def serve(self, heard: Callable[..., None], lost: Callable[[], None]) -> None:
        """Who gets its messages, as (what, arguments ...), and is told that it died."""
        self._heard, self._lost = heard, lost

    @property
    def is_alive(self) -> bool:
        return not self._ended and self.process.is_alive()

    @property
    def is_behind(self) -> bool:
        """Whether more commands wait than it should have to take."""
        return self._outgoing.qsize() > _MOST_WAITING

    def send(self, verb: str, *arguments: Any) -> None:
        """A command; it never blocks, whatever the process does. One to a process that died is
        dropped: `lost` is on its way.
        """
        if not self._ended:
            self._outgoing.put((verb, *arguments))

    def kill(self) -> None:
        """End it at once; `lost` is called."""
        self.process.kill()

    async def end(self) -> None:
        """End it in peace, by force after END_SECONDS. `lost` is not called."""
        self._ended = True
        self._outgoing.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _write(self) -> None:
        try:
            with suppress(OSError, ValueError):
                while True:
                    message = self._outgoing.get()
                    self._connection.send(message)
                    if message is None:
                        return
        except Exception:  # what cannot be sent: better an end that is told than a session that waits
            self.process.kill()
            raise

    def _read(self, connection: Line, writer: threading.Thread) -> None:
        with suppress(RuntimeError):  # the loop has ended
            with suppress(EOFError, OSError):
                while True:
                    message = connection.recv()
                    self._loop.call_soon_threadsafe(self._tell, message)
            self._outgoing.put(None)
            self.process.join()
            writer.join()  # before the number of its pipe is another file's
            connection.close()
            self._loop.call_soon_threadsafe(self._died)

    def _tell(self, message: tuple[Any, ...]) -> None:
        if not self._ended:
            self._heard(*message)

    def _died(self) -> None:
        if not self._ended:
            self._ended = True
            self._lost()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started here begin with libraries of one thread: sessions side by side
    would otherwise wait for each other's. It has to be there before OpenCV is loaded.
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
