"""The workers of a service: they live as long as it does, take what waits, can be stopped at
one task, and are replaced when they die.

    waiting -> of the free workers the one that has been there (its avatar or engine is in
               memory), else any, else a new one up to `count`, which may change
    stop    -> at the task's next step; a worker that does not hear is ended within two seconds
    death   -> the task is given back to the pool, which decides whether it is tried again
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait

from personare.studio.settings import Settings
from personare.work.queue import Ended, Pool, Waiting
from personare.work.tasks import Step, Task, Warming
from personare.work.workers import Start, Terms, Worker, dismiss, in_a_process, retire

log = logging.getLogger(__name__)

HEED_SECONDS = 1.0
"""How long a worker may take to hear that its task is not wanted; then it is interrupted."""
END_SECONDS = 0.7
"""How long an interrupted one may take to end; then it is killed."""
_ROUND_SECONDS = 0.25


@dataclass
class _Hand:
    """A worker, and what the crew knows about it.

    been: places whose features and networks it has in memory. kept: those it is to have.
    graphics: whether it has a share of a GPU. since: when its task began. stopped_at: when it
    was told to stop, None if it was not.
    """

    worker: Worker
    kept: tuple[str, ...] = ()
    been: set[str] = field(default_factory=set)
    to_warm: list[str] = field(default_factory=list)
    since: float = 0.0
    stopped_at: float | None = None
    reason: Ended | None = None
    interrupted: bool = False
    fills_machine: bool = False
    graphics: bool = False


class Crew:
    """Workers of a service, in a thread of their own.

    count: processes at most; they start when there is something for them to do, and go where
        there are to be fewer. A function is asked again and again, in the crew's thread.
    fillers: tasks at a time whose engines fill a machine by themselves; a function likewise.
    task_seconds: that one task may take.
    warm: avatars and engines that are loaded before anything else, spread over the workers.
    start: of a worker.
    graphics: whether what is to be loaded has networks, where engines with networks have
        workers of their own; None: anybody does anything.
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        *,
        count: int | Callable[[], int],
        fillers: int | Callable[[], int] = 1,
        task_seconds: float = 3600.0,
        memory_bytes: int | None = None,
        warm: Sequence[str] = (),
        start: Start = in_a_process,
        graphics: Callable[[str], bool] | None = None,
    ) -> None:
        self._pool, self._settings = pool, settings
        self._most = count if callable(count) else lambda: count
        self._fillers = fillers if callable(fillers) else lambda: fillers
        self._count = max(1, self._most())
        self._leaving: list[threading.Thread] = []
        self._start = start
        self._task_seconds = task_seconds
        self._terms = Terms(tells=True, memory_bytes=memory_bytes)
        self._apart = graphics is not None
        self._graphics = {name for name in warm if graphics is not None and graphics(name)}
        self._kept = self._spread(warm)
        self._hands: list[_Hand] = []
        self._woken, self._wake = Pipe(duplex=False)
        self._stops: set[str] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="crew", daemon=True)

    def start(self) -> None:
        """Begin; at once with as many workers as have something to load, and at least one."""
        # Read when OpenCV is imported: its own threads would fight for the cores.
        os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
        self._thread.start()

    def wake(self) -> None:
        """Something waits. From any thread."""
        with self._lock, contextlib.suppress(OSError):
            self._wake.send_bytes(b"")

    def stop(self, name: str) -> None:
        """A task is not wanted any more; nothing happens if it is not under way. From any
        thread; returns at once.
        """
        with self._lock:
            self._stops.add(name)
        self.wake()

    def close(self) -> None:
        """End: tasks under way are given back, nothing half-written is left."""
        self._closing = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_warm(self) -> bool:
        """Whether everything that was to be loaded first is."""
        hands = list(self._hands)
        wanted = [kept for kept in self._kept if kept]
        return sum(not hand.to_warm for hand in hands if hand.kept) >= min(len(wanted), self._count)

    @property
    def busy(self) -> int:
        """How many workers are at a task."""
        return sum(hand.worker.task is not None for hand in list(self._hands))

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._hands)

    @property
    def processes(self) -> list[int]:
        """Their process ids, where they are on this machine."""
        return [pid for hand in list(self._hands) if (pid := hand.worker.process.pid) is not None]

    # ------------------------------------------------------------ the crew's thread

    def _run(self) -> None:
        try:
            self._hands = [self._hired(kept) for kept in self._kept if kept] or [self._hired(())]
            while not self._closing:
                self._count = max(1, self._most())
                self._hand_out()
                self._let_go()
                for connection in wait([self._woken, *self._connections()], _ROUND_SECONDS):
                    assert isinstance(connection, Connection)
                    if connection is self._woken:
                        self._woken.recv_bytes()
                    else:
                        self._hear(self._connections()[connection])
                self._look_after()
        except Exception:
            log.exception("the crew of workers has ended")
            raise
        finally:
            self._end()

    def _connections(self) -> dict[Connection, _Hand]:
        return {hand.worker.connection: hand for hand in self._hands}

    def _spread(self, warm: Sequence[str]) -> list[tuple[str, ...]]:
        """What each of the first workers is to have at hand; one of them all that has networks,
        where those are apart.
        """
        plain = [name for name in warm if name not in self._graphics]
        places = max(1, self._count - bool(self._graphics))
        spread = [tuple(plain[place::places]) for place in range(places)]
        return [*spread, tuple(name for name in warm if name in self._graphics)]

    def _hired(self, kept: tuple[str, ...], graphics: bool | None = None) -> _Hand:
        """graphics: whether it gets a share of a GPU; None: as what it is to have at hand."""
        if graphics is None:
            graphics = bool(self._graphics.intersection(kept))
        worker = Worker(self._settings, replace(self._terms, graphics=graphics), self._start)
        return _Hand(worker, kept, to_warm=list(kept), graphics=graphics)

    def _missing(self, graphics: bool) -> tuple[str, ...]:
        """What one that went was to have at hand."""
        there = {hand.kept for hand in self._hands}
        left = (kept for kept in self._kept if kept and kept not in there)
        return next((kept for kept in left if bool(self._graphics.intersection(kept)) == graphics), ())

    def _fitting(self, free: list[_Hand], waiting: Waiting) -> list[_Hand]:
        """Those of the free ones that can do it; a new one, if none can and there is room for
        it, or one of the other kind leaves.
        """
        graphics = self._apart and waiting.fills_machine
        fitting = [hand for hand in free if not self._apart or hand.graphics == graphics]
        if fitting:
            return fitting
        if len(self._hands) >= self._count:
            if not free:
                return []
            self._leave(leaver := min(free, key=lambda hand: bool(hand.kept)))
            free.remove(leaver)
        self._hands.append(hand := self._hired(self._missing(graphics), graphics))
        free.append(hand)
        return [hand]

    def _leave(self, hand: _Hand) -> None:
        self._hands.remove(hand)
        self._leaving.append(retire(hand.worker))

    def _hand_out(self) -> None:
        for hand in self._hands:
            if hand.worker.task is None and hand.to_warm:
                self._give(hand, Waiting(hand.to_warm[0], hand.to_warm[0]), Warming(hand.to_warm[0]))
        free = [hand for hand in self._hands if hand.worker.task is None]
        for waiting in self._next(free):
            if not (fitting := self._fitting(free, waiting)):
                continue
            hand = max(fitting, key=lambda h: (waiting.place in h.been, -len(h.been)))
            if (task := self._pool.take(waiting.name)) is not None:
                free.remove(hand)
                self._give(hand, waiting, task)

    def _next(self, free: list[_Hand]) -> list[Waiting]:
        """As many of those that wait as can begin now. First those whose place a free worker
        has been at, or another might get it.
        """
        places, fillers = len(free) + max(0, self._count - len(self._hands)), self._fillers()
        filling = sum(hand.fills_machine for hand in self._hands if hand.worker.task is not None)
        begin: list[Waiting] = []
        for waiting in self._pool.waiting() if places else ():
            if waiting.fills_machine and filling >= fillers:
                continue
            filling += waiting.fills_machine
            begin.append(waiting)
            if len(begin) == places:
                break
        return sorted(begin, key=lambda waiting: not any(waiting.place in hand.been for hand in free))

    def _let_go(self) -> None:
        """Where there are more than there may be now, those without a task go, last those that
        were to have something at hand.
        """
        self._leaving = [one for one in self._leaving if one.is_alive()]
        free = [hand for hand in self._hands if hand.worker.task is None]
        free.sort(key=lambda hand: bool(hand.kept))
        for hand in free[: max(0, len(self._hands) - self._count)]:
            self._leave(hand)

    def _give(self, hand: _Hand, waiting: Waiting, task: Task) -> None:
        hand.since, hand.stopped_at, hand.reason, hand.interrupted = time.monotonic(), None, None, False
        hand.fills_machine = waiting.fills_machine
        hand.been.add(waiting.place)
        hand.worker.give(task)

    def _hear(self, hand: _Hand) -> None:
        said = hand.worker.said()
        task = hand.worker.task
        if isinstance(said, Step):
            if task is not None and not isinstance(task, Warming):
                self._pool.step(task.name, said)
            return
        if said is None:
            self._replace(hand)
            return
        hand.worker.task = None
        if isinstance(said.task, Warming):
            hand.to_warm.remove(said.task.name)
            if said.error:
                log.warning("%s cannot be loaded: %s", said.task.name, said.error)
        else:
            self._pool.end(hand.reason or said)

    def _replace(self, hand: _Hand) -> None:
        """A worker is gone."""
        if hand.worker.task is not None:
            lost = hand.worker.lost()
            if isinstance(lost.task, Warming):
                log.warning("%s cannot be loaded: %s", lost.task.name, lost.error)
                hand.kept = tuple(name for name in hand.kept if name != lost.task.name)
            elif hand.stopped_at is not None:
                self._pool.end(hand.reason or lost)
            else:
                log.warning("%s", lost.error)
                self._pool.give_back(lost)
        else:
            hand.worker.process.join(END_SECONDS)
            hand.worker.connection.close()
        place = self._hands.index(hand)
        if len(self._hands) > self._count:
            del self._hands[place]
        elif hand.kept or len(self._hands) == 1 or self._pool.waiting():
            self._hands[place] = self._hired(hand.kept, hand.graphics)
        else:
            del self._hands[place]

    def _look_after(self) -> None:
        """Whoever is to stop, and does not, is made to."""
        now = time.monotonic()
        with self._lock:
            stops, self._stops = self._stops, set()
        for hand in self._hands:
            task = hand.worker.task
            if task is None:
                continue
            if hand.stopped_at is None:
                late = now - hand.since > self._task_seconds and not isinstance(task, Warming)
                if late:
                    hand.reason = Ended(
                        task,
                        error=f"it took longer than {self._task_seconds:g} s",
                        hint="less at a time, or a faster engine",
                        kind="TooSlow",
                    )
                if late or task.name in stops:
                    hand.stopped_at = now
                    hand.worker.stop()
                continue
            waited = now - hand.stopped_at
            if waited > HEED_SECONDS + END_SECONDS:
                hand.worker.process.kill()
            elif waited > HEED_SECONDS and not hand.interrupted:
                hand.interrupted = True
                hand.worker.process.terminate()

    def _end(self) -> None:
        under_way = [hand.worker.task for hand in self._hands if hand.worker.task is not None]
        dismiss([hand.worker for hand in self._hands])
        for one in self._leaving:
            one.join()
        for task in under_way:
            if not isinstance(task, Warming):
                self._pool.give_back(Ended(task, error="the service ended"), blameless=True)
        with self._lock:
            self._wake.close()
            self._woken.close()
