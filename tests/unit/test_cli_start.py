"""What a command loads before it begins: its own, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import typer

import personare
from personare.cli.app import program
from tests.conftest import write_wav

PORTRAIT = f"{personare.__path__[0]}/assets/portrait.jpg"
_SPEAK = """
import json, sys
from personare.cli.app import run_command
assert run_command(sys.argv[1:]) == 0
print(json.dumps(sorted(sys.modules)))
"""
NOT_FOR_SPEAK = (
    "numpy.ma",  # brought by np.unique, np.median and the like
    "personare.cli.serve",
    "personare.engines.puppet.fit.guide",
    "personare.heads.retarget",
    "personare.media.motion_files",
    "torch",
)


def names(*arguments: str) -> set[str]:
    return set(typer.main.get_command(program(arguments)).commands)


def test_a_command_is_loaded_alone_and_all_where_none_is_named():
    everything = names()
    assert {"speak", "avatar", "engines", "doctor"} < everything
    assert names("speak", "--help") == {"speak"}
    assert names("avatar", "list") == {"avatar"}
    for first in ("--help", "--version", "spek", "score.wav"):
        assert names(first, "speak") == everything


@pytest.mark.slow
def test_a_clip_of_a_prepared_portrait_loads_nothing_that_it_does_not_need(tmp_path):
    personare.open_engine("puppet", cache_dir=tmp_path).prepare(PORTRAIT, size=256)
    voice = write_wav(tmp_path / "a.wav", 0.1 * np.sin(np.arange(1600, dtype=np.float32)))
    given = ["speak", PORTRAIT, str(voice), "-o", str(tmp_path / "a.mp4"), "--cache-dir", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", _SPEAK, *given, "--set", "size=256"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    assert "personare.engines.puppet.draw.face" in loaded
    assert not loaded.intersection(NOT_FOR_SPEAK)
