"""Bytes flipped all over an index, as a bad disk does: whatever SQLite makes of them, the next
command does its work and the index is whole again.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from personare.studio.studio import Studio
from tests.conftest import Ended


@pytest.fixture(scope="module")
def sound_home(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """A home with an avatar, in which the digest of a photo is remembered."""
    root = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONARE_HOME", str(root))
        studio = Studio()
        studio.create("anna", studio.cast(portrait, None, {"size": 256}))
        studio.store.close()
    return root


@pytest.mark.parametrize("flips", [1, 20, 200])
@pytest.mark.parametrize("seed", range(8))
def test_an_index_with_flipped_bytes_is_rebuilt(
    cli: Callable[..., Ended], home: Path, sound_home: Path, portrait: Path, seed: int, flips: int
) -> None:
    shutil.copytree(sound_home, home, dirs_exist_ok=True)
    index, chosen = home / "features" / "index.sqlite3", random.Random(f"{seed} {flips}")
    data = bytearray(index.read_bytes())
    for _ in range(flips):
        data[chosen.randrange(100, len(data))] = chosen.randrange(256)
    index.write_bytes(bytes(data))
    for beside in home.glob("features/index.sqlite3-*"):
        beside.unlink()
    studio = Studio()
    cast = studio.cast(portrait, None, {"size": 256})
    assert set(studio.prepare(cast)[1].outcome.values()) == {"hit"}
    studio.store.close()
    for command in (("stats",), ("list",), ("prune", "--max-size", "1GB"), ("verify",)):
        ended = cli("cache", *command, "--json")
        assert ended.code == 0, ended
        assert "unexpected" not in ended.err
    assert all(stage["cached"] for stage in cli("avatar", "status", "anna", "--json").json["stages"])
