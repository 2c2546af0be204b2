"""Stages of minutes that are killed, stopped, interrupted or waited for: the result has the
same bytes, and people are told.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from personare.cache.run import run
from personare.cache.store import FeatureStore
from tests.faults.long_stage import NAME, tuning

ROOT = Path(__file__).parents[2]


class Process:
    """The toy stage in a process of its own."""

    def __init__(self, folder, *options):
        command = [sys.executable, "-W", "error", "-m", "tests.faults.long_stage", folder, *options]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        self.lines: list[str] = []

    def until(self, wanted: str, times: int = 1) -> str:
        """Read on until a line has this text so many times."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            times -= wanted in line
            if times == 0:
                return self.lines[-1]
        raise AssertionError(f"{wanted!r} never came: {self.lines} {self.process.stderr.read()}")

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self) -> tuple[int, str]:
        """Exit status and stderr, once it has ended."""
        out, err = self.process.communicate(timeout=60)
        self.lines += out.splitlines()
        return self.process.returncode, err

    @property
    def outcome(self) -> str:
        return self.lines[-1]

    @property
    def began_at(self) -> int:
        (line,) = [line for line in self.lines if line.startswith("at ")]
        return int(line.split()[1])


@pytest.fixture
def start():
    started = []

    def begin(*arguments):
        started.append(Process(*arguments))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def the_bytes(folder: Path) -> bytes:
    (path,) = folder.rglob("*.safetensors")
    return path.read_bytes()


def uninterrupted(folder: Path, steps: int) -> bytes:
    store = FeatureStore(folder)
    run(tuning(steps), {}, store)
    store.close()
    return the_bytes(folder)


def test_killed_ten_times_at_random_steps_it_ends_in_the_same_bytes(tmp_path, start):
    folder, chance, reached = tmp_path / "killed", random.Random(11), 0
    for _ in range(10):
        process = start(folder, "--steps", 60, "--pause", 0.01)
        process.until("step", chance.randint(1, 5))
        time.sleep(chance.random() * 0.01)  # anywhere in a step, also while it saves
        process.send(signal.SIGKILL)
        assert process.ended()[0] == -signal.SIGKILL
        assert process.began_at >= reached
        reached = int([line for line in process.lines if line.startswith("step")][-1].split()[1])
    assert not list(folder.glob("??/*.safetensors"))
    last = start(folder, "--steps", 60)
    status, errors = last.ended()
    assert (status, errors, last.outcome) == (0, "", "outcome miss")
    assert last.began_at >= reached > 10
    assert the_bytes(folder) == uninterrupted(tmp_path / "whole", 60)
    assert list((folder / "workspaces").iterdir()) == []
    assert list((folder / "locks").iterdir()) == []


def test_who_waits_sees_the_progress_and_takes_over_when_the_other_is_killed(tmp_path, start):
    folder = tmp_path / "shared"
    first = start(folder, "--steps", 200, "--pause", 0.05)
    first.until("step", 2)
    second = start(folder, "--steps", 200)
    told = second.until(f"told tuning (pid {first.pid}), loss")
    assert told.endswith(" 200")
    first.send(signal.SIGKILL)
    first.ended()
    reached = int([line for line in first.lines if line.startswith("step")][-1].split()[1])
    assert second.ended() == (0, "")
    assert second.outcome == "outcome miss"
    assert second.began_at >= reached
    assert the_bytes(folder) == uninterrupted(tmp_path / "whole", 200)


def test_a_stopped_process_is_told_of_and_a_long_stage_waits_for_it(tmp_path, start):
    first = start(tmp_path, "--steps", 40, "--pause", 0.02, "--silence", 0.5)
    first.until("step", 2)
    first.send(signal.SIGSTOP)
    second = start(tmp_path, "--steps", 40, "--silence", 0.5)
    second.until(", silent for 2 s")  # four times as long as a short stage is waited for
    first.send(signal.SIGCONT)
    assert first.ended() == (0, "")
    status, errors = second.ended()
    assert (status, second.outcome) == (0, "outcome hit")
    assert errors.count("it may be stopped") == 1
    assert f"preparing {NAME} and has said nothing for" in errors


def test_a_stage_of_seconds_is_computed_beside_a_stopped_process(tmp_path, start):
    first = start(tmp_path, "--steps", 100, "--pause", 0.02, "--silence", 0.2, "--cost", "seconds")
    first.until("step", 20)
    first.send(signal.SIGSTOP)
    second = start(tmp_path, "--steps", 100, "--silence", 0.2, "--cost", "seconds")
    status, errors = second.ended()
    assert (status, second.outcome) == (0, "outcome miss")
    assert "it may be stopped; after" in errors
    assert f"{NAME} is computed here as well" in errors
    written = the_bytes(tmp_path)
    first.send(signal.SIGCONT)
    assert first.ended() == (0, "")
    assert the_bytes(tmp_path) == written


def test_a_busy_process_is_not_taken_for_a_stopped_one(tmp_path, start):
    """A stage that tells no progress for long is alive all the same."""
    first = start(tmp_path, "--steps", 2, "--pause", 1.5, "--silence", 1)
    first.until("step", 1)
    second = start(tmp_path, "--steps", 2, "--silence", 1)
    assert second.ended() == (0, "")
    assert second.outcome == "outcome hit"
    assert first.ended() == (0, "")


_LONG_PUPPET = """
import signal, sys
from personare.cache.recipe import Recipe
from personare.cli.main import run
from personare.engines.puppet.engine import Puppet
from tests.faults.long_stage import tuning
short = Puppet.recipe
Puppet.recipe = lambda self, options: Recipe(
    (*short(self, options).stages, *tuning(40, 0.02).stages)
)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it for us
run()
"""


@pytest.mark.parametrize(("number", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--json",))])
def test_an_interrupted_command_says_which_step_is_kept_and_goes_on_from_there(
    portrait, home, number, options
):
    command = [sys.executable, "-c", _LONG_PUPPET, "avatar", "create", "anna", str(portrait), *options]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in first.stdout:
        if line == "step 7\n":
            break
    first.send_signal(number)
    out, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    step = int(errors.split()[3])
    assert errors.strip() == (
        f"error: interrupted; step {step} of 40 is kept: the same command goes on from there"
    )
    assert step >= 7
    if options:
        answer = json.loads(out.splitlines()[-1])
        assert answer == {"error": errors.strip().removeprefix("error: "), "hint": "", "kind": "Cancelled"}
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"at {step}" in again.stdout.splitlines()
    assert list(home.rglob("checkpoint.safetensors")) == []
