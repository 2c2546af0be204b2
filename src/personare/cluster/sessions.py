"""In the front: all live sessions of a cluster. Places, watchers and messages are those of one
machine (serve/live); a worker is an actor that the directory has found room for.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from personare.cluster.joined import ray_module
from personare.cluster.live_host import Card, State
from personare.cluster.parcels import Packer, sent
from personare.errors import Busy, EngineError, PersonareError
from personare.serve.live.admission import with_sending
from personare.serve.live.live import LiveSessions, kind_of
from personare.serve.live.opened import Wanted
from personare.serve.live.place import Place
from personare.serve.live.process import WorkerProcess
from personare.studio.settings import Settings

log = logging.getLogger(__name__)

_ASK_SECONDS = 30.0


class ActorLine:
    """An actor as the connection and the process of a `WorkerProcess`. `send` in one thread,
    `recv` in another.

    obtain: the actor; may take its time, and raises OSError where there is none.
    pack: what `open` has to bring for a session.
    """

    pid: int | None = None
    exitcode: int | None = None

    def __init__(self, obtain: Callable[[], Any], pack: Callable[[Wanted], tuple[Any, Any]]) -> None:
        self._ray = ray_module()
        self._obtain, self._pack = obtain, pack
        self._actor: Any = None
        self._obtained, self._over = threading.Event(), threading.Event()
        self._told: deque[tuple[Any, ...]] = deque()
        self._stream: Any = None

    def send(self, message: tuple[Any, ...] | None) -> None:
        """A command; None: it is not wanted any more."""
        if message is None or self._over.is_set():
            self._over.set()
            self._obtained.set()
            return
        if self._actor is None:
            self._take()
        verb, *arguments = message
        if verb == "open":
            try:
                arguments = [*arguments, *self._pack(arguments[0])]
            except PersonareError as error:
                verb, arguments = "refuse", [error]
        self._actor.obey.remote(verb, *arguments)

    def recv(self) -> tuple[Any, ...]:
        """What the worker says. Raises EOFError when it is lost, or not wanted any more."""
        self._obtained.wait()
        try:
            if self._stream is None and self._actor is not None:
                self._stream = self._actor.hear.options(num_returns="streaming").remote()
            while not self._told:
                if self._over.is_set() or self._stream is None:
                    raise EOFError
                self._told.extend(self._ray.get(next(self._stream)))
            return self._told.popleft()
        except (StopIteration, self._ray.exceptions.RayError) as error:
            if not self._over.is_set():
                log.warning("an actor of a session is gone: %s", " ".join(str(error).split())[:600])
            self._over.set()
            raise EOFError from None

    def beat(self) -> None:
        """Say that somebody listens."""
        if self._actor is not None and not self._over.is_set():
            self._actor.beat.remote()

    def close(self) -> None:
        self._over.set()

    def is_alive(self) -> bool:
        return not self._over.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def terminate(self) -> None:
        self.kill()

    def kill(self) -> None:
        if self._actor is not None:
            self._ray.kill(self._actor)

    def _take(self) -> None:
        try:
            self._actor = self._obtain()
        except OSError:
            self._over.set()
            raise
        finally:
            self._obtained.set()


class ClusterSessions(LiveSessions):
    """Makes sessions on all nodes of the joined cluster, and takes over those of a front that
    died. directory: the actor of live_actors.py. gpu: share of one that a session needs.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Any,
        packer: Packer,
        gpu: Callable[[Wanted], float] = lambda _: 0.0,
        **given: Any,
    ) -> None:
        super().__init__(settings, **given)
        self._gpu = gpu
        self._ray = ray_module()
        self._directory, self._packer = directory, packer
        self._lines: dict[str, ActorLine] = {}
        self._seen: dict[str, float] = {"cores_used": 0.0, "cores": 0.0}

    async def start(self) -> None:
        await super().start()
        for actor, state in await self._answer(self._directory.sessions.remote()):
            self._adopt(actor, state)

    async def create(self, wanted: Wanted, caller: str) -> Place:
        kind = kind_of(wanted)
        id = f"session_{secrets.token_hex(12)}"
        card = Card(id, secrets.token_urlsafe(24), caller, kind, wanted, self._gpu(wanted))
        self._coming[caller] += 1
        try:
            actor, measure = await self._entered(card)
        finally:
            self._coming[caller] -= 1
        place = self._placed(card, replace(wanted, measure=measure), lambda: actor)
        try:
            facts = await place.until_open()
            if facts["cost"] is not None:
                cores = with_sending(facts["cost"], wanted.media)
                _allowed(await self._answer(self._directory.measured.remote(id, kind, cores)))
        except BaseException:
            place.close()
            raise
        return place

    def figures(self) -> dict[str, float]:
        return super().figures() | self._seen

    def _placed(self, card: Card, wanted: Wanted, obtain: Callable[[], Any]) -> Place:
        def again() -> WorkerProcess:
            return self._employed(card.id, lambda: self._other(card))

        first = self._employed(card.id, obtain)
        place = Place(card.id, wanted, card.caller, first, again, self._left, self._spent)
        place.token = card.token
        self._places[card.id] = place
        return place

    def _employed(self, id: str, obtain: Callable[[], Any]) -> WorkerProcess:
        line = self._lines[id] = ActorLine(obtain, self._packed)
        return WorkerProcess(self._settings, lambda _: (line, line))

    def _adopt(self, actor: Any, state: State) -> None:
        """A session of a front that died; whoever has its token takes it up again."""
        wanted = replace(state.card.wanted, generation=state.generation, index=state.index, measure=False)
        place = self._placed(state.card, wanted, lambda: actor)
        place.facts = state.facts | {"fps": str(state.facts["fps"])}  # before it says so itself

    def _other(self, card: Card) -> Any:
        """Another actor for a session whose own was lost; in a thread of its line."""
        try:
            answer = self._ray.get(self._directory.again.remote(card), timeout=_ASK_SECONDS)
            actor = _allowed(answer)[0]
        except (Busy, self._ray.exceptions.RayError) as error:
            log.warning("no other actor for a session: %s", " ".join(str(error).split())[:600])
            raise OSError(str(error)) from None
        if card.id not in self._lines:  # it has ended meanwhile
            self._directory.leave.remote(card.id)
            raise OSError("the session has ended")
        return actor

    def _packed(self, wanted: Wanted) -> tuple[Any, Any]:
        avatar = self._packer.avatar(wanted.avatar) if wanted.avatar else None
        return avatar, None if wanted.guide is None else sent(wanted.guide, self._ray.put)

    async def _entered(self, card: Card) -> Any:
        return _allowed(await self._answer(self._directory.enter.remote(card)))

    async def _answer(self, asked: Any) -> Any:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked.future()), _ASK_SECONDS)
        except (TimeoutError, self._ray.exceptions.RayError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EngineError(f"the directory does not answer: {reason}", hint="try again") from None

    def _fill(self) -> None:
        """Spare actors are the directory's business."""

    def _spent(self, place: Place, cores: float) -> None:
        cores = with_sending(cores, place.wanted.media)
        self._directory.seen.remote(kind_of(place.wanted), cores)

    def _left(self, place: Place) -> None:
        super()._left(place)
        self._lines.pop(place.id, None)
        self._directory.leave.remote(place.id)

    def _swept(self) -> None:
        for line in list(self._lines.values()):
            line.beat()

        def note(done: Any) -> None:
            if done.exception() is None:
                self._seen = dict(done.result())

        self._directory.figures.remote().future().add_done_callback(note)


def _allowed(answer: Any) -> Any:
    """What the directory gives. Raises Busy where it gives none."""
    if isinstance(answer, Busy):
        raise answer
    return answer
