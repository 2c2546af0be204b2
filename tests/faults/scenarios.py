"""What fault injection is tried on: features, checkpoints, the index, and named avatars.

After every fault: no feature, portrait or manifest under its final name is anything but whole
and right, what the index says agrees with the files, and the same call works.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from blake3 import blake3

from personare.cache.feature_file import check_feature, write_feature
from personare.cache.recipe import Stage
from personare.cache.run import run
from personare.cache.store import FeatureStore, Mode
from personare.errors import UnwritableOutput
from personare.shelf.avatars import AvatarShelf
from personare.shelf.manifest import ShelfPins
from personare.types import Avatar, Feature
from tests.faults.injection import Scenario
from tests.faults.long_stage import NAME as LONG
from tests.faults.long_stage import tuning

STAGE = Stage("toy.one", 1, lambda inputs: Feature({}))
STEPS = 4


def key_of(i: int) -> str:
    return f"{i:064x}"


def feature_of(i: int) -> Feature:
    return Feature({"x": np.full(700, i, np.uint8), "y": np.arange(i, dtype=np.float32)}, {"i": i})


def features(root: Path) -> Path:
    return root / "features"


@contextmanager
def store_at(root: Path, mode: Mode = "use", max_bytes: int = 10**9) -> Iterator[FeatureStore]:
    store = FeatureStore(features(root), mode=mode, max_bytes=max_bytes)
    store.follow_pins(ShelfPins(root / "avatars"))
    try:
        yield store
    finally:
        store.close()


def fetch(store: FeatureStore, *numbers: int) -> None:
    """Whatever happens to the disk, a call gives the right feature."""
    for i in numbers:
        found, _ = store.fetch(STAGE, key_of(i), lambda i=i: feature_of(i))
        assert_is(found, i)


def assert_is(feature: Feature, i: int) -> None:
    assert feature.metadata == {"i": i}
    np.testing.assert_array_equal(feature.arrays["x"], feature_of(i).arrays["x"], strict=True)
    np.testing.assert_array_equal(feature.arrays["y"], feature_of(i).arrays["y"], strict=True)


def fill(root: Path, *numbers: int) -> None:
    with store_at(root) as store:
        fetch(store, *numbers)


def sound(root: Path) -> None:
    """All that is under a final name is whole, and the index agrees with it."""
    with store_at(root) as store:
        assert store.verify().damaged == ()
        paths = {path.stem: path for path in features(root).glob("??/*.safetensors")}
        entries = store.entries()
        assert {entry.key for entry in entries} == set(paths)
        assert {entry.bytes for entry in entries} == {path.stat().st_size for path in paths.values()}
        for entry in entries:
            check_feature(paths[entry.key], entry.key, entry.stage)
            if entry.stage == STAGE.name:
                assert_is(store.get(entry.key), int(entry.key, 16))
        assert list(features(root).glob("??/.*.part*")) == []
        store.prune(10**9, workspace_days=1)
        assert list((features(root) / "locks").glob("*")) == []


def there(root: Path) -> set[int]:
    with store_at(root) as store:
        return {int(entry.key, 16) for entry in store.entries()}


def has(*numbers: int):
    def done(root: Path) -> None:
        assert there(root) == set(numbers)

    return done


# ---------------------------------------------------------------- features


def keeps(root: Path) -> None:
    with store_at(root) as store:
        fetch(store, 1, 2, 1)


def refreshes(root: Path) -> None:
    with store_at(root, "refresh") as store:
        fetch(store, 1)


def evicts(root: Path) -> None:
    with store_at(root, max_bytes=3000) as store:
        fetch(store, 4, 5)


def evicted(root: Path) -> None:
    with store_at(root, max_bytes=3000) as store:  # whoever writes next finds a cache that is too large
        fetch(store, 6)
        assert store.stats().bytes <= 3000
    assert 6 in there(root)


def adopts(root: Path) -> None:
    def write(part: Path) -> bool:
        write_feature(part, feature_of(3), key_of(3), STAGE.name)
        return True

    with store_at(root) as store:
        store.adopt(key_of(3), STAGE.name, write)
        fetch(store, 3)


def damaged(root: Path) -> None:
    fill(root, 1, 2)
    for path in features(root).glob("??/*1.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def meets_damage(root: Path) -> None:
    with store_at(root) as store:
        fetch(store, 1, 2)
        store.verify()
        store.prune(10**9)


def served_right(root: Path) -> None:
    with store_at(root) as store:
        fetch(store, 1, 2)
    sound(root)


# ---------------------------------------------------------------- long stages


def half_tuned(root: Path) -> None:
    class Enough(Exception):
        pass

    def stop(what: str, done: int, total: int | None) -> None:
        if what.startswith("tuning") and done == 2:
            raise Enough

    with store_at(root) as store:
        try:
            run(tuning(STEPS), {}, store, stop)
        except Exception:
            assert list(features(root).rglob("checkpoint.safetensors"))


def tunes(root: Path) -> None:
    with store_at(root) as store:
        assert_tuned(run(tuning(STEPS), {}, store).features[LONG])


def assert_tuned(feature: Feature) -> None:
    (stage,) = tuning(STEPS).stages
    expected = run(tuning(STEPS), {}, None).features[LONG]
    assert feature.arrays["weights"].tobytes() == expected.arrays["weights"].tobytes(), stage.name


def sound_or_tuned(root: Path) -> None:
    sound(root)
    with store_at(root) as store:
        for entry in store.entries():
            assert_tuned(store.get(entry.key))


def tuned(root: Path) -> None:
    with store_at(root) as store:
        assert [entry.stage for entry in store.entries()] == [LONG]
        store.prune(10**9)
        assert store.stats().workspaces == 0


# ---------------------------------------------------------------- the index


def indexed(root: Path) -> None:
    fill(root, 1, 2, 3)
    photo = root / "photo.jpg"
    photo.write_bytes(b"anna")
    os.utime(photo, (1e9, 1e9))


def uses_the_index(root: Path) -> None:
    with store_at(root) as store:
        assert store.file_digest(root / "photo.jpg") == blake3(b"anna").hexdigest()
        store.pin("elsewhere", [key_of(1)], root / "another")
        store.unpin("elsewhere", root / "another")
        fetch(store, 1, 2)
        store.flush()


def lost_index(root: Path) -> None:
    fill(root, 1, 2, 3)
    for path in features(root).glob("index*"):
        path.unlink()


def damaged_index(root: Path) -> None:
    fill(root, 1, 2, 3)
    (features(root) / "index.sqlite3").write_bytes(b"no index " * 1000)


def asks(root: Path) -> None:
    with store_at(root) as store:
        fetch(store, 1)
        store.stats()


def clears(root: Path) -> None:
    with store_at(root) as store:
        store.clear()


def left_behind(root: Path) -> None:
    """A part, a lock and an old workspace of processes that were killed."""
    fill(root, 1)
    shard = features(root) / key_of(1)[:2]
    (shard / f".{key_of(1)}.safetensors.{'ab' * 6}.part").write_bytes(b"half")
    locks, workspace = features(root) / "locks", features(root) / "workspaces" / key_of(7)
    (locks / f"{key_of(7)}.lock").touch()
    (locks / f"{key_of(7)}.json").write_text(json.dumps({"pid": 1}))
    workspace.mkdir(parents=True)
    (workspace / "checkpoint.safetensors").write_bytes(b"old")
    os.utime(workspace / "checkpoint.safetensors", (1e9, 1e9))


def prunes(root: Path) -> None:
    with store_at(root) as store:
        store.prune(10**9)


def swept(root: Path) -> None:
    with store_at(root) as store:
        assert store.stats().workspaces == 0
    assert list(features(root).glob("??/.*.part*")) == []


def whole(root: Path) -> None:
    """As `sound`, where an old workspace is no checkpoint."""
    prunes(root)
    sound(root)


# ---------------------------------------------------------------- avatars


def with_photo(root: Path) -> None:
    fill(root, 1, 2)
    (root / "anna.jpg").write_bytes(b"anna" * 1000)
    (root / "anna2.png").write_bytes(b"anna, older" * 1000)


def with_avatar(root: Path) -> None:
    with_photo(root)
    saves(root)


def _avatar(root: Path, photo: str, size: int, key: int) -> Avatar:
    digest = blake3((root / photo).read_bytes()).hexdigest()
    return Avatar("toy", {"size": size}, digest, {STAGE.name: key_of(key)}, {})


def saves(root: Path) -> None:
    with store_at(root) as store:
        shelf = AvatarShelf(root / "avatars", store)
        shelf.save("anna", _avatar(root, "anna.jpg", 1, 1), root / "anna.jpg", replace=True)


def replaces(root: Path) -> None:
    with store_at(root) as store:
        shelf = AvatarShelf(root / "avatars", store)
        newer = replace(_avatar(root, "anna2.png", 2, 2))
        shelf.save("anna", newer, root / "anna2.png", replace=True)


def removes(root: Path) -> None:
    with store_at(root) as store:
        shelf = AvatarShelf(root / "avatars", store)
        if shelf.list():
            shelf.remove("anna")


def sizes(root: Path) -> list[int]:
    """The avatars, each whole: its manifest, its portrait, its features pinned."""
    found = []
    with store_at(root) as store:
        shelf = AvatarShelf(root / "avatars", store)
        entries = {entry.key: entry for entry in store.entries()}
        for manifest in shelf.list():
            size = manifest.options["size"]
            photo = root / {1: "anna.jpg", 2: "anna2.png"}[size]
            assert shelf.portrait(manifest).read_bytes() == photo.read_bytes()
            assert all(entries[key].pinned_by == ("anna",) for key in manifest.keys.values())
            found.append(size)
        assert sum(bool(entry.pinned_by) for entry in entries.values()) == len(found)
    sound(root)
    return found


def shelf_has(*allowed: list[int]):
    def holds(root: Path) -> None:
        assert sizes(root) in allowed

    return holds


def scenario(name, prepare, act, holds, done, allowed=()):
    return Scenario(name, prepare, act, holds, done, allowed)


def nothing(root: Path) -> None:
    pass


SHELF = (UnwritableOutput,)
SCENARIOS = (
    scenario("keep", nothing, keeps, sound, has(1, 2)),
    scenario("refresh", lambda root: fill(root, 1, 2), refreshes, sound, has(1, 2)),
    scenario("evict", lambda root: fill(root, 1, 2, 3), evicts, sound, evicted),
    scenario("adopt", lambda root: fill(root, 1), adopts, sound, has(1, 3)),
    scenario("damage", damaged, meets_damage, served_right, has(1, 2)),
    scenario("tune", nothing, tunes, sound_or_tuned, tuned),
    scenario("resume", half_tuned, tunes, sound_or_tuned, tuned),
    scenario("index", indexed, uses_the_index, sound, has(1, 2, 3)),
    scenario("lost index", lost_index, asks, sound, has(1, 2, 3)),
    scenario("damaged index", damaged_index, asks, sound, has(1, 2, 3)),
    scenario("clear", lambda root: fill(root, 1, 2), clears, sound, has()),
    scenario("left behind", left_behind, prunes, whole, swept),
    scenario("save", with_photo, saves, shelf_has([], [1]), shelf_has([1]), SHELF),
    scenario("replace", with_avatar, replaces, shelf_has([1], [2]), shelf_has([2]), SHELF),
    scenario("remove", with_avatar, removes, shelf_has([], [1]), shelf_has([]), SHELF),
)
