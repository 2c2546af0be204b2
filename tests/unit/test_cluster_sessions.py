"""How a front's session speaks with its actor, upon a Ray of one thread."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from personare.errors import Busy, UnknownName
from personare.serve.live.opened import Wanted
from tests.unit.fake_ray import Answer, RayError, ray  # noqa: F401


class _Actor:
    """Hears commands; says what it is given, each piece a list of messages."""

    def __init__(self, *says: Any) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.dead, self.name = False, ""
        self.obey = SimpleNamespace(remote=lambda *given: self.heard.append(given))
        self.beat = SimpleNamespace(remote=lambda: self.heard.append(("beat",)))
        stream = SimpleNamespace(remote=lambda: self._stream(says))
        self.hear = SimpleNamespace(options=lambda num_returns: stream)

    def _stream(self, says: tuple[Any, ...]) -> Iterator[Answer]:
        for one in says:
            yield Answer(error=one) if isinstance(one, Exception) else Answer(one)


@pytest.fixture
def line(ray):  # noqa: F811
    """Makes the line to an actor. brings: what a session's avatar and guide become."""
    from personare.cluster.sessions import ActorLine

    def made(obtain: Any, brings: Any = lambda wanted: ("avatar", None)) -> ActorLine:
        return ActorLine(obtain, brings)

    return made


def test_commands_come_to_the_actor_and_what_it_says_comes_back_in_order(line):
    actor = _Actor([("opened", 1), ("alive",)], [("packets", 2)])
    front = line(lambda: actor)
    front.beat()  # nobody is there yet
    front.send(("open", Wanted()))
    front.send(("watch", "fmp4"))
    front.beat()
    assert actor.heard == [("open", Wanted(), "avatar", None), ("watch", "fmp4"), ("beat",)]
    assert [front.recv() for _ in range(3)] == [("opened", 1), ("alive",), ("packets", 2)]
    with pytest.raises(EOFError):  # its stream has ended: the actor is lost
        front.recv()
    assert not front.is_alive()


def test_an_avatar_that_cannot_be_sent_is_refused(line):
    actor, error = _Actor(), UnknownName("no avatar named 'anna'")

    def brings(wanted: Wanted) -> Any:
        raise error

    line(lambda: actor, brings).send(("open", Wanted("anna")))
    assert actor.heard == [("refuse", error)]


def test_an_actor_that_dies_is_told_as_lost(line):
    front = line(lambda: _Actor([("alive",)], RayError("the actor died")))
    front.send(("open", Wanted()))
    assert front.recv() == ("alive",)
    with pytest.raises(EOFError):
        front.recv()


def test_where_no_actor_can_be_had_the_line_is_over(line):
    def obtain() -> Any:
        raise OSError("sessions take 1.40 of 1.50 cores")

    front = line(obtain)
    with pytest.raises(OSError, match="sessions take"):
        front.send(("open", Wanted()))
    with pytest.raises(EOFError):
        front.recv()


def test_who_is_not_wanted_hears_nothing_more_and_may_be_killed(line, ray):  # noqa: F811
    actor = _Actor([("alive",)])
    front = line(lambda: actor)
    front.send(("watch", None))
    front.send(None)
    front.send(("watch", "fmp4"))
    front.beat()
    assert actor.heard == [("watch", None)]
    assert not front.is_alive()
    front.kill()
    assert actor.dead


def test_a_directory_that_has_no_room_says_so(ray):  # noqa: F811
    from personare.cluster.sessions import _allowed

    with pytest.raises(Busy, match="full"):
        _allowed(Busy("full"))
    assert _allowed(("actor", True)) == ("actor", True)
