"""Recipes as graphs, and running them against a store."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from personare.cache.recipe import Recipe, Stage
from personare.cache.run import changed_by, explain, prepare
from personare.cache.store import FeatureStore
from personare.errors import Cancelled, EngineError, NoFaceFound, UnreadableMedia
from personare.types import Feature

DIGEST = "a" * 64


class Kitchen:
    """Makes a toy recipe and counts what is computed: load -> face -> mask, and colour beside
    them.
    """

    def __init__(self) -> None:
        self.computed: list[str] = []

    def recipe(self, size=8, softness=0.5) -> Recipe:
        def load(inputs):
            self.computed.append("toy.load")
            pixels = np.frombuffer(inputs.portrait.read_bytes(), np.uint8)
            return Feature({"pixels": np.resize(pixels, inputs.parameters["size"])}, {"name": "load"})

        def face(inputs):
            self.computed.append("toy.face")
            return Feature({"face": inputs.features["toy.load"].arrays["pixels"].astype(np.float32) / 2})

        def mask(inputs):
            self.computed.append("toy.mask")
            return Feature(
                {"mask": inputs.features["toy.face"].arrays["face"] * inputs.parameters["softness"]}
            )

        def colour(inputs):
            self.computed.append("toy.colour")
            return Feature({"mean": inputs.features["toy.load"].arrays["pixels"].mean(keepdims=True)})

        return Recipe(
            (
                Stage("toy.load", 1, load, {"size": size}, reads=("portrait",)),
                Stage("toy.face", 1, face, needs=("toy.load",), weights=("c" * 64,)),
                Stage("toy.mask", 1, mask, {"softness": softness}, needs=("toy.face",)),
                Stage("toy.colour", 1, colour, needs=("toy.load",)),
            )
        )


@pytest.fixture
def kitchen():
    return Kitchen()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.raw"
    path.write_bytes(bytes(range(1, 9)))
    return path


@pytest.fixture
def store(tmp_path):
    made = FeatureStore(tmp_path / "features")
    yield made
    made.close()


def single(compute, **fields) -> Recipe:
    return Recipe((Stage("toy.one", 1, compute, **fields),))


# ---------------------------------------------------------------- the graph


def test_an_option_changes_the_keys_of_its_readers_and_of_those_behind(kitchen):
    recipe = kitchen.recipe()
    assert changed_by(recipe, kitchen.recipe(), {"portrait": DIGEST}) == []
    assert changed_by(recipe, kitchen.recipe(softness=0.6), {"portrait": DIGEST}) == ["toy.mask"]
    assert changed_by(recipe, kitchen.recipe(size=9), {"portrait": DIGEST}) == [
        "toy.load",
        "toy.face",
        "toy.mask",
        "toy.colour",
    ]
    newer = tuple(replace(s, version=2) if s.name == "toy.face" else s for s in recipe.stages)
    assert changed_by(recipe, Recipe(newer), {"portrait": DIGEST}) == ["toy.face", "toy.mask"]


def test_another_portrait_changes_the_keys_of_its_readers_and_of_those_behind():
    def nothing(inputs):
        raise AssertionError

    recipe = Recipe((Stage("toy.read", 1, nothing, reads=("portrait",)), Stage("toy.fixed", 1, nothing)))
    a, b = recipe.portrait_keys("a" * 64), recipe.portrait_keys("b" * 64)
    assert list(a) == ["toy.read", "toy.fixed"]
    assert a["toy.read"] != b["toy.read"]
    assert a["toy.fixed"] == b["toy.fixed"]


def test_recipes_that_are_no_graph(kitchen):
    load, face, *_ = kitchen.recipe().stages
    with pytest.raises(EngineError, match="twice"):
        Recipe((load, load))
    with pytest.raises(EngineError, match=r"toy\.face needs toy\.load"):
        Recipe((face, load))
    with pytest.raises(EngineError, match="needs"):
        Recipe((replace(load, needs=("toy.load",)),))


@pytest.mark.parametrize("name", ["", "face", ".face", "toy.", "toy.fa\nce"])
def test_names_of_stages(kitchen, name):
    with pytest.raises(EngineError, match=r"ENGINE\.STAGE"):
        Stage(name, 1, lambda inputs: Feature({}))


@pytest.mark.parametrize("value", [float("nan"), np.float32(1), {1, 2}])
def test_parameters_that_are_not_json(value):
    with pytest.raises(EngineError, match=r"toy\.one"):
        single(lambda inputs: Feature({}), parameters={"x": value}).portrait_keys(DIGEST)


# ---------------------------------------------------------------- running it


def test_second_run_computes_nothing_and_gives_the_same(kitchen, photo, store, tmp_path):
    first = prepare(kitchen.recipe(), photo, store)
    assert set(first.outcome.values()) == {"miss"}
    kitchen.computed.clear()
    for again in (store, FeatureStore(store.folder), FeatureStore(tmp_path / "other", mode="off")):
        second = prepare(kitchen.recipe(), photo, again)
        assert second.keys == first.keys
        assert list(second.features) == ["toy.load", "toy.face", "toy.mask", "toy.colour"]
        for stage, feature in first.features.items():
            assert feature.metadata == second.features[stage].metadata
            for name, array in feature.arrays.items():
                np.testing.assert_array_equal(array, second.features[stage].arrays[name], strict=True)
                assert not array.flags.writeable
        again.close()
    assert kitchen.computed == ["toy.load", "toy.face", "toy.mask", "toy.colour"]  # by the store that is off


def test_only_what_an_option_touches_is_computed(kitchen, photo, store):
    prepare(kitchen.recipe(), photo, store)
    kitchen.computed.clear()
    after = prepare(kitchen.recipe(softness=0.25), photo, store)
    assert kitchen.computed == ["toy.mask"]
    assert after.outcome == {"toy.load": "hit", "toy.face": "hit", "toy.mask": "miss", "toy.colour": "hit"}
    assert after.features["toy.mask"].arrays["mask"][0] == 0.125


def test_a_portrait_with_other_content_is_computed_anew(kitchen, photo, store):
    for _ in range(2):
        prepare(kitchen.recipe(), photo, store)
    assert {entry.stage: entry.hits for entry in store.entries()} == dict.fromkeys(kitchen.computed, 1)
    photo.write_bytes(b"somebody")
    assert set(prepare(kitchen.recipe(), photo, store).outcome.values()) == {"miss"}


def test_a_renamed_portrait_is_the_same_portrait(kitchen, photo, store):
    prepare(kitchen.recipe(), photo, store)
    moved = photo.rename(photo.with_name("moved.raw"))
    assert set(prepare(kitchen.recipe(), moved, store).outcome.values()) == {"hit"}


def test_progress_and_seconds(kitchen, photo, store):
    told = []
    preparation = prepare(kitchen.recipe(), photo, store, lambda *step: told.append(step))
    assert told == [(stage, done + more, 4) for done, stage in enumerate(preparation.keys) for more in (0, 1)]
    assert list(preparation.seconds) == list(preparation.keys)
    assert all(seconds > 0 for seconds in preparation.seconds.values())


def test_a_portrait_that_changes_meanwhile_is_refused(photo, store):
    def compute(inputs):
        inputs.portrait.write_bytes(b"someone else")
        return Feature({})

    recipe = single(compute, reads=("portrait",))
    with pytest.raises(UnreadableMedia, match="changed"):
        prepare(recipe, photo, store)
    assert store.entries() == []


def test_a_stage_cannot_open_a_portrait_that_is_not_in_its_key(photo, store):
    recipe = single(lambda inputs: Feature({"x": np.frombuffer(inputs.portrait.read_bytes(), np.uint8)}))
    with pytest.raises(EngineError, match="does not declare that it reads the portrait"):
        prepare(recipe, photo, store)


def test_a_stage_sees_only_what_it_declared(photo, store, kitchen):
    load, face, *_ = kitchen.recipe().stages
    recipe = Recipe((load, replace(face, needs=())))
    with pytest.raises(EngineError, match=r"KeyError: 'toy\.load'"):
        prepare(recipe, photo, store)


@pytest.mark.parametrize("error", [NoFaceFound("no face in x"), Cancelled("stop"), KeyboardInterrupt()])
def test_errors_on_purpose_go_through_and_leave_nothing(photo, store, error):
    def compute(inputs):
        raise error

    with pytest.raises(type(error)) as failure:
        prepare(single(compute), photo, store)
    assert failure.value is error
    assert store.entries() == []
    assert prepare(single(lambda inputs: Feature({})), photo, store).outcome == {"toy.one": "miss"}


def test_other_errors_name_the_stage_and_the_portrait(photo, store):
    with pytest.raises(EngineError, match=r"toy\.one failed on .*photo\.raw: ZeroDivisionError") as failure:
        prepare(single(lambda inputs: Feature({"x": np.zeros(1 // 0)})), photo, store)
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


def test_no_portrait(kitchen, store, tmp_path):
    with pytest.raises(UnreadableMedia):
        prepare(kitchen.recipe(), tmp_path / "nobody.jpg", store)
    assert kitchen.computed == []


# ---------------------------------------------------------------- saying it beforehand


def test_explain_tells_what_is_cached_without_computing(kitchen, photo, store):
    keys = prepare(kitchen.recipe(), photo, store).keys
    kitchen.computed.clear()
    os.utime(store.folder / keys["toy.load"][:2] / f"{keys['toy.load']}.safetensors", (1, 1))
    changed = kitchen.recipe(softness=0.1)
    load, face, mask, _ = explain(changed, changed.portrait_keys(store.file_digest(photo)), store)
    assert (load.cached, face.cached, mask.cached) == (True, True, False)
    assert (load.parameters, mask.needs) == ({"size": 8}, ("toy.face",))
    assert (load.reads, mask.reads) == (("portrait",), ())
    assert (
        load.bytes == (store.folder / keys["toy.load"][:2] / f"{keys['toy.load']}.safetensors").stat().st_size
    )
    assert (mask.bytes, mask.age_seconds, mask.hits, mask.pinned_by) == (0, 0.0, 0, ())
    assert 0 <= face.age_seconds < 3600
    assert kitchen.computed == []
