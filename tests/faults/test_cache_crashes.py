"""kill -9 at every step of keeping a feature or an avatar, and several processes at once, with
real signals and processes.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest
from blake3 import blake3

from personare.cache.recipe import Stage
from personare.cache.store import FeatureStore
from personare.shelf.avatars import AvatarShelf
from personare.shelf.manifest import ShelfPins
from personare.types import Avatar, Feature

KEY = "ab" * 32
STAGE = Stage("toy.one", 1, lambda inputs: Feature({}))

PRELUDE = """
import os, pathlib, signal, sys, threading
from dataclasses import replace
import numpy as np
from blake3 import blake3
from personare.shelf import avatars
from personare.cache import disk, feature_file, index
from personare.shelf.avatars import AvatarShelf
from personare.cache.recipe import Stage
from personare.cache.store import FeatureStore
from personare.shelf.manifest import ShelfPins
from personare.types import Avatar, Feature

KEY, STAGE = "ab" * 32, Stage("toy.one", 1, lambda inputs: Feature({}))
root = pathlib.Path(sys.argv[1])
store = FeatureStore(root / "features")
store.follow_pins(ShelfPins(root / "avatars"))
feature = Feature({"x": np.arange(5000)}, {"by": "child"})

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
"""

DEATHS = {
    "computing": "feature = None\nstore.fetch(STAGE, KEY, die)",
    "before writing": "disk.write_feature = die",
    "in the middle of writing": """
