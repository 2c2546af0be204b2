"""Where things live."""

from __future__ import annotations

from pathlib import Path

import pytest

from personare.cache.recipe import Stage
from personare.shelf.home import home
from personare.types import Avatar, Feature


def test_personare_home_moves_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSONARE_HOME", str(tmp_path / "here"))
    assert home().features == tmp_path / "here" / "features"
    assert home().avatars == tmp_path / "here" / "avatars"


def test_cache_dir_moves_features_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSONARE_HOME", str(tmp_path / "here"))
    assert home(tmp_path / "there").features == tmp_path / "there"
    assert home().avatars == tmp_path / "here" / "avatars"


@pytest.mark.parametrize("value", ["", None])
def test_without_it_the_folders_of_the_platform_are_used(tmp_path, monkeypatch, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    if value is None:
        monkeypatch.delenv("PERSONARE_HOME")
    else:
        monkeypatch.setenv("PERSONARE_HOME", value)
    for folder in (home().features, home().avatars):
        assert folder.is_relative_to(tmp_path)
        assert "personare" in folder.parts
    assert home().features != home().avatars


def test_a_tilde_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PERSONARE_HOME", "~/here")
    assert home().avatars == tmp_path / "here" / "avatars"
    assert home(Path("~/there")).features == tmp_path / "there"


def test_folders_do_not_move_with_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONARE_HOME", "here")
    assert home().avatars == tmp_path / "here" / "avatars"
    assert home(Path("there")).features == tmp_path / "there"


def test_the_store_of_a_home_knows_what_its_avatars_pin(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"anna")
    here = home()
    store = here.store()
    store.fetch(Stage("toy.one", 1, lambda inputs: Feature({})), "a" * 64, lambda: Feature({}))
    avatar = Avatar("toy", {}, store.file_digest(photo), {"toy.one": "a" * 64}, {})
    here.shelf(store).save("anna", avatar, photo)
    store.close()
    (here.features / "index.sqlite3").unlink()
    other = home().store(max_bytes=0)
    assert other.prune(0).kept == 1
    assert other.mode == "use"
    other.close()
