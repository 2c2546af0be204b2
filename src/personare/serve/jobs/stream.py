"""A job's changes as server-sent events. Each event is the whole job, so that a client that
comes back needs nothing of what it missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from personare.serve.jobs.store import Row
from personare.serve.problems import Problem

if TYPE_CHECKING:
    from personare.serve.house import House

STILL_HERE_SECONDS = 15.0
_SHORTEST_SECONDS = 0.1


async def events_of(house: House, job_id: str, state: Callable[[], tuple[Row, str]]) -> AsyncIterator[str]:
    """Text of the events of a job until it has ended. state: the row, and the event's data."""
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
            while True:
                try:
                    await asyncio.wait_for(changed.wait(), STILL_HERE_SECONDS)
                    break
                except TimeoutError:
                    yield ": still here\n\n"
            if house.is_closing:
                return
            await asyncio.sleep(_SHORTEST_SECONDS)
