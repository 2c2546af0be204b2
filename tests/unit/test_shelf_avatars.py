"""Named avatars: any name, nothing half-saved, nothing believed that a file merely claims."""

from __future__ import annotations

import json

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from personare.cache.recipe import Stage
from personare.cache.store import FeatureStore
from personare.errors import (
    CacheError,
    EngineError,
    InvalidOption,
    PersonareError,
    UnknownName,
    UnreadableMedia,
)
from personare.shelf.avatars import AvatarShelf
from personare.shelf.manifest import MANIFEST, checked_name, folder_name
from personare.types import Avatar, Feature

STAGE = Stage("toy.one", 1, lambda inputs: Feature({}))
PHOTO = b"the pixels of anna"
NAMES = [
    "anna",
    "Anna",
    "two words",
    'it\'s "me"',
    "安娜",
    "👩‍🚀",
    "../x",
    "a/b",
    "a\\b",
    "..",
    ".",
    "~",
    "-rf",
    "CON",
    "nul.txt",
    "x" * 4000,
    "é",
    "avatar.json",
    "$HOME",
    "%s",
]


@pytest.fixture
def store(tmp_path):
    made = FeatureStore(tmp_path / "features")
    yield made
    made.close()


@pytest.fixture
def shelf(tmp_path, store):
    return AvatarShelf(tmp_path / "avatars", store)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.JPG"
    path.write_bytes(PHOTO)
    return path


def avatar_of(content=PHOTO, key="a" * 64, **options) -> Avatar:
    return Avatar("toy", {"size": 512, **options}, blake3(content).hexdigest(), {"toy.one": key}, {})


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name != ".lock")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", NAMES)
def test_any_name(shelf, photo, tmp_path, name):
    around = {*tmp_path.iterdir(), tmp_path / "avatars", tmp_path / "features"}
    saved = shelf.save(name, avatar_of(), photo)
    assert shelf.load_manifest(name) == saved == shelf.list()[0]
    assert saved.name == name
    assert shelf.portrait(saved).read_bytes() == PHOTO
    assert len(tree(shelf.folder)) == 3
    shelf.remove(name)
    assert tree(shelf.folder) == []
    assert set(tmp_path.iterdir()) <= around


def test_all_names_at_once(shelf, photo):
    for name in NAMES:
        shelf.save(name, avatar_of(), photo)
    assert [manifest.name for manifest in shelf.list()] == sorted(NAMES)


@given(st.text(max_size=60))
def test_folders_of_names(name):
    try:
        folder = folder_name(name)
    except InvalidOption:
        return
    assert folder.isascii()
    assert len(folder) <= 57
    assert not set(folder) - set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert folder_name(checked_name(name)) == folder


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_have_different_folders(a, b):
    try:
        same = checked_name(a) == checked_name(b)
    except InvalidOption:
        return
    assert (folder_name(a) == folder_name(b)) == same


def test_one_name_typed_in_two_ways(shelf, photo):
    shelf.save("Ame\u0301lie", avatar_of(), photo)
    assert shelf.load_manifest(" Am\u00e9lie ").name == "Am\u00e9lie"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "\x1b[31mred", "a\u2028b", "\ud800", "x" * 5000])
def test_names_that_are_refused(shelf, photo, name):
    with pytest.raises(InvalidOption) as failure:
        shelf.save(name, avatar_of(), photo)
    assert "\n" not in failure.value.message
    assert failure.value.message.isprintable()
    with pytest.raises(InvalidOption):
        shelf.load_manifest(name)
    assert not shelf.folder.exists()


# ---------------------------------------------------------------- saving


def test_a_taken_name(shelf, photo, tmp_path):
    first = shelf.save("anna", avatar_of(), photo)
    other = tmp_path / "other.png"
    other.write_bytes(b"bert")
    with pytest.raises(InvalidOption, match="already"):
        shelf.save("anna", avatar_of(b"bert"), other)
    assert shelf.load_manifest("anna") == first
    second = shelf.save("anna", avatar_of(b"bert", size=256), other, replace=True)
    assert shelf.load_manifest("anna") == second
    assert shelf.portrait(second).read_bytes() == b"bert"
    assert shelf.portrait(second).suffix == ".png"
    assert len(tree(shelf.folder)) == 3


def test_replacing_from_its_own_portrait(shelf, photo):
    saved = shelf.save("anna", avatar_of(), photo)
    photo.unlink()
    again = shelf.save("anna", avatar_of(size=256), shelf.portrait(saved), replace=True)
    assert shelf.portrait(again).read_bytes() == PHOTO


def test_a_photo_that_is_not_the_prepared_one(shelf, photo):
    photo.write_bytes(b"someone else")
    with pytest.raises(UnreadableMedia, match="not the file"):
        shelf.save("anna", avatar_of(), photo)
    photo.unlink()
    with pytest.raises(UnreadableMedia, match="cannot read"):
        shelf.save("anna", avatar_of(), photo)
    assert shelf.list() == []
    with pytest.raises(UnknownName):
        shelf.load_manifest("anna")


def test_options_that_are_not_json(shelf, photo):
    with pytest.raises(EngineError, match="option"):
        shelf.save("anna", avatar_of(bad=np.float32(1)), photo)


@pytest.mark.parametrize("suffix", ["", ".", ".JPEG", ".a b", ".toolongsuffix", ".é"])
def test_suffixes_of_photos(shelf, photo, suffix):
    moved = photo.rename(photo.with_name(f"photo{suffix}"))
    saved = shelf.save("anna", avatar_of(), moved)
    assert shelf.portrait(shelf.load_manifest("anna")).read_bytes() == PHOTO
    assert saved.portrait_file.endswith(".jpeg") == (suffix == ".JPEG")


