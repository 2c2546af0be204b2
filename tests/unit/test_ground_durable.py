"""What killed writers left beside a file: parts and their locks go, those of live writers stay."""

from __future__ import annotations

from filelock import FileLock

from personare.ground.durable import remove_abandoned_parts, replaced_when_complete

TOKEN = "0123456789ab"


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_parts_and_locks_of_killed_writers_go(tmp_path):
    (tmp_path / f".a.txt.{TOKEN}.part").touch()
    (tmp_path / f".b.txt.{TOKEN}.part.lock").touch()  # killed before it wrote, or while it tidied up
    (tmp_path / f".c.txt.{TOKEN}.part").touch()
    (tmp_path / f".c.txt.{TOKEN}.part.lock").touch()
    (tmp_path / "d.part").touch()
    assert remove_abandoned_parts(tmp_path) == 3
    assert names(tmp_path) == {"d.part"}


def test_only_those_of_one_file_go_before_it_is_written(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / f".{name}.{TOKEN}.part.lock").touch()
    with replaced_when_complete(tmp_path / "a.txt") as part:
        part.write_text("whole")
    assert names(tmp_path) == {"a.txt", f".b.txt.{TOKEN}.part.lock"}


def test_what_a_live_writer_writes_stays(tmp_path):
    part = tmp_path / f".a.txt.{TOKEN}.part"
    part.touch()
    with FileLock(f"{part}.lock"):
        assert remove_abandoned_parts(tmp_path) == 0
    assert part.exists()
