"""In an actor: one live session, the very worker that a single machine runs in a process
(serve/live/worker.py), with messages in a queue instead of a pipe.

It outlives whoever listens. Without a sign of life from a front it stops drawing after 10 s,
and draws on when there is one again; it ends after a minute, for by then its watchers would
have gone.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from personare.cache.store import TurnElsewhere
from personare.cluster.maker import Household
from personare.cluster.parcels import Get, Sent, SentAvatar, written
from personare.errors import PersonareError
from personare.provenance.settings import MarksSettings
from personare.serve.live.admission import with_sending
from personare.serve.live.opened import Wanted
from personare.serve.live.wire import Media, Packet
from personare.serve.live.worker import BEAT_SECONDS, Worker
from personare.studio.settings import Settings
from personare.work.making import warm

UNHEARD_SECONDS = 10.0
ORPHANED_SECONDS = 60.0
_PASSING = ("packets", "alive")
"""What is worth nothing any more to somebody who did not listen when it was said."""


@dataclass(frozen=True, slots=True)
class Card:
    """Whose session it is. kind: see `Directory`. gpu: share of a GPU that it needs, or has."""

    id: str
    token: str
    caller: str
    kind: str
    wanted: Wanted
    gpu: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Where a session is, for a front that takes it over. generation, index: of the next
    packet. cost: what such sessions cost, as measured. pid: of its process.
    """

    card: Card
    facts: dict[str, Any]
    generation: int
    index: int
    cost: float | None
    pid: int


class LiveHost:
    """One session at most in its life. `obey` in one thread, the rest from any."""

    def __init__(
        self,
        settings: Settings,
        marks: MarksSettings,
        get: Get,
        names: tuple[str, ...] = (),
        turn: TurnElsewhere | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """names: engines to load before anybody asks. turn: of this machine, to compute. now:
        seconds of a clock that never falls.
        """
        self._household = Household(settings, marks)
        if turn is not None:
            self._household.studio.store.take_turns(turn)
        self._get, self._now = get, now
        self._messages: deque[tuple[Any, ...]] = deque()
        self._told = threading.Condition()
        """Of messages and listener: who does not listen any more takes none."""
        self._worker = Worker(self, self._household.studio)
        self._card: Card | None = None
        self._cost: float | None = None
        self._facts: dict[str, Any] | None = None
        self._generation = self._index = 0
        self._listener = 0
        self._heard_at = now()
        self._heard, self._busy = True, False
        self._media: Media | None = None
        self._watching = threading.Lock()
        for name in names:
            try:
                warm(name, self._household.studio)
            except PersonareError:
                continue  # whoever asks for it is told

    def assign(self, card: Card, cost: float | None = None) -> None:
        """Whose session it will be. cost: what such sessions are known to cost."""
        self._card, self._cost = card, cost
        self.beat()

    def obey(self, verb: str, *arguments: Any) -> None:
        """A command, as `Worker.obey` takes it; `open` brings the avatar and the guide, and
        opens nothing twice.
        """
        self.beat()
        self._busy = True
        try:
            self._obey(verb, *arguments)
        finally:
            self._busy = False

    def _obey(self, verb: str, *arguments: Any) -> None:
        if verb == "refuse":  # what it was to be opened with cannot be had
            self.send(("refused", *arguments))
        elif verb == "watch":
            self._watch(*arguments)
        elif verb != "open":
            self._worker.obey(verb, *arguments)
        elif self._facts is not None:  # of a front that has taken it over: nobody watches yet
            self._watch(None)
            self.send(("opened", self._facts))
        else:
            self._open(*arguments)

    def hear(self) -> Iterator[list[tuple[Any, ...]]]:
        """What the worker says, in order, until somebody else listens."""
        me = self._heed()
        self.beat()
        while True:
            with self._told:
                self._told.wait_for(lambda: self._messages or self._listener != me)
                if self._listener != me:
                    return
                told = list(self._messages)
                self._messages.clear()
            yield told

    def beat(self) -> None:
        """Somebody listens; whoever watched before a silence watches again."""
        self._heard_at = self._now()
        with self._watching:
            if not self._heard:
                self._heard = True
                self._worker.obey("watch", self._media)

    def state(self) -> State | None:
        """None before the session is open, and after its end."""
        if self._card is None or self._facts is None:
            return None
        measured, media = self._facts["cost"], self._card.wanted.media
        cost = self._cost if measured is None else with_sending(measured, media)
        return State(self._card, self._facts, self._generation, self._index, cost, os.getpid())

    def look_after(self) -> None:
        """`look` for as long as the process lives, which ends with an orphan."""
        while self.look():
            time.sleep(BEAT_SECONDS)
        os._exit(0)

    def look(self) -> bool:
        """Say that it lives, and see whether somebody listens; False for an orphan, of which
        nothing is left.
        """
        if not self._busy:
            self._worker.live()
        silent = self._now() - self._heard_at
        if silent > ORPHANED_SECONDS:
            self._household.close()
            return False
        if silent > UNHEARD_SECONDS and self._heard and self._facts is not None:
            self._fall_silent()
        return True

    def close(self) -> None:
        """The session ends."""
        self._card = None
        self._heed()
        self._worker.close()
        self._household.close()

    def send(self, message: tuple[Any, ...]) -> None:
        """What the worker says, on its way."""
        if message[0] == "opened":
            self._facts = message[1]
        elif message[0] == "interrupted":
            self._generation = message[2].generation
        elif message[0] == "packets" and message[1]:
            last: Packet = message[1][-1]
            self._generation, self._index = max(self._generation, last.generation), last.index + 1
        if self._heard or message[0] not in _PASSING:
            with self._told:
                self._messages.append(message)
                self._told.notify_all()

    def _heed(self) -> int:
        """Somebody else listens from now on, or nobody."""
        with self._told:
            self._listener += 1
            self._told.notify_all()
            return self._listener

    def _open(self, wanted: Wanted, avatar: SentAvatar | None, guide: Sent | None) -> None:
        self._generation, self._index = wanted.generation, wanted.index
        try:
            self._household.welcome(avatar, self._get)
            if guide is not None:
                path = self._household.scratch / "guide" / os.path.basename(guide.name)  # noqa: PTH119
                wanted = replace(wanted, guide=written(guide, path, self._get))
        except PersonareError as error:
            self.send(("refused", error))
            return
        self._worker.obey("open", wanted)

    def _watch(self, media: Media | None) -> None:
        with self._watching:
            self._media = media
            self._worker.obey("watch", media)

    def _fall_silent(self) -> None:
        with self._watching:
            self._heard = False
            self._worker.obey("watch", None)
            with self._told:
                lasting = [message for message in self._messages if message[0] not in _PASSING]
                self._messages = deque(lasting)
