"""puppet follows a guide: the frames it shows, their count at any rate, and what comes after."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import personare
from personare.engines.puppet.fit import guide as guides
from personare.media.template import Template
from personare.motion import ARKIT
from personare.types import Feature, Guide

JAW, YAW = ARKIT.columns.index("jawOpen"), ARKIT.columns.index("headYaw")


@pytest.fixture
def nodding(monkeypatch: pytest.MonkeyPatch) -> Guide:
    """A guide of 12 pictures at 10 a second; what is seen in it is known: the jaw opens, the
    head turns.
    """
    motion = np.zeros((12, ARKIT.width), np.float32)
    motion[:, JAW], motion[:, YAW] = np.linspace(0, 0.5, 12), np.linspace(0, 8, 12)
    seen = Feature(
        {"motion": motion, "seen": np.ones(12, np.bool_)},
        {"fps": "10", "frames": 12, "unseen": 0, "faces": 1},
    )
    monkeypatch.setattr(guides, "watch", lambda *_: seen)
    return Guide("nodding", (), (64, 64), Fraction(10), 12, lambda: iter(()))


def rows(made) -> np.ndarray:
    return np.concatenate([part.motion for part in made])


def test_frames_come_at_the_guide_s_rate_or_the_one_asked_for(portrait: Path, nodding: Guide) -> None:
    engine = personare.open_engine("puppet")
    avatar = engine.prepare(portrait, size=256)
    for fps, expected in ((None, 12), (Fraction(25), 30)):
        options = engine.engine.read_options({"size": 256, "fps": fps})
        performance = engine.engine.perform(avatar, options, guide=nodding)
        told = rows(performance.finish())
        assert performance.fps == (fps or 10)
        assert len(told) == expected
        assert np.all(np.diff(told[:, JAW]) >= 0)
        assert told[-1, YAW] == pytest.approx(8, abs=0.01)
        performance.close()


def test_head_motion_scales_the_guide_s_head(portrait: Path, nodding: Guide) -> None:
    engine = personare.open_engine("puppet")
    options = engine.engine.read_options({"head_motion": 0.5})
    told = np.concatenate([part.values for part in engine.engine.move(options, guide=nodding).finish()])
    assert told[-1, YAW] == pytest.approx(4)
    assert told[-1, JAW] == pytest.approx(0.5)


def test_what_comes_after_a_guide_starts_where_it_was_left(portrait: Path, nodding: Guide) -> None:
    engine = personare.open_engine("puppet")
    avatar = engine.prepare(portrait, size=256)
    options = engine.engine.read_options({"size": 256, "blink_rate": 0})
    performance = engine.engine.perform(avatar, options, guide=nodding)
    frames = performance.finish()
    left = rows([next(frames) for _ in range(9)])[-1]
    performance.interrupt()
    after = rows([performance.idle(8)])
    assert abs(after[0, YAW] - left[YAW]) < abs(left[YAW]) / 3
    assert abs(after[-1, YAW]) < 3
    assert np.abs(np.diff(after[:, JAW], prepend=left[JAW])).max() < 0.2


def test_from_python_a_guide_gives_a_clip(portrait: Path, nodding: Guide, tmp_path: Path) -> None:
    engine = personare.open_engine("puppet")
    clip = engine.follow(engine.prepare(portrait, size=256), nodding)
    report = clip.save(tmp_path / "a.mp4")
    assert (report.frames, report.fps, report.audio_seconds) == (12, 10, pytest.approx(1.2))
    assert report.cache["stages"]["puppet.watched"] == "miss"


@pytest.mark.slow
def test_the_camera_example_mirrors_a_video(portrait: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    engine = personare.open_engine("puppet")
    spoken = tmp_path / "spoken.mp4"
    tone = personare.Speech.from_samples(0.3 * np.sin(np.arange(8000) / 9), rate=16000)
    engine.speak(engine.prepare(portrait, size=256), tone).save(spoken)
    command = [sys.executable, root / "examples" / "camera.py", portrait, "--source", spoken]
    ended = subprocess.run([*command, "-o", tmp_path / "m.mp4"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert Template(tmp_path / "m.mp4").frames == 13
