"""What makes clips, and who holds leases, as Ray's actors; and what actors have in common. With
live_actors.py the only module that imports ray.
"""

from __future__ import annotations

from typing import Any

import ray

from personare.cluster.joined import NAMESPACE
from personare.cluster.maker import Maker
from personare.cluster.parcels import Done, Parcel
from personare.cluster.turns import Leases, Turn
from personare.ground.machine import allowed_memory
from personare.ground.tuning import data_bytes, keep_memory, limit_memory
from personare.provenance.settings import MarksSettings
from personare.studio.settings import Settings
from personare.work.tasks import Step

TURNS = "turns"
_ON_HEAD = {"node:__internal_head__": 0.001}
"""Ray gives this resource to the head of a cluster, where the front is."""


class _MakerActor:
    """A `Maker`; while one thread makes, another answers."""

    def __init__(
        self, settings: Settings, marks: MarksSettings, turns: Any, memory: int | None = None
    ) -> None:
        settle(memory)
        self._maker = Maker(settings, marks, ray.put, ray.get)
        if turns is not None:
            self._maker.household.studio.store.take_turns(turn(turns))

    def make(self, parcel: Parcel) -> Done:
        return self._maker.make(parcel)

    def told(self) -> Step | None:
        return self._maker.told()

    def stop(self, name: str) -> None:
        self._maker.stop(name)

    def close(self) -> None:
        self._maker.close()


def settle(memory: int | None) -> None:
    """In the process of an actor. memory: that it may have beside what Ray itself takes."""
    keep_memory()
    limit_memory(allowed_memory(memory), data_bytes())


def turn(turns: Any) -> Turn:
    """The turn of this process, by the actor that holds the leases."""
    return Turn(
        lambda key, who: bool(ray.get(turns.take.remote(key, who), timeout=30)),
        lambda key, who: ray.get(turns.leave.remote(key, who), timeout=30),
    )


def maker(
    settings: Settings,
    marks: MarksSettings,
    turns: Any,
    memory: int | None = None,
    gpu: float = 0.0,
) -> Any:
    """A new actor that makes, wherever a core is free, and such a share of a GPU. memory: see
    `allowed_memory`.
    """
    options = {"num_cpus": 1, "num_gpus": gpu, "max_concurrency": 3, "scheduling_strategy": "SPREAD"}
    return ray.remote(_MakerActor).options(**options).remote(settings, marks, turns, memory)


def leases() -> Any:
    """The one that holds the leases of this cluster; it lives as long as the cluster."""
    return only(TURNS, ray.remote(Leases))


def only(name: str, made: Any, *given: Any) -> Any:
    """The one actor of a name: on the head, for any other node may go; restarted when it dies,
    and what it was asked meanwhile is asked again, so that its methods have to bear that.
    """
    options = {"namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    lives = {"num_cpus": 0, "resources": _ON_HEAD, "max_restarts": -1, "max_task_retries": -1}
    return made.options(name=name, **lives, **options).remote(*given)