whole = disk.write_feature
def half(path, *rest):
    size = whole(path, *rest)
    os.truncate(path, size // 2)
    die()
disk.write_feature = half
""",
    "between writing and renaming": "pathlib.Path.replace = die",
    "between renaming and the index": "index.Index.record = die",
}


def dies(tmp_path, script):
    ended = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(tmp_path)], capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("death", DEATHS)
def test_killed_while_keeping_a_feature(tmp_path, death, caplog):
    dies(tmp_path, DEATHS[death] + "\nstore.fetch(STAGE, KEY, lambda: feature)")
    store = FeatureStore(tmp_path / "features")
    feature, hit = store.fetch(STAGE, KEY, lambda: Feature({"x": np.arange(5000)}, {"by": "parent"}))
    np.testing.assert_array_equal(feature.arrays["x"], np.arange(5000))
    assert hit == (death == "between renaming and the index")
    assert feature.metadata == {"by": "child" if hit else "parent"}
    (entry,) = store.entries()
    (path,) = [p for p in (tmp_path / "features").rglob("*") if p.suffix in (".part", ".safetensors")]
    assert (entry.key, entry.bytes) == (KEY, path.stat().st_size)
    assert store.verify().damaged == ()
    assert caplog.records == []
    store.close()


def test_what_a_killed_process_left_is_swept_even_if_nobody_wants_that_feature(tmp_path):
    dies(tmp_path, DEATHS["between writing and renaming"] + "\nstore.fetch(STAGE, KEY, lambda: feature)")
    folder = tmp_path / "features"
    assert list(folder.rglob("*.part"))
    store = FeatureStore(folder)
    store.prune(10**9)
    assert list(folder.rglob("*.part*")) == []
    store.close()


AVATAR = """
photo = root / "photo.jpg"
photo.write_bytes(b"anna")
store.fetch(STAGE, KEY, lambda: feature)
shelf = AvatarShelf(root / "avatars", store)
avatar = Avatar("toy", {"size": 1}, blake3(b"anna").hexdigest(), {"toy.one": KEY}, {})
"""
AVATAR_DEATHS = {
    "before the portrait": ("avatars._copy = die", False),
    "in the portrait": ("pathlib.Path.replace = die", False),
    "between portrait and manifest": ("avatars.manifest_text = die", False),
    "between manifest and pin": ("index.Index.pin = die", True),
}


@pytest.mark.parametrize("death", AVATAR_DEATHS)
@pytest.mark.parametrize("replaced", [False, True])
def test_killed_while_saving_an_avatar(tmp_path, death, replaced):
    patch, new_one_is_there = AVATAR_DEATHS[death]
    if replaced:
        patch = f"shelf.save('anna', avatar, photo)\navatar = replace(avatar, options={{'size': 2}})\n{patch}"
    dies(tmp_path, f"{AVATAR}{patch}\nshelf.save('anna', avatar, photo, replace=True)")
    with FeatureStoreAt(tmp_path) as store:
        shelf = AvatarShelf(tmp_path / "avatars", store)
        sizes = [manifest.options["size"] for manifest in shelf.list()]
        assert sizes == ([2 if new_one_is_there else 1] if replaced else [1] if new_one_is_there else [])
        assert store.prune(0).kept == len(sizes)
        for manifest in shelf.list():
            assert shelf.portrait(manifest).read_bytes() == b"anna"
        avatar = Avatar("toy", {"size": 3}, blake3(b"anna").hexdigest(), {"toy.one": KEY}, {})
        shelf.save("anna", avatar, tmp_path / "photo.jpg", replace=True)
        assert [manifest.options for manifest in shelf.list()] == [{"size": 3}]
        assert len([p for p in shelf.folder.rglob("*") if p.is_file()]) == 3


@pytest.mark.parametrize("death", ["avatars.shutil.rmtree = die", "index.Index.unpin = die"])
def test_killed_while_removing_an_avatar(tmp_path, death):
    dies(tmp_path, f"{AVATAR}shelf.save('anna', avatar, photo)\n{death}\nshelf.remove('anna')")
    with FeatureStoreAt(tmp_path) as store:
        assert AvatarShelf(tmp_path / "avatars", store).list() == []
        assert store.prune(0).kept == 0


class FeatureStoreAt:
    def __init__(self, root):
        self.store = FeatureStore(root / "features")
        self.store.follow_pins(ShelfPins(root / "avatars"))

    def __enter__(self):
        return self.store

    def __exit__(self, *exc):
        self.store.close()


# ---------------------------------------------------------------- several at once

TOGETHER = """
others = int(sys.argv[2])
def compute():
    with (root / "computed").open("a") as file:
        file.write("x")
    while len(list(root.glob("ready-*"))) < others:  # the lock is held until all the others want it
        threading.Event().wait(0.01)
    return feature
(root / f"ready-{os.getpid()}").touch()
found, hit = store.fetch(STAGE, KEY, compute)
assert found.arrays["x"].sum() == 5000 * 4999 // 2
print(hit)
"""


def test_three_processes_compute_once(tmp_path):
    command = [sys.executable, "-W", "error", "-c", PRELUDE + TOGETHER, str(tmp_path), "3"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ended = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ended
    assert sorted(out.strip() for out, _ in ended) == ["False", "True", "True"]
    assert (tmp_path / "computed").read_text() == "x"
    assert [err for _, err in ended] == [""] * 3


def test_when_the_one_that_computes_is_killed_another_takes_over(tmp_path):
    script = (
        PRELUDE + "feature = None\nprint('computing', flush=True)\nstore.fetch(STAGE, KEY, sys.stdin.read)"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout.readline() == b"computing\n"
    second = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + TOGETHER, str(tmp_path), "1"], stdout=subprocess.PIPE
    )
    while not list(tmp_path.glob("ready-*")):
        pass
    first.kill()
    first.communicate()
    assert second.communicate(timeout=60)[0].strip() == b"False"
    assert (tmp_path / "computed").read_text() == "x"


STORM = """
for round in range(25):
    for i in range(8):
        key = f"{i:064x}"
        found, _ = store.fetch(STAGE, key, lambda: Feature({"x": np.full(3000, i)}, {"i": i}))
        assert found.metadata == {"i": i} and (found.arrays["x"] == i).all()
    if round % 5 == int(sys.argv[2]):
        store.prune(30000)
    if round == 12 and sys.argv[2] == "0":
        (root / "features" / "index.sqlite3").unlink(missing_ok=True)
"""


def test_a_storm_of_reading_writing_and_pruning(tmp_path):
    script = (
        PRELUDE.replace('root / "features")', 'root / "features", max_bytes=100000, memory_bytes=0)') + STORM
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, str(tmp_path), str(i)], stderr=subprocess.PIPE
        )
        for i in range(3)
    ]
    errors = [process.communicate(timeout=100)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], errors
    assert "damaged (" not in "".join(errors)
    store = FeatureStore(tmp_path / "features")
    files = {p.stem for p in (tmp_path / "features").rglob("*.safetensors")}
    assert {entry.key for entry in store.entries()} == files
    assert store.verify().damaged == ()
    assert list((tmp_path / "features").rglob("*.part*")) == []
    store.close()
