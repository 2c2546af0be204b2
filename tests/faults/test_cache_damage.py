"""Damaged features are quarantined, reported, computed again, and never served."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from blake3 import blake3

from personare.cache.recipe import Stage
from personare.cache.store import FeatureStore
from personare.shelf.avatars import AvatarShelf
from personare.shelf.manifest import ShelfPins
from personare.types import Avatar, Feature

STAGE = Stage("toy.one", 1, lambda inputs: Feature({}))
KEY = "ab" * 32


@pytest.fixture(params=[100, 1 << 19], ids=["small", "mapped"])
def feature(request):
    return Feature({"x": np.arange(request.param)}, {"a": 1})


@pytest.fixture
def folder(tmp_path, feature):
    store = FeatureStore(tmp_path)
    store.fetch(STAGE, KEY, lambda: feature)
    store.close()
    return tmp_path


def the_file(folder):
    return folder / KEY[:2] / f"{KEY}.safetensors"


def flip(offset):
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[offset] ^= 1
        return bytes(changed)

    return damage


DAMAGES = {
    "length": flip(0),
    "header": flip(40),
    "checksum": flip(60),
    "metadata": flip(120),
    "array": flip(-1),
    "cut": lambda content: content[:-1],
    "cut in the header": lambda content: content[:50],
    "empty": lambda content: b"",
    "text": lambda content: b"hello " * 1000,
    "longer": lambda content: content + b"x",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_quarantined_reported_and_repaired(folder, feature, caplog, damage):
    path = the_file(folder)
    bad = DAMAGES[damage](path.read_bytes())
    path.write_bytes(bad)
    store = FeatureStore(folder)
    with caplog.at_level(logging.WARNING):
        found, hit = store.fetch(STAGE, KEY, lambda: feature)
    assert not hit
    np.testing.assert_array_equal(found.arrays["x"], feature.arrays["x"])
    (report,) = caplog.records
    assert str(path) in report.getMessage()
    assert store.stats().quarantined == 1
    quarantined = folder / "quarantine" / path.name
    assert quarantined.read_bytes() == bad
    assert quarantined.with_suffix(".txt").read_text().strip() in report.getMessage()
    fresh = FeatureStore(folder)
    assert fresh.get(KEY).metadata == {"a": 1}
    store.prune(10**9)
    assert (store.stats().quarantined, store.stats().features) == (0, 1)
    assert list((folder / "quarantine").iterdir()) == []
    for each in (store, fresh):
        each.close()


def test_verify_finds_damage_in_what_was_read_before(folder):
    store = FeatureStore(folder, memory_bytes=0)
    assert store.get(KEY) is not None
    assert store.verify().damaged == ()
    path = the_file(folder)
    path.write_bytes(DAMAGES["array"](path.read_bytes()))
    report = store.verify()
    assert (report.checked, [(d.key, d.stage) for d in report.damaged]) == (1, [(KEY, "toy.one")])
    assert "checksum" in report.damaged[0].reason
    assert (store.verify().checked, store.entries(), store.get(KEY)) == (0, [], None)
    store.close()


def test_verify_reports_damage_that_the_index_does_not_know(folder):
    (folder / "index.sqlite3").unlink()
    path = the_file(folder)
    path.write_bytes(b"hello")
    store = FeatureStore(folder)
    assert [damage.key for damage in store.verify().damaged] == [KEY]
    store.close()


def test_a_feature_that_pretends_to_be_another(folder):
    other = "cd" * 32
    (folder / "cd").mkdir()
    the_file(folder).rename(folder / "cd" / f"{other}.safetensors")
    store = FeatureStore(folder)
    assert store.get(other) is None
    assert store.stats().quarantined == 1
    store.close()


def test_a_folder_in_the_place_of_a_feature(tmp_path, caplog):
    the_file(tmp_path).mkdir(parents=True)
    store = FeatureStore(tmp_path)
    for _ in range(2):
        found, _ = store.fetch(STAGE, KEY, lambda: Feature({}, {"a": 1}))
        assert found.metadata == {"a": 1}
    store.close()


def test_pins_are_rebuilt_from_the_manifests(tmp_path, caplog):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"anna")
    features, avatars = tmp_path / "features", tmp_path / "avatars"
    store = FeatureStore(features)
    for key in (KEY, "cd" * 32):
        store.fetch(STAGE, key, lambda: Feature({"x": np.zeros(100)}))
    avatar = Avatar("toy", {}, blake3(b"anna").hexdigest(), {"toy.one": KEY}, {})
    AvatarShelf(avatars, store).save("anna", avatar, photo)
    before = [(entry.key, entry.bytes, entry.pinned_by) for entry in store.entries()]
    store.close()
    for path in features.glob("index*"):
        path.unlink()
    store = FeatureStore(features)
    store.follow_pins(ShelfPins(avatars))
    assert sorted((entry.key, entry.bytes, entry.pinned_by) for entry in store.entries()) == sorted(before)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "rebuilt from 2 feature files" in caplog.text
    assert store.prune(0).kept == 1
    assert store.get(KEY) is not None
    store.close()
