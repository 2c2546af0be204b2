"""Texts and the sounds of guides become voices, in one thread a session: the tick does not wait
for a synthesiser, and no session has more of them at work than one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from personare.errors import Busy, PersonareError
from personare.serve.live.session import Session
from personare.serve.live.voices import Voice
from personare.serve.live.wire import Event
from personare.types import Guide, SpeechChunk

log = logging.getLogger(__name__)

AHEAD_SECONDS = 60
"""A synthesiser that has made so much more than was said waits."""
MOST_LINES = 100
"""Texts and guides that may wait for the synthesiser; more is refused."""
MOST_CHARACTERS = 20_000
"""The same of their characters: some twenty minutes of speech."""


@dataclass(frozen=True, slots=True)
class _Line:
    """What is to be made. voice: its place in the session's row. characters: of its text."""

    voice: Voice
    chunks: Callable[[], Iterator[SpeechChunk]]
    characters: int


class Speaker:
    """Makes the voices of one session, one after the other. `say`, `follow` and `close` are
    called in one thread.
    """

    def __init__(self, session: Session, tell: Callable[[Event], None]) -> None:
        """tell: takes errors; called in a thread of its own."""
        self._session, self._tell = session, tell
        self._lines: deque[_Line] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def say(self, text: str, voice: str | None) -> None:
        """Say a text after what is said already. What is wrong with it is told; raises Busy if
        too much waits.

        voice: as in `open_text`, but no path.
        """

        def chunks() -> Iterator[SpeechChunk]:
            from personare.voice.tts import open_text

            return open_text(text, voice).chunks()

        self._add(chunks, len(text))

    def follow(self, guide: Guide) -> None:
        """Do what the session's guide shows, with its sound. Raises Busy if too much waits."""
        self._add(guide.sound.chunks if guide.sound is not None else lambda: iter(()), 0, guided=True)

    def close(self) -> None:
        """What is not said yet is not made any more. The session has voided its lines."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _add(
        self, chunks: Callable[[], Iterator[SpeechChunk]], characters: int, guided: bool = False
    ) -> None:
        with self._changed:
            self._lines = deque(line for line in self._lines if not line.voice.void)
            waiting = characters + sum(line.characters for line in self._lines)
            if len(self._lines) >= MOST_LINES or waiting > MOST_CHARACTERS:
                raise Busy(
                    f"more than {MOST_LINES} texts or {MOST_CHARACTERS:,} characters would wait",
                    hint="send the next one when an utterance has finished",
                )
            self._lines.append(_Line(self._session.line(guided=guided), chunks, characters))
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="personare-voice", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                line = self._lines[0]  # it waits until it is made
            self._make(line)
            with self._changed:
                if self._lines and self._lines[0] is line:
                    self._lines.popleft()

    def _make(self, line: _Line) -> None:
        voice, session = line.voice, self._session
        try:
            if voice.void:
                return
            for chunk in line.chunks():
                while session.waiting_seconds(voice) > AHEAD_SECONDS and not voice.void:
                    time.sleep(0.1)
                if voice.void:
                    return
                session.put(voice, chunk.samples, None if voice.guided else chunk.phones)
        except PersonareError as error:
            self._tell(_error(voice, error.message, error.hint))
        except Exception as error:
            log.exception("a text could not be spoken")
            self._tell(_error(voice, f"unexpected {type(error).__name__}", ""))
        finally:
            session.end(voice)


def _error(line: Voice, detail: str, hint: str) -> Event:
    return {
        "type": "error",
        "utterance": line.id,
        "error": {"code": "voice", "detail": detail, "hint": hint},
    }
