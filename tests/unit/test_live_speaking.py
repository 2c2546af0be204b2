"""One session's texts are spoken in one thread, and only so many may wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from personare.errors import Busy, EngineError
from personare.serve.live.session import Session
from personare.serve.live.speaking import MOST_CHARACTERS, MOST_LINES, Speaker
from personare.types import SAMPLE_RATE, SpeechChunk
from tests.unit.live_performances import Mirror, TurnedClock

SECONDS = 10.0


class Stage:
    """A speaker whose synthesiser makes a second a character, once it is let go."""

    def __init__(self, monkeypatch) -> None:
        self.texts: list[str] = []
        self.threads: set[str] = set()
        self.told: list[dict] = []
        self.began, self.goes, self.idle = threading.Event(), threading.Event(), threading.Event()
        self.session = Session(Mirror(), prime_seconds=0.2, tell=self.told.append, now=TurnedClock().now)
        self.speaker = Speaker(self.session, self._tell)
        monkeypatch.setattr("personare.voice.tts.open_text", self._open)

    def _tell(self, event: dict) -> None:
        self.told.append(event)
        self.idle.set()

    def _open(self, text: str, voice: str | None) -> Stage:
        self.texts.append(text)
        self.began.set()
        return self

    def chunks(self) -> Iterator[SpeechChunk]:
        self.threads.add(threading.current_thread().name + str(threading.get_ident()))
        assert self.goes.wait(SECONDS)
        text = self.texts[-1]
        if text == "last":
            raise EngineError("no such voice")
        for _ in text:
            yield SpeechChunk(np.full(SAMPLE_RATE, 0.1, np.float32), np.zeros((0, 1), np.float32))


@pytest.fixture
def stage(monkeypatch) -> Iterator[Stage]:
    made = Stage(monkeypatch)
    yield made
    made.goes.set()
    made.session.interrupt()
    made.speaker.close()


def test_all_lines_of_a_session_are_made_by_one_thread_in_their_order(stage: Stage) -> None:
    before = threading.active_count()
    for number in range(20):
        stage.speaker.say("abc"[number % 3], None)
    assert threading.active_count() == before + 1
    stage.goes.set()
    stage.speaker.say("last", None)
    assert stage.idle.wait(SECONDS)
    assert "".join(stage.texts) == "abcabcabcabcabcabcab" + "last"
    assert len(stage.threads) == 1
    assert [event["error"]["detail"] for event in stage.told] == ["no such voice"]
    assert stage.session.waiting_seconds() == 20


def test_more_lines_or_characters_than_may_wait_are_refused_until_an_interrupt(stage: Stage) -> None:
    for _ in range(MOST_LINES):
        stage.speaker.say("a", None)
    assert stage.began.wait(SECONDS)
    with pytest.raises(Busy, match="would wait"):
        stage.speaker.say("a", None)
    stage.session.interrupt()
    stage.speaker.say("a" * MOST_CHARACTERS, None)
    with pytest.raises(Busy, match="would wait"):
        stage.speaker.say("a", None)
    stage.session.interrupt()
    stage.speaker.say("last", None)
    stage.goes.set()
    assert stage.idle.wait(SECONDS)
    assert stage.texts[1:] == ["last"], "what was void before its turn is not made"


def test_a_line_under_way_does_not_wait_for_the_voice_behind_it(stage: Stage) -> None:
    """It would be taken for late, and end."""
    stage.speaker.say("ab", None)
    stage.session.append(np.full(80 * SAMPLE_RATE, 0.1, np.float32))
    stage.speaker.say("last", None)
    stage.goes.set()
    assert stage.idle.wait(SECONDS)
    assert stage.session.waiting_seconds() == 82
