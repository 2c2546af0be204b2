"""Texts and the sounds of guides become voices, each in a thread of its own: the tick does not
wait for a synthesiser.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from personare.errors import PersonareError
from personare.serve.live.session import Session
from personare.serve.live.voices import Voice
from personare.serve.live.wire import Event
from personare.types import Guide, SpeechChunk

log = logging.getLogger(__name__)

AHEAD_SECONDS = 60
"""A synthesiser that has made so much more than was said waits."""


def say(session: Session, text: str, voice: str | None, tell: Callable[[Event], None]) -> None:
    """Say a text after what is said already. Errors are told.

    voice: as in `open_text`, but no path.
    """

    def chunks() -> Iterator[SpeechChunk]:
        from personare.voice.tts import open_text

        return open_text(text, voice).chunks()

    _start(session, session.line(), chunks, tell)


def follow(session: Session, guide: Guide, tell: Callable[[Event], None]) -> None:
    """Do what the session's guide shows, with its sound."""
    line = session.line(guided=True)
    _start(session, line, guide.sound.chunks if guide.sound is not None else lambda: iter(()), tell)


def _start(
    session: Session,
    line: Voice,
    chunks: Callable[[], Iterator[SpeechChunk]],
    tell: Callable[[Event], None],
) -> None:
    def make() -> None:
        try:
            for chunk in chunks():
                while session.waiting_seconds() > AHEAD_SECONDS and not line.void:
                    time.sleep(0.1)
                if line.void:
                    return
                session.put(line, chunk.samples, None if line.guided else chunk.phones)
        except PersonareError as error:
            tell(_error(line, error.message, error.hint))
        except Exception as error:
            log.exception("a text could not be spoken")
            tell(_error(line, f"unexpected {type(error).__name__}", ""))
        finally:
            session.end(line)

    threading.Thread(target=make, name="personare-voice", daemon=True).start()


def _error(line: Voice, detail: str, hint: str) -> Event:
    return {
        "type": "error",
        "utterance": line.id,
        "error": {"code": "voice", "detail": detail, "hint": hint},
    }
