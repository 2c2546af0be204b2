"""Curves out and in on the command line: the same pictures again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from personare.media.video import VideoSource
from tests.conftest import error_lines


def pictures(clip: Path) -> np.ndarray:
    return np.stack([frame.image for frame in VideoSource(clip).frames()])


@pytest.mark.parametrize("settings", [["size=256", "fps=30"], ["look=mesh", "size=256"]])
def test_curves_out_and_in_give_the_same_frames(cli, portrait: Path, voice: Path, tmp_path: Path, settings: list[str]) -> None:
    who = [] if "look=mesh" in settings else [portrait]
    spoken, followed, curves = tmp_path / "spoken.mp4", tmp_path / "followed.mp4", tmp_path / "curves.json"
    first = cli("speak", *who, voice, "-o", spoken, "--curves", curves, "--set", *settings, "--json")
    assert first.code == 0, first.err
    kept = json.loads(curves.read_text())
    assert len(kept["frames"]) == first.json["frames"]
    assert len(kept["names"]) == 52
    other_fps = [s for s in settings if not s.startswith("fps")]
    again = cli("speak", *who, "-o", followed, "--curves", curves, "--set", *other_fps, "seed=4", "--json")
    assert again.code == 0, again.err
    assert (again.json["frames"], again.json["fps"]) == (first.json["frames"], first.json["fps"])
    assert np.array_equal(pictures(spoken), pictures(followed))


def test_a_live_link_table_beside_the_clip(cli, portrait: Path, voice: Path, tmp_path: Path) -> None:
    ended = cli("speak", portrait, voice, "-o", tmp_path / "c.mp4", "--curves", tmp_path / "c.csv", "--set", "size=256", "--json")
    assert ended.code == 0, ended.err
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + ended.json["frames"]


def test_curves_that_cannot_be(cli, portrait: Path, voice: Path, tmp_path: Path) -> None:
    clip, curves = tmp_path / "c.mp4", tmp_path / "c.json"
    missing = cli("speak", portrait, "-o", clip, "--curves", curves)
    assert missing.code == 3
    assert "does not exist" in error_lines(missing)[0]
    curves.write_text('{"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}]}')
    other = cli("speak", portrait, "-o", clip, "--curves", curves, "--fps", "30")
    assert other.code == 3
    assert "25 frames per second" in error_lines(other)[0]
    wrong = cli("speak", portrait, voice, "-o", clip, "--curves", tmp_path / "c.txt")
    assert wrong.code == 3
    assert not clip.exists()
