"""The directory as an actor, the front's sessions and what a deployment leaves behind, upon a
Ray of one thread.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from multiprocessing import Pipe
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from personare import Settings
from personare.cluster.deployment import share_of
from personare.cluster.live_host import Card, State
from personare.cluster.parcels import Done, Parcel
from personare.errors import Busy, EngineError, InvalidOption
from personare.provenance.settings import MarksSettings
from personare.serve.live.admission import SHARE
from personare.serve.live.opened import Wanted
from personare.studio.studio import Studio
from personare.work.queue import Ended
from personare.work.tasks import Stop, Warming
from personare.work.workers import Terms
from tests.unit.fake_ray import Actor, Answer, ray  # noqa: F401

CARD = Card("s1", "token", "alice", "kind", Wanted(avatar="anna"))


class _Live:
    """An actor of a session."""

    card: Card | None = None
    node_id = ""

    def __init__(self, *given: Any) -> None:
        pass

    def node(self) -> str:
        return self.node_id

    def assign(self, card: Card, cost: float | None) -> None:
        self.card = card

    def state(self) -> State | None:
        return None if self.card is None else State(self.card, {"cost": 0.4}, 2, 9, 0.4, 1)

    def close(self) -> None:
        pass


@pytest.fixture
def begin(ray, monkeypatch):  # noqa: F811
    """Begins a directory with an actor that waits on each node."""
    from personare.cluster import live_actors as actors

    monkeypatch.setattr(actors, "_LiveActor", _Live)
    monkeypatch.setattr(actors, "_NODES_SECONDS", 0.0)
    return lambda **more: actors._DirectoryActor(Settings(), MarksSettings(), (), None, 1, **more)


def test_a_session_gets_an_actor_that_waits_and_another_waits_then(begin):
    directory = begin()
    waiting = {actors[0] for actors in directory._spares.values()}
    actor, measure = directory.enter(CARD)
    assert measure
    assert actor in waiting
    assert ("assign", CARD, None) in actor.calls
    assert {node: len(actors) for node, actors in directory._spares.items()} == {"a": 1, "b": 1}


def test_one_that_died_while_it_waited_is_not_given(begin, ray):  # noqa: F811
    directory = begin()
    dead = [actor for actors in directory._spares.values() for actor in actors]
    for actor in dead:
        actor.dead = True
    actor, _ = directory.enter(CARD)
    assert actor not in dead
    assert not actor.dead


def test_one_that_still_loads_is(begin):
    directory = begin()
    loading = [actor for actors in directory._spares.values() for actor in actors]
    for actor in loading:
        actor.loads = True
    assert directory.enter(CARD)[0] in loading


def test_a_directory_that_begins_anew_knows_sessions_and_drained_nodes(begin, ray):  # noqa: F811
    first = begin()
    actor, _ = first.enter(CARD)
    (empty,) = {"a", "b"} - {actor.node_id}
    assert first.drain(empty, True, False) == 0
    assert first.figures()["cores"] == pytest.approx(4 * SHARE)
    again = begin()
    assert again.figures() == first.figures() | {"cores_used": pytest.approx(0.48)}
    assert [state.card for _, state in again.sessions()] == [CARD]
    assert list(again._spares) == [actor.node_id]
    again.drain(empty, False, False)
    assert begin().figures()["cores"] == pytest.approx(8 * SHARE)
    again.end()
    assert not [name for name in ray.actors if name == "drains"]


def test_who_is_moved_finds_another_node(begin):
    directory = begin()
    actor, _ = directory.enter(CARD)
    assert directory.drain(actor.node_id, True, True) == 1
    assert actor.dead
    other, _ = directory.again(CARD)
    assert other.node_id != actor.node_id


def test_who_was_lost_with_the_directory_s_node_finds_another(begin, ray):  # noqa: F811
    first = begin()
    actor, _ = first.enter(CARD)
    actor.dead = True
    del ray.alive[actor.node_id]
    begun_anew = begin()  # it finds nobody
    assert begun_anew.sessions() == []
    other, _ = begun_anew.again(CARD)
    assert other.node_id in ray.alive
    assert begun_anew.again(CARD)[0].node_id in ray.alive  # asked twice
    assert len(begun_anew._sessions) == 1


def test_a_node_that_is_lost_and_one_that_comes(begin, ray):  # noqa: F811
    directory = begin()
    actor, _ = directory.enter(CARD)
    del ray.alive[actor.node_id]
    ray.alive["c"] = 2.0
    assert directory.figures()["nodes"] == 2
    assert directory.again(CARD)[0].node_id in ray.alive
    ray.alive.clear()
    assert isinstance(directory.enter(CARD), Busy)


def test_a_session_whose_networks_run_on_a_gpu_has_a_share_of_one(begin, ray, monkeypatch):  # noqa: F811
    from personare.cluster import live_actors

    monkeypatch.setattr(live_actors, "_SETTLED_SECONDS", -1.0)
    ray.gpus = {"b": 1.0}
    directory = begin(gpu=0.5)
    assert {actor.gpu for actor in ray.actors.values()} == {0.0}, "those that wait have none"
    entered = [directory.enter(replace(CARD, id=f"s{number}", gpu=0.5)) for number in range(3)]
    assert [(actor.node_id, actor.gpu) for actor, _ in entered[:2]] == [("b", 0.5)] * 2
    assert isinstance(entered[2], Busy)
    assert "no GPU has 0.5 of it left" in str(entered[2])
    assert directory.enter(replace(CARD, id="plain"))[0].gpu == 0.0
    begun_anew = begin(gpu=0.5)
    assert isinstance(begun_anew.enter(replace(CARD, id="s3", gpu=0.5)), Busy)
    begun_anew.leave("s0")
    begun_anew._bury(every=True)
    assert begun_anew.enter(replace(CARD, id="s3", gpu=0.5))[0].node_id == "b"
    assert begun_anew.again(replace(CARD, id="s1", gpu=0.5))[0].gpu == 0.5
    del ray.alive["b"]
    assert begun_anew.again(replace(CARD, id="s1", gpu=0.5))[0].gpu == 0.0, (
        "without any it does with the processor"
    )


def test_what_clips_have_of_gpus_sessions_do_not_get(begin, ray):  # noqa: F811
    ray.gpus = {"a": 2.0}
    ray.actors["maker"] = Actor(None, "maker", "a", 0.6)
    directory = begin(gpu=0.6)  # of each GPU one share, and the maker has one
    assert directory.enter(replace(CARD, id="s1", gpu=0.6))[0].node_id == "a"
    assert isinstance(directory.enter(replace(CARD, id="s2", gpu=0.6)), Busy)


@pytest.mark.parametrize(
    ("wanted", "share"),
    [
        (Wanted(), 0.0),
        (Wanted(engine="musetalk"), 0.25),
        (Wanted(engine="musetalk", options={"device": "cuda:1"}), 0.25),
        (Wanted(engine="musetalk", options={"device": "cpu"}), 0.0),
        (Wanted(avatar="nobody"), 0.0),
    ],
)
def test_who_needs_a_share(wanted, share, tmp_path):
    studio = Studio(Settings(cache_dir=tmp_path))
    assert share_of(studio, 0.25, wanted) == share
    assert share_of(studio, 0.0, wanted) == 0.0


def test_only_workers_whose_tasks_may_run_on_a_gpu_take_a_share_and_all_have_a_limit(ray, monkeypatch):  # noqa: F811
    from personare.cluster import actors, hired

    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(actors, "maker", lambda *given: made.append(given[3:]) or _Pending())
    monkeypatch.setattr(hired, "Hired", lambda *given, **named: None)
    for gpus in ({}, {"a": 1.0}):
        ray.gpus = gpus
        start = hired.hiring(Settings(), 0.25)
        for graphics in (True, False):
            start(Settings(), Terms(memory_bytes=0, graphics=graphics))
    assert made == [(0, 0.0), (0, 0.0), (0, 0.25), (0, 0.0)]


def test_a_session_that_ends_hangs_up_on_who_is_not_connected_yet(ray, tmp_path):  # noqa: F811
    from personare.cluster.sessions import ClusterSessions

    class Process:
        async def end(self) -> None:
            pass

    async def test() -> None:
        left: list[str] = []
        directory = SimpleNamespace(leave=SimpleNamespace(remote=left.append))
        sessions = ClusterSessions(Settings(cache_dir=tmp_path), directory, None)
        place = SimpleNamespace(id="s1", process=Process())
        closed: list[str] = []
        for name, whose in (("mine", place), ("another's", object())):
            sessions._peers[name] = SimpleNamespace(place=whose, close=lambda name=name: closed.append(name))
        sessions._left(place)
        assert (closed, left) == (["mine"], ["s1"])
        await asyncio.gather(*sessions._ending)

    asyncio.run(test())


def test_a_session_that_is_taken_over_can_be_told_of_before_it_says_anything(ray, tmp_path, monkeypatch):  # noqa: F811
    from personare.cluster import sessions as of_cluster

    facts = {"size": (256, 256), "fps": Fraction(25), "columns": [], "latency_seconds": 0.2, "cost": 0.4}
    monkeypatch.setattr(
        of_cluster.ClusterSessions,
        "_employed",
        lambda *_: SimpleNamespace(serve=lambda *_: None, send=lambda *_: None),
    )

    async def test() -> None:
        sessions = of_cluster.ClusterSessions(Settings(cache_dir=tmp_path), None, None)
        sessions._adopt(object(), State(CARD, facts, 2, 9, 0.4, 1))
        place = sessions.find("s1", "token")
        assert (place.facts["size"], place.facts["fps"], place.generation) == ((256, 256), "25", 2)
        assert sessions.count("alice") == 1

    asyncio.run(test())


class _Serve(ModuleType):
    """Ray Serve. ran: whether it did before."""

    def __init__(self, ran: bool) -> None:
        super().__init__("ray.serve")
        self.told: list[Any] = []
        self._ran = ran

    def status(self) -> Any:
        return SimpleNamespace(proxies={"node": "HEALTHY"} if self._ran else {}, applications={})

    def start(self, **given: Any) -> None:
        self.told.append("start")

    def run(self, *given: Any, **named: Any) -> None:
        self.told.append("run")

    def delete(self, name: str) -> None:
        self.told.append(("delete", name))

    def shutdown(self) -> None:
        self.told.append("shutdown")


@pytest.mark.parametrize(
    ("ran", "ends", "port"), [(False, "shutdown", 8123), (True, ("delete", "personare"), 8000)]
)
@pytest.mark.parametrize("starts", [True, False])
def test_a_deployment_ends_what_it_began_and_nobody_else_s(ray, monkeypatch, ran, ends, port, starts):  # noqa: F811
    from personare.cluster import deployment

    ray.serve = serve = _Serve(ran)
    context = ModuleType("ray.serve.context")
    options = SimpleNamespace(host="10.0.0.7", port=8000)
    context._get_global_client = lambda: SimpleNamespace(http_config=options)
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    monkeypatch.setitem(sys.modules, "ray.serve.context", context)
    monkeypatch.setattr(deployment, "_application", lambda given: None)
    if not starts:
        monkeypatch.setattr(serve, "run", lambda *_, **__: 1 / 0)
    given = deployment.Deployment.model_validate({"service": {"port": 8123}})
    if starts:
        with deployment.served(given) as url:
            assert url.endswith(f":{port}")
    else:
        with pytest.raises(EngineError, match="does not start"), deployment.served(given):
            pass
    assert serve.told[-1] == ends


def test_draining_needs_the_name_of_a_cluster_and_starts_none(ray, monkeypatch):  # noqa: F811
    from personare.cluster import deployment

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(deployment, "joined", lambda on: pytest.fail("a cluster was joined"))
    with pytest.raises(EngineError, match="no cluster is named"):
        deployment.drain("ray", "0123")


@pytest.mark.parametrize(
    "switches", [("--move",), ("--drain", "a", "--undrain", "a"), ("--undrain", "a", "--move")]
)
def test_switches_of_nodes_that_do_not_go_together(cli, switches):
    ended = cli("deploy", *switches)
    assert ended.code == InvalidOption.exit_code
    assert "goes with" in ended.err


class _Pending:
    """An actor that has no core until `free`; it does a task at once."""

    name = ""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.made: list[str] = []
        for name in ("make", "told", "stop", "close"):
            setattr(self, name, SimpleNamespace(remote=getattr(self, f"_{name}")))

    def _make(self, parcel: Parcel) -> Answer:
        self.made.append(parcel.task.name)
        return Answer(Done(Ended(parcel.task)))

    def _told(self) -> Answer:
        self.asked = Answer(late=not self.free.is_set())
        return self.asked

    def _stop(self, name: str) -> Answer:
        return Answer()

    def _close(self) -> Answer:
        return Answer()

    def begin(self) -> None:
        self.free.set()
        self.asked.late = False


def test_a_task_that_waits_for_a_core_says_so_and_is_made_when_there_is_one(ray, monkeypatch, caplog):  # noqa: F811
    from personare.cluster import hired

    monkeypatch.setattr(hired, "CORE_SECONDS", 0.0)
    monkeypatch.setattr(hired, "_LOOK_SECONDS", 0.01)
    actor, (ours, theirs) = _Pending(), Pipe()
    running = hired.Hired(actor, SimpleNamespace(pack=Parcel), None, theirs, tells=True)
    stopped, wanted = Warming("artalk"), Warming("puppet")
    ours.send(stopped)
    assert ours.recv() == hired.WAITS
    assert "artalk waits for a free core" in caplog.text
    ours.send(Stop("artalk"))
    assert ours.recv().kind == "Cancelled"
    ours.send(wanted)
    assert ours.recv() == hired.WAITS
    actor.begin()
    assert ours.recv() == Ended(wanted)
    assert actor.made == ["puppet"]
    ours.send(None)
    running.join(10)
    assert not running.is_alive()


def test_who_leaves_while_he_waits_for_a_core_leaves_at_once(ray, monkeypatch):  # noqa: F811
    from personare.cluster import hired

    monkeypatch.setattr(hired, "_LOOK_SECONDS", 0.01)
    actor, (ours, theirs) = _Pending(), Pipe()
    running = hired.Hired(actor, SimpleNamespace(pack=Parcel), None, theirs, tells=False)
    ours.send(Warming("puppet"))
    running.terminate()
    running.join(10)
    assert not running.is_alive()
    assert actor.made == []
