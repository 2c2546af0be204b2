"""`personare cache` and the workspaces of unfinished stages; the bar that shows progress."""

from __future__ import annotations

import os

import numpy as np
import pytest
from rich.progress import Progress as RichProgress

from personare.cache.checkpoint import Workspace
from personare.cli import session
from personare.cli.session import progress_bar
from tests.conftest import error_lines

KEY = "ab" * 32


@pytest.fixture
def checkpoint(home):
    """An unfinished stage, untouched for 40 days."""
    folder = home / "features" / "workspaces" / KEY
    Workspace(folder, KEY, "toy.long").save({"x": np.zeros(1000)}, step=3, steps=9)
    (path,) = folder.iterdir()
    moment = path.stat().st_mtime - 40 * 86400
    os.utime(path, (moment, moment))
    return path


def test_stats_count_unfinished_stages(cli, checkpoint):
    numbers = cli("cache", "stats", "--json").json
    assert (numbers["workspaces"], numbers["workspace_bytes"]) == (1, checkpoint.stat().st_size)
    assert "1 unfinished stages" in cli("cache", "stats").out


@pytest.mark.parametrize(
    ("options", "removed"),
    [
        ((), 1),
        (("--workspace-days", "41"), 0),
        (("--workspace-days", "41", "--max-size", "1kB"), 1),
        (("--max-size", "1GB"), 1),
    ],
)
def test_prune_removes_the_untouched(cli, checkpoint, options, removed):
    report = cli("cache", "prune", *options, "--json").json
    assert report["workspaces"] == removed
    assert checkpoint.exists() == (removed == 0)


def test_clear_removes_all(cli, checkpoint):
    assert "removed checkpoints of 1 unfinished stages" in cli("cache", "clear").out
    assert not checkpoint.exists()


def test_verify_tells_of_damaged_checkpoints(cli, checkpoint):
    assert cli("cache", "verify").out == "0 features and 1 checkpoints checked, 0 damaged\n"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"?")
    ended = cli("cache", "verify")
    assert ended.code == 5
    assert error_lines(ended)[0] == "1 damaged checkpoints were deleted"
    assert not checkpoint.exists()


def test_one_line_of_the_bar_for_what_changes_behind_a_comma(monkeypatch):
    bars = []

    class Bar(RichProgress):
        def __init__(self, *columns, **options):
            super().__init__(*columns, **options)
            bars.append(self)

    monkeypatch.setattr("rich.progress.Progress", Bar)
    monkeypatch.setattr(session, "PROGRESS_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(session.sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar() as progress:
        for step in range(1400, 1403):
            progress(f"tuning, loss {step}", step, 2600)
    (task,) = bars[0].tasks
    assert (task.description, task.completed, task.total) == ("tuning, loss 1402", 1402, 2600)
