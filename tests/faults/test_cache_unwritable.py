"""Folders that cannot be written and disks that are full: everything works, nothing is kept,
and it is said once.
"""

from __future__ import annotations

import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from personare.cache.recipe import Stage
from personare.cache.store import FeatureStore
from personare.types import Feature

STAGE = Stage("toy.one", 1, lambda inputs: Feature({}))


def key_of(i):
    return f"{i:064x}"


def feature_of(i):
    return Feature({"x": np.full(300_000, i, np.uint8)}, {"i": i})


def fill(store, *numbers):
    return [store.fetch(STAGE, key_of(i), lambda i=i: feature_of(i))[1] for i in numbers]


@contextmanager
def unprivileged():
    """Root may write everywhere: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def folder():
    """A folder that other users can get at (pytest's own cannot be entered by them)."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_read_only_cache_is_read_and_what_it_lacks_is_computed(folder, caplog):
    store = FeatureStore(folder)
    fill(store, 1)
    store.close()
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        path.chmod(0o555)
    before = sorted(folder.rglob("*"))
    with unprivileged():
        store = FeatureStore(folder)
        assert fill(store, 1, 2, 3, 2) == [True, False, False, True]
        (warning,) = warnings_of(caplog)
        assert str(folder) in warning
        assert [int(entry.key, 16) for entry in store.entries()] == [1]
        assert store.contains(key_of(1)).bytes > 300_000
        assert (store.stats().writable, store.verify().damaged) == (False, ())
        store.prune(0)
        assert store.get(key_of(1)).metadata == {"i": 1}
        store.close()
    assert sorted(folder.rglob("*")) == before


def test_damage_in_a_read_only_cache_is_not_served(folder, caplog):
    store = FeatureStore(folder)
    fill(store, 1)
    store.close()
    (path,) = folder.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    for each in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        each.chmod(0o555)
    with unprivileged():
        store = FeatureStore(folder)
        assert fill(store, 1) == [False]
        assert "cannot be moved away" in caplog.text
        assert [damage.key for damage in store.verify().damaged] == [key_of(1)]
        store.close()


def test_a_cache_of_somebody_else_that_cannot_be_read(folder, caplog):
    store = FeatureStore(folder)
    fill(store, 1)
    store.close()
    for path in folder.rglob("*.safetensors"):
        path.chmod(0)
    with unprivileged():
        store = FeatureStore(folder)
        assert fill(store, 1) == [False]
        assert "Permission denied" in store.verify().damaged[0].reason
        store.close()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere/features", "/dev/null/features"])
def test_a_cache_that_cannot_be_made(tmp_path, caplog, place):
    (tmp_path / "file").write_text("precious")
    store = FeatureStore(tmp_path / place)
    assert fill(store, 1, 2, 1) == [False, False, True]  # from memory
    assert len(warnings_of(caplog)) == 1
    assert store.entries() == []
    assert store.stats().writable == place.startswith("/proc")  # its permissions say so
    store.close()
    assert (tmp_path / "file").read_text() == "precious"


@contextmanager
def full_disk():
    """No file may grow beyond 20 kB; Python turns the signal into an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("index_exists", [False, True])
def test_a_full_disk(tmp_path, caplog, index_exists):
    store = FeatureStore(tmp_path)
    if index_exists:
        fill(store, 9)
    with full_disk():
        assert fill(store, 1, 2, 1) == [False, False, True]
    assert len(warnings_of(caplog)) == 1
    assert len(list(tmp_path.rglob("*.safetensors"))) == index_exists
    assert list(tmp_path.rglob("*.part*")) == []
    store.close()
    fresh = FeatureStore(tmp_path)
    assert fill(fresh, 1, 1) == [False, True]
    assert len(fresh.entries()) == 1 + index_exists
    fresh.close()
