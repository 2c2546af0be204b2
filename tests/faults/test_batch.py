"""A batch of ten with a broken job, killed half-way and run again; workers that die; Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import write_wav

COMMAND = [sys.executable, "-m", "personare", "batch"]
BATCH_SECONDS = 120


@pytest.fixture
def ten(tmp_path, portrait, voice_samples):
    """A jobs file of ten, the fifth of them broken, and the output folder."""
    lines = []
    for number in range(10):
        seconds = 0.4 + 0.05 * number
        speech = write_wav(tmp_path / f"v{number}.wav", voice_samples[: int(16000 * seconds)])
        if number == 4:
            speech.write_bytes(b"no sound at all")
        lines.append(
            {
                "portrait": str(portrait),
                "speech": speech.name,
                "output": f"{number}.mp4",
                "options": {"size": 256},
            }
        )
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path, tmp_path / "clips"


def wait_for(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    """Until it happens, the process ends or the time is up; without taking the processor from
    what is waited for.
    """
    deadline = time.monotonic() + BATCH_SECONDS
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def finished(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.mp4")} if folder.exists() else set()


def test_killed_half_way_and_run_again(cli, ten, tmp_path, portrait):
    jobs, clips = ten
    running = subprocess.Popen(
        [*COMMAND, jobs, "--output-dir", clips, "--workers", "1", "--json", "--no-clip-cache"]
    )
    wait_for(running, lambda: len(finished(clips)) >= 3)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in clips.glob("*.mp4")}
    assert 3 <= len(before) < 9

    ended = cli("batch", jobs, "--output-dir", clips, "--workers", "2", "--json", "--no-clip-cache")
    assert ended.code == 3
    summary = ended.json
    assert (summary["jobs"], summary["failed"]) == (10, 1)
    assert summary["kept"] >= len(before) - 1  # the kill may fall between a clip and its line
    assert summary["made"] + summary["kept"] == 9
    (broken,) = [result for result in summary["results"] if result["state"] == "failed"]
    assert broken["where"] == "jobs.jsonl line 5"
    assert "v4.wav" in broken["error"]
    assert finished(clips) == {f"{number}.mp4" for number in range(10) if number != 4}
    kept = [clips / result["output"] for result in summary["results"] if result["state"] == "kept"]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    assert not list(clips.glob(".*.part*"))

    alone = tmp_path / "alone.mp4"
    assert (
        cli("speak", portrait, tmp_path / "v7.wav", "-o", alone, "--set", "size=256", "--no-cache").code == 0
    )
    assert (clips / "7.mp4").read_bytes() == alone.read_bytes()


def test_what_changed_is_made_again_and_nothing_else(cli, ten, tmp_path, voice_samples):
    jobs, clips = ten
    lines = [json.loads(line) for line in jobs.read_text().splitlines()][:3]
    jobs.write_text("\n".join(map(json.dumps, lines)))
    assert cli("batch", jobs, "--output-dir", clips, "--workers", "1", "--json").json["made"] == 3
    write_wav(tmp_path / "v0.wav", voice_samples[4000:12000])
    lines[1]["options"]["seed"] = 5
    jobs.write_text("\n".join(map(json.dumps, lines)))
    ended = cli("batch", jobs, "--output-dir", clips, "--workers", "1", "--json")
    assert ended.code == 0
    assert [result["state"] for result in ended.json["results"]] == ["made", "made", "kept"]
    (clips / "2.mp4").write_bytes(b"not the clip")
    again = cli("batch", jobs, "--output-dir", clips, "--workers", "1", "--json").json
    assert [result["state"] for result in again["results"]] == ["kept", "kept", "made"]
    assert again["results"][2]["report"]["cache"]["clip"] == "hit"
    table = cli("batch", jobs, "--output-dir", clips)
    assert "0 made, 3 kept, 0 failed" in table.out


def test_ctrl_c_leaves_nothing_half_written(ten, tmp_path, voice_samples):
    import numpy as np

    jobs, clips = ten
    write_wav(tmp_path / "v0.wav", np.resize(voice_samples, 16000 * 120))
    running = subprocess.Popen(
        [*COMMAND, jobs, "--output-dir", clips, "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(running, lambda: bool(list(clips.glob(".0.mp4.*.part"))))
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert errors.strip() == "error: interrupted; nothing half-written is left"
    assert [path.name for path in clips.iterdir() if not path.name.startswith(".personare-batch")] == []


def test_a_worker_that_dies_fails_its_own_job_alone(ten, tmp_path):
    """As the kernel does when memory runs out."""
    from personare.studio.settings import Settings
    from personare.work.batch import run_batch
    from personare.work.jobs import Defaults, read_jobs

    jobs_file, clips = ten
    jobs = read_jobs(jobs_file, clips.resolve(), Defaults())[:3]
    killed: list[int] = []

    def progress(what, done, total):
        import multiprocessing

        if done == 1 and not killed:
            (worker,) = multiprocessing.active_children()
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    summary = run_batch(jobs, clips.resolve(), Settings(), workers=1, progress=progress)
    assert sorted(result.state for result in summary.results) == ["failed", "made", "made"]
    (failed,) = [result for result in summary.results if result.state == "failed"]
    assert "killed by signal 9" in failed.error


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_journal_that_is_no_file_is_refused_at_once(cli, ten, tmp_path, kind):
    journal = tmp_path / ".personare-batch.jsonl"
    if kind == "pipe":
        os.mkfifo(journal)
    elif kind == "device":
        journal.symlink_to("/dev/zero")
    else:
        journal.mkdir()
    ended = cli("batch", ten[0])
    assert ended.code == 3
    assert ".personare-batch.jsonl" in ended.err
    assert "unexpected" not in ended.err
