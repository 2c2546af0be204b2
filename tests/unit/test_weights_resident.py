"""One owner of the networks in a process: loaded once, counted honestly, dropped in order."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from personare.errors import InvalidOption, WeightsMismatch
from personare.weights import footprint
from personare.weights.resident import BUDGET_VARIABLE, Lease, NetworkKey, NetworkPool

pytestmark = pytest.mark.neural

LARGE = 1 << 40


def key(part: str) -> NetworkKey:
    return NetworkKey(("0" * 64,), part)


def linear() -> Any:
    """4 * 4 + 4 numbers: 80 bytes."""
    return torch.nn.Linear(4, 4)


def test_a_network_is_loaded_once_and_stays_after_its_lease() -> None:
    pool, loaded = NetworkPool(LARGE), []

    def load() -> Any:
        loaded.append(1)
        return linear()

    with pool.lease(key("a"), load) as first, pool.lease(key("a"), load) as second:
        assert first is second
        assert [(r.part, r.bytes, r.leases, r.loads) for r in pool.report()] == [("a", 80, 2, 1)]
    with pool.lease(key("a"), load) as third:
        assert third is first
    assert [(r.leases, r.loads) for r in pool.report()] == [(0, 1)]
    assert loaded == [1]


def test_a_lease_ends_once() -> None:
    pool = NetworkPool(LARGE)
    kept, ended = pool.lease(key("a"), linear), pool.lease(key("a"), linear)
    ended.close()
    ended.close()
    assert pool.report()[0].leases == 1
    assert not hasattr(ended, "network")
    assert kept.network.in_features == 4


def test_a_lease_that_nobody_refers_to_is_given_back() -> None:
    pool = NetworkPool(0)

    class Session:
        def __init__(self) -> None:
            self.lease = pool.lease(key("a"), linear)
            self.me = self  # a ring, which only the garbage collector takes apart

    session = Session()
    assert len(pool.report()) == 1
    del session
    gc.collect()
    assert pool.report() == []


def test_over_budget_the_least_recently_used_goes_first_and_what_is_leased_stays() -> None:
    pool = NetworkPool(3 * 80)
    leased = pool.lease(key("leased"), linear)
    for part in ("a", "b"):
        pool.lease(key(part), linear).close()
    pool.lease(key("a"), linear).close()  # used once more: now b is the oldest
    newest = pool.lease(key("c"), linear)
    assert [r.part for r in pool.report()] == ["a", "c", "leased"]
    pool.set_budget(0)
    assert [r.part for r in pool.report()] == ["c", "leased"]
    leased.close()
    assert [r.part for r in pool.report()] == ["c"]
    newest.close()
    assert pool.report() == []


def test_room_is_made_before_a_network_is_loaded() -> None:
    pool = NetworkPool(160)
    for part in ("a", "b"):
        pool.lease(key(part), linear).close()

    def load() -> Any:
        assert [r.part for r in pool.report()] == ["b"]
        return linear()

    pool.lease(key("c"), load, expected=80)
    assert [r.part for r in pool.report()] == ["b", "c"]


def test_a_network_that_is_dropped_is_freed_and_loaded_again_when_it_is_wanted() -> None:
    pool = NetworkPool(0)
    lease = pool.lease(key("a"), linear)
    network = weakref.ref(lease.network)
    gc.disable()  # freed at once, not when the collector comes round
    try:
        lease.close()
        assert network() is None
    finally:
        gc.enable()
    with pool.lease(key("a"), linear):
        assert pool.report()[0].loads == 2


def test_dropping_what_shares_its_memory_with_a_leased_network_frees_nothing() -> None:
    pool, tensor = NetworkPool(0), torch.zeros(20)
    leased = pool.lease(key("part"), lambda: {"mine": tensor})
    file = pool.lease(key("file"), lambda: {"mine": tensor})
    file.close()
    assert [(r.part, r.bytes) for r in pool.report()] == [("file", 80), ("part", 80)]
    assert pool.resident_bytes() == 80
    leased.close()
    assert pool.report() == []


def test_threads_that_ask_at_once_wait_for_one_load() -> None:
    pool, loading, go, loads = NetworkPool(LARGE), threading.Event(), threading.Event(), []

    def load() -> Any:
        loads.append(1)
        loading.set()
        assert go.wait(10)
        return linear()

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(pool.lease, key("a"), load)
        assert loading.wait(10)
        others = [threads.submit(pool.lease, key("a"), load) for _ in range(7)]
        # While one network is being loaded others can be leased.
        assert threads.submit(pool.lease, key("b"), linear) is not None
        go.set()
        leases = [waiting.result(10) for waiting in (first, *others)]
    assert loads == [1]
    assert len({id(lease.network) for lease in leases}) == 1
    assert next(r for r in pool.report() if r.part == "a").leases == 8


def test_after_a_load_that_failed_the_next_asker_tries_again() -> None:
    pool, loading, go = NetworkPool(LARGE), threading.Event(), threading.Event()

    def fail() -> Any:
        loading.set()
        assert go.wait(10)
        raise WeightsMismatch("damaged")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.lease, key("a"), fail)
        assert loading.wait(10)
        second = threads.submit(pool.lease, key("a"), linear)
        go.set()
        with pytest.raises(WeightsMismatch, match="damaged"):
            first.result(10)
        assert second.result(10).network.in_features == 4
    assert [(r.leases, r.loads) for r in pool.report()] == [(1, 1)]


def test_leases_from_many_threads_add_up_to_nothing_in_the_end() -> None:
    pool = NetworkPool(80)

    def ask(seed: int) -> None:
        for part in np.random.default_rng(seed).choice(list("abc"), 200):
            with pool.lease(key(part), linear) as network:
                assert network.in_features == 4

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    assert [r.leases for r in pool.report()] == [0]
    assert pool.resident_bytes() == 80


def test_devices_have_budgets_of_their_own() -> None:
    pool = NetworkPool(80)
    for device in ("cpu", "cuda:0"):
        pool.lease(NetworkKey(("0" * 64,), "a", device), linear).close()
    assert [r.device for r in pool.report()] == ["cpu", "cuda:0"]
    assert (pool.resident_bytes("cpu"), pool.drop_unleased("cuda:0")) == (80, 80)
    assert [r.device for r in pool.report()] == ["cpu"]


def test_the_budget_is_a_size_in_the_environment_or_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = NetworkPool()
    monkeypatch.setattr(footprint, "main_memory", lambda: (1, 1000))
    monkeypatch.delenv(BUDGET_VARIABLE, raising=False)
    assert pool.budget("cpu") == 500
    monkeypatch.setenv(BUDGET_VARIABLE, "2GB")
    assert pool.budget("cpu") == 2_000_000_000
    monkeypatch.setenv(BUDGET_VARIABLE, "much")
    with pytest.raises(InvalidOption, match="'much' is not a size"):
        pool.lease(key("a"), linear)
    assert pool.report() == []


def test_bytes_are_those_of_every_tensor_once() -> None:
    class Packed(torch.nn.Linear):  # type: ignore[name-defined, misc]
        """A weight in oneDNN's own layout, which is neither parameter nor buffer."""

        def __init__(self) -> None:
            super().__init__(32, 16, bias=False)
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), 8)
            self.weight = torch.nn.Parameter(torch.empty(0, 32))

    class Voice:
        def __init__(self, network: Any, again: Any) -> None:
            self.parts = {"network": network, "again": again}
            self.table = torch.zeros(10, dtype=torch.float16)

    norm = torch.nn.BatchNorm1d(4)  # 4 * 4 numbers of float32, one of int64
    pool = NetworkPool(LARGE)
    pool.lease(key("a"), lambda: (Voice(norm, norm), [Packed()]))
    pool.lease(key("b"), lambda: object(), lambda _: 1234)
    assert [r.bytes for r in pool.report()] == [72 + 20 + 4 * 32 * 16, 1234]


def test_a_lease_of_ones_own_needs_no_pool() -> None:
    with Lease("network") as network:
        assert network == "network"


def test_asking_for_the_owner_imports_no_torch() -> None:
    program = (
        "import sys, personare.weights.resident as r; r.report(); r.budget('cpu');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
