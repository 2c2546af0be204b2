"""Who waits for a job to change: crew and requests tell, streams of events listen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Told in any thread, heard in the event loop. What is heard is only that there is news."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[str, set[asyncio.Event]] = {}

    def begin(self) -> None:
        """The loop that runs now is where listeners are."""
        self._loop = asyncio.get_running_loop()

    def tell(self, job_id: str) -> None:
        """A job has changed. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, job_id)

    @contextmanager
    def listening(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change; the listener clears it."""
        event = asyncio.Event()
        self._listeners.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            listeners = self._listeners[job_id]
            listeners.discard(event)
            if not listeners:
                del self._listeners[job_id]

    def wake_all(self) -> None:
        """The service ends: nobody waits any longer."""
        for job_id in list(self._listeners):
            self._wake(job_id)

    def _wake(self, job_id: str) -> None:
        for event in self._listeners.get(job_id, ()):
            event.set()
