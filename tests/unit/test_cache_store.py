"""The feature store: one computation, nothing damaged served, eviction that spares what avatars
pin.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personare.cache.keys import canonical_json, stage_key
from personare.cache.recipe import Recipe, Stage
from personare.cache.run import changed_by, explain, prepare
from personare.cache.store import FeatureStore
from personare.errors import CacheError, EngineError, InvalidOption, UnknownName, UnreadableMedia
from personare.shelf.avatars import AvatarShelf
from personare.types import Avatar, Feature


def stage(name="test.one", version=1, compute=None, **fields):
    return Stage(
        name,
        version,
        compute or (lambda inputs: Feature({"a": np.arange(6.0).reshape(2, 3)}, {"n": 6})),
        **fields,
    )


def key_of(one, portrait="0" * 64):
    return Recipe((one,)).portrait_keys(portrait)[one.name]


def put(store, name, size=1000):
    made = stage(name, compute=lambda inputs: None)
    key = key_of(made)
    store.fetch(made, key, lambda: Feature({"x": np.zeros(size, np.uint8)}))
    return key


# ---------------------------------------------------------------- keys


def test_a_key_changes_with_everything_that_a_stage_reads():
    base = {
        "name": "e.s",
        "version": 1,
        "parameters": {"a": 1},
        "needs": {"e.r": "k"},
        "sources": {"portrait": "p"},
        "weights": ["w"],
    }
    base["numeric_format"] = "float32"
    changes = {
        "name": "e.t",
        "version": 2,
        "parameters": {"a": 2},
        "needs": {"e.r": "l"},
        "sources": {},
        "weights": [],
    }
    changes["numeric_format"] = "float16"
    keys = {stage_key(**base), *(stage_key(**{**base, field: value}) for field, value in changes.items())}
    assert len(keys) == len(changes) + 1
    assert all(len(key) == 64 for key in keys)


@given(
    st.dictionaries(
        st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans() | st.none(), max_size=5
    )
)
def test_canonical_json_does_not_depend_on_the_order(values):
    assert canonical_json(values) == canonical_json(dict(reversed(values.items())))


def test_an_option_changes_only_the_stages_that_read_it_and_those_below():
    def recipe(size, colour):
        return Recipe(
            (
                stage("t.a", reads=("portrait",)),
                stage("t.b", parameters={"size": size}, needs=("t.a",)),
                stage("t.c", parameters={"colour": colour}, needs=("t.a",)),
                stage("t.d", needs=("t.b",)),
            )
        )

    assert changed_by(recipe(1, 1), recipe(2, 1), {"portrait": "f" * 64}) == ["t.b", "t.d"]
    assert changed_by(recipe(1, 1), recipe(1, 2), {"portrait": "f" * 64}) == ["t.c"]


def test_a_recipe_out_of_order_is_refused():
    with pytest.raises(EngineError, match="needs"):
        Recipe((stage("t.b", needs=("t.a",)), stage("t.a")))


# ---------------------------------------------------------------- the store


def test_a_feature_comes_back_as_it_was(tmp_path):
    one = stage()
    first, hit = FeatureStore(tmp_path).fetch(one, key_of(one), lambda: one.compute(None))
    again, hit_again = FeatureStore(tmp_path).fetch(one, key_of(one), lambda: pytest.fail("computed twice"))
    assert (hit, hit_again) == (False, True)
    assert np.array_equal(first.arrays["a"], again.arrays["a"])
    assert again.metadata == {"n": 6}
    with pytest.raises(ValueError, match="read-only"):
        again.arrays["a"][0] = 1


def test_modes(tmp_path):
    one, calls = stage(), []

    def compute():
        calls.append(1)
        return Feature({"a": np.zeros(1)})

    FeatureStore(tmp_path, mode="off").fetch(one, key_of(one), compute)
    assert not list(tmp_path.iterdir())
    for mode, expected in (("use", 2), ("use", 2), ("refresh", 3), ("off", 4), ("use", 4)):
        FeatureStore(tmp_path, mode=mode).fetch(one, key_of(one), compute)
        assert len(calls) == expected, mode


@pytest.mark.parametrize("damage", ["flip first", "flip middle", "flip last", "cut", "empty", "text"])
def test_damaged_files_are_quarantined_and_recomputed(tmp_path, caplog, damage):
    one = stage()
    store = FeatureStore(tmp_path)
    store.fetch(one, key_of(one), lambda: one.compute(None))
    (path,) = tmp_path.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    if damage.startswith("flip"):
        data[{"first": 0, "middle": len(data) // 2, "last": -1}[damage.split()[1]]] ^= 4
    else:
        data = {"cut": data[:-7], "empty": b"", "text": b"hello" * 100}[damage]
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        feature, hit = FeatureStore(tmp_path).fetch(one, key_of(one), lambda: one.compute(None))
    assert not hit
    assert np.array_equal(feature.arrays["a"], np.arange(6.0).reshape(2, 3))
    assert "damaged" in caplog.text
    assert FeatureStore(tmp_path).stats().quarantined == 1


@settings(max_examples=25, deadline=None)
@given(used=st.permutations(range(5)), keep=st.integers(0, 5))
def test_the_least_recently_used_go_first(tmp_path_factory, used, keep):
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    keys = [put(store, f"t.s{i}") for i in range(5)]
    for moment, i in enumerate(used):
        store._index.touch(keys[i], 2e9 + moment)
    sizes = {entry.key: entry.bytes for entry in store.entries()}
    expected = [keys[i] for i in used[5 - keep :]]
    report = store.prune(sum(sizes[key] for key in expected))
    assert {entry.key for entry in store.entries()} == set(expected)
    assert report.removed == 5 - keep


def test_pinned_features_stay(tmp_path):
    store = FeatureStore(tmp_path)
    keys = [put(store, f"t.s{i}") for i in range(3)]
    store.pin("anna", [keys[0]], tmp_path / "shelf")
    assert store.prune(0).kept == 1
    assert [entry.key for entry in store.entries()] == [keys[0]]
    store.unpin("anna", tmp_path / "shelf")
    assert store.prune(0).kept == 0


def test_the_budget_holds_without_being_asked(tmp_path):
    store = FeatureStore(tmp_path, max_bytes=5000)
    for i in range(10):
        put(store, f"t.s{i}", 1500)
    assert store.stats().bytes <= 5000


_COUNTING = """
import sys, time
from pathlib import Path
import numpy as np
from personare.cache.recipe import Recipe, Stage
from personare.cache.store import FeatureStore
from personare.types import Feature
folder = Path(sys.argv[1])
def compute():
    with (folder / "counter").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    return Feature({"a": np.ones(3)})
