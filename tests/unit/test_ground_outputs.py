"""An output that is an input is seen, whatever it is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from personare.errors import UnwritableOutput
from personare.ground.outputs import check_apart, first_clash


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "me.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to("me.mp4")
    os.link(tmp_path / "me.mp4", tmp_path / "hard.mp4")
    (tmp_path / "sub").mkdir()
    (tmp_path / "way").symlink_to(".")
    return tmp_path


@pytest.mark.parametrize("name", ["me.mp4", "link.mp4", "hard.mp4", "sub/../me.mp4", "way/me.mp4"])
def test_one_file_under_any_name(folder, name):
    with pytest.raises(UnwritableOutput) as caught:
        check_apart([("the clip", folder / name)], [("the portrait", folder / "me.mp4")])
    assert caught.value.message.startswith("the clip would be written over the portrait: ")
    assert "\n" not in caught.value.message


def test_a_relative_name_is_the_same_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UnwritableOutput, match="the voice"):
        check_apart([("the clip", Path("me.mp4"))], [("the voice", folder / "me.mp4")])


def test_names_that_some_disk_takes_for_one(folder):
    """Files that do not exist are compared as the least particular disk would; those that
    exist, as this one does.
    """
    outputs = [("the clip", folder / "new.mp4"), ("the curves", folder / "sub" / ".." / "NEW.mp4")]
    clash = first_clash(outputs, [])
    assert clash is not None
    assert (clash.output[0], clash.other[0], clash.read) == ("the curves", "the clip", False)
    composed, decomposed = folder / "caf\u00e9.mp4", folder / "cafe\u0301.mp4"
    assert first_clash([("a", composed), ("b", decomposed)], []) is not None
    assert first_clash([("a", composed)], [("b", decomposed)]) is not None
    (folder / "ME2.mp4").write_bytes(b"x")
    one_for_both = (folder / "me2.mp4").exists()
    clash = first_clash([("the clip", folder / "me2.mp4")], [("the portrait", folder / "ME2.mp4")])
    assert (clash is not None) == one_for_both


def test_files_that_are_apart(folder):
    check_apart(
        [("the clip", folder / "a.mp4"), ("the curves", folder / "a.json")],
        [("the portrait", folder / "me.mp4"), ("the voice", folder / "nowhere.wav"), ("the guide", folder)],
    )
    check_apart([("the clip", Path("a\0.mp4"))], [("the voice", Path("b\0.wav"))])
