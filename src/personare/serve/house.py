"""What all routes share. `house_of(request)` is how a route gets it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from filelock import FileLock, Timeout
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from personare.engines.engine import engine_entry_points
from personare.errors import Busy
from personare.serve.avatars import AvatarNotes
from personare.serve.database import Database
from personare.serve.files import FileShelf
from personare.serve.jobs.events import Changes
from personare.serve.jobs.pool import JobPool
from personare.serve.jobs.store import JobStore, Row
from personare.serve.live.live import LiveSessions
from personare.serve.metrics import Figures
from personare.serve.problems import Problem
from personare.serve.settings import ServeSettings
from personare.studio.studio import Studio
from personare.work.crew import Crew
from personare.work.workers import Capacity, Start, here, in_a_process

log = logging.getLogger(__name__)

ALL = "all"
"""Of --warm: every avatar that is kept."""
_SWEEP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Quota:
    """What one caller may have. jobs_a_day, sessions: None for any number."""

    waiting: int
    kept_bytes: int
    jobs_a_day: int | None
    sessions: int | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Who works for a service, where it is more than one machine.

    there: what there is for workers now; asked in one thread. start: of a worker that makes
    clips. live: the sessions. gpu: share of a GPU that a worker of an engine with networks
    takes; 0: whatever it finds.
    """

    there: Callable[[], Capacity]
    start: Start
    live: Callable[..., LiveSessions]
    gpu: float = 0.0


