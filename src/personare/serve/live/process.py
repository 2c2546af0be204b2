"""The handle of one worker process, in the event loop of the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from personare.serve.live.worker import work
from personare.studio.settings import Settings

END_SECONDS = 3.0
_ONE_THREAD = ("OPENCV_FOR_THREADS_NUM", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerProcess:
    """A spawned worker. Messages come in the event loop, in order; after `lost` none comes."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, settings), daemon=True)
        with _one_thread_each():
            self.process.start()
        theirs.close()
        self._loop = asyncio.get_running_loop()
        self._heard: Callable[..., None] = lambda *_: None
        self._lost: Callable[[], None] = lambda: None
        self._ended = False
        threading.Thread(target=self._read, args=(self._connection,), daemon=True).start()

    def serve(self, heard: Callable[..., None], lost: Callable[[], None]) -> None:
        """Who gets its messages, as (what, arguments ...), and is told that it died."""
        self._heard, self._lost = heard, lost

    @property
    def is_alive(self) -> bool:
        return not self._ended and self.process.is_alive()

    def send(self, verb: str, *arguments: Any) -> None:
        """A command. One to a process that died is dropped: `lost` is on its way."""
        with suppress(OSError, ValueError):
            self._connection.send((verb, *arguments))

    def kill(self) -> None:
        """End it at once; `lost` is called."""
        self.process.kill()

    async def end(self) -> None:
        """End it in peace, by force after END_SECONDS. `lost` is not called."""
        self._ended = True
        with suppress(OSError, ValueError):
            self._connection.send(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _read(self, connection: Connection) -> None:
        with suppress(RuntimeError):  # the loop has ended
            with suppress(EOFError, OSError):
                while True:
                    message = connection.recv()
                    self._loop.call_soon_threadsafe(self._tell, message)
            connection.close()
            self.process.join()
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
