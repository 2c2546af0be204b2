"""The store: hits, misses, modes, one computation, budgets, eviction that spares what avatars
pin.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sqlite3
import threading
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personare.cache.recipe import Stage
from personare.cache.store import FeatureStore
from personare.errors import CacheError, EngineError, InvalidOption
from personare.shelf.manifest import ShelfPins
from personare.types import Feature

STAGE = Stage("toy.one", 1, lambda inputs: Feature({}))


def key_of(i: int) -> str:
    return f"{i:064x}"


def feature_of(i: int, size: int = 1000) -> Feature:
    return Feature({"x": np.full(size, i % 256, np.uint8)}, {"i": i})


def never() -> Feature:
    raise AssertionError("computed")


class Stores:
    """Opens stores on one folder, as several processes would."""

    def __init__(self, folder, shelf):
        self.folder, self.shelf, self.opened = folder, shelf, []

    def __call__(self, **options) -> FeatureStore:
        store = FeatureStore(self.folder, **options)
        store.follow_pins(ShelfPins(self.shelf))
        self.opened.append(store)
        return store


@pytest.fixture
def stores(tmp_path):
    made = Stores(tmp_path / "features", tmp_path / "avatars")
    yield made
    for store in made.opened:
        store.close()


def fill(store, *numbers, size=1000):
    for i in numbers:
        store.fetch(STAGE, key_of(i), lambda i=i: feature_of(i, size))


def numbers(store) -> list[int]:
    return [int(entry.key, 16) for entry in store.entries()]


# ---------------------------------------------------------------- hits and misses


def test_computed_once_then_found(stores):
    store = stores()
    feature, hit = store.fetch(STAGE, key_of(1), lambda: feature_of(1))
    assert not hit
    for again in (store, stores(), stores(memory_bytes=0)):
        assert again.get(key_of(1)).metadata == {"i": 1}
        found, hit = again.fetch(STAGE, key_of(1), never)
        assert hit
        np.testing.assert_array_equal(found.arrays["x"], feature.arrays["x"], strict=True)
        with pytest.raises(ValueError, match="read-only"):
            found.arrays["x"][0] = 1
    assert store.get(key_of(2)) is None


def test_hit_and_miss_give_the_same_kind_of_feature(stores):
    given = Feature({"x": np.arange(4, dtype=">i4"), "y": np.float64(3)}, {"pair": (1, 2)})
    results = [stores().fetch(STAGE, key_of(1), lambda: given)[0] for _ in range(2)]
    results.append(stores(mode="off").fetch(STAGE, key_of(1), lambda: given)[0])
    for feature in results:
        assert feature.metadata == {"pair": [1, 2]}
        assert [(a.dtype.str, a.shape, a.flags.writeable) for a in feature.arrays.values()] in (
            [("<i4", (4,), False), ("<f8", (), False)],
            [("<f8", (), False), ("<i4", (4,), False)],
        )


def test_a_failed_computation_leaves_nothing_and_frees_the_lock(stores):
    store = stores()
    with pytest.raises(ZeroDivisionError):
        store.fetch(STAGE, key_of(1), lambda: 1 // 0)
    with pytest.raises(EngineError):
        store.fetch(STAGE, key_of(1), lambda: Feature({"x": np.array(["text"])}))
    assert store.entries() == []
    assert not list((stores.folder / "locks").iterdir())
    assert store.fetch(STAGE, key_of(1), lambda: feature_of(1))[1] is False


def test_threads_compute_once(stores):
    store = stores()
    all_here = threading.Barrier(4)
    computed = []

    def compute():
        computed.append(1)
        return feature_of(1)

    def work():
        all_here.wait()
        results.append(store.fetch(STAGE, key_of(1), compute)[1])

    results: list[bool] = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1
    assert sorted(results) == [False, True, True, True]


@pytest.mark.parametrize("key", ["", "../../x", "A" * 64, "a" * 63, "a" * 64 + "\n", "/etc/passwd"])
def test_what_is_no_key(stores, key):
    with pytest.raises(CacheError, match="not the key"):
        stores().get(key)
    with pytest.raises(CacheError):
        stores().fetch(STAGE, key, lambda: feature_of(1))


# ---------------------------------------------------------------- modes


def test_what_is_computed_in_which_mode(stores):
    computed = []

    def compute():
        computed.append(1)
        return feature_of(1)

    for mode, times in (("off", 1), ("use", 2), ("use", 2), ("refresh", 3), ("off", 4), ("use", 4)):
        stores(mode=mode).fetch(STAGE, key_of(1), compute)
        assert len(computed) == times, mode


def test_refresh_computes_and_overwrites(stores):
    fill(stores(), 1)
    store = stores(mode="refresh")
    feature, hit = store.fetch(STAGE, key_of(1), lambda: feature_of(7))
    assert (hit, feature.metadata["i"]) == (False, 7)
    assert stores().get(key_of(1)).metadata == {"i": 7}


def test_a_file_that_was_replaced_is_checked_again(stores):
    reader = stores(memory_bytes=0)
    fill(reader, 1)
    assert reader.get(key_of(1)).metadata == {"i": 1}
    stores(mode="refresh").fetch(STAGE, key_of(1), lambda: feature_of(7))
    (path,) = stores.folder.rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert reader.get(key_of(1)) is None


def test_off_neither_reads_nor_writes(stores, tmp_path):
    off = stores(mode="off")
    photo = tmp_path / "photo"
    photo.write_bytes(b"x")
    off.file_digest(photo)
    assert off.fetch(STAGE, key_of(1), lambda: feature_of(1))[1] is False
    assert not stores.folder.exists()
    fill(stores(), 1)
    assert (off.get(key_of(1)), off.contains(key_of(1))) == (None, None)
    assert off.fetch(STAGE, key_of(1), lambda: feature_of(2))[0].metadata == {"i": 2}
    assert stores().get(key_of(1)).metadata == {"i": 1}


@pytest.mark.parametrize("options", [{"mode": "of"}, {"max_bytes": -1}, {"memory_bytes": -1}])
def test_options_out_of_range(stores, options):
    with pytest.raises(InvalidOption):
        stores(**options)


# ---------------------------------------------------------------- what is known


def test_entries_and_stats(stores):
    store = stores()
    fill(store, 1, 2)
    store.fetch(Stage("toy.two", 1, STAGE.compute), key_of(3), lambda: feature_of(3, 5000))
    for _ in range(3):
        store.get(key_of(1))
    store.pin("anna", [key_of(3)], stores.shelf)
    assert numbers(store) == [2, 3, 1]
    entry = {int(entry.key, 16): entry for entry in store.entries()}
    sizes = {
        i: (stores.folder / key_of(i)[:2] / f"{key_of(i)}.safetensors").stat().st_size for i in (1, 2, 3)
    }
    assert {i: entry[i].bytes for i in entry} == sizes
    assert {i: entry[i].hits for i in entry} == {1: 3, 2: 0, 3: 0}
    assert entry[1].created <= entry[1].last_used
    assert store.contains(key_of(1)) == entry[1]
    assert store.contains(key_of(9)) is None
    assert entry[1].engine == "toy"

    stats = store.stats()
    assert (stats.features, stats.bytes, stats.hits) == (3, sum(sizes.values()), 3)
    assert stats.by_stage["toy.two"].bytes == sizes[3]
    assert (stats.by_stage["toy.one"].features, stats.by_stage["toy.one"].hits) == (2, 3)
    assert stats.memory_features == 3
    assert json.loads(json.dumps(asdict(stats)))["writable"] is True


def test_pins_are_dropped_when_their_avatar_is_not_on_the_shelf(stores):
    """A pin without a manifest is what a process killed in `remove` leaves behind."""
    store = stores()
    fill(store, 1)
    store.pin("anna", [key_of(1)], stores.shelf)
    store.pin("bert", [key_of(1)], stores.shelf / "another")
    (entry,) = store.entries()
    assert entry.pinned_by == ("bert",)


def test_uses_are_written_when_the_store_goes_away(stores, tmp_path):
    store = FeatureStore(stores.folder)
    fill(store, 1, 2, 3)
    for i in (1, 2, 3):
        store.get(key_of(i))
    del store
    gc.collect()
    with sqlite3.connect(stores.folder / "index.sqlite3") as db:
        assert db.execute("SELECT hits FROM features").fetchall() == [(1,)] * 3
    db.close()


def test_a_feature_that_the_index_does_not_know_is_found_and_entered(stores):
    fill(stores(), 1)
    stores.opened[0].close()
    with sqlite3.connect(stores.folder / "index.sqlite3") as db:
        db.execute("DELETE FROM features")
    db.close()
    store = stores()
    assert store.contains(key_of(1)).stage == "toy.one"
    assert store.fetch(STAGE, key_of(1), never)[1]
    store.close()
    with sqlite3.connect(stores.folder / "index.sqlite3") as db:
        assert db.execute("SELECT stage, hits FROM features").fetchall() == [("toy.one", 1)]
    db.close()


# ---------------------------------------------------------------- eviction


def test_the_least_recently_used_goes_first(stores):
    store = stores()
    fill(store, 1, 2, 3)
    store.get(key_of(1))
    size = store.contains(key_of(1)).bytes
    report = store.prune(2 * size)
    assert (report.removed, report.freed_bytes, report.kept, report.kept_bytes) == (1, size, 2, 2 * size)
    assert numbers(store) == [3, 1]
    assert not (stores.folder / key_of(2)[:2] / f"{key_of(2)}.safetensors").exists()


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(used=st.permutations(range(5)), keep=st.integers(0, 5))
def test_in_whatever_order_they_were_used_the_last_ones_stay(tmp_path_factory, used, keep):
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    fill(store, *range(5))
    for moment, i in enumerate(used):
        store._index.touch(key_of(i), 2e9 + moment)
    sizes = {int(entry.key, 16): entry.bytes for entry in store.entries()}
    expected = used[5 - keep :]
    report = store.prune(sum(sizes[i] for i in expected))
    assert set(numbers(store)) == set(expected)
    assert report.removed == 5 - keep
    store.close()


def test_the_budget_is_kept_while_writing(stores):
    fill(stores(), 1)
    size = stores().contains(key_of(1)).bytes
    store = stores(max_bytes=3 * size)
    fill(store, 2, 3, 4, 5)
    assert numbers(store) == [3, 4, 5]
    assert store.stats().memory_features == 4  # what is evicted from the disk may stay in memory
    fill(store, 6)
    store.close()
    with sqlite3.connect(stores.folder / "index.sqlite3") as db:
        assert db.execute("SELECT sum(bytes) FROM features").fetchone() == (3 * size,)
    db.close()


def test_a_feature_larger_than_the_budget_is_kept_until_the_next(stores):
    store = stores(max_bytes=100)
    fill(store, 1)
    assert numbers(store) == [1]
    fill(store, 2)
    assert numbers(store) == [2]


def test_pinned_features_are_never_evicted(stores):
    store = FeatureStore(stores.folder)
    stores.opened.append(store)
    fill(store, 1, 2, 3)
    store.pin("anna", [key_of(1), key_of(2)], stores.shelf)
    report = store.prune(0)
    assert (report.removed, report.kept, report.pinned_bytes) == (1, 2, report.kept_bytes)
    assert numbers(store) == [1, 2]
    store.clear()
    assert numbers(store) == [1, 2]
    store.unpin("anna", stores.shelf)
    assert store.prune(0).removed == 2


def test_clear_can_take_pinned_features_too(stores):
    store = stores()
    fill(store, 1, 2)
    store.pin("anna", [key_of(1)], stores.shelf / "another")
    assert store.clear(keep_pinned=False).removed == 2
    assert store.stats().memory_features == 0
    assert store.get(key_of(1)) is None


def test_prune_refuses_nonsense(stores):
    with pytest.raises(InvalidOption):
        stores().prune(-1)


def test_a_disk_that_cannot_sync_costs_one_warning_not_the_feature(stores, caplog, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        fill(stores(), 1, 2)
    assert caplog.text.count("No space left") == 1
    assert not list(stores.folder.rglob("*.part*"))


def test_a_feature_in_use_survives_its_eviction(stores):
    store = stores(memory_bytes=0)
    fill(store, 1, size=3 << 20)
    feature = stores(memory_bytes=0).get(key_of(1))
    store.prune(0)
    assert feature.arrays["x"].sum() == 3 << 20


def test_an_empty_store_can_be_asked_anything(stores):
    store = stores()
    assert (store.entries(), store.verify().checked, store.prune(0).removed, store.clear().removed) == (
        [],
        0,
        0,
        0,
    )
    assert (store.stats().features, store.stats().workspaces) == (0, 0)
