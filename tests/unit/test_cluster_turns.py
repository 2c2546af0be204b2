"""Leases, and two machines that share a remote: a feature is computed once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from personare.cache.form import Array, Form
from personare.cache.recipe import Recipe, Stage
from personare.cache.remote import RemoteTier
from personare.cache.run import prepare
from personare.cache.store import FeatureStore
from personare.cluster.turns import LEASE_SECONDS, Leases, Turn
from personare.errors import Cancelled
from personare.types import Feature


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_lease_is_for_one_and_renewed_by_him_alone():
    leases = Leases(clock := Clock())
    assert leases.take("key", "a")
    assert not leases.take("key", "b")
    assert leases.take("other", "b")
    clock.seconds += LEASE_SECONDS * 0.9
    assert leases.take("key", "a")
    clock.seconds += LEASE_SECONDS * 0.9
    assert not leases.take("key", "b")
    leases.leave("key", "b")  # not his
    assert not leases.take("key", "b")
    leases.leave("key", "a")
    assert leases.take("key", "b")


def test_whoever_died_lets_the_next_one_in():
    leases = Leases(clock := Clock())
    assert leases.take("key", "dead")
    clock.seconds += LEASE_SECONDS + 0.1
    assert leases.count() == 0
    assert leases.take("key", "next")
    leases.leave("key", "dead")  # he was not: his late word takes nothing from the next one
    assert not leases.take("key", "third")


@pytest.fixture
def machines(tmp_path):
    """Two stores in folders of their own with one remote, and the recipe that both compute."""
    computed: list[str] = []
    leases, lock = Leases(), threading.Lock()

    def locked(call):
        def under_lock(*given):
            with lock:
                return call(*given)

        return under_lock

    def compute(inputs) -> Feature:
        computed.append(threading.current_thread().name)
        time.sleep(0.3)
        return Feature({"values": np.arange(4, dtype=np.float32)})

    def form(inputs) -> Form:
        return Form({"values": Array("float32", (4,))})

    stage = Stage("test.slow", 1, compute, reads=("portrait",), form=form)
    stores = []
    for name in ("left", "right"):
        store = FeatureStore(tmp_path / name, remote=RemoteTier((tmp_path / "remote").as_uri()))
        store.take_turns(Turn(locked(leases.take), locked(leases.leave)))
        stores.append(store)
    return stores, Recipe((stage,)), computed, leases


def test_one_computation_on_two_machines(machines, portrait):
    stores, recipe, computed, leases = machines
    threads = [threading.Thread(target=prepare, args=(recipe, portrait, store)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1
    (key,) = {entry.key for store in stores for entry in store.entries()}
    values = [store.get(key).arrays["values"].tolist() for store in stores]
    assert values == [[0, 1, 2, 3]] * 2
    assert leases.count() == 0


def test_waiting_for_another_machine_can_be_cancelled(machines, portrait):
    stores, recipe, computed, leases = machines

    def stop(what: str, done: int, total: int | None) -> None:
        if "another machine" in what:
            raise Cancelled("enough")

    (key,) = recipe.portrait_keys(stores[0].file_digest(portrait)).values()
    assert leases.take(key, "somebody")
    with pytest.raises(Cancelled):
        prepare(recipe, portrait, stores[0], stop)
    assert computed == []


def test_without_the_leases_nobody_waits(machines, portrait, caplog):
    stores, recipe, computed, _ = machines

    def gone(*_: str) -> bool:
        raise ConnectionError("the actor is gone")

    stores[0].take_turns(Turn(gone, gone))
    prepare(recipe, portrait, stores[0])
    assert len(computed) == 1
    assert "not computed in turn" in caplog.text
