"""One session in the server: its worker, who watches it, and when it ends.

preparing -> ready -> live <-> unwatched -> closed
               30 s without a watcher ends it, or half an hour of pause; before that, its token
               takes it up again. One that was never watched ends 10 s after an offer of WebRTC
               that did not connect
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from personare.errors import Busy, EngineError, PersonareError, UnknownName
from personare.provenance.visible import BADGE_TEXT
from personare.serve.live.opened import Wanted
from personare.serve.live.process import WorkerProcess
from personare.serve.live.session import Interrupted
from personare.serve.live.wire import Append, Curves, Event, Facts, Media, Message, Packet, Say, VoicePiece

UNWATCHED_SECONDS = 30.0
CONNECT_SECONDS = 10.0
"""How long an offer of WebRTC may take to connect."""
PAUSED_SECONDS = 1800.0
"""A session that is watched, but paused for so long, ends: a tab that was hidden and forgotten."""
OPEN_SECONDS = 120.0
"""How long preparing may take; an avatar that is kept takes none of it."""
HUNG_SECONDS = 10.0
"""A worker that is watched and gives no sign of life for so long is lost; one that lives, but
sends no picture for OPEN_SECONDS, as well. (Networks may be slow, above all at first.)
"""
MOST_LOSSES = 3
"""Workers that a session may lose within CALM_SECONDS of each other."""
MOST_LOSSES_BEFORE_OPEN = 1
"""The same before it is open: a node may go, but what takes all memory would do so again."""
CALM_SECONDS = 60.0
ANSWER_SECONDS = 5.0
_ROOM_SECONDS = 0.02
_HANGS = ("the session does not answer", "try again, or end it")


class Watcher(Protocol):
    """Whoever gets a session's media, its messages, or both."""

    def packets(self, packets: Sequence[Packet]) -> None: ...
    def event(self, event: Event) -> None: ...
    def void(self, generation: int) -> None: ...
    def close(self, code: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Watching:
    watcher: Watcher
    media: Media | None


class Place:
    """A session. In the event loop alone."""

    def __init__(
        self,
        id: str,
        wanted: Wanted,
        caller: str,
        process: WorkerProcess,
        renew: Callable[[], WorkerProcess],
        closed: Callable[[Place], None],
        spent: Callable[[Place, float], None] | None = None,
    ) -> None:
        """renew: another worker, where this one was lost. closed: told once, at the end.
        spent: takes the cores that it takes while it speaks, now and then.
        """
        self.id = id
        self.token = secrets.token_urlsafe(24)
        self.caller = caller
        self.facts: Facts = {}
        self.generation, self.index = wanted.generation, wanted.index
        self.losses = self._in_a_row = 0
        self._lost_at = self._now()
        self.offers = asyncio.Lock()
        """Offers of WebRTC are answered one after the other."""
        self.opened: asyncio.Future[Facts] = asyncio.get_running_loop().create_future()
        self.wanted = wanted
        self._renew, self._closed, self._spent = renew, closed, spent
        self._watching: list[_Watching] = []
        self._said: str | None = None
        self._interrupts: dict[int, asyncio.Future[Interrupted]] = {}
        self._requests = 0
        self._paused = self._held = self._curves = False
        self._paused_by: Watcher | None = None
        self._paused_since = 0.0
        self._unwatched_since = self._now()
        self._offered_at: float | None = None
        self._was_watched = False
        self._heard_at = self._seen_at = self._now()
        self.ended = self._is_open = False
        self._employ(process)

    # ------------------------------------------------------------- for watchers

    async def until_open(self) -> Facts:
        """What it is, once it is prepared. Raises EngineError if that takes too long."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.opened), OPEN_SECONDS)
        except TimeoutError:
            raise EngineError(
                f"preparing takes longer than {OPEN_SECONDS:.0f} s", hint="make an avatar first"
            ) from None

    def attach(self, watcher: Watcher, media: Media | None) -> None:
        """Somebody watches (media None: only listens to messages). Who watched before leaves."""
        if media is not None:
            for old in [one for one in self._watching if one.media is not None]:
                self._watching.remove(old)
                old.watcher.close(4409)
        self._watching.append(_Watching(watcher, media))
        watcher.event(self.ready())
        if media is not None:
            self._was_watched = True
            self._paused = self._held = False  # for whoever watched before
            self._stand()
            self.process.send("watch", media)

    def detach(self, watcher: Watcher) -> None:
        """He has gone."""
        gone = [one for one in self._watching if one.watcher is watcher]
        self._watching = [one for one in self._watching if one.watcher is not watcher]
        if gone and watcher is self._paused_by:
            self._paused = False
            self._stand()
        if any(one.media is not None for one in gone):
            self._paused = False
            self._unwatched_since = self._now()
            self.process.send("watch", None)
            self.hold(False)

    def offered(self) -> None:
        """Somebody means to watch over WebRTC."""
        self._offered_at = self._now()

    def ready(self) -> Event:
        """What a watcher is told first."""
        return {
            "type": "session.ready",
            "id": self.id,
            "generation": self.generation,
            "badge": BADGE_TEXT if self.wanted.badge else "",
            **{name: value for name, value in self.facts.items() if name != "cost"},
        }

    def obey(self, message: Message, by: Watcher | None = None) -> None:
        """A message of a page, but `interrupt` and `shown`. by: its sender; with him his pause
        goes.
        """
        send = self.process.send
        if isinstance(message, Say):
            send("say", message)
        elif isinstance(message, Curves):
            self._curves = message.on
            send("curves", message.on)
        elif isinstance(message, Append):
            raise EngineError("voice is decoded before it comes here")
        elif message.type in ("pause", "resume"):
            if not self._paused:
                self._paused_since = self._now()
            self._paused, self._paused_by = message.type == "pause", by
            self._stand()
        elif message.type.startswith("input_audio_buffer."):
            send("word", message.type.rpartition(".")[2])
        else:
            send("word", message.type)

    def voice(self, piece: VoicePiece) -> None:
        """Voice of a page."""
        self.process.send("append", piece)

    def hold(self, held: bool) -> None:
        """A watcher is too slow: time stands still for him."""
        self._held = held
        self._stand()

    def ask_for_key(self) -> None:
        """A watcher has lost pictures."""
        self.process.send("key")

    async def room(self) -> None:
        """Wait until the worker takes more from outside. Raises Busy if it does not."""
        patience = self._now() + ANSWER_SECONDS
        while self.process.is_behind:
            if self._now() > patience:
                raise Busy(*_HANGS)
            await asyncio.sleep(_ROOM_SECONDS)

    def void(self) -> int:
        """Void what is said and waits; watchers are told when it is. The number of the request."""
        self._requests += 1
        self.process.send("interrupt", self._requests)
        return self._requests

    async def interrupt(self) -> Interrupted:
        """As `void`. Once this returns, no watcher gets older media. Raises Busy if the worker
        does not answer, UnknownName if the session ends meanwhile.
        """
        answer: asyncio.Future[Interrupted] = asyncio.get_running_loop().create_future()
        request = self.void()
        self._interrupts[request] = answer
        try:
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            raise Busy(*_HANGS) from None
        finally:
            self._interrupts.pop(request, None)

    @property
    def stands(self) -> bool:
        """Whether time stands still: a page is hidden, or a watcher too slow."""
        return self._paused or self._held

    # ------------------------------------------------------------- for the house

    def overdue(self, paused_seconds: float = PAUSED_SECONDS) -> str:
        """Why it has to end now; "" if it need not. paused_seconds: how long a pause may last."""
        if not self.facts:
            return ""
        if not any(one.media is not None for one in self._watching):
            return "unwatched" if self._now() > self._watched_by() else ""
        if self._paused and self._now() - self._paused_since > paused_seconds:
            return "paused"
        patience, now = HUNG_SECONDS if self._is_open else OPEN_SECONDS, self._now()
        hangs = now - self._heard_at > patience or now - self._seen_at > OPEN_SECONDS
        if hangs and not self.stands:
            self.process.kill()  # and is made anew
            self._heard_at = self._seen_at = now
        return ""

    def _watched_by(self) -> float:
        """When somebody has to watch at the latest."""
        latest = self._unwatched_since + UNWATCHED_SECONDS
        if self._was_watched or self._offered_at is None:
            return latest
        return min(latest, self._offered_at + CONNECT_SECONDS)

    def close(self, code: int = 1000) -> None:
        """End it; twice does no harm."""
        if self.ended:
            return
        self.ended = True
        if not self.opened.done():
            self._not_opened(EngineError("the session was closed"))
        for one in self._watching:
            one.watcher.event({"type": "session.closed", "id": self.id})
            one.watcher.close(code)
        self._watching = []
        for answer in self._interrupts.values():
            if not answer.done():
                answer.set_exception(UnknownName("the session has ended", hint="POST /v1/sessions makes one"))
        self._closed(self)

    # ------------------------------------------------------------- from the worker

    def _employ(self, process: WorkerProcess) -> None:
        self.process, self._is_open = process, False
        process.serve(self._hear, self._lost)
        process.send("open", self.wanted)

    def _hear(self, what: str, *given: Any) -> None:
        self._heard_at = self._now()
        if what == "packets":
            self._seen_at = self._heard_at
            packets: list[Packet] = given[0]
            if packets and packets[0].generation >= self.generation:
                self.index = packets[0].index + 1
                for one in self._watching:
                    if one.media is not None:
                        one.watcher.packets(packets)
        elif what == "event":
            self._note(given[0])
        elif what == "interrupted":
            self._interrupted(*given)
        elif what == "spent" and self._spent is not None:
            self._spent(self, *given)
        elif what == "opened":
            self._is_open = True
            self.facts = given[0] | {"fps": str(given[0]["fps"])}
            if not self.opened.done():
                self.opened.set_result(given[0])
        elif what == "refused":
            self._refused(given[0])
        elif what == "failed":
            self._tell({"type": "error", "error": {"code": "engine", "detail": given[0]}})
            self.close(4500)

    def _note(self, event: Event) -> None:
        if event["type"] == "utterance.started":
            self._said = event["id"]
        elif event["type"] == "utterance.finished":
            self._said = None
        self._tell(event)

    def _interrupted(self, request: int, interrupted: Interrupted) -> None:
        self.generation = interrupted.generation
        for one in self._watching:
            one.watcher.void(self.generation)
        told = {"generation": interrupted.generation, "utterance": interrupted.utterance}
        self._tell({"type": "interrupted", **told})
        answer = self._interrupts.pop(request, None)
        if answer is not None and not answer.done():
            answer.set_result(interrupted)

    def _refused(self, error: PersonareError) -> None:
        if not self.opened.done():
            self._not_opened(error)
            return
        self._tell({"type": "error", "error": {"code": "engine", "detail": error.message}})
        self.close(4500)

    def _lost(self) -> None:
        """The worker died: the same session in another one, a generation on."""
        self.losses += 1
        now = self._now()
        self._in_a_row = self._in_a_row + 1 if now - self._lost_at < CALM_SECONDS else 1
        self._lost_at = now
        self.generation += 1
        if self._said is not None:
            finished = {"type": "utterance.finished", "id": self._said, "generation": self.generation}
            self._note(finished | {"position_samples": None, "interrupted": True})
        for answer in self._interrupts.values():
            if not answer.done():
                answer.set_result(Interrupted(self.generation, None))
        self._interrupts.clear()
        if self.ended:
            return
        again = self._in_a_row <= (MOST_LOSSES if self.facts else MOST_LOSSES_BEFORE_OPEN)
        detail = "the process of this session was lost" + ("" if again else ", too often")
        told = {"code": "worker_lost", "detail": detail, "resumed": again, "generation": self.generation}
        for one in self._watching:
            one.watcher.void(self.generation)
        self._tell({"type": "error", "error": told})
        if not again:
            if not self.opened.done():
                self._not_opened(EngineError(detail, hint="out of memory? try a smaller size"))
            self.close(4500)
            return
        measure = self.wanted.measure and not self.facts
        self.wanted = replace(self.wanted, generation=self.generation, index=self.index, measure=measure)
        self._employ(self._renew())
        self.process.send("curves", self._curves)
        for one in self._watching:
            if one.media is not None:
                self.process.send("watch", one.media)
        self._stand()

    def _not_opened(self, error: PersonareError) -> None:
        self.opened.set_exception(error)
        self.opened.exception()  # seen: asyncio need not complain where nobody waits any more

    def _tell(self, event: Event) -> None:
        for one in self._watching:
            one.watcher.event(event)

    def _stand(self) -> None:
        self._heard_at = self._seen_at = self._now()
        self.process.send("pause", self.stands)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
