"""Local files: read up to a limit, never a pipe or a device, and homes that do not exist."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from personare.errors import InvalidOption, UnreadableMedia
from personare.ground.paths import expanded
from personare.media.local import read_at_most


def test_a_file_is_read_whole_up_to_its_limit(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    assert read_at_most(path, 5) == b"12345"
    with pytest.raises(UnreadableMedia, match="larger than 4 bytes"):
        read_at_most(path, 4)


def test_a_file_of_many_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(UnreadableMedia, match="1 MB"):
        read_at_most(path, 1_000_000)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = {"device": Path("/dev/zero"), "folder": tmp_path}.get(kind, tmp_path / kind)
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UnreadableMedia, match=r"regular|folder|exist"):
        read_at_most(path, 100)


def test_a_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert expanded("~/a.jpg") == Path("/home/someone/a.jpg")
    assert expanded("a.jpg") == Path("a.jpg")
    with pytest.raises(InvalidOption, match="nosuchuser"):
        expanded("~nosuchuser/a.jpg")
