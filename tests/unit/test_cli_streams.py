"""stdout in any encoding, full or closed; errors that quote what is long or odd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from personare.errors import LONGEST_LINE, InputError, UnknownName

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "personare"]


@pytest.fixture
def made(portrait: Path, voice: Path, tmp_path: Path, cli):
    """A command that makes a clip at once (it was made before), with names in other scripts."""
    face = tmp_path / "портрет 人.jpg"
    face.write_bytes(portrait.read_bytes())
    command = ["speak", face, voice, "-o", tmp_path / "выход 人.mp4", "--set", "size=256"]
    assert cli(*command).code == 0
    return [*COMMAND, *command]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp936", "ascii", "utf-8", "utf-16"])
def test_a_made_clip_is_said_in_any_encoding(made, tmp_path: Path, encoding: str) -> None:
    clip = tmp_path / "выход 人.mp4"
    for more in ([], ["--json"]):
        clip.unlink()
        done = subprocess.run(
            [*made, *more],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert clip.exists()
    assert json.loads(done.stdout.decode(encoding))["output"] == str(clip)


def test_a_name_that_is_no_text(made, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, as old archives leave them."""
    name = tmp_path / "a\udcff.mp4"
    done = subprocess.run([*made[:7], name, *made[8:], "--json"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == str(name)
    assert name.exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", [["voices"], ["avatar", "list"], ["engines"], ["--help"]])
def test_tables_in_any_encoding(encoding: str, command: list[str]) -> None:
    done = subprocess.run(
        [*COMMAND, *command], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode(encoding)


@pytest.mark.parametrize("how", ["full", "closed", "gone"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_made_clip_is_success_wherever_stdout_goes(made, tmp_path: Path, how: str, more: list[str]) -> None:
    (tmp_path / "выход 人.mp4").unlink()
    shell = {
        "full": '"$@" > /dev/full',
        "closed": '"$@" >&-',
        "gone": '{ "$@"; echo $? >&3; } 3>code | true; exit $(cat code)',
    }
    done = subprocess.run(
        ["sh", "-c", shell[how], "sh", *made, *more], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "выход 人.mp4").exists()
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_an_answer_that_nobody_gets_is_no_success() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" > /dev/full', "sh", *COMMAND, "voices"], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "warning: stdout took no more: No space left on device\n"


def test_streams_that_are_closed_are_not_taken_by_files(portrait: Path, voice: Path, tmp_path: Path) -> None:
    """What libraries print would else go into the first file that gets the number."""
    command = [*COMMAND, "speak", portrait, voice, "-o", tmp_path / "a.mp4", "--set", "size=256"]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command])
    assert done.returncode == 0
    assert (tmp_path / "a.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "a" * 100_000 + "=1"], ["--set", "size=" + "9" * 5000], ["--engine", "a" * 100_000],
        ["--set", "b\nc=1"], ["--engine", "x\x1b[31my\nz"], ["--fps", "1" * 4000], ["--fps", "1e99999999"],
        ["--text", "hi", "--voice", "v" * 9999],
    ],
)  # fmt: skip
def test_an_error_is_one_short_line(
    cli, portrait: Path, tmp_path: Path, voice: Path, arguments: list[str]
) -> None:
    speech = [] if "--text" in arguments else [voice]
    ended = cli("speak", portrait, *speech, "-o", tmp_path / "a.mp4", *arguments, "--json")
    assert ended.code == 3
    lines = ended.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
    assert max(map(len, lines)) <= LONGEST_LINE + 10
    assert all(line.isprintable() for line in lines)
    assert set(ended.json) == {"error", "hint", "kind"}


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["speak", "--nonsense"], ["speak"], ["voices", "x" * 100_000], ["-o"]],
)
def test_a_wrong_command_line_says_so_in_both_ways(cli, arguments: list[str]) -> None:
    plain, as_json = cli(*arguments), cli(*arguments, "--json")
    assert plain.code == as_json.code == 2
    assert plain.out == ""
    assert [line.partition(":")[0] for line in plain.err.splitlines()] == ["error", "hint"]
    assert max(map(len, plain.err.splitlines())) <= LONGEST_LINE + 10
    assert as_json.json["kind"] == "UsageError"


def test_a_message_is_made_readable_in_one_place() -> None:
    error = InputError("a\n b\tc\x07 \u202e", hint="x" * 10_000)
    assert error.message == str(error) == r"a b c\x07 \u202e"
    assert len(error.hint) <= LONGEST_LINE
    assert error.hint.startswith("xxx")
    long = UnknownName(f"no voice {'v' * 5000}: it does not exist")
    assert long.message.startswith("no voice vvv")
    assert long.message.endswith("vvv: it does not exist")
