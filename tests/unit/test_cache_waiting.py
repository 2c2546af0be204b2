"""Waiting for whoever computes a key: what is shown, when he is thought to be stopped, and what
is done then. Processes are in tests/faults/test_long_stages.py.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import pytest
from filelock import FileLock

from personare.cache import waiting
from personare.cache.checkpoint import Workspace
from personare.cache.recipe import Stage
from personare.cache.waiting import Turns
from personare.errors import Cancelled
from personare.types import Feature, no_progress

KEY = "ab" * 32
SHORT = Stage("toy.one", 1, lambda inputs: Feature({}))
LONG = Stage("toy.long", 1, lambda inputs: Feature({}), cost="minutes")


@pytest.fixture
def turns(tmp_path):
    return Turns(tmp_path / "locks", lambda error: pytest.fail(str(error)))


@pytest.fixture
def quick(monkeypatch):
    """A heartbeat of 20 ms and all else in proportion, so that nobody waits."""
    for name in ("BEAT_SECONDS", "SILENT_AFTER_SECONDS", "BESIDE_AFTER_SECONDS"):
        monkeypatch.setattr(waiting, name, getattr(waiting, name) / 25)
    monkeypatch.setattr(waiting, "AGAIN_AFTER_SECONDS", 1.0)


@contextmanager
def held(tmp_path, **notice):
    """Somebody holds the lock and says this, once."""
    folder = tmp_path / "locks"
    folder.mkdir(exist_ok=True)
    said = {
        "pid": 4711,
        "host": waiting.platform.node(),
        "beat": 1,
        "what": "toy.long",
        "done": 0,
        "total": None,
    }
    with FileLock(folder / f"{KEY}.lock"):
        if notice:
            (folder / f"{KEY}.json").write_text(json.dumps({**said, **notice}))
        yield


class Enough(Exception):
    """Ends a waiting that would go on for ever."""


def waits(turns, stage, until):
    """What the Progress of one who waits is told, until a text comes."""
    told = []

    def progress(*step):
        told.append(step)
        if until in step[0]:
            raise Enough

    def wait():
        with turns.alone(stage, KEY, Workspace(progress=progress)):
            raise AssertionError("the lock was had")

    with pytest.raises(Enough):
        wait()
    return told


def test_nobody_waits_for_nobody_and_nothing_is_left(turns, tmp_path):
    with turns.alone(SHORT, KEY, Workspace()) as alone:
        assert alone
    assert list((tmp_path / "locks").iterdir()) == []


def test_the_holders_progress_is_told(turns, tmp_path, quick):
    with held(tmp_path, what="tuning, loss 0.5", done=14, total=26):
        told = waits(turns, LONG, "loss")
    assert told[-1] == ("tuning (pid 4711), loss 0.5", 14, 26)


def test_a_holder_on_another_machine_is_named(turns, tmp_path, quick):
    with held(tmp_path, what="tuning", host="other"):
        assert waits(turns, LONG, "pid")[-1] == ("tuning (pid 4711 on other)", 0, None)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"pid": "x"}', b"\xff" * 9999])
def test_a_notice_that_is_none_is_not_read(turns, tmp_path, quick, content):
    with held(tmp_path, beat=1):
        (tmp_path / "locks" / f"{KEY}.json").write_bytes(content)
        told = waits(turns, LONG, "silent")
    assert told[0] == ("toy.long (another process)", 0, None)


def test_silence_is_told_with_advice_and_again_after_a_while(turns, tmp_path, quick, caplog):
    with held(tmp_path, what="tuning", done=3, total=9):
        told = waits(turns, LONG, "silent for 2 s")
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert warnings[0].startswith("another process (pid 4711) is preparing toy.long and has said nothing for")
    assert "kill -CONT 4711" in warnings[0]
    assert told[-1][1:] == (3, 9)


@pytest.mark.slow
def test_a_stage_of_seconds_is_computed_beside(turns, tmp_path, quick, caplog):
    with held(tmp_path), turns.alone(SHORT, KEY, Workspace()) as alone:
        assert not alone
    assert "has said nothing" in caplog.text
    assert "toy.one is computed here as well" in caplog.text


def test_who_waits_takes_over(turns, tmp_path, quick):
    here, over = threading.Event(), threading.Event()

    def hold():
        with held(tmp_path, what="tuning"):
            here.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    here.wait()

    def progress(*step):
        over.set()

    with turns.alone(LONG, KEY, Workspace(progress=progress)) as alone:
        assert alone
        assert not (tmp_path / "locks" / f"{KEY}.json").exists()  # the former holder's
    thread.join()


def test_waiting_can_be_cancelled(turns, tmp_path, quick):
    def progress(*step):
        raise Cancelled("stop")

    def wait():
        with turns.alone(LONG, KEY, Workspace(progress=progress)):
            raise AssertionError

    with held(tmp_path, what="tuning"), pytest.raises(Cancelled):
        wait()


def test_a_heartbeat_tells_the_workspaces_progress(turns, tmp_path, quick):
    told = []
    seen = threading.Event()
    workspace = Workspace(stage="toy.long", progress=no_progress)

    def look():
        while not seen.is_set():
            notice = waiting._read(tmp_path / "locks" / f"{KEY}.json")
            if notice is not None and notice.what == "tuning, loss 1":
                told.append((notice.pid, notice.done, notice.total))
                seen.set()

    with turns.alone(LONG, KEY, workspace):
        thread = threading.Thread(target=look)
        thread.start()
        workspace.progress("tuning, loss 1", 2, 7)
        seen.wait(60)
    thread.join()
    assert told == [(waiting.os.getpid(), 2, 7)]
    assert list((tmp_path / "locks").iterdir()) == []


def test_sweeping_removes_what_killed_processes_left_but_not_what_is_held(turns, tmp_path):
    other = "cd" * 32
    with held(tmp_path, what="tuning"):
        for suffix in (".lock", ".json", ".part"):
            (tmp_path / "locks" / f"{other}{suffix}").touch()
        (tmp_path / "locks" / "notes.txt").touch()
        turns.sweep()
        left = {path.name for path in (tmp_path / "locks").iterdir()}
        assert left == {f"{KEY}.lock", f"{KEY}.json", "notes.txt"}
        with turns.unless_taken(KEY) as free:
            assert not free
    with turns.unless_taken(KEY) as free:
        assert free
