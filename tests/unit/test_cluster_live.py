"""An actor's live session without an actor: a front that stalls, falls silent, is another one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from personare import Settings
from personare.cluster import live_host
from personare.cluster.live_host import ORPHANED_SECONDS, UNHEARD_SECONDS, Card, LiveHost
from personare.provenance.settings import MarksSettings
from personare.serve.live.opened import Wanted
from personare.serve.live.wire import Kind, Packet, State
from tests.unit.test_workers import until

CARD = Card("session_1", "token", "alice", "kind", Wanted())
FACTS = {"cost": 0.2}
PACKETS = ("packets", [Packet(Kind.SOUND, State.IDLE, 0, 7, b"", True)])


class _Worker:
    """Notes what it is told; opens at once."""

    def __init__(self, host: LiveHost, studio: Any) -> None:
        self._host = host
        self.obeyed: list[tuple[Any, ...]] = []

    def obey(self, verb: str, *arguments: Any) -> None:
        self.obeyed.append((verb, *arguments))
        if verb == "open":
            self._host.send(("opened", FACTS))

    def live(self) -> None:
        self._host.send(("alive",))

    def close(self) -> None:
        pass


class _Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def host(tmp_path, monkeypatch, clock) -> Iterator[LiveHost]:
    """Open, watched, and heard."""
    monkeypatch.setattr(live_host, "Worker", _Worker)
    monkeypatch.setenv("PERSONARE_HOME", str(tmp_path))
    made = LiveHost(
        Settings(cache_dir=tmp_path / "features"), MarksSettings(), lambda piece: piece, now=clock
    )
    made.assign(CARD)
    made.obey("open", CARD.wanted, None, None)
    made.obey("watch", "fmp4")
    yield made
    made.close()


def watched(host: LiveHost) -> list[Any]:
    return [given[0] for verb, *given in host._worker.obeyed if verb == "watch"]


def heard(host: LiveHost) -> list[str]:
    """What the next one who listens is told first."""
    stream = host.hear()
    told = next(stream)
    stream.close()
    return [message[0] for message in told]


def test_after_a_silence_who_watched_watches_again(host, clock):
    clock.seconds += UNHEARD_SECONDS + 1
    assert host.look()
    assert watched(host) == ["fmp4", None]
    assert host.look()
    assert watched(host) == ["fmp4", None]
    host.beat()
    host.beat()
    assert watched(host) == ["fmp4", None, "fmp4"]


def test_a_word_is_a_sign_of_life_as_well(host, clock):
    clock.seconds += UNHEARD_SECONDS + 1
    host.look()
    host.obey("say", "Hello.")
    assert host._worker.obeyed[-2:] == [("watch", "fmp4"), ("say", "Hello.")]


def test_of_a_silence_pictures_are_lost_and_nothing_else(host, clock):
    host.send(PACKETS)
    host.send(("event", {"type": "utterance.finished"}))
    clock.seconds += UNHEARD_SECONDS + 1
    host.look()
    host.send(PACKETS)
    host.send(("event", {"type": "error"}))
    assert heard(host) == ["opened", "event", "event"]
    assert watched(host) == ["fmp4", None, "fmp4"]


def test_who_left_in_the_silence_does_not_come_back(host, clock):
    clock.seconds += UNHEARD_SECONDS + 1
    host.look()
    host.obey("watch", None)
    host.beat()
    assert watched(host)[-1] is None


def test_a_front_that_takes_it_over_opens_nothing_and_nobody_watches(host):
    host.send(PACKETS)
    state = host.state()
    assert (state.card, state.index, state.cost) == (CARD, 8, 0.2)
    host.obey("open", CARD.wanted, None, None)
    assert [verb for verb, *_ in host._worker.obeyed].count("open") == 1
    assert watched(host) == ["fmp4", None]
    assert heard(host)[-1] == "opened"


def test_an_orphan_leaves_nothing(host, clock):
    scratch = host._household.scratch
    clock.seconds += ORPHANED_SECONDS + 1
    assert scratch.exists()
    assert not host.look()
    assert not scratch.exists()


def test_one_that_is_over_is_found_by_no_directory(host):
    assert host.state() is not None
    host.close()
    assert host.state() is None


def test_what_cannot_be_brought_is_refused(host):
    host.obey("refuse", "why")
    assert heard(host)[-1] == "refused"


def test_who_listened_before_takes_nothing_from_who_listens_now(host):
    """A front that died may have left a listener behind, which waits for ever."""
    taken: list[Any] = []
    assert heard(host)
    left = threading.Thread(target=lambda: taken.extend(host.hear()), daemon=True)
    left.start()
    until(lambda: host._listener == 2)
    stream = host.hear()
    begins = threading.Timer(0.05, lambda: host.send(("event", {"type": "curves"})))
    begins.start()
    assert [message[0] for message in next(stream)] == ["event"]
    left.join(10)
    assert not left.is_alive()
    assert taken == []
