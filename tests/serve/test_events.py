"""What events of a job tell while it waits."""

from __future__ import annotations

import asyncio
import json

from personare.serve.jobs import stream
from personare.serve.jobs.stream import events_of
from personare.serve.routes.jobs import described


def test_a_job_that_waits_tells_how_many_are_before_it(answering, monkeypatch):
    """Also while nothing but the queue changes."""
    monkeypatch.setattr(stream, "QUEUED_SECONDS", 0.01)
    monkeypatch.setattr(stream, "STILL_HERE_SECONDS", 0.05)
    monkeypatch.setattr(stream, "_SHORTEST_SECONDS", 0.0)
    client = answering()
    wanted = {"text": "Hi.", "options": {"look": "mesh"}}
    ids = [client.post("/v1/jobs", json=wanted).json()["id"] for _ in range(3)]
    house, before = client.house, ids[:2]

    def state():
        row = house.jobs.get(ids[-1])
        return row, described(house, row).model_dump_json()

    async def told() -> list[int]:
        found, quiet = [], 0
        async for event in events_of(house, ids[-1], state):
            if event.startswith(":"):
                quiet += 1
                if quiet % 2 == 0 and before:
                    house.jobs.cancel(before.pop())  # the store tells nobody
                elif not before and found[-1] == 0:
                    return found
                continue
            found.append(json.loads(event.split("data: ")[1])["ahead"])
        return found

    assert asyncio.run(told()) == [2, 1, 0]
