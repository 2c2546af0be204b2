"""Jobs waiting, under way and ended: what batches and, with other storage, services share.

    waiting --take--> under way --end--> made | failed
       ^                  |
       +----give_back-----+        the worker died; the queue decides whether it is tried again

`workers.work_off` needs no more than `Queue`, and `crew.Crew` no more than `Pool`. A batch
keeps its queue in memory, for its journal beside the clips says what is finished (journal.py).
A service that must lose nothing keeps the same moves as rows of a table (serve/jobs): `take` is
one UPDATE that nobody can win twice, `end` is written before anybody is told, and rows under
way whose owner is gone are given back when the service starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from personare.work.jobs import Job
from personare.work.tasks import Step, Task

State = Literal["waiting", "under way", "made", "failed"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended: a report as plain values, or an error in one line and what to do.
    kind: the class of the error.
    """

    task: Task
    report: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""
    kind: str = ""

    @property
    def job(self) -> Job:
        """The task, where it is a clip."""
        assert isinstance(self.task, Job)
        return self.task

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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that waits.

    place: see `tasks.place_of`. fills_machine: whether its engine has networks that fill a
    machine by themselves.
    """

    name: str
    place: str
    fills_machine: bool = False


class Pool(Protocol):
    """What a crew asks of the tasks of a service. Called in the crew's thread."""

    def waiting(self) -> Sequence[Waiting]:
        """Some of those that wait, the next one first."""
        ...

    def take(self, name: str) -> Task | None:
        """A task that waits; it is under way from now on. None: it waits no more."""
        ...

    def step(self, name: str, step: Step) -> None:
        """How far a task that is under way has come."""
        ...

    def end(self, ended: Ended) -> None:
        """A task that was under way has ended; kept before this returns."""
        ...

    def give_back(self, lost: Ended, *, blameless: bool = False) -> None:
        """The worker of a task is gone, as `lost` tells. blameless: it was dismissed, which
        counts as no try.
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
