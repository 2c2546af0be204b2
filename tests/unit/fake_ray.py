"""As much of Ray as the cluster's floor asks for, in one thread: actors are objects, and what
they answer is there at once. CI installs no Ray.
"""

from __future__ import annotations

import itertools
import sys
import time
from concurrent.futures import Future
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class RayError(Exception):
    """Whatever went wrong."""


class Answer:
    """An object reference. error: what `get` raises."""

    def __init__(self, value: Any = None, error: Exception | None = None, *, late: bool = False) -> None:
        self.value, self.error, self.late = value, error, late

    def future(self) -> Future[Any]:
        done: Future[Any] = Future()
        if self.error is None:
            done.set_result(self.value)
        else:
            done.set_exception(self.error)
        return done


class Actor:
    """A handle. node_id: where it was sent. gpu: what it has of one. loads: whether it does not
    answer yet.
    """

    def __init__(self, made: Any, name: str, node_id: str | None, gpu: float = 0.0) -> None:
        self._made, self.name, self.node_id, self.gpu = made, name, node_id, gpu
        self.dead = self.loads = False
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, method: str) -> Any:
        if method.startswith("__"):
            raise AttributeError(method)

        def remote(*given: Any) -> Answer:
            self.calls.append((method, *given))
            if self.dead:
                return Answer(error=RayError("the actor died"))
            return Answer(getattr(self._made, method)(*given), late=self.loads)

        return SimpleNamespace(remote=remote)


class FakeRay(ModuleType):
    """The module. alive: node -> cores. gpus: node -> those that it has."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.alive: dict[str, float] = {}
        self.gpus: dict[str, float] = {}
        self.actors: dict[str, Actor] = {}
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.util = SimpleNamespace(list_named_actors=self._named)
        self._numbers = itertools.count()

    def remote(self, *made: Any, **options: Any) -> Any:
        if not made:
            return lambda one: self._maker(one, options)
        return self._maker(made[0], options)

    def method(self, **_: Any) -> Any:
        return lambda one: one

    def get(self, asked: Any, timeout: float | None = None) -> Any:
        if isinstance(asked, list):
            return [self.get(one) for one in asked]
        if asked.error is not None:
            raise asked.error
        return asked.value

    def put(self, value: Any) -> Answer:
        return Answer(value)

    def wait(self, asked: list[Answer], num_returns: int = 1, timeout: float | None = None) -> Any:
        if any(one.late for one in asked):
            time.sleep(min(timeout or 0.0, 0.01))
        return [one for one in asked if not one.late], [one for one in asked if one.late]

    def kill(self, actor: Any, no_restart: bool = True) -> None:
        actor.dead = True
        self.actors.pop(actor.name, None)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": node, "Alive": True, "Resources": {"CPU": cores, **self._gpus(node)}}
            for node, cores in self.alive.items()
        ]

    def total_resources_per_node(self) -> dict[str, dict[str, float]]:
        return {node: self._gpus(node) for node in self.alive}

    def available_resources_per_node(self) -> dict[str, dict[str, float]]:
        taken = dict.fromkeys(self.alive, 0.0)
        for actor in self.actors.values():
            if actor.node_id in taken and not actor.dead:
                taken[actor.node_id] += actor.gpu
        left = {node: gpus - taken[node] for node, gpus in self.gpus.items() if node in self.alive}
        return {node: {"GPU": free} if free > 1e-9 else {} for node, free in left.items()}

    def _gpus(self, node: str) -> dict[str, float]:
        return {"GPU": self.gpus[node]} if self.gpus.get(node) else {}

    def get_actor(self, name: str, namespace: str) -> Actor:
        if name not in self.actors:
            raise ValueError(name)
        return self.actors[name]

    def _named(self, all_namespaces: bool) -> list[dict[str, str]]:
        return [{"name": name, "namespace": "personare"} for name in self.actors]

    def _maker(self, made: Any, options: dict[str, Any]) -> Any:
        def with_options(**more: Any) -> Any:
            return self._maker(made, options | more)

        def begin(*given: Any) -> Actor:
            name = options.get("name") or f"nameless {next(self._numbers)}"
            if name in self.actors and options.get("get_if_exists"):
                return self.actors[name]
            strategy = options.get("scheduling_strategy")
            node_id = getattr(strategy, "node_id", None)
            one = made(*given)
            one.node_id = node_id
            self.actors[name] = Actor(one, name, node_id, options.get("num_gpus", 0.0))
            return self.actors[name]

        return SimpleNamespace(options=with_options, remote=begin)


@pytest.fixture
def ray(monkeypatch) -> Any:
    """In Ray's place, with two nodes of four cores, and `actors` freshly imported upon it."""
    import personare.cluster

    fake = FakeRay()
    fake.alive = {"a": 4.0, "b": 4.0}
    strategies = ModuleType("ray.util.scheduling_strategies")
    strategies.NodeAffinitySchedulingStrategy = lambda node, soft: SimpleNamespace(node_id=node)  # type: ignore[attr-defined]
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.util", fake.util)
    monkeypatch.setitem(sys.modules, "ray._private", ModuleType("ray._private"))
    monkeypatch.setitem(sys.modules, "ray._private.state", fake)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    for name in ("actors", "live_actors"):
        monkeypatch.delitem(sys.modules, f"personare.cluster.{name}", raising=False)
        monkeypatch.delattr(personare.cluster, name, raising=False)
    yield fake
    for name in ("actors", "live_actors"):
        sys.modules.pop(f"personare.cluster.{name}", None)
        if hasattr(personare.cluster, name):
            delattr(personare.cluster, name)
