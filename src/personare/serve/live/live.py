"""All live sessions of a service."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from personare.errors import Busy, UnknownName
from personare.ground.machine import machine
from personare.serve.live.admission import Admission, with_sending
from personare.serve.live.opened import Wanted
from personare.serve.live.place import PAUSED_SECONDS, Place
from personare.serve.live.process import WorkerProcess, in_a_process
from personare.studio.settings import Settings

if TYPE_CHECKING:
    from personare.serve.live.whep import Peer, Trial

MOST_PEERS = 2
"""WebRTC connections of one session: the one that is watched, and one that is to follow it."""
MOST_TRIALS = 4
"""Connections at a time that are tried and carry nothing."""
_SWEEP_SECONDS = 1.0


class LiveSessions:
    """Makes sessions, finds them, ends those that nobody watches, or that are paused for long."""

    def __init__(
        self,
        settings: Settings,
        *,
        spare: int = 0,
        most: int | None = None,
        loopback: bool = True,
        ice_servers: Sequence[str] = (),
        memory_bytes: int | None = None,
        paused_seconds: float = PAUSED_SECONDS,
    ) -> None:
        """spare: workers that wait, so that the next session begins sooner.
        most: sessions at a time, whatever they cost.
        loopback: whether WebRTC stays on this machine.
        ice_servers: URLs of STUN and TURN servers.
        memory_bytes: that one worker of this machine may have; see `allowed_memory`.
        paused_seconds: that a session may be watched and paused.
        """
        self.admission = Admission(machine().cores, most)
        self.ice_servers = tuple(ice_servers)
        self._start = partial(in_a_process, memory_bytes=memory_bytes)
        self._paused_seconds = paused_seconds
        self._settings, self._spare, self._loopback = settings, spare, loopback
        self._peers: dict[str, Peer] = {}
        self._trials: set[Trial] = set()
        self._places: dict[str, Place] = {}
        self._coming: Counter[str] = Counter()
        """Callers whose sessions have no place yet."""
        self._free: list[WorkerProcess] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def reaches_far(self) -> bool:
        """Whether WebRTC can leave this machine: it is not on a loopback address, or by TURN."""
        return not self._loopback or any(url.startswith(("turn:", "turns:")) for url in self.ice_servers)

    async def start(self) -> None:
        """The service starts."""
        self._sweeper = asyncio.create_task(self._sweep())
        self._fill()

    async def close(self) -> None:
        """The service ends: every session is told, every process has gone when this returns."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for place in list(self._places.values()):
            place.close(1001)
        for trial in self._trials:
            trial.close()
        for process in self._free:
            self._end(process)
        self._free = []
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def create(self, wanted: Wanted, caller: str) -> Place:
        """A session that is ready to be watched. Raises Busy, and what opening raises."""
        kind = kind_of(wanted)
        measure = not self.admission.knows(kind)
        id = f"session_{secrets.token_hex(12)}"
        self.admission.enter(id, kind)
        wanted = replace(wanted, measure=measure)
        place = Place(id, wanted, caller, self._worker(), self._worker, self._left, self._spent)
        self._places[id] = place
        try:
            facts = await place.until_open()
            if facts["cost"] is not None:
                self.admission.measured(id, kind, with_sending(facts["cost"], wanted.media))
        except BaseException:
            place.close()
            raise
        return place

    def find(self, id: str, token: str | None = None) -> Place:
        """A session by its id, and its token if one is given. Raises UnknownName."""
        place = self._places.get(id)
        if place is None or (token is not None and not hmac.compare_digest(token, place.token)):
            raise UnknownName("there is no such session", hint="POST /v1/sessions makes one")
        return place

    def of(self, caller: str) -> list[Place]:
        """The sessions of one caller."""
        return [place for place in self._places.values() if place.caller == caller]

    def count(self, caller: str) -> int:
        """Sessions of one caller, also those that are being made."""
        return len(self.of(caller)) + self._coming[caller]

    async def answer(self, place: Place, offer: str) -> tuple[str, str]:
        """A WebRTC connection for a session: its id, and the answer to the offer. A session has
        MOST_PEERS of them; the oldest that is not connected goes. Raises InvalidOption.
        """
        from personare.serve.live.whep import Peer

        self._stay()
        async with place.offers:
            others = [peer for peer in self._peers.values() if peer.place is place and not peer.has_ended]
            others.sort(key=lambda peer: peer.is_connected)  # it is watched: it goes last
            for peer in others[: 1 - MOST_PEERS or None]:
                peer.close()
            peer = Peer(place, self.ice_servers)
            answer = await peer.answer(offer)
            place.offered()
            self._peers[peer.id] = peer
            if place.ended:  # meanwhile
                peer.close()
            self._lives(peer.live()).add_done_callback(lambda _: self._peers.pop(peer.id, None))
        return peer.id, answer

    async def try_webrtc(self, offer: str) -> str:
        """The answer to an offer of a connection that carries nothing, to see whether one comes
        about. Raises InvalidOption, and Busy where MOST_TRIALS are under way.
        """
        from personare.serve.live.whep import Trial

        if len(self._trials) >= MOST_TRIALS:
            raise Busy("many are trying WebRTC just now", hint="try again in 10 s")
        self._stay()
        trial = Trial(self.ice_servers)
        self._trials.add(trial)
        try:
            answer = await trial.answer(offer)
        except BaseException:
            self._trials.discard(trial)
            raise
        self._lives(trial.live()).add_done_callback(lambda _: self._trials.discard(trial))
        return answer

    def hang_up(self, peer: str) -> None:
        """End a WebRTC connection. Raises UnknownName."""
        if (found := self._peers.get(peer)) is None:
            raise UnknownName("there is no such connection")
        found.close()

    def figures(self) -> dict[str, float]:
        """For /metrics."""
        return {
            "sessions": len(self._places),
            "cores_used": self.admission.used,
            "cores": self.admission.capacity,
            "workers_lost": sum(place.losses for place in self._places.values()),
        }

    def _spent(self, place: Place, cores: float) -> None:
        wanted = place.wanted
        self.admission.seen(kind_of(wanted), with_sending(cores, wanted.media))

    def _left(self, place: Place) -> None:
        self.admission.leave(place.id)
        self._places.pop(place.id, None)
        for peer in self._peers.values():
            if peer.place is place:  # also one that is not connected yet
                peer.close()
        self._end(place.process)

    def _worker(self) -> WorkerProcess:
        while self._free:
            process = self._free.pop()
            if process.is_alive:
                break
        else:
            process = WorkerProcess(self._settings, self._start)
        self._fill()
        return process

    def _fill(self) -> None:
        while not self._closing and len(self._free) < self._spare:
            self._free.append(WorkerProcess(self._settings, self._start))

    def _stay(self) -> None:
        if self._loopback:
            from personare.serve.live.whep import only_loopback

            only_loopback()

    def _end(self, process: WorkerProcess) -> None:
        self._lives(process.end())

    def _lives(self, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs until it is over; the service waits for it at its end."""
        task = asyncio.create_task(life)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    def _swept(self) -> None:
        """Once a second, for those who have more to look after."""

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._swept()
            for place in list(self._places.values()):
                if place.overdue(self._paused_seconds):
                    place.close(4408)


def kind_of(wanted: Wanted) -> str:
    """Sessions that cost the same. An avatar's own options count by its name."""
    options = sorted((name, str(value)) for name, value in wanted.options.items())
    return json.dumps([wanted.avatar, wanted.engine, options, wanted.media])
