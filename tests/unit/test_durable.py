"""Files that appear only when they are complete, under any name that the disk takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from personare.ground.durable import remove_abandoned_parts, replaced_when_complete

NAMES = [
    "语" * 80 + ".mp4",
    "a" * 251 + ".mp4",
    "é" * 120 + ".json",
    "😀" * 60 + ".mp4",
    "x" + "语" * 82 + ".mp4",
    "ab.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_that_the_disk_takes(tmp_path: Path, name: str) -> None:
    with replaced_when_complete(tmp_path / name) as part:
        part.write_bytes(b"1")
        part.name.encode()  # no half of a letter, which other systems refuse
        assert len(os.fsencode(part.name)) < 143
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_process_left_is_found_again(tmp_path: Path, name: str) -> None:
    with replaced_when_complete(tmp_path / name) as part:
        part.write_bytes(b"1")
        left = part.with_name(part.name.replace(part.name[-17:-5], "0" * 12))
        left.write_bytes(b"2")
    assert left.exists()
    assert remove_abandoned_parts(tmp_path, name) == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe" * 100 + b".mp4")
    with replaced_when_complete(tmp_path / name) as part:
        part.write_bytes(b"1")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_that_takes_no_files_is_told_and_not_waited_for(monkeypatch):
    """/proc never refuses a lock: it only never gives one."""
    from pathlib import Path

    from personare.ground import durable

    monkeypatch.setattr(durable, "_LOCK_SECONDS", 0.1)
    with pytest.raises(PermissionError), durable.replaced_when_complete(Path("/proc/a.npz")):
        pass
