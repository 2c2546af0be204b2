"""Live sessions as Ray's actors, and the one that knows them all. Imports ray, as actors.py."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from personare.cluster.actors import leases, only, settle, turn
from personare.cluster.directory import Directory, Drains
from personare.cluster.joined import NAMESPACE, free_gpus
from personare.cluster.live_host import Card, LiveHost, State
from personare.errors import Busy
from personare.provenance.settings import MarksSettings
from personare.serve.live.admission import SHARE
from personare.studio.settings import Settings

DIRECTORY, DRAINS = "directory", "drains"
_LIVE = "live-"
_NODES_SECONDS = 1.0
_SETTLED_SECONDS = 3.0
_STATE_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_NOTE_SECONDS = 30.0
_SIGN_SECONDS = 0.5
"""For a sign of life; one that is dead answers at once."""
FULL = 0.8
"""How full nodes are to be with sessions, before another one is asked for."""
_LIBRARIES = ("OPENCV_FOR_THREADS_NUM", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ONE_THREAD = dict.fromkeys(_LIBRARIES, "1")
"""Sessions side by side would otherwise wait for each other's threads."""


Method = TypeVar("Method", bound=Callable[..., Any])


def _in_group(name: str) -> Callable[[Method], Method]:
    """A method that the threads of a group run."""
    decorated: Callable[[Method], Method] = ray.method(concurrency_group=name)
    return decorated


class _LiveActor:
    """A `LiveHost`. Commands come in order, in one thread; others listen and ask meanwhile."""

    def __init__(
        self,
        settings: Settings,
        marks: MarksSettings,
        turns: Any,
        names: tuple[str, ...],
        memory: int | None = None,
    ) -> None:
        settle(memory)
        self._host = LiveHost(settings, marks, ray.get, names, turn(turns))

    @_in_group("obey")
    def obey(self, verb: str, *arguments: Any) -> None:
        self._host.obey(verb, *arguments)

    @_in_group("hear")
    def hear(self) -> Iterator[list[tuple[Any, ...]]]:
        yield from self._host.hear()

    @_in_group("ask")
    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    @_in_group("ask")
    def assign(self, card: Card, cost: float | None) -> None:
        self._host.assign(card, cost)
        threading.Thread(target=self._host.look_after, daemon=True).start()

    @_in_group("ask")
    def beat(self) -> None:
        self._host.beat()

    @_in_group("ask")
    def state(self) -> State | None:
        return self._host.state()

    @_in_group("ask")
    def close(self) -> None:
        self._host.close()


