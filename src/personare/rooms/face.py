"""A live session for a program in this process: voice in, pictures with their sound out.

    async with Face("anna", rate=24000) as face:
        await face.hear(samples)  # as they come
        face.end()
        async for what in face:
            ...  # Moment, 25 a second; Ended after the last one of an utterance

What draws is a process of its own, started by `spawn`: a script that opens a face begins under
`if __name__ == "__main__":`. All of it is for one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import Busy, EngineError
from personare.rooms.line import Line, floats, pcm
from personare.serve.live.opened import Wanted
from personare.serve.live.outlet import Outlet
from personare.serve.live.place import Place
from personare.serve.live.process import WorkerProcess
from personare.serve.live.wire import Event, Kind, Packet, Say, State, VoicePiece
from personare.studio.settings import Settings
from personare.types import Image, Samples

log = logging.getLogger(__name__)

AHEAD_SECONDS = 30
"""Voice that may wait; whoever has more of it waits in `hear`."""
_SWEEP_SECONDS = 1.0
_WAIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Moment:
    """A picture and the sound of its time.

    picture: uint8 [H, W, 3] RGB.
    is_new: False where the last picture stays.
    sound: int16 [n], mono, at the face's rate; silence at rest.
    """

    index: int
    picture: Image
    is_new: bool
    sound: NDArray[np.int16]
    state: State


@dataclass(frozen=True, slots=True)
class Ended:
    """The last moment of an utterance has been given out.

    interrupted: it was not said to its end, though nobody interrupted it: the engine failed,
        its process was lost, or a text has no voice. The log says why.
    """

    interrupted: bool = False


class _Outlet(Outlet):
    """What waits for the program. That a process was lost is not for later: what is heard from
    then on goes to another one.
    """

    def __init__(self, place: Place, lost: Callable[[], None]) -> None:
        super().__init__(place.hold, place.ask_for_key)
        self._lost = lost

    def event(self, event: Event) -> None:
        super().event(event)
        if event["type"] == "error" and event["error"]["code"] == "worker_lost":
            self._lost()


class Face:
    """One live avatar."""

    def __init__(
        self,
        avatar: str = "",
        *,
        portrait: str | Path | None = None,
        engine: str = "",
        options: Mapping[str, Any] = MappingProxyType({}),
        rate: int = 16000,
        badge: bool = True,
        settings: Settings | None = None,
    ) -> None:
        """avatar: a kept one's name; "" and no `portrait`: the bundled one.
        portrait: a picture or video file instead.
        options: the engine's.
        rate: Hz of the sound that comes out.
        badge: whether pictures carry the sign that a machine made them; without it you have to
            tell viewers.
        """
        file = None if portrait is None else Path(portrait)
        self.rate = rate
        self.size, self.fps = (0, 0), Fraction(25)
        self._wanted = Wanted(
            avatar, portrait=file, engine=engine, options=dict(options), measure=False, badge=badge
        )
        self._settings = settings or Settings()
        self._place: Place | None = None
        self._outlet: Outlet | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._lines: deque[Line] = deque()
        self._ended: deque[Ended] = deque()
        self._expected = 0
        self._picture: Image | None = None
        self._is_new = False
        self._why = "the face was closed"

    # ------------------------------------------------------------- opening, closing

    async def open(self) -> None:
        """Start its process, prepare the avatar. Raises what preparing raises."""
        place = Place("room", self._wanted, "", self._worker(), self._worker, self._left)
        self._place = place
        try:
            facts = await asyncio.shield(place.opened)
        except BaseException:
            await self.close()
            raise
        self.size, self.fps = tuple(facts["size"]), Fraction(facts["fps"])
        self._outlet = _Outlet(place, self._lost)
        place.attach(self._outlet, "rgb")
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End it; twice does no harm."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._place is not None:
            self._place.close()
        if self._ending is not None:
            await asyncio.shield(self._ending)

    async def __aenter__(self) -> Face:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # ------------------------------------------------------------- what it is to say

    async def hear(self, samples: Samples | NDArray[np.int16], rate: int | None = None) -> None:
        """Voice as it comes: mono, float32 in [-1, 1] or int16; the beginning of an utterance
        if none is open. Waits while AHEAD_SECONDS of it wait, and while its process does not
        answer: one that hangs is replaced by another.

        rate: Hz, 8000 to 48000; None: that of the face.
        """
        place, rate = self._opened(), rate or self.rate
        began = self._generation(place)
        while not place.ended:
            with suppress(Busy):
                await place.room()
                break
        while sum(line.waiting for line in self._lines) > AHEAD_SECONDS * self.rate and not place.ended:
            await asyncio.sleep(_WAIT_SECONDS)
        generation = self._generation(place)
        if generation != began or not len(samples):
            return  # it was interrupted meanwhile
        heard = floats(samples.astype(np.int16)) if samples.dtype == np.int16 else samples.astype(np.float32)
        if not self._lines or not self._lines[-1].open:
            self._lines.append(Line(self.rate, generation))
        self._lines[-1].hear(heard, rate)
        place.voice(VoicePiece(pcm(heard).astype("<i2").tobytes(), rate, None))

    def end(self) -> None:
        """The utterance that is heard is complete. Without one, nothing."""
        if not self._lines or not self._lines[-1].open:
            return
        line = self._lines[-1]
        line.end()
        if line.is_empty:  # all of it was lost with its process
            self._lines.pop()
            self._tell_end(interrupted=True)
        else:
            self._opened().process.send("word", "commit")

    def say(self, text: str, voice: str | None = None) -> None:
        """Say a text, after what is said already. voice: as in `personare voices`."""
        self.end()
        place = self._opened()
        self._lines.append(Line(self.rate, self._generation(place), is_text=True))
        place.obey(Say(text=text, voice=voice))

    async def interrupt(self) -> None:
        """What is said and what waits is void: no moment of it comes once this has returned,
        and no `Ended`. Waits while its process does not answer, as `hear` does.
        """
        place = self._opened()
        self._lines.clear()
        self._ended.clear()
        before = place.generation
        self._expected = self._generation(place) + 1
        try:
            await place.interrupt()
        except Busy:
            while place.generation == before and not place.ended:
                await asyncio.sleep(_WAIT_SECONDS)

    @property
    def is_silent(self) -> bool:
        """Whether nothing is said and nothing waits."""
        return not self._lines

    # ------------------------------------------------------------- what comes out

    def __aiter__(self) -> Face:
        return self

    async def __anext__(self) -> Moment | Ended:
        """The next moment. Ends when the face is closed; raises EngineError if it cannot go on."""
        self._opened()
        assert self._outlet is not None
        while True:
            if self._ended:
                return self._ended.popleft()
            item = await self._outlet.take()
            if item is None:
                break
            if not isinstance(item, Packet):
                self._note(item)
            elif item.kind == Kind.PICTURE:
                self._picture = np.frombuffer(item.payload, np.uint8).reshape(*self.size, 3)
                self._is_new = True
            elif self._picture is not None:
                return self._moment(item)
        while self._lines:
            self._lines.popleft()
            self._tell_end(interrupted=True)
        if self._ended:
            return self._ended.popleft()
        if self._outlet.ended != 1000:
            raise EngineError(self._why)
        raise StopAsyncIteration

    def _moment(self, sound: Packet) -> Moment:
        first, last = (math.ceil((sound.index + i) * self.rate / self.fps) for i in (0, 1))
        is_new, self._is_new = self._is_new, False
        assert self._picture is not None
        heard = self._sound(sound, last - first)
        return Moment(sound.index, self._picture, is_new, heard, sound.state)

    def _sound(self, packet: Packet, count: int) -> NDArray[np.int16]:
        line = self._lines[0] if self._lines and self._lines[0].id is not None else None
        if line is None or packet.state != State.SPEAKING:
            return np.zeros(count, np.int16)
        if line.is_text:
            line.heard_back(floats(np.frombuffer(packet.payload, "<i2")), count)
        return pcm(line.take(count))

    def _note(self, event: Event) -> None:
        kind = event["type"]
        head = self._lines[0] if self._lines else None
        if kind == "utterance.started":
            if head is not None and event["generation"] == head.generation:
                head.id = event["id"]
        elif kind == "utterance.finished":
            if head is not None and head.id == event["id"]:
                self._lines.popleft()
                self._tell_end(event["interrupted"])
        elif kind == "error":
            self._failed(event)

    def _failed(self, event: Event) -> None:
        self._why = event["error"]["detail"]
        log.warning("%s", ". ".join(filter(None, (self._why, event["error"].get("hint", "")))))
        said = event.get("utterance")
        if said is None or any(line.id == said for line in self._lines):
            return  # one that has begun is told as finished as well
        is_text = event["error"]["code"] == "voice"
        for line in self._lines:
            if line.id is None and line.is_text == is_text:
                self._lines.remove(line)
                self._tell_end(interrupted=True)
                return

    def _lost(self) -> None:
        """A process died with all that it had heard; another one takes its place."""
        self._expected = 0  # that was the answer to every interruption that had none
        for line in [line for line in self._lines if not line.open]:
            self._lines.remove(line)
            self._tell_end(interrupted=True)
        for line in self._lines:
            line.forget(self._opened().generation)

    def _generation(self, place: Place) -> int:
        """The session's, once it has answered every interruption."""
        return max(place.generation, self._expected)

    def _tell_end(self, interrupted: bool) -> None:
        self._ended.append(Ended(interrupted))

    # ------------------------------------------------------------- its process

    def _opened(self) -> Place:
        if self._place is None:
            raise EngineError(
                "the face is not open", hint="async with Face(...) as face, or await face.open()"
            )
        return self._place

    def _worker(self) -> WorkerProcess:
        return WorkerProcess(self._settings)

    def _left(self, place: Place) -> None:
        self._ending = asyncio.create_task(place.process.end())

    async def _sweep(self) -> None:
        while not self._opened().ended:
            await asyncio.sleep(_SWEEP_SECONDS)
            if self._opened().overdue():
                self._opened().close(4408)
