"""The process of one session: commands in, packets out. Spawned; it ends with its parent.

One process a session: threads of one process would wait for each other (two sessions of
512x512: 1.41 times the pictures of one as threads, 1.99 times as processes).

In (verb, arguments):  open, watch, unwatch, append, say, follow, interrupt, word, curves, key, close
Out:  ("opened", facts) | ("refused", error), ("packets", [Packet ...]), ("event", dict),
      ("interrupted", request, Interrupted), ("spent", cores), ("failed", reason), ("closed",),
      ("alive",)
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import secrets
import signal
import threading
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from personare.errors import Busy, EngineError, PersonareError
from personare.ground.machine import allowed_memory
from personare.ground.tuning import keep_memory, limit_memory
from personare.provenance.marks import ID_PREFIX, Mark, now
from personare.provenance.settings import read_marks_settings
from personare.provenance.visible import Badge, Corner
from personare.serve.live.encoders import open_encoder
from personare.serve.live.opened import Opened, Wanted, open_wanted
from personare.serve.live.pace import Pace, SystemClock
from personare.serve.live.player import Player
from personare.serve.live.session import Session
from personare.serve.live.speaking import Speaker
from personare.serve.live.wire import Media, Say, VoicePiece
from personare.studio.settings import Settings
from personare.studio.studio import Studio

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
"""Between two signs of life."""
BADGE_CORNER: Corner = "bottom right"


def work(connection: Connection, settings: Settings, memory_bytes: int | None = None) -> None:
    """A worker's whole life. Ctrl-C is the parent's to answer. memory_bytes: that it may have;
    see `allowed_memory`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    limit_memory(allowed_memory(memory_bytes))
    logging.basicConfig(format="%(levelname)s: %(message)s".lower())
    worker = Worker(connection, Studio(settings))
    try:
        while (command := _next(connection, worker)) is not None:
            worker.obey(*command)
    except (EOFError, OSError):
        pass
    worker.close()
    os._exit(0)


class Listener(Protocol):
    """Whoever hears what a worker says; raises OSError when he has gone."""

    def send(self, message: Any, /) -> None: ...


class Worker:
    """What a process does with its commands."""

    def __init__(self, connection: Listener, studio: Studio) -> None:
        self._connection, self._studio = connection, studio
        self._sending = threading.Lock()
        self._opened: Opened | None = None
        self._player: Player | None = None
        self._speaker: Speaker | None = None
        self._media: Media | None = None
        self._verbs: dict[str, Callable[..., None]] = {
            "open": self._open,
            "watch": self._watch,
            "append": self._append,
            "say": self._say,
            "word": self._word,
            "interrupt": self._interrupt,
            "pause": lambda paused: self._playing().pause(paused),
            "curves": lambda on: setattr(self._playing(), "curves", on),
            "key": lambda: self._playing().ask_for_key(),
            "close": self._end_session,
        }

    def live(self) -> None:
        """Say that it is alive."""
        self._send("alive")

    def obey(self, verb: str, *arguments: Any) -> None:
        """Carry out one command; what is wrong with it is told, not raised."""
        try:
            self._verbs[verb](*arguments)
        except PersonareError as error:
            code = "too_far_ahead" if isinstance(error, Busy) else "bad_input"
            told = {"code": code, "detail": error.message, "hint": error.hint}
            self._send("event", {"type": "error", "error": told})

    def close(self) -> None:
        """End the session and the store."""
        self._end_session(told=False)
        self._studio.store.close()

    def _open(self, wanted: Wanted) -> None:
        try:
            opened = self._opened = open_wanted(wanted, self._studio)
        except PersonareError as error:
            self._send("refused", error)
            return
        except Exception as error:
            log.exception("a session could not be opened")
            self._send("refused", EngineError(f"unexpected {type(error).__name__}", "please report it"))
            return
        performance, clock = opened.performance, SystemClock()
        session = Session(
            performance,
            prime_seconds=opened.prime_seconds,
            tell=lambda event: self._send("event", event),
            now=clock.now,
            generation=wanted.generation,
            index=wanted.index,
        )
        self._speaker = Speaker(session, lambda event: self._send("event", event))
        self._player = Player(
            session,
            Pace(session.fps, clock),
            lambda packets: self._send("packets", packets),
            lambda event: self._send("event", event),
            lambda reason: self._send("failed", reason),
            Badge(performance.size, corner=BADGE_CORNER) if wanted.badge else None,
            lambda cores: self._send("spent", cores) if self._media == wanted.media else None,
        )
        moves = opened.engine.moves
        facts = {
            "size": performance.size,
            "fps": performance.fps,
            "columns": list(moves.columns) if moves is not None else [],
            "latency_seconds": round(opened.prime_seconds, 3),
            "cost": opened.cost,
        }
        self._send("opened", facts)

    def _watch(self, media: Media | None) -> None:
        player, self._media = self._playing(), media
        performance = player.session.performance
        tags = self._tags() if media == "fmp4" else {}
        player.watch(None if media is None else open_encoder(media, performance.size, performance.fps, tags))

    def _tags(self) -> dict[str, str]:
        """What a stream says of itself in its first bytes."""
        assert self._opened is not None
        engine = self._opened.engine
        return Mark(
            producer=read_marks_settings().producer,
            id=f"{ID_PREFIX}live-{secrets.token_hex(8)}",
            engine=f"{engine.name} {engine.version}",
            software=f"personare {version('personare')}",
            time=now(),
            consent=self._opened.consent,
        ).stream_tags()

    def _append(self, piece: VoicePiece) -> None:
        samples = np.frombuffer(piece.samples, "<i2").astype(np.float32) / np.float32(32768)
        self._playing().session.append(samples, piece.rate, piece.generation)

    def _say(self, wanted: Say) -> None:
        self._speaking().say(wanted.text, wanted.voice)

    def _word(self, word: str) -> None:
        session = self._playing().session
        if word == "commit":
            session.commit()
        elif word == "clear":
            session.clear()
        else:
            assert self._opened is not None
            if self._opened.guide is None:
                raise EngineError("this session has no guide", hint="POST /v1/sessions {guide: file_...}")
            self._speaking().follow(self._opened.guide)

    def _interrupt(self, request: int) -> None:
        self._send("interrupted", request, self._playing().interrupt())

    def _end_session(self, told: bool = True) -> None:
        player, speaker = self._player, self._speaker
        self._player = self._speaker = self._opened = None
        if player is not None and speaker is not None:
            player.close()
            speaker.close()
        if told:
            self._send("closed")

    def _playing(self) -> Player:
        if self._player is None:
            raise EngineError("there is no session in this process")
        return self._player

    def _speaking(self) -> Speaker:
        self._playing()
        assert self._speaker is not None
        return self._speaker

    def _send(self, what: str, *arguments: Any) -> None:
        with self._sending:
            try:
                self._connection.send((what, *arguments))
            except (OSError, BrokenPipeError):
                os._exit(0)  # the parent has gone


def _next(connection: Connection, worker: Worker) -> tuple[Any, ...] | None:
    """The next command; None at the end. While none comes, the worker says that it is alive."""
    while not connection.poll(BEAT_SECONDS):
        worker.live()
    command: tuple[Any, ...] | None = connection.recv()
    return command


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
