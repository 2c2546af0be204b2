"""The tick is the clock: due times, slips, and the thread that keeps them."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest

from personare.engines.performance import Made
from personare.serve.live.encoders import SoundEncoder
from personare.serve.live.pace import Pace, SystemClock
from personare.serve.live.player import Player
from personare.serve.live.session import Session
from tests.unit.live_performances import Mirror, TurnedClock


def test_ticks_are_due_by_the_clock() -> None:
    clock = TurnedClock()
    pace = Pace(Fraction(25), clock)
    pace.begin(100)
    for index in range(100, 400):
        pace.wait(index)
        assert clock.time == pytest.approx(1000 + (index - 100) * 0.04)
        clock.passes(0.03)  # a picture is drawn


def test_a_late_tick_is_caught_up_and_a_very_late_one_slips() -> None:
    clock = TurnedClock()
    pace = Pace(Fraction(25), clock)
    clock.passes(0.3)
    for index in range(8):
        pace.wait(index)  # no wait: all of them are late
    assert clock.waits == []
    pace.wait(8)
    assert clock.waits == [pytest.approx(0.02)]
    clock.passes(2.0)
    pace.wait(9)
    pace.wait(10)
    assert pace.slips == 1
    assert clock.waits[1:] == [pytest.approx(0.04)]


def test_a_wake_brings_the_next_tick_forward_by_one_at_most() -> None:
    clock = TurnedClock()
    pace = Pace(Fraction(25), clock)
    pace.wait(0)
    for index in range(1, 20):
        clock.wake()
        pace.wait(index)
    assert clock.time == pytest.approx(1000 + 18 * 0.04)


def test_two_hours_of_ticks_are_two_hours() -> None:
    """Complaint 4: nothing adds up, also at an odd rate."""
    clock = TurnedClock()
    fps = Fraction(30000, 1001)
    pace = Pace(fps, clock)
    last = 2 * 3600 * 30
    for index in range(0, last + 1, 997):
        pace.wait(index)
    pace.wait(last)
    assert clock.time - 1000 == pytest.approx(float(last / fps), abs=1e-6)


@pytest.fixture
def player():
    sent: list = []
    events: list[dict] = []
    clock = SystemClock()
    session = Session(Mirror(Fraction(100)), prime_seconds=0.2, tell=events.append, now=clock.now)
    made = Player(session, Pace(session.fps, clock), sent.extend, events.append, events.append)
    made.sent, made.events = sent, events
    made.arrived = threading.Event()
    yield made
    made.close()
    assert not made._thread.is_alive()


def until(condition) -> None:
    """Wait for what must come; the suite's own limit ends a wait for what does not."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    pytest.fail("it did not come")


def test_time_stands_still_without_a_watcher_and_while_paused(player) -> None:
    threading.Event().wait(0.1)
    assert player.sent == []
    player.watch(SoundEncoder())
    until(lambda: len(player.sent) > 3)
    player.pause(True)
    threading.Event().wait(0.05)
    stood = len(player.sent)
    threading.Event().wait(0.1)
    assert len(player.sent) <= stood + 1
    player.pause(False)
    until(lambda: len(player.sent) > stood + 3)
    player.watch(None)
    indices = [packet.index for packet in player.sent]
    assert indices == list(range(len(indices)))


def test_nothing_old_leaves_once_interrupt_has_returned(player) -> None:
    """From another thread, while pictures are drawn and sent."""
    player.watch(SoundEncoder())
    for generation in range(1, 30):
        player.session.append(np.full(16000, 0.5, np.float32))
        enough = len(player.sent) + generation % 4
        until(lambda enough=enough: len(player.sent) > enough)
        player.interrupt()
        place = len(player.sent)
        until(lambda place=place: len(player.sent) > place + 1)
        assert {packet.generation for packet in player.sent[place:]} == {generation}
        assert not any(np.frombuffer(packet.payload, "<i2").any() for packet in player.sent[place:])
    started = [event["id"] for event in player.events if event["type"] == "utterance.started"]
    finished = [event["id"] for event in player.events if event["type"] == "utterance.finished"]
    assert started == finished


def test_the_badge_is_in_every_picture_and_not_in_the_engines_own() -> None:
    class Still(Mirror):
        own = np.zeros((1, 2, 2, 3), np.uint8)

        def _rest(self, n):
            return Made(self.own)

    class Stamp:
        def draw(self, frame):
            frame[0] = 255
            return frame

    class Eye(SoundEncoder):
        def encode(self, tick):
            seen.append(tick.image)
            return super().encode(tick)

    seen: list = []
    clock = SystemClock()
    session = Session(
        Still(Fraction(100)), prime_seconds=0.2, tell=lambda event: None, now=clock.now, sparing=False
    )
    made = Player(session, Pace(session.fps, clock), seen.extend, print, print, Stamp())
    try:
        made.watch(Eye())
        until(lambda: len(seen) > 3)
    finally:
        made.close()
    pictures = [image for image in seen if isinstance(image, np.ndarray)]
    assert len(pictures) > 1
    assert all((image[0] == 255).all() for image in pictures)
    assert not Still.own.any()