def test_saving_pins_and_removing_unpins(shelf, store, photo):
    for i in range(3):
        store.fetch(STAGE, f"{i:064x}", lambda: Feature({"x": np.zeros(1000)}))
    shelf.save("anna", avatar_of(key=f"{1:064x}"), photo)
    shelf.save("bert", avatar_of(key=f"{1:064x}"), photo)
    assert store.contains(f"{1:064x}").pinned_by == ("anna", "bert")
    assert store.stats().pinned_features == 1
    assert store.prune(0).kept == 1
    shelf.remove("anna")
    assert store.prune(0).kept == 1
    shelf.save("bert", avatar_of(key=f"{2:064x}"), photo, replace=True)
    assert store.prune(0).kept == 0


# ---------------------------------------------------------------- asking


def test_unknown_names_with_close_ones(shelf, photo):
    with pytest.raises(UnknownName, match="no avatar named 'anna'"):
        shelf.load_manifest("anna")
    for name in ("Anna Karenina", "bert", "carla"):
        shelf.save(name, avatar_of(), photo)
    for wrong in ("anna karenina", "Ana Karenina"):
        with pytest.raises(UnknownName) as failure:
            shelf.load_manifest(wrong)
        assert failure.value.hint == "did you mean 'Anna Karenina'?"
    with pytest.raises(UnknownName) as failure:
        shelf.remove("zzz")
    assert "personare avatar list" in failure.value.hint


def test_a_portrait_that_is_damaged_or_lost(shelf, photo):
    saved = shelf.save("anna", avatar_of(), photo)
    path = shelf.portrait(saved)
    path.write_bytes(b"the pixelz of anna")
    with pytest.raises(CacheError, match="damaged"):
        shelf.portrait(saved)
    path.unlink()
    with pytest.raises(CacheError, match="lost"):
        shelf.portrait(saved)


# ---------------------------------------------------------------- damaged and hostile manifests


@pytest.mark.parametrize(
    "change",
    [
        {"name": "bert"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": 5},
        {"portrait_file": "../../../etc/passwd"},
        {"portrait_file": "/etc/passwd"},
        {"portrait_file": "portrait-0123456789abcdef.jpg/../../x"},
        {"portrait_file": "portrait-0123456789abcdef.jpg\n"},
        {"portrait": "../x"},
        {"portrait": "a" * 63},
        {"keys": {"toy.one": "../../x"}},
        {"keys": {"toy.one": None}},
        {"keys": []},
        {"options": 5},
        {"engine": ""},
        {"version": 2},
        {"created": "yesterday"},
        {"created": "2026-01-01T00:00:00"},
        {"surprise": 1},
    ],
)
def test_hostile_manifests(shelf, photo, caplog, change):
    shelf.save("anna", avatar_of(), photo)
    shelf.save("carla", avatar_of(), photo)
    path = shelf.folder / folder_name("anna") / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CacheError, match=r"avatar\.json is damaged") as failure:
        shelf.load_manifest("anna")
    assert str(path) in failure.value.message
    assert "\n" not in failure.value.message
    assert [manifest.name for manifest in shelf.list()] == ["carla"]
    assert str(path) in caplog.text
    shelf.remove("anna")
    with pytest.raises(UnknownName):
        shelf.load_manifest("anna")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"\xff\xfe", b"[" * 100000, b" " * (2 << 20), b'{"a":' * 9999]
)
def test_manifests_that_are_none(shelf, photo, content):
    shelf.save("anna", avatar_of(), photo)
    (shelf.folder / folder_name("anna") / MANIFEST).write_bytes(content)
    with pytest.raises(CacheError, match=r"avatar\.json is damaged"):
        shelf.load_manifest("anna")
    shelf.save("anna", avatar_of(), photo, replace=True)
    assert shelf.load_manifest("anna").name == "anna"


def test_a_damaged_manifest_keeps_its_pins(shelf, store, photo):
    store.fetch(STAGE, "a" * 64, lambda: Feature({}))
    shelf.save("anna", avatar_of(), photo)
    (shelf.folder / folder_name("anna") / MANIFEST).write_bytes(b"{")
    assert store.prune(0).kept == 1


def test_what_else_lies_on_the_shelf(shelf, photo):
    shelf.save("anna", avatar_of(), photo)
    (shelf.folder / "notes.txt").write_text("mine")
    (shelf.folder / "empty").mkdir()
    (shelf.folder / "half-0123456789abcdef").mkdir()
    (shelf.folder / "half-0123456789abcdef" / "portrait-0.jpg").write_bytes(b"")
    assert [manifest.name for manifest in shelf.list()] == ["anna"]
    shelf.save("bert", avatar_of(), photo)
    left = sorted(path.name for path in shelf.folder.iterdir())
    assert left == sorted([".lock", "empty", "notes.txt", folder_name("anna"), folder_name("bert")])


def test_a_shelf_that_cannot_be_written(tmp_path, store, photo):
    (tmp_path / "file").write_text("")
    shelf = AvatarShelf(tmp_path / "file" / "avatars", store)
    with pytest.raises(PersonareError, match="cannot save") as failure:
        shelf.save("anna", avatar_of(), photo)
    assert failure.value.exit_code == 3
    assert failure.value.hint
    assert shelf.list() == []
