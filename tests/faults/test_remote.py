"""A remote tier: shared by two folders, dead, slow, or hostile."""

from __future__ import annotations

import logging
import threading
import time

import fsspec
import numpy as np
import pytest

from personare.cache.disk import DiskTier
from personare.cache.feature_file import storable
from personare.cache.form import Array, Form, Metadata
from personare.cache.recipe import Stage, StageInputs
from personare.cache.remote import RemoteTier
from personare.cache.store import FeatureStore
from personare.errors import InvalidOption
from personare.types import Feature


class Value(Metadata):
    value: float


FORM = Form({"a": Array("float32", ("n",))}, Value, longest=10**9)
STAGE = Stage("toy.one", 1, lambda inputs: Feature({}), form=lambda inputs: FORM)
INPUTS = StageInputs({}, {}, {})
KEY = "ab" + "0" * 62


def feature(value=1.0, size=1000):
    return Feature({"a": np.full(size, value, np.float32)}, {"value": value})


def never():
    raise AssertionError("computed")


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    if request.param == "file":
        return (tmp_path / "shared").as_uri()
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    return "memory://features"


def store(tmp_path, name, url, **options):
    return FeatureStore(tmp_path / name, remote=RemoteTier(url, **options))


def remote_files(url):
    filesystem, root = fsspec.url_to_fs(url)
    return sorted(path.removeprefix(root) for path in filesystem.find(root))


def overwrite(url, content):
    filesystem, root = fsspec.url_to_fs(url)
    filesystem.makedirs(f"{root}/ab", exist_ok=True)
    filesystem.pipe_file(f"{root}/ab/{KEY}.safetensors", content)


def read_remote(url):
    filesystem, root = fsspec.url_to_fs(url)
    return filesystem.cat_file(f"{root}/ab/{KEY}.safetensors")


def test_what_one_computed_another_finds(tmp_path, url):
    _, hit = store(tmp_path, "one", url).fetch(STAGE, KEY, feature, inputs=INPUTS)
    assert not hit
    assert remote_files(url) == [f"/ab/{KEY}.safetensors"]
    two = store(tmp_path, "two", url)
    found, hit = two.fetch(STAGE, KEY, never, inputs=INPUTS)
    assert hit
    assert np.array_equal(found.arrays["a"], feature().arrays["a"])
    assert two.contains(KEY).stage == "toy.one"
    overwrite(url, b"gone")
    _, hit = FeatureStore(tmp_path / "two").fetch(STAGE, KEY, never, inputs=INPUTS)
    assert hit


def test_a_feature_without_the_form_of_its_stage_is_computed_and_replaced(tmp_path, url, caplog):
    disk = DiskTier(tmp_path / "foreign")
    disk.write(KEY, storable(Feature({"a": np.zeros(3, np.float64)}, {"value": 2.0}), "toy.one"), "toy.one")
    overwrite(url, disk.path(KEY).read_bytes())
    found, hit = store(tmp_path, "two", url).fetch(STAGE, KEY, feature, inputs=INPUTS)
    assert not hit
    assert found.metadata == {"value": 1.0}
    assert "not used: array 'a' is float64" in caplog.text
    assert store(tmp_path, "three", url).fetch(STAGE, KEY, never, inputs=INPUTS)[1]


def test_nothing_is_taken_for_a_stage_without_a_form(tmp_path, url):
    store(tmp_path, "one", url).fetch(STAGE, KEY, feature)
    formless = Stage("toy.one", 1, lambda inputs: Feature({}))
    assert store(tmp_path, "two", url).fetch(formless, KEY, feature, inputs=INPUTS)[1] is False


def foreign(tmp_path, key=KEY, stage="toy.one", value=2.0):
    disk = DiskTier(tmp_path / "foreign")
    disk.write(key, feature(value), stage)
    return disk.path(key).read_bytes()


