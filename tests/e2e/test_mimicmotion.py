"""`personare follow --engine mimicmotion` as a user runs it, from a folder of checkpoints in
the released layout, at tiny size.
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

import personare
from personare.engines.mimicmotion import drive, names, sampling
from personare.engines.mimicmotion.networks.pose_net import PoseNet
from personare.engines.mimicmotion.pose.draw import draw
from personare.engines.mimicmotion.pose.records import unpacked
from personare.errors import InvalidOption
from personare.media.guide import open_guide
from tests.conformance.people_standin import BODY
from tests.conftest import error_lines
from tests.e2e.mimicmotion_runs import (
    OF_THE_PICTURE,
    SETTINGS,
    SMALL,
    five_pictures,
    folder_of,
    followed,
    scene,
)

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return five_pictures(tmp_path_factory.mktemp("guide") / "guide.mp4")


@pytest.fixture(scope="module")
def engine(weights, tmp_path_factory):
    return personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path_factory.mktemp("cache"))


def test_a_clip_has_the_pictures_and_the_sound_of_its_guide(cli, weights, portrait, guide, tmp_path):
    clip = tmp_path / "a.mp4"
    ended = cli(
        *("follow", portrait, guide, "-o", clip, "--engine", "mimicmotion", "--weights", weights),
        *("--cache-dir", tmp_path / "cache", "--json", *SETTINGS, "steps=1"),
    )
    assert ended.code == 0, ended
    report = ended.json
    assert (report["frames"], report["fps"], report["width"], report["height"]) == (5, 10, 64, 64)
    assert report["cache"]["performed"] == [names.GUIDE_POINTS, names.POSES, names.SAMPLED]
    assert {"drive", "motion", "render", *report["cache"]["stages"]} <= set(report["timings"])
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.frames == 5
        assert abs(float(audio.duration * audio.time_base) - 0.5) < 0.1


def test_what_is_known_is_not_computed_again(weights, portrait, guide, tmp_path):
    """And warm and cold give the same bytes."""
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path / "cache")

    def follow(picture=portrait, of=guide, **options):
        cast = opened.studio.cast(picture, "mimicmotion", {**SMALL, "steps": 1, **options})
        _, preparation = opened.studio.prepare(cast)
        frames, run = followed(opened, picture, of, steps=1, **options)
        told = {**preparation.outcome, **run.heard}
        return frames, {stage for stage, outcome in told.items() if outcome == "hit"}

    first, hits = follow()
    assert not hits
    again, hits = follow()
    assert len(hits) == 7
    assert np.array_equal(again, first)
    other, hits = follow(seed=1)
    assert hits == OF_THE_PICTURE | {names.GUIDE_POINTS, names.POSES}
    assert not np.array_equal(other, first)
    mirrored = tmp_path / "mirrored.png"
    cv2.imwrite(str(mirrored), cv2.imread(str(portrait))[:, ::-1])
    _, hits = follow(picture=mirrored)
    assert hits == {names.GUIDE_POINTS}
    _, hits = follow(of=folder_of(tmp_path / "theirs", [scene(0.4), scene(0.6)]))
    assert hits == OF_THE_PICTURE
    _, hits = follow(noise_aug_strength=0.02)
    assert hits == OF_THE_PICTURE - {names.LATENT} | {names.GUIDE_POINTS, names.POSES}


def test_other_rates_follow_in_the_guides_own_time(engine, portrait, guide):
    opened = open_guide(guide)
    assert drive.followed_frames(opened, Fraction(5)) == [0, 2, 4]
    assert drive.followed_frames(opened, Fraction(20)) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    frames, run = followed(engine, portrait, guide, sample_stride=2, steps=1)
    assert (len(frames), run.fps) == (3, 5)
    frames, run = followed(engine, portrait, guide, fps=4, steps=1)
    assert (len(frames), run.fps) == (2, 4)


def test_without_guidance_half_of_the_work_is_left_out(engine, portrait, guide):
    frames, _ = followed(engine, portrait, guide, guidance_min=1, guidance_max=1, steps=1)
    with_guidance, _ = followed(engine, portrait, guide, steps=1)
    assert not np.array_equal(frames, with_guidance)


@pytest.mark.parametrize("scheduler", ["lcm", "align_your_steps"])
def test_few_step_samplers_and_limbs(engine, portrait, guide, scheduler):
    frames, _ = followed(
        engine, portrait, guide, scheduler=scheduler, alignment="limbs", published_rounding=True
    )
    assert len(frames) == 5


@pytest.mark.parametrize(
    ("setting", "told", "hint"),
    [
        ("resolution=700", "a multiple of 64, such as 640 or 704", "576 gives 1024"),
        ("tile_overlap=0", "greater than or equal to 1", "tile_size - 1"),
        ("tile_overlap=4", "tiles of 4 frames cannot overlap by 4: at most 3", "neighbouring tiles"),
        ("person=best", "largest, leftmost or a number", "followed"),
        ("scheduler=fast", "'euler', 'lcm' or 'align_your_steps'", "as released"),
    ],
)
def test_an_option_out_of_range_is_one_line_and_a_hint(engine, setting, told, hint):
    name, _, value = setting.partition("=")
    with pytest.raises(InvalidOption) as refused:
        engine.engine.read_options({**SMALL, name: value})
    assert told in refused.value.message
    assert hint in refused.value.hint


def test_a_voice_does_not_move_it(cli, weights, portrait, voice, tmp_path):
    ended = cli(
        *("speak", portrait, voice, "-o", tmp_path / "a.mp4", "--engine", "mimicmotion", "--weights", weights)
    )
    error, advice = error_lines(ended)
    assert ended.code == 3
    assert "it follows a guide (personare follow)" in error
    assert "puppet" in advice


def test_poses_that_do_not_fit_into_memory_go_to_a_file(monkeypatch):
    monkeypatch.setattr(sampling, "POSE_BYTES_IN_MEMORY", 1000)
    torch.manual_seed(3)
    network = PoseNet(32).requires_grad_(False)
    pictures = np.random.default_rng(2).integers(0, 255, (11, 64, 64, 3), np.uint8)
    poses = sampling.PoseFeatures(network, torch.float32)
    poses.add(iter(pictures))
    alone = network(torch.from_numpy(pictures[[10, 0, 3]]).permute(0, 3, 1, 2).float() / 127.5 - 1)
    assert torch.allclose(poses.latents(np.array([10, 0, 3])), alone, atol=1e-6)
    poses.close()


def test_the_skeleton_of_a_picture_is_where_its_person_is(engine, portrait, guide):
    """The stand-in's person fills her box; frame 0 of the poses is the picture's own."""
    seen = engine.prepare(portrait, **{**SMALL, "resolution": 256})
    people = seen.features[names.PICTURE_POINTS]
    low, high = BODY.min(axis=0), BODY.max(axis=0)
    box = people.arrays["boxes"][0]
    canvas = seen.features[names.PICTURE].arrays["picture"].shape[:2]
    points = unpacked(people)[0].points(0)
    margin = 0.13 * (box[2:] - box[:2])  # the pose network sees a quarter more than the box
    assert np.all(points > box[:2] - margin)
    assert np.all(points < box[2:] + margin)
    assert (points.max(axis=0) - points.min(axis=0))[1] == pytest.approx(
        (high - low)[1] / 384 * 1.25 * (box[3] - box[1]), rel=0.01
    )
    drawn = draw(drive.skeletons(unpacked(people)[0], canvas), canvas)
    rows, columns = np.nonzero(drawn.any(axis=2))
    shown = points[points[:, 1] < canvas[0] - 2]
    assert abs(rows.min() - shown[:, 1].min()) < 4
    assert abs(columns.max() - shown[:, 0].max()) < 4
