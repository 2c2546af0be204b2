"""Ctrl-C, SIGTERM and SIGHUP at many moments, once and twice: 130 and one line, and one JSON
object where one was asked for.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import write_wav

LINE = "error: interrupted; nothing half-written is left\n"
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# What the installed script does. The first line is said from inside the interpreter, so that a
# slow machine does not turn this into a test of Python's own start.
_SCRIPT = """
import signal, sys
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it for us
    from personare.cli import interrupts
    interrupts.watch()
    print("started", file=sys.stderr, flush=True)
from personare.cli.main import run
if __name__ == "__main__":
    sys.exit(run())
"""


@pytest.fixture
def start(portrait: Path, voice_samples: np.ndarray, tmp_path: Path, cli):
    """Starts a program that speaks for two minutes; its features are prepared."""
    speech = write_wav(tmp_path / "long.wav", np.resize(voice_samples, 16000 * 120))
    script = tmp_path / "personare"
    script.write_text(_SCRIPT)
    assert cli("avatar", "create", "anna", portrait, "--set", "size=256").code == 0

    def begin(*more: str) -> subprocess.Popen[str]:
        running = subprocess.Popen(
            [
                sys.executable,
                script,
                "speak",
                "anna",
                speech,
                "-o",
                tmp_path / "a.mp4",
                "--no-clip-cache",
                *more,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert running.stderr is not None
        assert running.stderr.readline() == "started\n"
        return running

    return begin


def ended(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=120)
    return running.returncode, out, err


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("times", [1, 2])
def test_at_many_moments(start, tmp_path: Path, number: int, times: int) -> None:
    for after in (0.0, 0.03, 0.2, 0.5, 0.9, 1.6):
        running = start("--json")
        time.sleep(after)
        for _ in range(times):
            running.send_signal(number)
            time.sleep(0.03)
        code, out, err = ended(running)
        assert (code, err) == (130, LINE), (after, err)
        assert json.loads(out) == {"error": LINE[7:-1], "hint": "", "kind": "Cancelled"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.wav", "personare"]


def test_what_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    script = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import personare.cli.main as main, os, sys\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.argv = ['personare', 'engines', '--json']; main.run()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engines"]


_ONE_MORE = """
import sys
import personare.cli.main as main, personare.cli.app as app
known = app.program
def program(arguments):
    found = known(arguments)
    found.command("one-more")(command)
    return found
app.program = program
sys.argv = ["personare", "one-more"]
main.run()
"""
"""Runs `command` as a command of the program."""


@pytest.mark.parametrize(
    "fault",
    [
        "raise ImportError('initialization failed')",  # what C extensions make of it
        "raise SystemExit(1)",
        "pass",
    ],
)
def test_whatever_comes_out_of_it_is_the_interruption(tmp_path: Path, fault: str) -> None:
    script = f"""
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def command():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        {fault}
    raise ValueError("unforeseen")
"""
    done = subprocess.run([sys.executable, "-c", script + _ONE_MORE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, LINE)


def test_an_interruption_that_python_cannot_raise_is_not_lost(tmp_path: Path) -> None:
    script = """
import os, signal, time
class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
def command():
    held = Held()
    del held
    time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, "-c", script + _ONE_MORE], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (130, LINE)


def test_a_second_signal_does_not_disturb_the_blocks_that_end() -> None:
    """As a group's signal and that of a parent arrive, one after the other."""
    script = """
import os, signal
from personare.ground import interruption
interruption.begin()
signal.signal(signal.SIGTERM, interruption.interrupt)
try:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("removed what was half-written", flush=True)
except KeyboardInterrupt:
    interruption.end(signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    print("ended", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["removed what was half-written", "ended", ""]


@pytest.mark.parametrize("number", NUMBERS)
def test_batch_and_its_workers(
    portrait: Path, voice_samples: np.ndarray, tmp_path: Path, number: int
) -> None:
    """As a terminal does: the whole group gets the signal, workers that are just starting too."""
    write_wav(tmp_path / "v.wav", np.resize(voice_samples, 16000 * 120))
    jobs, script = tmp_path / "jobs.jsonl", tmp_path / "personare"
    script.write_text(_SCRIPT.replace('print("started", file=sys.stderr, flush=True)', ""))
    job = {"portrait": str(portrait), "speech": "v.wav"}
    jobs.write_text("".join(json.dumps({**job, "output": f"{i}.mp4"}) + "\n" for i in range(2)))
    for after in (0.1, 0.9, 1.6):
        running = subprocess.Popen(
            [
                sys.executable,
                script,
                "batch",
                jobs,
                "--workers",
                "2",
                "--output-dir",
                tmp_path / "c",
            ],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        time.sleep(0.2 + after)
        os.killpg(running.pid, number)
        _, err = running.communicate(timeout=120)
        assert (running.returncode, err) == (130, LINE), after


def test_a_pipe_that_nobody_reads_is_left_with_ctrl_c(start) -> None:
    """The end of a stream is no reason to wait for ever."""
    running = start("--json", "-v")
    time.sleep(1.0)
    running.send_signal(signal.SIGINT)
    assert select.select([running.stdout], [], [], 60)[0]
    running.communicate()
    assert running.returncode == 130
