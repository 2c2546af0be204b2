"""Orders with a guide, made by an engine that does no more than show it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Latency
from personare.engines.performance import Made, Movement, Performance
from personare.errors import EngineError
from personare.media.audio import open_speech
from personare.media.video import VideoSource
from personare.motion import ARKIT
from personare.studio.order import Order
from personare.studio.studio import Studio
from tests.conftest import error_lines


class Mirror(Engine):
    """Shows the guide itself; its motion opens the jaw as far as the guide is light."""

    name = "mirror"
    summary = "shows the guide"
    Options = EngineOptions
    licences = {}  # noqa: RUF012
    moves = ARKIT

    def missing(self):
        return []

    def recipe(self, options):
        return Recipe(())

    def latency(self, options):
        return Latency(0.04, 0.0)

    def drives(self, options):
        return frozenset({"guide"})

    def perform(self, avatar, options, *, guide=None, store=None):
        return _Shown(guide)

    def move(self, options, *, guide=None, store=None):
        return _Moved(guide)


class _FromGuide:
    def __init__(self, guide) -> None:
        super().__init__(guided=True)
        self.fps, self.size, self.space, self._guide = guide.fps, guide.size, ARKIT, guide

    def _hear(self, said, samples, phones):
        raise EngineError("hears nothing")

    def _end(self, said):
        said.expected = self._guide.frames
        for picture in self._guide.pictures():
            yield self._made(picture)


class _Shown(_FromGuide, Performance):
    def _made(self, picture):
        return Made(picture[None])


class _Moved(_FromGuide, Movement):
    def _made(self, picture):
        row = np.zeros((1, ARKIT.width), np.float32)
        row[0, ARKIT.columns.index("jawOpen")] = picture.mean() / 255
        return row


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    from personare.engines import engine

    here = EntryPoint("mirror", f"{__name__}:Mirror", engine.ENTRY_POINT_GROUP)
    installed = engine.entry_points
    monkeypatch.setattr(engine, "entry_points", lambda group: [*installed(group=group), here])


@pytest.fixture
def guide(tmp_path) -> Path:
    """Twelve pictures that grow lighter, in a folder."""
    folder = tmp_path / "guide"
    folder.mkdir()
    for i in range(12):
        Pillow.fromarray(np.full((64, 96, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


def brightness(clip: Path) -> list[float]:
    return [float(frame.image.mean()) for frame in VideoSource(clip).frames()]


def test_a_guide_is_followed_from_the_command_line(cli, portrait, guide, tmp_path) -> None:
    clip = tmp_path / "a.mp4"
    ended = cli("follow", portrait, guide, "-o", clip, "--engine", "mirror", "--json")
    assert ended.code == 0, ended
    assert (ended.json["frames"], ended.json["fps"], ended.json["width"]) == (12, 25, 96)
    assert np.allclose(brightness(clip), [20 * i for i in range(12)], atol=4)


@pytest.mark.slow
def test_the_sound_of_a_guide_is_kept(guide, portrait, voice, tmp_path) -> None:
    spoken = tmp_path / "spoken.mp4"
    options = {"size": 256, "fps": "30"}
    Studio().make(Order(portrait=portrait, speech=voice, options=options, output=spoken))
    clip = tmp_path / "a.mp4"
    report = Studio().make(Order(portrait=portrait, guide=spoken, engine="mirror", output=clip))
    assert report.fps == 30
    first, second = (np.concatenate([c.samples for c in open_speech(p).chunks()]) for p in (spoken, clip))
    assert abs(len(first) - len(second)) < 2000
    n = min(len(first), len(second))
    assert np.corrcoef(first[:n], second[:n])[0, 1] > 0.95


def test_what_one_engine_saw_moves_the_portrait_of_another(cli, portrait, guide, tmp_path) -> None:
    clip, curves = tmp_path / "a.mp4", tmp_path / "c.json"
    who = ("follow", portrait, guide, "-o", clip, "--set", "size=256")
    ended = cli(*who, "--moved-by", "mirror", "--curves", curves, "--json")
    assert ended.code == 0, ended
    assert (ended.json["engine"], ended.json["frames"], ended.json["width"]) == ("puppet", 12, 256)
    from personare.media.motions import read_motion

    jaw = read_motion(curves).values[:, ARKIT.columns.index("jawOpen")]
    assert np.allclose(jaw, [20 * i / 255 for i in range(12)], atol=1e-6)


def test_engines_that_cannot_follow_name_those_that_can(cli, portrait, guide, tmp_path) -> None:
    refused = cli("follow", portrait, guide, "-o", tmp_path / "a.mp4", "--engine", "float")
    message, hint = error_lines(refused)
    assert message == "float cannot follow a guide"
    assert "mirror" in hint.removeprefix("engines that can: ").split(", ")
    missing = cli("follow", portrait, tmp_path / "no.mp4", "-o", tmp_path / "a.mp4", "--engine", "mirror")
    assert "no.mp4 does not exist" in error_lines(missing)[0]