class _DirectoryActor:
    """A `Directory` with the actors of its sessions, and spare ones on every node. Restarted,
    it asks the actors that are there whose they are, and one that keeps it which nodes drain.
    """

    def __init__(
        self,
        settings: Settings,
        marks: MarksSettings,
        names: tuple[str, ...],
        most: int | None,
        spare: int,
        memory: int | None = None,
        gpu: float = 0.0,
    ) -> None:
        """memory: that an actor may have, see `allowed_memory`. gpu: share of one that a
        session may ask for; 0: none is assigned.
        """
        self._directory = Directory(most)
        self._given = (settings, marks, leases(), names, memory)
        self._spare, self._gpu = spare, gpu
        self._assigned_at: dict[str, float] = {}
        self._sessions: dict[str, tuple[Any, Card]] = {}
        self._spares: dict[str, deque[Any]] = {}
        self._looked_at = float("-inf")
        self._asked_for = 0
        self._closing: list[tuple[Any, Any, float]] = []
        self._drained = _drained()
        there = [
            known["name"]
            for known in ray.util.list_named_actors(all_namespaces=True)
            if known["namespace"] == NAMESPACE and known["name"].startswith(_LIVE)
        ]
        self._look()
        for name in there:
            self._find(name)
        self._fill()

    def enter(self, card: Card) -> tuple[Any, bool] | Busy:
        """An actor for a session, and whether the cost of its kind is to be measured."""
        self._look()
        try:
            placed = self._directory.enter(card.id, card.kind, card.wanted.avatar, card.gpu)
        except Busy as error:
            return error
        card = replace(card, gpu=placed.gpu)
        if placed.gpu:
            self._assigned_at[card.id] = time.monotonic()
            actor = self._started(placed.node, placed.gpu)
        else:
            actor = self._taken(placed.node)
        actor.assign.remote(card, self._directory.known(card.kind))
        self._sessions[card.id] = (actor, card)
        return actor, placed.measure

    def again(self, card: Card) -> tuple[Any, bool] | Busy:
        """Another actor, where the one of a session was lost. A directory that has begun anew
        meanwhile does not know the session: its card tells all.
        """
        if card.id in self._sessions:
            with suppress(ray.exceptions.RayError):
                ray.kill(self._sessions[card.id][0])
        self._looked_at = float("-inf")
        return self.enter(card)

    def measured(self, id: str, kind: str, cores: float) -> Busy | None:
        """What a session costs."""
        try:
            self._directory.measured(id, kind, cores)
        except Busy as error:
            return error
        return None

    def seen(self, kind: str, cores: float) -> None:
        """What a session in play took while it spoke."""
        self._directory.seen(kind, cores)

    def leave(self, id: str) -> None:
        """A session has ended."""
        self._directory.leave(id)
        self._assigned_at.pop(id, None)
        if id in self._sessions:
            self._close(self._sessions.pop(id)[0])

    def sessions(self) -> list[tuple[Any, State]]:
        """All that are open, with their actors."""
        asked = {id: actor.state.remote() for id, (actor, _) in self._sessions.items()}
        found = []
        for id, answer in asked.items():
            try:
                state = ray.get(answer, timeout=_STATE_SECONDS)
            except (ray.exceptions.RayError, TimeoutError):
                state = None
            if state is None:
                self.leave(id)
            else:
                found.append((self._sessions[id][0], state))
        return found

    def drain(self, node: str, drains: bool, move: bool) -> int:
        """No session goes to a node any more, or again. move: those that are there begin anew
        elsewhere, a generation on. How many there are. Raises KeyError for no such node.
        """
        self._look()
        there = self._directory.drain(node, drains)
        noted = only(DRAINS, ray.remote(Drains)).note.remote(node, drains)
        ray.get(noted, timeout=_NOTE_SECONDS)  # this one may be killed in the next moment
        if move:
            for id in there:
                ray.kill(self._sessions[id][0])
        for actor in self._spares.pop(node, ()):
            ray.kill(actor)
        self._fill()
        return len(there)

    def figures(self) -> dict[str, float]:
        """For /metrics; and a look at the nodes."""
        self._look()
        return {
            "cores_used": self._directory.used,
            "cores": self._directory.capacity,
            "nodes": len(self._directory.nodes),
        }

    def spares(self) -> dict[str, int]:
        """Node -> actors that wait there and are ready."""
        ready = {}
        for node, actors in self._spares.items():
            asked = [actor.state.remote() for actor in actors]
            ready[node] = len(ray.wait(asked, num_returns=len(asked), timeout=0.5)[0]) if asked else 0
        return ready

    def end(self) -> None:
        """All actors end."""
        for actor in [actor for actor, _ in self._sessions.values()] + [
            actor for actors in self._spares.values() for actor in actors
        ]:
            self._close(actor)
        self._sessions, self._spares, self._spare = {}, {}, 0
        if asked := [one for one, _, _ in self._closing]:
            ray.wait(asked, num_returns=len(asked), timeout=_CLOSE_SECONDS)
        self._bury(every=True)
        with suppress(ValueError):
            ray.kill(ray.get_actor(DRAINS, namespace=NAMESPACE))

    def _close(self, actor: Any) -> None:
        """An actor ends its session; then it is killed, for one that ends by itself is reported
        as a fault.
        """
        self._closing.append((actor.close.remote(), actor, time.monotonic()))

    def _bury(self, every: bool = False) -> None:
        left = []
        for asked, actor, since in self._closing:
            over = every or time.monotonic() - since > _CLOSE_SECONDS
            if over or ray.wait([asked], timeout=0)[0]:
                ray.kill(actor)
            else:
                left.append((asked, actor, since))
        self._closing = left

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < _NODES_SECONDS:
            return
        self._looked_at = now
        self._bury()
        alive = {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]}
        gpus = self._gpus(now)
        for node in set(self._directory.nodes) - alive.keys():
            self._directory.lose(node)  # their fronts ask for other places
            self._spares.pop(node, None)
        for node, cores in alive.items():
            if cores:
                self._directory.join(node, cores, gpus.get(node))
                if node in self._drained:
                    self._directory.drain(node)
        self._drained = frozenset()
        self._fill()
        self._ask_for_cores()

    def _gpus(self, now: float) -> dict[str, float]:
        """Node -> GPUs that sessions may have: those that nobody has, and those that they have
        themselves. What was given away a moment ago Ray may not tell yet.
        """
        if not self._gpu:
            return {}
        free = free_gpus(self._gpu)
        for id, (_, card) in self._sessions.items():
            node = self._directory.where(id)
            if node in free and now - self._assigned_at.get(id, 0.0) > _SETTLED_SECONDS:
                free[node] += card.gpu
        return free

    def _ask_for_cores(self) -> None:
        """Tell Ray's autoscaler, where there is one, how many cores sessions need: a fifth of
        what they may take stays free for those that come while a node starts.
        """
        wanted = math.ceil(self._directory.used / SHARE / FULL)
        if wanted != self._asked_for:
            with suppress(Exception):  # a cluster without one
                from ray.autoscaler.sdk import request_resources

                request_resources(num_cpus=wanted)
            self._asked_for = wanted

    def _find(self, name: str) -> None:
        try:
            actor = ray.get_actor(name, namespace=NAMESPACE)
            node, state = ray.get([actor.node.remote(), actor.state.remote()], timeout=_STATE_SECONDS)
        except (ray.exceptions.RayError, TimeoutError, ValueError):
            return
        if state is None:  # a spare one, or one that nobody has opened
            ray.kill(actor)
            return
        self._sessions[state.card.id] = (actor, state.card)
        if state.cost is not None:
            self._directory.measured(state.card.id, state.card.kind, state.cost)
        card = state.card
        self._directory.put(card.id, node, card.kind, card.wanted.avatar, card.gpu)

    def _taken(self, node: str) -> Any:
        waiting = self._spares.get(node, deque())
        while waiting:
            actor = waiting.popleft()
            if _is_there(actor):
                break
        else:
            actor = self._started(node)
        self._fill()
        return actor

    def _fill(self) -> None:
        for node in self._directory.room():
            waiting = self._spares.setdefault(node, deque())
            while len(waiting) < self._spare:
                waiting.append(self._started(node))

    def _started(self, node: str, gpu: float = 0.0) -> Any:
        made = ray.remote(
            num_cpus=0,
            num_gpus=gpu,
            concurrency_groups={"obey": 1, "hear": 4, "ask": 2},
            runtime_env={"env_vars": _ONE_THREAD},
        )(_LiveActor)
        return made.options(
            name=f"{_LIVE}{secrets.token_hex(6)}",
            namespace=NAMESPACE,
            lifetime="detached",  # it outlives this one, which finds it again by its name
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(*self._given)


def _is_there(actor: Any) -> bool:
    """Whether an actor that waits has not died; one that still loads is there."""
    asked = actor.state.remote()
    if not ray.wait([asked], timeout=_SIGN_SECONDS)[0]:
        return True
    try:
        ray.get(asked)
    except ray.exceptions.RayError:
        return False
    return True


def _drained() -> frozenset[str]:
    """Nodes that drained before this directory was there."""
    try:
        known = ray.get_actor(DRAINS, namespace=NAMESPACE)
        drained: frozenset[str] = ray.get(known.nodes.remote(), timeout=_STATE_SECONDS)
    except (ValueError, TimeoutError, ray.exceptions.RayError):  # nobody has drained any
        return frozenset()
    return drained


def directory(
    settings: Settings,
    marks: MarksSettings,
    names: tuple[str, ...],
    most: int | None,
    spare: int,
    memory: int | None = None,
    gpu: float = 0.0,
) -> Any:
    """The one that knows all live sessions of this cluster; given as `_DirectoryActor` takes
    it.
    """
    return only(DIRECTORY, ray.remote(_DirectoryActor), settings, marks, names, most, spare, memory, gpu)


def known_directory() -> Any | None:
    """The directory, if there is one."""
    with suppress(ValueError):
        return ray.get_actor(DIRECTORY, namespace=NAMESPACE)
    return None
