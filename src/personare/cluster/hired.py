"""An actor as a worker: on one end of a pipe what `work.workers.Worker` expects, on the other a
thread that sends parcels and puts down what comes back.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from personare.cluster.joined import following, ray_module
from personare.cluster.maker import unsent
from personare.cluster.parcels import Packer, receive
from personare.errors import Cancelled, PersonareError
from personare.provenance.settings import MarksSettings, marks_folder, read_marks_settings
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.work.batch import Staff
from personare.work.tasks import Step, Stop, Task
from personare.work.workers import Running, Start, Terms

log = logging.getLogger(__name__)

TRIES = 3
CORE_SECONDS = 10.0
"""For an actor to begin, before it is said that it has no core yet."""
WAITS = Step("a free core of the cluster", 0, None)
_LOOK_SECONDS = 0.1


class Hired:
    """An actor, asked for what is asked of a process. It has no exit code: it is there or lost."""

    pid: int | None = None
    exitcode: int | None = None

    def __init__(self, actor: Any, packer: Packer, studio: Studio, line: Connection, *, tells: bool) -> None:
        self._actor, self._packer, self._studio, self._line = actor, packer, studio, line
        self._tells = tells
        self._leaving = self._is_there = False
        self._ray = ray_module()
        self._thread = threading.Thread(target=self._run, name="personare-hired", daemon=True)
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def terminate(self) -> None:
        """End at the task's next step."""
        self._leaving = True
        with suppress(self._ray.exceptions.RayError):
            self._actor.close.remote()

    def kill(self) -> None:
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)

    def _run(self) -> None:
        try:
            while not self._leaving and (message := self._line.recv()) is not None:
                if not isinstance(message, Stop):  # of one that had just ended
                    self._do(message)
            self._ray.get(self._actor.close.remote(), timeout=15)
        except (EOFError, OSError):
            log.debug("nobody asks this actor any more")
        except self._ray.exceptions.RayError as error:
            log.info("an actor was lost: %s", " ".join(str(error).split())[:200])
        finally:
            self.kill()
            self._line.close()

    def _do(self, task: Task) -> None:
        try:
            parcel = self._packer.pack(task)
        except (PersonareError, OSError) as error:
            self._line.send(unsent(task, error))
            return
        if not self._has_begun(task):
            self._line.send(unsent(task, Cancelled(f"{task.name} was cancelled")))
            return
        under_way = self._actor.make.remote(parcel)
        told: Step | None = None
        while not self._ray.wait([under_way], timeout=_LOOK_SECONDS)[0]:
            while self._line.poll():
                message = self._line.recv()
                if isinstance(message, Stop):
                    self._actor.stop.remote(message.name)
            if self._tells and (step := self._ray.get(self._actor.told.remote())) not in (None, told):
                told = step
                self._line.send(step)
        done = self._ray.get(under_way)
        try:
            ended = receive(done, self._studio, self._ray.get)
        except PersonareError as error:
            ended = unsent(task, error)
        self._line.send(ended)

    def _has_begun(self, task: Task) -> bool:
        """Whether the actor is there; it waits for a core. False for a task that is not wanted
        any more. Raises EOFError if nobody asks.
        """
        if self._is_there:
            return True
        asked, waits_at = self._actor.told.remote(), time.monotonic() + CORE_SECONDS
        while not self._ray.wait([asked], timeout=_LOOK_SECONDS)[0]:
            while self._line.poll():
                message = self._line.recv()
                if isinstance(message, Stop) and message.name == task.name:
                    return False
                if message is None:
                    raise EOFError
            if self._leaving:
                raise EOFError
            if time.monotonic() > waits_at:
                waits_at = math.inf
                log.warning("%s waits for a free core of the cluster", task.name)
                if self._tells:
                    self._line.send(WAITS)
        self._ray.get(asked)
        self._is_there = True
        return True


def hiring(settings: Settings, gpu: float = 0.0) -> Start:
    """What starts a worker on the joined cluster; in the process that joined it. gpu: share of
    a GPU for those whose tasks may run on one, where the cluster has any.
    """
    from personare.cluster import actors

    studio, ray = Studio(settings), ray_module()
    packer, marks = Packer(studio, ray.put), absolute(read_marks_settings())
    turns, there = actors.leases(), following()

    def start(settings: Settings, terms: Terms) -> tuple[Connection, Running]:
        ours, theirs = Pipe()
        share = gpu if terms.graphics and there().gpus else 0.0
        actor = actors.maker(settings, marks, turns, terms.memory_bytes, share)
        return ours, Hired(actor, packer, studio, theirs, tells=terms.tells)

    return start


def staff(settings: Settings, gpu: float = 0.0) -> Staff:
    """Who makes the clips of a batch on the joined cluster: as many as it has cores, also when
    nodes come or go. An actor's death may be its machine's fault: its job is tried again. gpu:
    see `hiring`.
    """
    return Staff(following(), TRIES, hiring(settings, gpu), gpu)


def absolute(marks: MarksSettings) -> MarksSettings:
    """The same settings where the file is elsewhere. Keys stay where they are: a machine that
    is to sign has them at the same path.
    """
    paths = {name: getattr(marks, name) for name in ("certificate", "key")}
    here = {name: str(marks_folder() / path) for name, path in paths.items() if path is not None}
    return marks.model_copy(update=here)