@dataclass
class House:
    """One service.

    studio: of the HTTP process, which prepares and draws nothing: it looks things up.
    """

    settings: ServeSettings
    studio: Studio
    database: Database
    jobs: JobStore
    files: FileShelf
    avatars: AvatarNotes
    crew: Crew
    changes: Changes
    live: LiveSessions
    figures: Figures = field(default_factory=Figures)
    is_closing: bool = False
    placing: threading.Lock = field(init=False, default_factory=threading.Lock)
    _lock: FileLock = field(init=False)
    _sweeper: asyncio.Task[None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.figures.follow(self)
        self._lock = FileLock(self.settings.data_folder / "serve.lock", thread_local=False)

    @classmethod
    def of(cls, settings: ServeSettings, elsewhere: Elsewhere | None = None) -> House:
        """The house that settings describe; nothing is started. elsewhere: who works, where it
        is not this machine. Raises UnwritableOutput.
        """
        studio, folder = Studio(settings.studio), settings.data_folder
        database = Database(folder / "serve.sqlite")
        jobs = JobStore(folder / "jobs", database)
        avatars, changes = AvatarNotes(database, studio), Changes()
        memory = settings.limits.job_memory_bytes or 0
        there, gpu = (here, 0.0) if elsewhere is None else (elsewhere.there, elsewhere.gpu)
        crew = Crew(
            JobPool(jobs, avatars, changes.tell),
            settings.studio,
            count=settings.workers or (lambda: there().cores),
            fillers=lambda: settings.network_workers * _places(there(), gpu),
            task_seconds=settings.limits.job_seconds,
            memory_bytes=memory,
            warm=_warm(settings, studio),
            start=in_a_process if elsewhere is None else elsewhere.start,
            graphics=partial(_has_networks, studio) if gpu else None,
        )
        files = FileShelf(folder / "files", database, settings.limits)
        live = LiveSessions if elsewhere is None else elsewhere.live
        sessions = live(
            settings.studio,
            spare=1 if settings.warm else 0,
            most=settings.sessions,
            loopback=settings.is_local,
            ice_servers=settings.ice_servers,
            memory_bytes=memory,
            paused_seconds=settings.limits.paused_seconds,
        )
        return cls(settings, studio, database, jobs, files, avatars, crew, changes, sessions)

    def claim(self) -> None:
        """Take the folder of jobs, until `close`. Raises Busy if another service has it."""
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Busy(
                f"another service works in {self.settings.data_folder}",
                hint="end it, or begin with: personare serve --data FOLDER",
            ) from None

    async def start(self) -> None:
        """Start what runs beside the requests. Raises as `claim`."""
        self.claim()
        again = self.jobs.recover()
        self.avatars.recover()
        if again:
            log.warning("%d jobs that were under way wait again", len(again))
        self.changes.begin()
        self.crew.start()
        self._sweeper = asyncio.create_task(self._sweep())
        await self.live.start()

    async def close(self) -> None:
        """End it: jobs under way wait again, nothing half-written is left."""
        self.is_closing = True
        await self.live.close()
        self.changes.wake_all()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await run_in_threadpool(self.crew.close)
        await run_in_threadpool(self.studio.store.close)
        self.database.close()
        self._lock.release()

    def quota(self, caller: str) -> Quota:
        """What a caller may have: as the key says, else as the limits say."""
        limits = self.settings.limits
        key = next((key for key in self.settings.keys if key.name == caller), None)
        return Quota(
            waiting=(key.waiting if key else None) or limits.waiting_each,
            kept_bytes=(key.kept_bytes if key else None) or limits.kept_bytes_each,
            jobs_a_day=key.jobs_a_day if key else None,
            sessions=key.sessions if key else None,
        )

    def cancel(self, row: Row) -> bool:
        """A job is not wanted any more; False if it has ended. Its worker is free in two
        seconds at most.
        """
        was = self.jobs.cancel(row.id)
        if was is None:
            return False
        if was.status == "in_progress":  # the pool withdraws it when its worker has ended
            self.avatars.give_up(row.id)
        elif was.attempts:  # a worker that died may have kept it
            self.avatars.withdraw(row.id)
        else:
            self.avatars.release(row.id)
        self.crew.stop(row.id)
        self.changes.tell(row.id)
        return True

    def cancel_open(self, row: Row) -> None:
        """Cancel a job. Raises Problem 409 if it has ended."""
        if not self.cancel(row):
            raise Problem(409, "this job has ended", "DELETE forgets it")

    def cancel_job(self, job_id: str) -> bool:
        """Cancel a job by its id; False if there is none that has not ended."""
        try:
            return self.cancel(self.jobs.get(job_id))
        except Problem:
            return False

    def remove(self, row: Row) -> None:
        """Cancel a job if it has not ended, and forget it with its files. An avatar that it has
        made stays.
        """
        self.cancel(row)
        self.jobs.remove(row.id)
        self.changes.tell(row.id)

    def check_room(self, caller: str) -> None:
        """Raises Problem 429 if a caller keeps as much as allowed."""
        most = self.quota(caller).kept_bytes
        if self.jobs.kept_bytes(caller) > most:
            raise Problem(
                429,
                f"you keep more than {most:,} bytes here",
                "DELETE jobs and files that you do not need",
                code="quota",
                # room comes by deleting, not by asking again
                headers={"Retry-After": "3600", "x-should-retry": "false"},
            )

    def sweep(self, now: float | None = None) -> None:
        """Remove what has been kept long enough."""
        before = (time.time() if now is None else now) - self.settings.keep_hours * 3600
        self.jobs.sweep(before)
        self.files.sweep(before)

    async def _sweep(self) -> None:
        while True:
            await run_in_threadpool(self.sweep)
            await asyncio.sleep(min(_SWEEP_SECONDS, self.settings.keep_hours * 3600))


def _places(there: Capacity, gpu: float) -> int:
    """How many machines there are for engines with networks."""
    return len(there.gpus) if gpu and there.gpus else there.machines


def _has_networks(studio: Studio, name: str) -> bool:
    """Of what is to be loaded. Raises UnknownName, EngineError."""
    engine = name if name in engine_entry_points() else studio.shelf.load_manifest(name).engine
    return "device" in studio.open(engine).Options.model_fields


def _warm(settings: ServeSettings, studio: Studio) -> list[str]:
    """Names to load first. Raises UnknownName."""
    names: list[str] = []
    for name in settings.warm:
        if name == ALL:
            names += [manifest.name for manifest in studio.shelf.list()]
        elif name in engine_entry_points():
            names.append(name)
        else:
            names.append(studio.shelf.load_manifest(name).name)
    return list(dict.fromkeys(names))


def house_of(connection: HTTPConnection) -> House:
    """The house of a request or a WebSocket."""
    house = connection.app.state.house
    assert isinstance(house, House)
    return house


def caller_of(connection: HTTPConnection) -> str:
    """The name of the API key that a request came with; "" for everybody."""
    caller: str = connection.state.caller
    return caller
