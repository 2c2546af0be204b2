"""The classes of this floor as Ray's actors. The one module that imports ray."""

from __future__ import annotations

from typing import Any

import ray

from personare.cluster.maker import Maker
from personare.cluster.parcels import Done, Parcel
from personare.cluster.turns import Leases, Turn
from personare.provenance.settings import MarksSettings
from personare.studio.settings import Settings
from personare.work.tasks import Step

TURNS = "personare-turns"


class _MakerActor:
    """A `Maker`; while one thread makes, another answers."""

    def __init__(self, settings: Settings, marks: MarksSettings, turns: Any) -> None:
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


def turn(turns: Any) -> Turn:
    """The turn of this process, by the actor that holds the leases."""
    return Turn(
        lambda key, who: bool(ray.get(turns.take.remote(key, who), timeout=30)),
        lambda key, who: ray.get(turns.leave.remote(key, who), timeout=30),
    )


def maker(settings: Settings, marks: MarksSettings, turns: Any) -> Any:
    """A new actor that makes, wherever a core is free."""
    options = {"num_cpus": 1, "max_concurrency": 3, "scheduling_strategy": "SPREAD"}
    return ray.remote(_MakerActor).options(**options).remote(settings, marks, turns)


def leases() -> Any:
    """The one that holds the leases of this cluster; it lives as long as anybody uses it."""
    return ray.remote(Leases).options(name=TURNS, get_if_exists=True, num_cpus=0, max_restarts=-1).remote()
