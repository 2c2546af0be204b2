"""A job's changes as server-sent events. Each event is the whole job, so that a client that
comes back needs nothing of what it missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from personare.serve.jobs.store import Row
from personare.serve.problems import Problem

if TYPE_CHECKING:
    from personare.serve.house import House

STILL_HERE_SECONDS = 15.0
QUEUED_SECONDS = 3.0
_SHORTEST_SECONDS = 0.1


async def events_of(house: House, job_id: str, state: Callable[[], tuple[Row, str]]) -> AsyncIterator[str]:
    """Text of the events of a job until it has ended. state: the row, and the event's data.

    What is before a job in the queue changes it as well, and tells nobody: one that waits is
    looked at every few seconds.
    """
    with house.changes.listening(job_id) as changed:
        while True:
            changed.clear()
            try:
                row, data = await run_in_threadpool(state)
            except Problem:  # it was deleted meanwhile
                yield "event: gone\ndata: {}\n\n"
                return
            name = "progress" if row.is_open else "done"
            yield f"id: {row.progress}\nevent: {name}\ndata: {data}\n\n"
            if not row.is_open:
                return
            quiet = 0.0
            while not changed.is_set():
                pause = QUEUED_SECONDS if row.status == "queued" else STILL_HERE_SECONDS
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), pause)
                    break
                quiet += pause
                if row.status == "queued" and await _differs(state, data):
                    break
                if quiet >= STILL_HERE_SECONDS:
                    quiet = 0.0
                    yield ": still here\n\n"
            if house.is_closing:
                return
            await asyncio.sleep(_SHORTEST_SECONDS)


async def _differs(state: Callable[[], tuple[Row, str]], told: str) -> bool:
    try:
        return (await run_in_threadpool(state))[1] != told
    except Problem:
        return True
