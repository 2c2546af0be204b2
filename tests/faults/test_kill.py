"""kill -9 anywhere: the next run is right, and nothing half-written is taken for something
whole.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import write_wav

_DIES_IN_STAGE = """
import dataclasses, os, signal, sys
from pathlib import Path
from personare.cache import recipe
from personare.studio.studio import Studio
studio = Studio()
cast = studio.cast(Path(sys.argv[1]), None, {"size": 256})
whole = cast.engine.recipe(cast.options)
wanted = int(sys.argv[2])
die = lambda inputs: os.kill(os.getpid(), signal.SIGKILL)
stages = tuple(dataclasses.replace(s, compute=die) if i == wanted else s for i, s in enumerate(whole.stages))
type(cast.engine).recipe = lambda self, options: recipe.Recipe(stages)
studio.prepare(cast)
"""

_DIES_IN_WRITING = """
import os, signal, sys
from pathlib import Path
from personare.media.audio import open_speech
from personare.studio.studio import Studio
def progress(what, done, total):
    if what == "speaking" and done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
studio = Studio()
cast = studio.cast(Path(sys.argv[1]), None, {"size": 256})
studio.speak(cast, open_speech(Path(sys.argv[2])), Path(sys.argv[3]), progress)
"""


def dies(script, *arguments):
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.fixture
def short_voice(tmp_path, voice_samples):
    return write_wav(tmp_path / "v.wav", voice_samples[:16000])


@pytest.fixture
def expected(cli, tmp_path, portrait, short_voice):
    target = tmp_path / "expected.mp4"
    assert cli("speak", portrait, short_voice, "-o", target, "--set", "size=256", "--no-cache").code == 0
    return target.read_bytes()


def stage_count():
    from personare.engines.engine import load_engine

    engine = load_engine("puppet")
    return len(engine.recipe(engine.read_options({})).stages)


@pytest.mark.parametrize("stage", range(stage_count()))
def test_killed_in_a_stage_of_prepare(cli, tmp_path, portrait, short_voice, expected, stage, home):
    dies(_DIES_IN_STAGE, portrait, stage)
    ended = cli("speak", portrait, short_voice, "-o", tmp_path / "a.mp4", "--set", "size=256", "--json")
    assert ended.code == 0, ended
    assert list(ended.json["cache"]["stages"].values()) == ["hit"] * stage + ["miss"] * (
        stage_count() - stage
    )
    assert (tmp_path / "a.mp4").read_bytes() == expected


@pytest.mark.parametrize("frame", [1, 12])
def test_killed_while_writing(cli, tmp_path, portrait, short_voice, expected, frame):
    target = tmp_path / "clips" / "a.mp4"
    target.parent.mkdir()
    dies(_DIES_IN_WRITING, portrait, short_voice, target, frame)
    assert not target.exists()
    assert cli("speak", portrait, short_voice, "-o", target, "--set", "size=256").code == 0
    assert target.read_bytes() == expected
    assert [path.name for path in target.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, portrait, voice_samples, number):
    """Ctrl-C: exit code 130, one line, no file."""
    import numpy as np

    speech = write_wav(tmp_path / "long.wav", np.resize(voice_samples, 16000 * 120))
    folder = tmp_path / "clips"
    folder.mkdir()
    running = subprocess.Popen(
        [sys.executable, "-m", "personare", "speak", str(portrait), str(speech), "-o", str(folder / "a.mp4")],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob(".a.mp4.*.part")) and time.monotonic() < deadline and running.poll() is None:
        pass
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert errors.strip() == "error: interrupted; nothing half-written is left"
    assert list(folder.iterdir()) == []


def test_two_processes_prepare_one_portrait_once(portrait, home):
    command = [sys.executable, "-m", "personare", "avatar", "create", "--json", "--set", "size=256"]
    running = [
        subprocess.Popen(
            [*command, name, str(portrait)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in ("anna", "bert")
    ]
    outcomes = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        outcomes.append(json.loads(out)["stages"])
    for stage in outcomes[0]:
        assert sorted(outcome[stage] for outcome in outcomes) == ["hit", "miss"], stage


def test_a_flipped_bit_is_found_quarantined_and_recomputed(
    cli, tmp_path, portrait, short_voice, expected, home
):
    speak = ("speak", portrait, short_voice, "-o", tmp_path / "a.mp4", "--set", "size=256", "--json")
    assert cli(*speak).code == 0
    for path in home.rglob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
    ended = cli(*speak)
    assert ended.code == 0
    assert set(ended.json["cache"]["stages"].values()) == {"miss"}
    assert "warning: " in ended.err
    assert (tmp_path / "a.mp4").read_bytes() == expected
    assert cli("cache", "stats", "--json").json["quarantined"] == stage_count()


def test_a_deleted_index_is_rebuilt(cli, portrait, home):
    assert cli("avatar", "create", "anna", portrait, "--set", "size=256").code == 0
    before = cli("cache", "stats", "--json").json
    databases = [path for path in home.rglob("*") if path.is_file() and path.read_bytes()[:6] == b"SQLite"]
    assert databases
    for path in databases:
        for part in path.parent.glob(f"{path.name}*"):
            part.unlink()
    after = cli("cache", "stats", "--json").json
    assert (after["features"], after["bytes"], after["pinned_bytes"]) == (
        before["features"],
        before["bytes"],
        before["pinned_bytes"],
    )
    assert before["pinned_bytes"] > 0


def test_a_cache_folder_that_cannot_be_used_warns_once(cli, tmp_path, portrait, short_voice, expected):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder should be")
    ended = cli(
        "speak", portrait, short_voice, "-o", tmp_path / "a.mp4", "--set", "size=256", "--cache-dir", blocked
    )
    assert ended.code == 0, ended
    assert ended.err.count("warning: ") == 1
    assert (tmp_path / "a.mp4").read_bytes() == expected
    assert Path(blocked).read_text() == "a file, where a folder should be"
