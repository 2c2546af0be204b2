"""Jobs waiting, under way and ended: what batches and, with other storage, services share.

    waiting --take--> under way --end--> made | failed
       ^                  |
       +----give_back-----+        the worker died; the queue decides whether it is tried again

`workers.work_off` needs no more than `Queue`. A batch keeps its queue in memory, for its
journal beside the clips says what is finished (journal.py). A service that must lose nothing
keeps the same three moves as rows of a table: `take` is one UPDATE that a second process cannot
win as well, `end` is written before anybody is told, and rows under way whose owner is gone are
given back when the service starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from personare.work.jobs import Job

State = Literal["waiting", "under way", "made", "failed"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended: a report as plain values, or an error in one line and what to do."""

    job: Job
    report: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""

    @property
    def state(self) -> State:
        return "failed" if self.error else "made"


class Queue(Protocol):
    """What workers ask of a queue. Called by the process that owns the workers, in one thread."""

    def take(self) -> Job | None:
        """The next job that waits; it is under way from now on. None: nothing waits now."""
        ...

    def end(self, ended: Ended) -> None:
        """A job that was under way has ended; kept before this returns."""
        ...

    def give_back(self, lost: Ended) -> Ended | None:
        """The worker of a job died under it, as `lost` tells. None: the job waits again; else
        how it has ended, which is kept as by `end`.
        """
        ...


class MemoryQueue:
    """A queue that lives as long as the process. First in, first out; a job whose worker dies
    is tried `tries` times in all. A job's name is its identity.
    """

    def __init__(self, jobs: Iterable[Job] = (), tries: int = 1) -> None:
        self._tries = tries
        self._waiting = deque(jobs)
        self._taken: dict[str, int] = {}
        self._ended: dict[str, Ended] = {}

    def add(self, job: Job) -> None:
        """One more that waits."""
        self._waiting.append(job)

    def take(self) -> Job | None:
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        self._taken[job.name] = self._taken.get(job.name, 0) + 1
        return job

    def end(self, ended: Ended) -> None:
        self._ended[ended.job.name] = ended

    def give_back(self, lost: Ended) -> Ended | None:
        if self._taken[lost.job.name] < self._tries:
            self._waiting.append(lost.job)
            return None
        self.end(lost)
        return lost

    def state(self, name: str) -> State:
        """Where a job is. Raises KeyError for one that was never added."""
        if name in self._ended:
            return self._ended[name].state
        if any(job.name == name for job in self._waiting):
            return "waiting"
        if name not in self._taken:
            raise KeyError(name)
        return "under way"
