"""What a clip is told about: on stderr for people, in `warnings` for programs, also when it is
found finished.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from personare.media.image import read_image
from personare.media.levels import LevelMeter
from personare.motion import ARKIT_UNITS
from tests.conftest import write_wav
from tests.unit.puppet_avatars import PORTRAIT, write_picture
from tests.unit.sound_files import at_rate, write_float, write_tracks

SMALL = ("--set", "size=256")


def made(cli, portrait, voice, target, *options):
    ended = cli("speak", portrait, voice, "-o", target, *SMALL, *options, "--json")
    assert ended.code == 0, ended
    lines = ended.json["warnings"]
    assert [line for line in ended.err.splitlines() if line.startswith("warning: ")] == [
        f"warning: {line}" for line in lines
    ]
    return lines


def test_an_ordinary_clip_has_no_warnings(cli, tmp_path, portrait, voice):
    assert made(cli, portrait, voice, tmp_path / "a.mp4") == []


@pytest.mark.parametrize("kind", ["zeros", "faint noise"])
def test_a_silent_voice_is_told(cli, tmp_path, portrait, kind):
    samples = np.zeros(16000)
    if kind == "faint noise":
        samples = np.random.default_rng(0).normal(0, 1e-4, 16000)
    voice = write_wav(tmp_path / "a.wav", samples)
    for _ in range(2):  # the second is found finished
        (line,) = made(cli, portrait, voice, tmp_path / "a.mp4")
        assert "silent" in line
        assert "--track" in line


def test_a_mouth_that_never_opens_is_told(cli, tmp_path, portrait):
    hum = 0.2 * np.sin(2 * np.pi * 100 * np.arange(24000) / 16000)
    (line,) = made(cli, portrait, write_wav(tmp_path / "a.wav", hum), tmp_path / "a.mp4")
    assert "mouth never opened" in line


def test_a_quiet_voice_moves_the_mouth_and_is_told(cli, tmp_path, portrait, voice_samples):
    jaws = []
    for db in (0, -50):
        voice = write_float(tmp_path / "a.wav", voice_samples * np.float32(10 ** (db / 20)))
        curves = tmp_path / "a.json"
        lines = made(cli, portrait, voice, tmp_path / "a.mp4", "--curves", curves)
        frames = json.loads(curves.read_text())["frames"]
        jaws.append([frame["blendshapes"][ARKIT_UNITS.index("jawOpen")] for frame in frames])
    assert len(lines) == 1
    assert "too quiet" in lines[0]
    assert np.corrcoef(*jaws)[0, 1] > 0.95


def test_several_faces_are_told_unless_one_is_chosen(cli, tmp_path, voice):
    portrait = read_image(PORTRAIT)
    two = np.hstack([portrait, cv2.resize(portrait, None, fx=1.0, fy=1.0)[:, ::-1]])
    photo = write_picture(tmp_path / "two.jpg", two)
    for _ in range(2):
        (line,) = made(cli, photo, voice, tmp_path / "a.mp4")
        assert line.startswith("2 faces were to choose from")
    assert made(cli, photo, voice, tmp_path / "a.mp4", "--set", "face=left") == []


def test_a_track_is_chosen_on_the_command_line(cli, tmp_path, portrait, voice_samples):
    speech = at_rate(voice_samples)
    silent = np.zeros_like(speech)
    recording = write_tracks(tmp_path / "a.mkv", [[(0.0, silent)], [(0.0, speech)]])
    assert made(cli, portrait, recording, tmp_path / "a.mp4") == []
    assert "silent" in made(cli, portrait, recording, tmp_path / "a.mp4", "--track", "1")[0]
    ended = cli("speak", portrait, recording, "-o", tmp_path / "a.mp4", "--track", "3")
    assert ended.code == 3
    assert "2 sound tracks, no track 3" in ended.err
    assert cli("speak", portrait, "--text", "Hi", "-o", tmp_path / "a.mp4", "--track", "1").code == 2


def test_a_level_does_not_depend_on_the_pieces():
    voice = np.random.default_rng(0).normal(0, 0.1, (16000, 2)).astype(np.float32)
    voice[4800:6400] *= 3
    levels = []
    for size in (1, 100, 1600, 16000):
        meter = LevelMeter(16000)
        for start in range(0, len(voice), size):
            meter.push(voice[start : start + size])
        levels.append(meter.loudest_dbfs)
    assert np.ptp(levels) < 1e-6
    assert levels[0] == pytest.approx(20 * np.log10(0.3) + 1.9, abs=0.6)
    assert LevelMeter(16000).loudest_dbfs == -120
