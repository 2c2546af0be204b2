"""Curves out and in on the command line: the same pictures again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from personare.media.audio import open_speech
from personare.media.video import VideoSource
from personare.types import SAMPLE_RATE
from tests.conftest import error_lines, write_wav


def pictures(clip: Path) -> np.ndarray:
    return np.stack([frame.image for frame in VideoSource(clip).frames()])


@pytest.mark.parametrize("settings", [["size=256", "fps=30"], ["look=mesh", "size=256"]])
def test_curves_out_and_in_give_the_same_frames(
    cli, portrait: Path, voice: Path, tmp_path: Path, settings: list[str]
) -> None:
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


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_curves_with_a_sound_of_any_length(cli, portrait: Path, tmp_path: Path, seconds: float) -> None:
    """The clip lasts as long as the curves: a longer sound is cut, a shorter one followed by
    silence.
    """
    clip, curves = tmp_path / "c.mp4", tmp_path / "c.json"
    curves.write_text(json.dumps({"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}] * 50}))
    tone = 0.3 * np.sin(np.arange(round(seconds * 44100)) / 9)
    sound = write_wav(tmp_path / "tone.wav", np.stack([tone, tone], 1), 44100)
    made = cli(
        "speak", portrait, "-o", clip, "--curves", curves, "--sound", sound, "--set", "size=256", "--json"
    )
    assert made.code == 0, made.err
    assert (made.json["frames"], made.json["audio_seconds"]) == (50, 2.0)
    heard = np.concatenate([chunk.samples for chunk in open_speech(clip).chunks()])
    assert len(heard) == pytest.approx(32000, abs=1200)
    assert np.flatnonzero(np.abs(heard) > 0.1)[-1] / SAMPLE_RATE == pytest.approx(min(seconds, 2.0), abs=0.08)


def test_a_sound_needs_curves_to_go_with(cli, portrait: Path, voice: Path, tmp_path: Path) -> None:
    refused = cli("speak", portrait, voice, "-o", tmp_path / "c.mp4", "--sound", voice)
    assert refused.code == 2
    assert "--curves" in refused.err
    assert not (tmp_path / "c.mp4").exists()


def test_a_live_link_table_beside_the_clip(cli, portrait: Path, voice: Path, tmp_path: Path) -> None:
    ended = cli(
        "speak",
        portrait,
        voice,
        "-o",
        tmp_path / "c.mp4",
        "--curves",
        tmp_path / "c.csv",
        "--set",
        "size=256",
        "--json",
    )
    assert ended.code == 0, ended.err
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + ended.json["frames"]


def test_curves_that_cannot_be(cli, portrait: Path, voice: Path, tmp_path: Path) -> None:
    clip, curves = tmp_path / "c.mp4", tmp_path / "c.json"
    missing = cli("speak", portrait, "-o", clip, "--curves", curves)
    assert missing.code == 3
    assert "does not exist" in error_lines(missing)[0]
    curves.write_text('{"fps": 25, "frames": [{"blendshapes": {"jawOpen": 0.3}}]}')
    other = cli("speak", portrait, "-o", clip, "--curves", curves, "--fps", "30", "--json")
    assert (other.code, other.json["fps"], other.json["frames"]) == (0, 30, 2)
    clip.unlink()
    wrong = cli("speak", portrait, voice, "-o", clip, "--curves", tmp_path / "c.txt")
    assert wrong.code == 3
    assert not clip.exists()
