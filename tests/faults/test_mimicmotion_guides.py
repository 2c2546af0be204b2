"""Guides and pictures as people have them: nobody in them, several people, too short, empty,
turned, uneven.
"""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

import personare
from personare.cache.recipe import Recipe
from personare.cache.run import run
from personare.engines.mimicmotion import names
from personare.errors import NoPersonFound
from personare.media.guide import open_guide
from tests.conftest import error_lines
from tests.e2e.mimicmotion_runs import SETTINGS, SMALL, folder_of, followed, scene
from tests.unit.template_videos import write_video

pytestmark = pytest.mark.neural

ONCE = {"steps": 1, "guidance_min": 1, "guidance_max": 1}
"""One step without guidance."""


@pytest.fixture(scope="module")
def engine(weights, tmp_path_factory):
    return personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path_factory.mktemp("cache"))


def test_who_is_not_seen_is_held_and_reported(engine, portrait, tmp_path):
    """0.4 s at 25 pictures a second are 10."""
    kinds = ["one", *["none"] * 12, "one"]
    guide = folder_of(tmp_path / "g", [scene(0.5, kind) for kind in kinds])
    frames, performance = followed(engine, portrait, guide, tile_size=16, **ONCE)
    assert len(frames) == 14
    assert performance.remarks == (
        "nobody was seen in 12 of 14 pictures of the guide: the last pose was held; 2 of them show nobody",
    )


def test_of_two_people_one_is_followed_and_it_is_said(engine, portrait, tmp_path):
    guide = folder_of(tmp_path / "g", [scene(0.5, "two"), scene(0.6, "two"), scene(0.6)])
    largest, performance = followed(engine, portrait, guide, **ONCE)
    assert "up to 2 people are in the guide, and the largest is followed" in performance.remarks[0]
    leftmost, _ = followed(engine, portrait, guide, **ONCE, person="leftmost")
    first, _ = followed(engine, portrait, guide, **ONCE, person=1)
    assert not np.array_equal(largest, leftmost)
    assert np.array_equal(leftmost, first)
    with pytest.raises(NoPersonFound, match="person=3 is asked for, and at most 2 are seen"):
        followed(engine, portrait, guide, person=3)
    published, performance = followed(engine, portrait, guide, **ONCE, published_fit=True)
    assert not performance.remarks
    assert not np.array_equal(published, largest)


def test_where_nobody_is_it_says_so(engine, portrait, tmp_path):
    empty = folder_of(tmp_path / "g", [scene(kind="none")] * 2)
    with pytest.raises(NoPersonFound, match="in any of the 2 pictures of the guide"):
        followed(engine, portrait, empty)
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), scene(kind="none"))
    with pytest.raises(NoPersonFound, match="no person was found in the picture"):
        engine.prepare(blank, **SMALL)
    frames, _ = followed(engine, portrait, empty, published_fit=True, **ONCE)
    assert len(frames) == 2  # as published: the whole picture is a person


@pytest.mark.parametrize("count", [1, 20])
def test_short_guides_are_one_tile(engine, portrait, tmp_path, count):
    guide = folder_of(tmp_path / "g", [scene(0.5)] * count)
    frames, _ = followed(engine, portrait, guide, tile_size=72, tile_overlap=6, **ONCE)
    assert frames.shape == (count, 64, 64, 3)


def test_a_guide_without_pictures_is_refused(cli, weights, portrait, tmp_path):
    """An empty folder, a video without frames, one that ends within its first."""
    empty = tmp_path / "empty"
    empty.mkdir()
    no_frames = tmp_path / "no_frames.mp4"
    with av.open(str(no_frames), "w") as container:
        container.add_stream("libx264", rate=25, width=80, height=120, pix_fmt="yuv420p")
    cut = write_video(tmp_path / "cut.mp4", [scene()] * 3, codec="libx264")
    cut.write_bytes(cut.read_bytes()[:400])
    for guide, told in ((empty, "holds no pictures"), (no_frames, "no_frames.mp4"), (cut, "cut.mp4")):
        clip = tmp_path / "a.mp4"
        ended = cli(
            *("follow", portrait, guide, "-o", clip, "--engine", "mimicmotion", "--weights", weights),
            *SETTINGS,
        )
        error, _ = error_lines(ended)
        assert ended.code == 3, ended
        assert told in error
        assert not list(tmp_path.glob("*a.mp4*"))


def watched(engine, guide):
    """What a guide is kept as: arrays by name, its size and the rate."""
    options = engine.engine.read_options(SMALL)
    stages = engine.engine.recipe(options).stages
    alone = Recipe(tuple(stage for stage in stages if stage.name == names.GUIDE_POINTS))
    feature = run(alone, {"guide": open_guide(guide)}, engine.studio.store).features[names.GUIDE_POINTS]
    arrays = {name: np.array(array) for name, array in feature.arrays.items()}
    return arrays, feature.metadata["size"], feature.metadata["fps"]


def test_a_phones_video_is_watched_upright(engine, tmp_path):
    """Its pictures lie on their side, with a mark that says so."""
    pictures = [scene(light) for light in (0.3, 0.6, 0.9)]
    lying = [np.rot90(picture, -1) for picture in pictures]
    marked = write_video(tmp_path / "marked.mp4", lying, codec="libx264rgb", quarter_turns=1)
    points, size, _ = watched(engine, marked)
    expected, upright, _ = watched(engine, folder_of(tmp_path / "upright", pictures))
    _, as_it_lies, _ = watched(engine, folder_of(tmp_path / "lying", lying))
    assert (size, upright, as_it_lies) == ([120, 80], [120, 80], [80, 120])
    for seen, shown in zip(open_guide(marked).pictures(), pictures, strict=True):
        assert np.array_equal(seen, shown)
    for name, array in expected.items():
        assert np.array_equal(points[name], array)


def test_an_uneven_video_of_an_odd_size_keeps_its_time(engine, portrait, tmp_path):
    """A picture that stays for three steps is followed three times."""
    pictures = [scene(light)[:119, :79] for light in (0.3, 0.45, 0.6, 0.75, 0.9)]
    uneven = write_video(
        tmp_path / "uneven.mp4", pictures, fps=10, times=[0, 100, 400, 500, 600], codec="libx264rgb"
    )
    even = folder_of(tmp_path / "even", [pictures[i] for i in (0, 1, 1, 1, 2, 3, 4)])
    points, size, rate = watched(engine, uneven)
    expected, _, _ = watched(engine, even)
    assert (size, rate) == ([119, 79], "10")
    for name, array in expected.items():
        assert np.array_equal(points[name], array)
    frames, performance = followed(engine, portrait, uneven, **ONCE)
    assert (len(frames), performance.fps) == (7, 10)
