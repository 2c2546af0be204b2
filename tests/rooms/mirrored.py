"""A face without a portrait: a real session in this event loop, whose pictures have the level
of the sound that belongs to them.
"""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import numpy as np

from personare.rooms.face import Face, Moment
from personare.serve.live.encoders import RgbEncoder
from personare.serve.live.session import Session
from personare.serve.live.wire import State
from tests.unit.live_performances import Mirror

SIZE = (16, 32)


class _Mirror(Mirror):
    """Large enough for what encodes pictures; grey at rest."""

    def __init__(self) -> None:
        super().__init__()
        self.size = SIZE

    def _shown(self, made: Any) -> Any:
        level = made.images.reshape(-1)[0]
        return type(made)(np.full((1, *SIZE, 3), level, np.uint8))

    def _frame(self) -> Any:
        return self._shown(super()._frame())

    def _rest(self, n: int) -> Any:
        return self._shown(super()._rest(n))


class MirrorProcess:
    """What a worker does with its commands, without being a process.

    tick_seconds: between ticks; 0: as fast as somebody takes them.
    """

    def __init__(self, tick_seconds: float) -> None:
        self.performance = _Mirror()
        self.sent: list[tuple[Any, ...]] = []
        self._late: list[tuple[str, tuple[Any, ...]]] = []
        self.is_alive, self.is_behind, self.has_voice = True, False, True
        self._tick_seconds = tick_seconds
        self._encoder = RgbEncoder()
        self._task: asyncio.Task[None] | None = None
        self._paused = False

    def serve(self, heard: Any, lost: Any) -> None:
        self._heard, self._lost = heard, lost

    def send(self, verb: str, *given: Any) -> None:
        self.sent.append((verb, *given))
        if self.is_behind:
            self._late.append((verb, given))
        elif self.is_alive and (obey := getattr(self, f"_{verb}", None)) is not None:
            obey(*given)

    def stall(self) -> None:
        """Take nothing any more, and show nothing."""
        self.is_behind, self._paused = True, True

    def go_on(self) -> None:
        """Do what has waited."""
        self.is_behind, self._paused = False, False
        late, self._late = self._late, []
        for verb, given in late:
            self.send(verb, *given)

    def kill(self) -> None:
        self.is_alive = False
        if self._task is not None:
            self._task.cancel()
        self._lost()

    async def end(self) -> None:
        self.is_alive = False
        if self._task is not None:
            self._task.cancel()

    def _open(self, wanted: Any) -> None:
        wanted = pickle.loads(pickle.dumps(wanted))  # noqa: S301  # as on its way to a process
        self.session = Session(
            self.performance,
            prime_seconds=0.2,
            tell=lambda event: self._heard("event", event),
            now=lambda: 0.04 * self.session.index,
            generation=wanted.generation,
            index=wanted.index,
        )
        self._heard(
            "opened", {"size": SIZE, "fps": self.performance.fps, "columns": [], "latency_seconds": 0.2}
        )

    def _watch(self, media: str | None) -> None:
        assert media == "rgb"
        self._task = asyncio.get_running_loop().create_task(self._run())

    def _append(self, piece: Any) -> None:
        samples = np.frombuffer(piece.samples, "<i2").astype(np.float32) / np.float32(32768)
        self.session.append(samples, piece.rate, piece.generation)

    def _say(self, wanted: Any) -> None:
        line = self.session.line()
        if not self.has_voice:
            told = {"code": "voice", "detail": "there is no voice", "hint": "install one"}
            self._heard("event", {"type": "error", "utterance": line.id, "error": told})
            self.session.end(line)
            return
        level = np.full(16000 * len(wanted.text) // 10, 0.5, np.float32)
        self.session.put(line, level, None)
        self.session.end(line)

    def _word(self, word: str) -> None:
        assert word == "commit"
        self.session.commit()

    def _pause(self, paused: bool) -> None:
        self._paused = paused

    def _interrupt(self, request: int) -> None:
        interrupted = self.session.interrupt()
        asyncio.get_running_loop().call_later(0.001, self._heard, "interrupted", request, interrupted)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            if self._paused:
                continue
            tick = self.session.tick()
            packets = self._encoder.encode(tick)
            self.session.leave(tick, lambda packets=packets: self._heard("packets", packets))


class MirrorFace(Face):
    """A face drawn by MirrorProcesses."""

    def __init__(self, *, rate: int = 16000, tick_seconds: float = 0.0) -> None:
        super().__init__(rate=rate)
        self.processes: list[MirrorProcess] = []
        self._tick_seconds = tick_seconds

    def _worker(self) -> Any:
        self.processes.append(MirrorProcess(self._tick_seconds))
        return self.processes[-1]


def steps(seconds: float, rate: int) -> np.ndarray:
    """A voice of which each 40 ms have a level of their own; from 0.3 on."""
    tick = np.arange(round(seconds * rate)) * 25 // rate
    return (0.3 + 0.01 * (tick % 50)).astype(np.float32)


def level_of(sound: np.ndarray) -> int:
    """What a mirror shows while a sound is heard (8 bits)."""
    return round(float(sound[len(sound) // 2]) / 32767 * 255)


def spoken(moments: list[Moment]) -> list[Moment]:
    return [moment for moment in moments if moment.state == State.SPEAKING]


def run(test: Any) -> None:
    """A coroutine, in an event loop of its own, 30 s at most."""
    asyncio.run(asyncio.wait_for(test, 30))
