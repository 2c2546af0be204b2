"""What a session in play takes of the processor is told of speech alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.serve.live import spent
from personare.serve.live.encoders import SoundEncoder
from personare.serve.live.pace import Pace
from personare.serve.live.player import Player
from personare.serve.live.session import Session
from tests.unit.live_performances import Mirror, TurnedClock
from tests.unit.test_live_pace import until


def test_ticks_of_speech_that_follow_one_another_are_counted_and_no_others(monkeypatch) -> None:
    used = [100.0]
    monkeypatch.setattr(spent.time, "process_time", lambda: used[0])
    told: list[float] = []
    mine = spent.Spent(Fraction(25), told.append)

    def ticks(count: int, seconds: float, speaking: bool) -> None:
        for _ in range(count):
            used[0] += seconds
            mine.tick(speaking)

    ticks(100, 0.5, False)
    ticks(1, 9.0, True)  # from rest to speech
    ticks(spent.SPOKEN_TICKS - 1, 0.016, True)
    ticks(1, 9.0, False)
    ticks(1, 9.0, True)
    assert told == []
    ticks(1, 0.016, True)
    assert told == [pytest.approx(0.016 * 25)]
    ticks(spent.SPOKEN_TICKS - 1, 0.016, True)
    mine.begin()  # somebody else watches, perhaps with other media
    ticks(spent.SPOKEN_TICKS, 0.02, True)
    assert len(told) == 1
    ticks(1, 0.02, True)
    assert told[1] == pytest.approx(0.02 * 25)


def test_a_player_tells_what_speaking_takes(monkeypatch) -> None:
    monkeypatch.setattr(spent, "SPOKEN_TICKS", 10)
    told: list[float] = []
    clock = TurnedClock()
    session = Session(Mirror(), prime_seconds=0.2, tell=lambda _: None, now=clock.now)
    player = Player(
        session, Pace(session.fps, clock), lambda _: None, lambda _: None, print, spent=told.append
    )
    player.watch(SoundEncoder())
    until(lambda: session.index > 50)
    assert told == []
    session.append(np.full(16000, 0.5, np.float32), 16000, None)  # 25 ticks
    session.commit()
    until(lambda: len(told) == 2)
    player.close()
    assert all(cores > 0 for cores in told)