@pytest.mark.parametrize(
    "how", ["flipped", "cut", "long", "empty", "other key", "other stage", "pickle", "header"]
)
def test_hostile_content_is_refused_and_replaced(tmp_path, url, how, caplog):
    store(tmp_path, "one", url).fetch(STAGE, KEY, feature, inputs=INPUTS)
    sound = read_remote(url)
    hostile = {
        "flipped": sound[:-3] + bytes([sound[-3] ^ 1]) + sound[-2:],
        "cut": sound[:-1],
        "long": sound + b"x",
        "empty": b"",
        "other key": foreign(tmp_path, key="ab" + "1" * 62),
        "other stage": foreign(tmp_path, stage="toy.two"),
        "pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "header": (1 << 62).to_bytes(8, "little") + b"{" * 100,
    }[how]
    overwrite(url, hostile)
    two = store(tmp_path, "two", url)
    with caplog.at_level(logging.WARNING, "personare"):
        found, hit = two.fetch(STAGE, KEY, feature, inputs=INPUTS)
    assert not hit
    assert found.metadata["value"] == 1.0
    assert "is not used" in caplog.text
    assert read_remote(url) == sound
    assert not list((tmp_path / "two").rglob("*.part*"))


def test_an_endless_feature_is_not_read_to_its_end(tmp_path, url):
    overwrite(url, bytes(5_000_000))
    two = store(tmp_path, "two", url, max_feature_bytes=1_000_000)
    assert two.fetch(STAGE, KEY, feature, inputs=INPUTS)[1] is False


class _Stuck(fsspec.AbstractFileSystem):
    """A file system whose every answer waits until the test is over."""

    protocol = "stuck"
    cachable = False
    over = threading.Event()
    asked = 0

    def _open(self, path, mode="rb", **options):
        type(self).asked += 1
        self.over.wait(60)
        raise OSError("over")

    def makedirs(self, path, exist_ok=False):
        self._open(path)


class _Broken(_Stuck):
    protocol = "broken"

    def _open(self, path, mode="rb", **options):
        type(self).asked += 1
        raise ConnectionError("no route to host")


@pytest.mark.parametrize("kind", [_Stuck, _Broken])
def test_a_dead_remote_warns_once_and_holds_up_nobody(tmp_path, caplog, kind):
    kind.asked = 0
    kind.over.clear()
    fsspec.register_implementation(kind.protocol, kind, clobber=True)
    one = store(tmp_path, "one", f"{kind.protocol}://host/folder", stall_seconds=0.2)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "personare"):
        for number in range(50):
            key = f"{number:02d}" + "0" * 62
            assert one.fetch(STAGE, key, feature)[1] is False
            assert one.fetch(STAGE, key, never)[1] is True
    kind.over.set()
    assert time.monotonic() - began < 30  # not 50 times as long as one
    assert kind.asked == 1
    assert [record.message.startswith("remote cache") for record in caplog.records] == [True]


def test_a_local_folder_that_cannot_be_written_leaves_the_remote_unharmed(tmp_path, url):
    store(tmp_path, "one", url).fetch(STAGE, KEY, feature, inputs=INPUTS)
    (tmp_path / "blocked").write_text("a file")
    assert store(tmp_path, "blocked", url).fetch(STAGE, KEY, feature, inputs=INPUTS)[1] is False
    assert remote_files(url) == [f"/ab/{KEY}.safetensors"]


@pytest.mark.parametrize("bad", ["nonsense://x", "relative/folder", "://", ""])
def test_a_url_that_nobody_knows_is_an_error_of_the_user(bad):
    with pytest.raises(InvalidOption, match="--cache-remote"):
        RemoteTier(bad)


def test_two_homes_share_by_the_command_line(cli, tmp_path, portrait, monkeypatch):
    shared = (tmp_path / "shared").as_uri()
    outcome = []
    for number, name in enumerate(("one", "two", "three")):
        monkeypatch.setenv("PERSONARE_HOME", str(tmp_path / name))
        arguments = ["--cache-remote", shared] if number < 2 else []
        if number == 2:
            monkeypatch.setenv("PERSONARE_CACHE_REMOTE", shared)
        ended = cli("avatar", "create", "anna", portrait, "--set", "size=256", "--json", *arguments)
        outcome.append(set(ended.json["stages"].values()))
    assert outcome == [{"miss"}, {"hit"}, {"hit"}]
    assert cli("avatar", "create", "b", portrait, "--cache-remote", "nonsense://x").code == 3
