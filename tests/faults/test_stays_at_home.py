"""No command reaches for the network, and none writes a file outside of its home, its cache and
its output.

Every command runs as a user runs it, in a process of its own, with an empty HOME that is looked
at afterwards. Python's sockets are guarded by a `sitecustomize` of ours; where strace is
installed it sees what native libraries do as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from personare.cli.app import program
from personare.ground.privacy import SWITCHES

GUARD = """
import os, socket

def _refused(*arguments, **_):
    with open(os.environ["GUARD_LOG"], "a") as log:
        print(arguments, file=log)
    raise OSError("this process may not use the network")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = _refused
socket.getaddrinfo = socket.gethostbyname = _refused
"""
"""sitecustomize of the guarded processes: every way out of Python's socket module."""


@dataclass(frozen=True)
class Place:
    """Where guarded processes run. watched: nothing may appear there."""

    home: Path
    work: Path
    watched: Path
    guard: Path

    def environment(self) -> dict[str, str]:
        own = {"HOME", "PERSONARE_HOME", "TMPDIR", "PYTHONPATH", "MPLCONFIGDIR"}
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "HF_", "PERSONARE_", "TRANSFORMERS_"))
            and name not in own | set(SWITCHES)
        }
        sources = str(Path(__file__).parents[2] / "src")
        return kept | {
            "HOME": str(self.watched / "user"),
            "TMPDIR": str(self.watched / "tmp"),
            "PERSONARE_HOME": str(self.home),
            "GUARD_LOG": str(self.guard / "log"),
            "PYTHONPATH": os.pathsep.join([str(self.guard), sources]),
        }

    def run(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, sys.executable, "-m", "personare", *arguments],
            env=self.environment(), cwd=self.work, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def strays(self) -> list[str]:
        """Files where none may be."""
        return [str(path) for path in sorted(self.watched.rglob("*")) if not path.is_dir()]

    def guard_log(self) -> str:
        log = self.guard / "log"
        return log.read_text() if log.exists() else ""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, portrait: Path, voice: Path) -> Place:
    """A home with an avatar and an archive of it, a clip, and a list of jobs beside them."""
    root = tmp_path_factory.mktemp("stays")
    made = Place(root / "home", root / "work", root / "watched", root / "guard")
    for folder in (made.work, made.watched / "user", made.watched / "tmp", made.guard):
        folder.mkdir(parents=True)
    (made.guard / "sitecustomize.py").write_text(GUARD)
    shutil.copy(portrait, made.work / "me.jpg")
    shutil.copy(voice, made.work / "v.wav")
    (made.work / "jobs.jsonl").write_text(
        '{"portrait": "me.jpg", "speech": "v.wav", "output": "job.mp4", "options": {"size": 256}}\n'
    )
    for prepared in (
        ("avatar", "create", "anna", "me.jpg", "--set", "size=256"),
        ("avatar", "export", "anna", "anna.avatar"),
        ("speak", "anna", "v.wav", "-o", "clip.mp4"),
    ):
        ended = made.run(*prepared)
        assert ended.returncode == 0, ended.stderr
    return made


SMALL = ("--set", "size=256")
COMMANDS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "speak": (("speak", "me.jpg", "v.wav", "-o", "spoken.mp4", "--no-cache", *SMALL), 0),
    "follow": (("follow", "me.jpg", "clip.mp4", "-o", "followed.mp4", *SMALL), 0),
    "move": (("move", "v.wav", "--engine", "puppet", "-o", "moved.npz"), 0),
    "styles list": (("styles", "list"), 0),
    # puppet's motion is no style
    "styles add": (("styles", "add", "mine", "moved.npz"), 3),
    "schema": (("schema", "order"), 0),
    "batch": (("batch", "jobs.jsonl"), 0),
    "bench": (("bench", "puppet", "me.jpg", "v.wav", "--runs", "1", "--plot", "b.png", *SMALL), 0),
    "score": (("score", "clip.mp4"), 0),
    "verify": (("verify", "clip.mp4"), 0),
    "marks setup": (("marks", "setup", "--producer", "Anna"), 0),
    "marks show": (("marks", "show"), 0),
    "demo": (("demo", "demo.mp4"), 0),
    "engines": (("engines",), 0),
    "voices": (("voices",), 0),
    "doctor": (("doctor",), 0),
    "avatar create": (("avatar", "create", "bert", "me.jpg", "--replace", *SMALL), 0),
    "avatar list": (("avatar", "list"), 0),
    "avatar show": (("avatar", "show", "anna"), 0),
    "avatar status": (("avatar", "status", "anna"), 0),
    "avatar export": (("avatar", "export", "anna", "again.avatar"), 0),
    "avatar import": (("avatar", "import", "anna.avatar", "--name", "cleo", "--replace"), 0),
    "avatar rm": (("avatar", "rm", "cleo"), 0),
    "cache stats": (("cache", "stats"), 0),
    "cache list": (("cache", "list"), 0),
    "cache verify": (("cache", "verify"), 0),
    "cache warm": (("cache", "warm", "anna"), 0),
    "cache prune": (("cache", "prune", "--max-size", "1GB"), 0),
    "cache clear": (("cache", "clear"), 0),
    "weights list": (("weights", "list"), 0),
    "weights verify": (("weights", "verify"), 0),
    "weights where": (("weights", "where", "float"), 4),
}
"""Command -> what is typed, and the exit code; in this order, for some need what others made."""


OPEN_DOORS = {"weights pull", "serve", "page", "deploy"}
"""Commands that are for the network; tests/serve says to whom the last three answer."""


def every_command() -> set[str]:
    found = set()
    group = typer.main.get_command(program())
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found |= {f"{name} {inner}" for inner in below} if below else {name}
    return found


def test_no_command_is_left_out() -> None:
    assert every_command() == {*COMMANDS, *OPEN_DOORS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_stays_at_home(place: Place, command: str) -> None:
    typed, code = COMMANDS[command]
    ended = place.run(*typed)
    assert ended.returncode == code, ended.stderr
    assert place.strays() == []
    assert place.guard_log() == ""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("command", ["speak", "score", "voices", "doctor", "batch"])
def test_no_library_underneath_opens_a_connection(place: Place, tmp_path: Path, command: str) -> None:
    calls = tmp_path / "calls"
    strace = ("strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(calls))
    typed, code = COMMANDS[command]
    assert place.run(*typed, before=strace).returncode == code
    assert [line for line in calls.read_text().splitlines() if "AF_INET" in line] == []
    assert place.strays() == []


def test_a_pull_is_the_one_command_that_uses_the_network_and_the_guard_sees_it(place: Place) -> None:
    ended = place.run("weights", "pull", "float")
    assert ended.returncode == 4
    assert "huggingface.co" in place.guard_log(), ended.stderr
    (place.guard / "log").unlink()
    strays = [Path(path).relative_to(place.watched / "user") for path in place.strays()]
    assert all(path.parts[:2] == (".cache", "huggingface") for path in strays)


def test_every_switch_is_set_before_a_library_can_look_and_the_users_own_choice_is_kept() -> None:
    code = "import os, personare; print(*(os.environ[n] for n in personare.ground.privacy.SWITCHES))"
    own = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    asked = [sys.executable, "-c", code]
    told = subprocess.run(asked, env=own, capture_output=True, text=True, check=True).stdout
    assert told.split() == list(SWITCHES.values())
    chosen = own | {"ORT_DISABLE_TELEMETRY": "0"}
    told = subprocess.run(asked, env=chosen, capture_output=True, text=True, check=True).stdout
    assert told.split()[list(SWITCHES).index("ORT_DISABLE_TELEMETRY")] == "0"
