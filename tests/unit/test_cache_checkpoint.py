"""Workspaces of long stages: what is kept, found again, distrusted, counted and removed."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
import pytest

from personare.cache import checkpoint
from personare.cache.checkpoint import KeptWorkspace, Workspace, to_remove
from personare.cache.recipe import Recipe, Stage
from personare.cache.run import run
from personare.cache.store import FeatureStore
from personare.errors import Cancelled, EngineError
from personare.types import Feature

KEY, OTHER = "ab" * 32, "cd" * 32


def workspace(folder, **fields):
    return Workspace(folder, **{"key": KEY, "stage": "toy.long", **fields})


def save(space, step=3, **arrays):
    space.save(arrays or {"x": np.arange(5.0)}, {"seed": 2**100}, step=step, steps=10)


# ---------------------------------------------------------------- one workspace


def test_what_is_saved_last_is_found_by_the_next_run(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="personare")
    first = workspace(tmp_path / "w")
    assert first.load() is None
    save(first, 3)
    save(first, 4, x=np.full((2, 3), 7, np.float16), y=np.array(True))
    assert first.kept == (4, 10)
    found = workspace(tmp_path / "w").load()
    assert (found.step, found.steps, found.metadata) == (4, 10, {"seed": 2**100})
    np.testing.assert_array_equal(found.arrays["x"], np.full((2, 3), 7, np.float16), strict=True)
    assert found.arrays["y"] == np.array(True)
    found.arrays["x"][:] = 0  # the stage's own copy
    assert workspace(tmp_path / "w").load().arrays["x"].all()
    assert "toy.long goes on at step 4 of 10" in caplog.text
    first.clear()
    assert workspace(tmp_path / "w").load() is None
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_checkpoint_is_told_of_and_not_used(tmp_path, caplog, damage):
    save(workspace(tmp_path))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes({"flip": flipped, "cut": data[:-9], "empty": b"", "text": b"hello" * 99}[damage])
    space = workspace(tmp_path)
    assert space.load() is None
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "toy.long begins anew" in record.getMessage()
    assert space.kept is None
    save(space, 1)
    assert workspace(tmp_path).load().step == 1


@pytest.mark.parametrize("foreign", [{"key": OTHER}, {"stage": "toy.other"}])
def test_a_foreign_checkpoint_is_not_used(tmp_path, caplog, foreign):
    save(workspace(tmp_path, **foreign))
    assert workspace(tmp_path).load() is None
    assert "is not used" in caplog.text


def test_a_checkpoint_never_passes_for_the_feature(tmp_path):
    store = FeatureStore(tmp_path)
    save(workspace(tmp_path / "w"))
    place = tmp_path / KEY[:2] / f"{KEY}.safetensors"
    place.parent.mkdir()
    (tmp_path / "w" / "checkpoint.safetensors").rename(place)
    assert store.get(KEY) is None
    assert store.stats().quarantined == 1
    store.close()


def test_a_feature_never_passes_for_a_checkpoint(tmp_path, caplog):
    store = FeatureStore(tmp_path)
    store.fetch(Stage("toy.long", 1, None), KEY, lambda: Feature({"x": np.zeros(3)}))
    (tmp_path / "w").mkdir()
    (tmp_path / KEY[:2] / f"{KEY}.safetensors").rename(tmp_path / "w" / "checkpoint.safetensors")
    assert workspace(tmp_path / "w").load() is None
    assert "another key" in caplog.text
    store.close()


def test_a_refresh_goes_on_only_from_what_a_refresh_saved(tmp_path):
    save(workspace(tmp_path), 3)
    assert workspace(tmp_path, refresh=True).load() is None
    save(workspace(tmp_path, refresh=True), 4)
    assert workspace(tmp_path, refresh=True).load().step == 4
    assert workspace(tmp_path).load().step == 4


def test_without_a_place_nothing_is_kept():
    space = Workspace()
    save(space)
    assert (space.load(), space.kept, space.due(0)) == (None, None, False)
    with pytest.raises(EngineError, match="cannot hold"):
        space.save({"x": np.array(["text"])}, step=1, steps=2)


def test_a_place_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("precious")
    space = workspace(tmp_path / "file" / "w")
    for step in (1, 2):
        save(space, step)
    (record,) = caplog.records
    assert "no checkpoint can be kept" in record.getMessage()
    assert space.kept is None
    assert (tmp_path / "file").read_text() == "precious"


def test_when_it_is_time_to_save(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    space = workspace(tmp_path)
    now[0] = 159.0
    assert not space.due()
    assert space.due(30)
    now[0] = 160.0
    assert space.due()

    write = checkpoint.write_feature

    def slow(*arguments):
        now[0] += 5.0
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write_feature", slow)
    save(space)
    now[0] += 99.0  # 5 s of saving are a twentieth of 100
    assert not space.due()
    now[0] += 1.0
    assert space.due()


# ---------------------------------------------------------------- in a store


def recipe(compute, cost="minutes", version=1):
    return Recipe((Stage("toy.long", version, compute, cost=cost),))


class Stopped(BaseException):
    """A kill -9 that the test survives."""


def stops_at(step, error=Stopped):
    def compute(inputs):
        kept = inputs.workspace.load()
        compute.began_at = kept.step if kept else 0
        inputs.workspace.save({"x": np.zeros(1000)}, step=step, steps=10)
        raise error

    return compute


def finishes(inputs):
    kept = inputs.workspace.load()
    return Feature({}, {"began at": kept.step if kept else 0})


@pytest.fixture
def store(tmp_path):
    made = FeatureStore(tmp_path / "features")
    yield made
    made.close()


def interrupted(store, version=1, step=6):
    with pytest.raises(Stopped):
        run(recipe(stops_at(step), version=version), {}, store)


def test_a_stage_goes_on_where_it_was_and_its_workspace_goes(store):
    interrupted(store)
    assert (store.stats().workspaces, store.entries()) == (1, [])
    assert store.stats().workspace_bytes > 8000
    assert run(recipe(finishes), {}, store).features["toy.long"].metadata == {"began at": 6}
    assert store.stats().workspaces == 0
    assert list((store.folder / "workspaces").iterdir()) == []


def test_another_version_begins_anew(store):
    interrupted(store)
    assert run(recipe(finishes, version=2), {}, store).features["toy.long"].metadata == {"began at": 0}
    assert store.stats().workspaces == 1


def test_the_cost_of_a_stage_is_no_part_of_its_key():
    assert recipe(finishes).keys({}) == recipe(finishes, "seconds").keys({})


def test_a_stage_of_seconds_keeps_nothing(store):
    with pytest.raises(Stopped):
        run(recipe(stops_at(6), "seconds"), {}, store)
    assert store.stats().workspaces == 0


@pytest.mark.parametrize("mode", ["off", None])
def test_without_a_store_a_long_stage_runs_all_the_same(tmp_path, mode):
    store = mode and FeatureStore(tmp_path / "features", mode=mode)
    with pytest.raises(Stopped):
        run(recipe(stops_at(6)), {}, store)
    assert run(recipe(finishes), {}, store).features["toy.long"].metadata == {"began at": 0}
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_runs_long_stages_all_the_same(tmp_path, caplog):
    (tmp_path / "file").touch()
    store = FeatureStore(tmp_path / "file")
    assert run(recipe(finishes), {}, store).features["toy.long"].metadata == {"began at": 0}
    assert len(caplog.records) == 1
    store.close()


def test_a_feature_that_cannot_be_kept_leaves_its_checkpoint(store, monkeypatch, caplog):
    interrupted(store)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("personare.cache.disk.write_feature", full)
        run(recipe(finishes), {}, store)
    assert store.stats().workspaces == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("stop")])
def test_an_interruption_notes_what_is_kept(store, error):
    with pytest.raises(type(error)) as stopped:
        run(recipe(stops_at(7, error)), {}, store)
    assert stopped.value.__notes__ == ["step 7 of 10 is kept"]


def test_a_progress_may_cancel_a_long_stage(store):
    def compute(inputs):
        inputs.workspace.save({}, step=2, steps=10)
        inputs.progress("tuning", 2, 10)
        raise AssertionError("not reached")

    def stop(what, done, total):
        if what == "tuning":
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(recipe(compute), {}, store, stop)
    assert store.stats().workspaces == 1
    assert list((store.folder / "locks").iterdir()) == []


def test_a_failure_after_a_checkpoint_says_how_to_begin_anew(store):
    interrupted(store)

    def fails(inputs):
        return inputs.workspace.load().arrays["not there"]

    with pytest.raises(EngineError) as failure:
        run(recipe(fails), {}, store)
    assert "cache prune --workspace-days 0" in failure.value.hint


def age(store, days):
    for path in (store.folder / "workspaces").rglob("*.safetensors"):
        moment = path.stat().st_mtime - days * 86400
        os.utime(path, (moment, moment))


def test_prune_removes_the_untouched_and_what_is_too_much(store):
    interrupted(store, 1)
    age(store, 31)
    interrupted(store, 2)
    # the one of a month ago went when a long stage began
    assert store.stats().workspaces == 1
    size = store.stats().workspace_bytes
    assert store.prune(10**9).workspaces == 0
    age(store, 2)
    interrupted(store, 3)
    report = store.prune(size)
    assert (report.workspaces, report.workspace_bytes) == (1, size)
    age(store, 2)
    assert store.prune(10**9, workspace_days=1).workspaces == 1
    assert store.stats().workspaces == 0


def test_resuming_after_a_long_time_finds_its_own_workspace(store):
    interrupted(store)
    age(store, 300)
    assert run(recipe(finishes), {}, store).features["toy.long"].metadata == {"began at": 6}


def test_what_is_under_way_is_never_removed(store):
    found = []

    def compute(inputs):
        inputs.workspace.save({"x": np.zeros(9)}, step=1, steps=2)
        with FeatureStoreBeside(store) as other:
            found.extend([other.prune(0, workspace_days=0).workspaces, other.clear().workspaces])
            found.append(other.verify().damaged)
        return Feature({}, {"kept": inputs.workspace.load() is not None})

    made = run(recipe(compute), {}, store).features["toy.long"].metadata
    assert (found, made) == ([0, 0, ()], {"kept": True})


class FeatureStoreBeside:
    def __init__(self, store):
        self.store = FeatureStore(store.folder)

    def __enter__(self):
        return self.store

    def __exit__(self, *exc):
        self.store.close()


def test_clear_removes_workspaces(store):
    interrupted(store)
    assert store.clear().workspaces == 1
    assert run(recipe(finishes), {}, store).features["toy.long"].metadata == {"began at": 0}


def test_verify_finds_and_deletes_damaged_checkpoints(store):
    interrupted(store)
    assert (store.verify().workspaces, store.verify().damaged) == (1, ())
    (path,) = store.folder.rglob("checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (damage,) = store.verify().damaged
    assert damage.reason.startswith("checkpoint: its checksum")
    assert (store.stats().workspaces, store.verify().damaged) == (0, ())


def test_what_a_killed_process_left_of_a_finished_stage_is_removed(store):
    interrupted(store)
    (kept,) = store.folder.rglob("checkpoint.safetensors")
    content = kept.read_bytes()
    run(recipe(finishes), {}, store)
    kept.parent.mkdir()
    kept.write_bytes(content)
    (feature,) = store.folder.glob("??/*.safetensors")
    os.utime(kept, (feature.stat().st_mtime - 1,) * 2)
    assert store.prune(10**9).workspaces == 1


def test_a_refresh_that_was_interrupted_keeps_its_workspace_beside_the_old_feature(store):
    run(recipe(finishes), {}, store)
    again = FeatureStore(store.folder, mode="refresh")
    interrupted(again)
    (kept,) = store.folder.rglob("checkpoint.safetensors")
    (feature,) = store.folder.glob("??/*.safetensors")
    os.utime(feature, (kept.stat().st_mtime - 1,) * 2)
    assert store.prune(10**9).workspaces == 0
    assert run(recipe(finishes), {}, again).features["toy.long"].metadata == {"began at": 6}
    again.close()


# ---------------------------------------------------------------- which ones go


def test_which_workspaces_go():
    old, done, middle, young = (
        KeptWorkspace(name, 10, saved) for name, saved in (("o", 1), ("d", 5), ("m", 6), ("y", 7))
    )
    kept = [old, done, middle, young]
    assert to_remove(kept, 100, 0, ()) == []
    assert to_remove(kept, 100, 1, ()) == [old]
    assert to_remove(kept, 20, 1, {"d"}) == [old, done]
    assert to_remove(kept, 19, 1, {"d"}) == [old, done, middle]
    assert to_remove(kept, 0, 0, ()) == kept
    empty = replace(young, bytes=0, saved=0.0)
    assert to_remove([empty], 0, 0.0, ()) == [empty]
