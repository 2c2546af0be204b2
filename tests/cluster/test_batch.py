"""`personare batch --on ray`: the same jobs, journal and rules, with actors for processes."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest

from personare import Settings
from personare.work.batch import run_batch
from personare.work.jobs import Defaults, read_jobs
from tests.cluster.conftest import ours, until
from tests.conftest import write_wav


@pytest.fixture
def batch(tmp_path, portrait, voice_samples, cluster):
    """Runs a jobs file of so many voices, the second of them broken; lengths in seconds."""
    from personare.cluster.hired import staff

    def run(*lengths: float, remote: str | None = None, **fields):
        lines = []
        for number, seconds in enumerate(lengths):
            speech = write_wav(tmp_path / f"v{number}.wav", np.resize(voice_samples, int(16000 * seconds)))
            if number == 1:
                speech.write_bytes(b"no sound at all")
            line = {"portrait": str(portrait), "speech": speech.name, "output": f"{number}.mp4"}
            lines.append(json.dumps(line | {"options": {"size": 256}}))
        path = tmp_path / "jobs.jsonl"
        path.write_text("\n".join(lines))
        out = tmp_path / "clips"
        settings = Settings(cache_dir=tmp_path / "features", keep_clips=False, cache_remote=remote)
        jobs = read_jobs(path, out, Defaults())
        return run_batch(jobs, out, settings, staff=staff(settings), **fields)

    return run


def test_the_same_clips_journal_and_rules(batch, cli, tmp_path, portrait):
    remote = (tmp_path / "remote").as_uri()
    summary = batch(0.5, 0.5, 0.6, remote=remote)
    assert [result.state for result in summary.results] == ["made", "failed", "made"]
    broken = summary.results[1]
    assert broken.where == "jobs.jsonl line 2"
    assert str(tmp_path / "v1.wav") in broken.error
    stages = [result.report["cache"]["stages"] for result in summary.results if result.report]
    assert all(sum(each[name] == "miss" for each in stages) <= 1 for name in stages[0])
    assert list((tmp_path / "remote").rglob("*.safetensors"))
    alone = tmp_path / "alone.mp4"
    speech = tmp_path / "v2.wav"
    assert cli("speak", portrait, speech, "-o", alone, "--set", "size=256", "--no-cache").code == 0
    assert (tmp_path / "clips" / "2.mp4").read_bytes() == alone.read_bytes()
    again = batch(0.5, 0.5, 0.6, remote=remote)
    assert [result.state for result in again.results] == ["kept", "failed", "kept"]
    assert not list((tmp_path / "clips").glob(".*.part*"))


def test_the_job_of_a_killed_actor_is_tried_again(batch, tmp_path):
    killed: list[int] = []

    def kill() -> None:
        until(lambda: ours("ray::_MakerActor.make"))
        killed.extend(ours("ray::_MakerActor.make"))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = batch(20.0, workers=1)
    killer.join()
    assert len(killed) == 1
    assert [result.state for result in summary.results] == ["made"]
    assert not list((tmp_path / "clips").glob(".*.part*"))


def test_a_job_that_kills_every_actor_fails_alone(batch, tmp_path):
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not over.wait(0.02):
            for pid in set(ours("ray::_MakerActor.make")) - set(killed):
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = batch(20.0, workers=1)
    finally:
        over.set()
        killer.join()
    assert len(killed) == 3
    assert [result.state for result in summary.results] == ["failed"]
    assert "was lost" in summary.results[0].error
    assert not (tmp_path / "clips" / "0.mp4").exists()