one = Stage("t.slow", 1, None)
FeatureStore(folder / "features").fetch(one, Recipe((one,)).portrait_keys("0" * 64)["t.slow"], compute)
"""


@pytest.mark.slow
def test_many_processes_compute_once(tmp_path):
    running = [subprocess.Popen([sys.executable, "-c", _COUNTING, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert (tmp_path / "counter").read_text() == "x"


def test_disk_full_costs_a_warning_not_the_feature(tmp_path, caplog, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = FeatureStore(tmp_path)
    with caplog.at_level(logging.WARNING):
        for name in ("t.a", "t.b"):
            put(store, name)
    assert caplog.text.count("No space left") == 1
    assert not list(tmp_path.rglob("*.part"))


# ---------------------------------------------------------------- preparing


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.bin"
    path.write_bytes(b"a photo")
    return path


def test_prepare_passes_features_on_and_reports(tmp_path, photo):
    def double(inputs):
        return Feature({"a": inputs.features["t.read"].arrays["a"] * inputs.parameters["by"]})

    recipe = Recipe(
        (
            stage(
                "t.read",
                compute=lambda i: Feature({"a": np.frombuffer(i.portrait.read_bytes(), np.uint8)}),
                reads=("portrait",),
            ),
            stage("t.double", compute=double, parameters={"by": 2}, needs=("t.read",)),
        )
    )
    store = FeatureStore(tmp_path / "features")
    seen: list[tuple[int, int]] = []
    first = prepare(recipe, photo, store, lambda what, done, total: seen.append((done, total)))
    assert bytes(first.features["t.double"].arrays["a"] // 2) == b"a photo"
    assert dict(first.outcome) == {"t.read": "miss", "t.double": "miss"}
    again = prepare(recipe, photo, FeatureStore(store.folder))
    assert dict(again.outcome) == {"t.read": "hit", "t.double": "hit"}
    assert seen[-1] == (2, 2)
    assert [status.cached for status in explain(recipe, first.keys, store)] == [True, True]
    assert {entry.stage: entry.hits for entry in FeatureStore(store.folder).entries()} == {
        "t.read": 1,
        "t.double": 1,
    }
    photo.write_bytes(b"b photo")
    assert dict(prepare(recipe, photo, store).outcome) == {"t.read": "miss", "t.double": "miss"}


def test_a_stage_cannot_open_a_portrait_that_is_not_in_its_key(tmp_path, photo):
    recipe = Recipe(
        (stage("t.sly", compute=lambda i: Feature({"a": np.frombuffer(i.portrait.read_bytes(), np.uint8)})),)
    )
    with pytest.raises(EngineError, match="does not declare that it reads the portrait"):
        prepare(recipe, photo, FeatureStore(tmp_path / "features"))


def test_a_missing_portrait(tmp_path):
    with pytest.raises(UnreadableMedia, match="nobody"):
        prepare(
            Recipe((stage(reads=("portrait",)),)),
            tmp_path / "nobody.jpg",
            FeatureStore(tmp_path / "features"),
        )


# ---------------------------------------------------------------- avatars


def avatar_of(photo, store):
    made = prepare(Recipe((stage(reads=("portrait",)),)), photo, store)
    return Avatar("test", {"size": 3}, made.portrait, made.keys, made.features)


def test_shelf(tmp_path, photo):
    store = FeatureStore(tmp_path / "features")
    shelf = AvatarShelf(tmp_path / "avatars", store)
    shelf.save("Anna", avatar_of(photo, store), photo)
    assert [manifest.name for manifest in shelf.list()] == ["Anna"]
    assert shelf.portrait(shelf.load_manifest("Anna")).read_bytes() == b"a photo"
    with pytest.raises(InvalidOption, match="already"):
        shelf.save("Anna", avatar_of(photo, store), photo)
    with pytest.raises(UnknownName) as caught:
        shelf.load_manifest("Ana")
    assert "Anna" in caught.value.hint
    shelf.remove("Anna")
    assert shelf.list() == []
    assert store.prune(0).kept == 0


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "nul\0"])
def test_names_that_cannot_be(tmp_path, photo, name):
    store = FeatureStore(tmp_path / "features")
    with pytest.raises(InvalidOption):
        AvatarShelf(tmp_path / "avatars", store).save(name, avatar_of(photo, store), photo)


@pytest.mark.parametrize("content", ["", "{}", "[1, 2", '{"version": 9}'])
def test_a_damaged_manifest_is_named(tmp_path, photo, content):
    store = FeatureStore(tmp_path / "features")
    shelf = AvatarShelf(tmp_path / "avatars", store)
    shelf.save("anna", avatar_of(photo, store), photo)
    manifest = next(Path(shelf.folder).rglob("avatar.json"))
    manifest.write_text(content)
    with pytest.raises(CacheError, match=r"avatar\.json"):
        shelf.load_manifest("anna")
    shelf.remove("anna")
    assert not manifest.exists()
