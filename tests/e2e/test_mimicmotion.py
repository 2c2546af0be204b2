"""`personare follow --engine mimicmotion` as a user runs it, from a folder of checkpoints in
the released layout, at tiny size. Who is seen in a picture, tests/conformance/people_standin.py
says.
"""

from __future__ import annotations

import logging
import shutil
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

import personare
from personare.engines.mimicmotion import checkpoints, drive, names, performance, sampling
from personare.engines.mimicmotion.networks.loading import POSE_NET_ALONE, MimicMotionState
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.engines.mimicmotion.pose.draw import draw
from personare.errors import (
    Cancelled,
    EngineError,
    InvalidOption,
    NoPersonFound,
    WeightsMismatch,
    WeightsMissing,
)
from personare.media.guide import open_guide
from personare.media.writer import ClipWriter
from personare.weights.finder import Weights
from tests.conformance.people_standin import BODY
from tests.conftest import error_lines

pytestmark = pytest.mark.neural

SMALL = {"resolution": 64, "steps": 2, "tile_size": 4, "tile_overlap": 2, "sample_stride": 1, "device": "cpu"}
SETTINGS = ("--set", *(f"{name}={value}" for name, value in SMALL.items()))
OF_THE_PICTURE = {names.PICTURE, names.PICTURE_POINTS, names.EMBEDDING, names.LATENT}


def scene(light: float = 0.5, kind: str = "one") -> np.ndarray:
    """A picture uint8 [120, 80, 3] with one, two or no people, so bright."""
    picture = np.full((120, 80, 3), 114, np.uint8)
    if kind != "none":
        picture[10:, 10:] = np.linspace(20, 220, 70).astype(np.uint8)[None, :, None] * light
        picture[..., 2] = np.minimum(
            picture[..., 2] * (1.0 if kind == "one" else 0.0) + (kind == "two") * 200, 255
        )
    return picture


def folder_of(path, pictures):
    path.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(path / f"{number}.png"), picture[..., ::-1])
    return path


@pytest.fixture(scope="session")
def guide(tmp_path_factory):
    """A video of five pictures of one person, with a sound."""
    path = tmp_path_factory.mktemp("guide") / "guide.mp4"
    writer = ClipWriter(path, size=(120, 80), fps=Fraction(10), voice_rate=16000, voice_channels=1)
    with writer as clip:
        clip.write_voice(0.3 * np.sin(np.arange(8000, dtype=np.float32) / 20)[:, None])
        clip.write_frames(np.stack([scene(light) for light in (0.3, 0.5, 0.7, 0.9, 1.0)]))
    return path


@pytest.fixture(scope="module")
def engine(weights, tmp_path_factory):
    return personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path_factory.mktemp("cache"))


def followed(engine, portrait, guide, **options):
    """Frames, and the performance with what it tells."""
    options = {**SMALL, **options}
    avatar = engine.prepare(portrait, **options)
    run = engine.engine.perform(
        avatar, engine.engine.read_options(options), guide=guide, store=engine.studio.store
    )
    frames = np.concatenate([made.images for made in run.finish()])
    run.close()
    return frames, run


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
        frames, run = followed(opened, picture, open_guide(of), steps=1, **options)
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
    frames, run = followed(engine, portrait, opened, sample_stride=2, steps=1)
    assert (len(frames), run.fps) == (3, 5)
    frames, run = followed(engine, portrait, opened, fps=4, steps=1)
    assert (len(frames), run.fps) == (2, 4)


def test_who_is_not_seen_is_held_and_reported(engine, portrait, tmp_path):
    """0.4 s at 25 pictures a second are 10."""
    kinds = ["one", *["none"] * 12, "one"]
    guide = open_guide(folder_of(tmp_path / "g", [scene(0.5, kind) for kind in kinds]))
    frames, run = followed(engine, portrait, guide, steps=1, tile_size=16, guidance_max=1)
    assert len(frames) == 14
    assert run.remarks == (
        "nobody was seen in 12 of 14 pictures of the guide: the last pose was held; 2 of them show nobody",
    )


def test_of_two_people_one_is_followed_and_it_is_said(engine, portrait, tmp_path):
    guide = open_guide(folder_of(tmp_path / "g", [scene(0.5, "two"), scene(0.6, "two"), scene(0.6)]))
    largest, run = followed(engine, portrait, guide, steps=1)
    assert "up to 2 people are in the guide, and the largest is followed" in run.remarks[0]
    leftmost, _ = followed(engine, portrait, guide, steps=1, person="leftmost")
    first, _ = followed(engine, portrait, guide, steps=1, person=1)
    assert not np.array_equal(largest, leftmost)
    assert np.array_equal(leftmost, first)
    with pytest.raises(NoPersonFound, match="person=3 is asked for, and at most 2 are seen"):
        followed(engine, portrait, guide, person=3)
    published, run = followed(engine, portrait, guide, steps=1, published_fit=True)
    assert not run.remarks
    assert not np.array_equal(published, largest)


def test_where_nobody_is_it_says_so(engine, portrait, tmp_path):
    empty = open_guide(folder_of(tmp_path / "g", [scene(kind="none")] * 2))
    with pytest.raises(NoPersonFound, match="in any of the 2 pictures of the guide"):
        followed(engine, portrait, empty)
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), scene(kind="none"))
    with pytest.raises(NoPersonFound, match="no person was found in the picture"):
        engine.prepare(blank, **SMALL)
    frames, _ = followed(engine, portrait, empty, published_fit=True, steps=1)
    assert len(frames) == 2  # as published: the whole picture is a person


@pytest.mark.parametrize("count", [1, 3])
def test_short_guides_are_one_tile(engine, portrait, tmp_path, count):
    guide = open_guide(folder_of(tmp_path / "g", [scene(0.5)] * count))
    frames, _ = followed(engine, portrait, guide, tile_size=72, tile_overlap=6, steps=1)
    assert frames.shape == (count, 64, 64, 3)


def test_without_guidance_half_of_the_work_is_left_out(engine, portrait, guide):
    frames, _ = followed(engine, portrait, open_guide(guide), guidance_min=1, guidance_max=1, steps=1)
    with_guidance, _ = followed(engine, portrait, open_guide(guide), steps=1)
    assert not np.array_equal(frames, with_guidance)


@pytest.mark.parametrize("scheduler", ["lcm", "align_your_steps"])
def test_few_step_samplers_and_limbs(engine, portrait, guide, scheduler):
    frames, _ = followed(
        engine, portrait, open_guide(guide), scheduler=scheduler, alignment="limbs", published_rounding=True
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


class Stopped:
    """A Progress that stops a run as soon as it is told something."""

    def __init__(self, what, done):
        self.what, self.done = what, done

    def __call__(self, what, done, total):
        if what.startswith(self.what) and done >= self.done:
            raise Cancelled("stopped")


@pytest.mark.parametrize(
    ("what", "done", "kept"),
    [
        ("watching the guide", 3, "guide_points goes on at step"),
        ("sampling", 2, "sampled goes on at step 2 of 8"),
        ("sampling", 8, "sampled goes on at step 8 of 8"),
    ],
)
def test_a_run_that_ends_early_goes_on(
    weights, portrait, guide, tmp_path, monkeypatch, caplog, what, done, kept, whole
):
    """In detection, within a step, between steps, before the latents are kept; same bytes."""
    monkeypatch.setattr("personare.cache.checkpoint.Workspace.due", lambda self, seconds=0: True)
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path)
    avatar = opened.prepare(portrait, **SMALL)
    options = opened.engine.read_options(SMALL)
    with caplog.at_level(logging.INFO, "personare"):
        for progress in (Stopped(what, done), lambda *told: None):
            run = opened.engine.perform(avatar, options, guide=open_guide(guide), store=opened.studio.store)
            run.progress = progress
            try:
                frames = np.concatenate([made.images for made in run.finish()])
            except Cancelled:
                frames = None
            run.close()
    assert kept in caplog.text
    assert frames is not None
    assert np.array_equal(frames, whole)


@pytest.fixture(scope="module")
def whole(weights, portrait, guide, tmp_path_factory):
    """The frames of an uninterrupted run."""
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path_factory.mktemp("whole"))
    return followed(opened, portrait, open_guide(guide))[0]


def test_killed_while_frames_are_decoded_nothing_is_sampled_again(
    weights, portrait, guide, tmp_path, monkeypatch, whole
):
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path)

    def broken(*given):
        raise KeyError("dies in decoding")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(performance, "decoded", broken)
        with pytest.raises(KeyError):
            followed(opened, portrait, open_guide(guide))
    frames, run = followed(opened, portrait, open_guide(guide))
    assert set(run.heard.values()) == {"hit"}
    assert np.array_equal(frames, whole)


def test_a_damaged_checkpoint_is_not_used(weights, portrait, guide, tmp_path, caplog, whole):
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path)
    avatar = opened.prepare(portrait, **SMALL)
    run = opened.engine.perform(
        avatar, opened.engine.read_options(SMALL), guide=open_guide(guide), store=opened.studio.store
    )
    run.progress = Stopped("sampling", 4)
    with pytest.raises(Cancelled):
        list(run.finish())
    (kept,) = tmp_path.rglob("checkpoint.safetensors")
    content = bytearray(kept.read_bytes())
    content[-40] ^= 1
    kept.write_bytes(content)
    frames, _ = followed(opened, portrait, open_guide(guide))
    assert "is not used" in caplog.text
    assert np.array_equal(frames, whole)


def test_out_of_memory_takes_smaller_batches_then_says_what_there_is(
    weights, portrait, guide, tmp_path, monkeypatch, caplog
):
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path)
    true, most = checkpoints.unet_output, [1]

    def limited(unet, sample, *rest):
        if len(sample) > most[0]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return true(unet, sample, *rest)

    monkeypatch.setattr(checkpoints, "unet_output", limited)
    frames, _ = followed(opened, portrait, open_guide(guide), steps=1)
    assert len(frames) == 5
    assert "going on with batches of 1" in caplog.text
    most[0] = 0
    with pytest.raises(EngineError, match=r"out of memory on cpu with a single frame: .* GB free of .* GB"):
        followed(opened, portrait, open_guide(guide), seed=5)


def test_with_little_memory_branches_go_one_after_the_other():
    cpu, gigabytes = torch.device("cpu"), 10**9
    options = MimicMotionOptions(max_memory=8.0)
    assert checkpoints.runs_together(options, cpu, 6 * gigabytes, gigabytes) == 2
    assert checkpoints.runs_together(options, cpu, 6 * gigabytes, 2 * gigabytes) == 1
    assert checkpoints.runs_together(options, cpu, 9 * gigabytes, gigabytes) == 1


def test_poses_that_do_not_fit_into_memory_go_to_a_file(monkeypatch):
    monkeypatch.setattr(sampling, "POSE_BYTES_IN_MEMORY", 1000)
    from personare.engines.mimicmotion.networks.pose_net import PoseNet

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
    from personare.engines.mimicmotion.pose.records import unpacked

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


def test_the_merged_file_and_dwpose_of_its_pth_serve_as_well(weights, portrait, guide, tmp_path, whole):
    from safetensors.torch import save_file

    from personare.weights.loading import read_state
    from tests.conformance.seeded_checkpoint import write_checkpoints

    other = tmp_path / "weights"
    shutil.copytree(weights / "svd", other / "svd")
    shutil.copytree(weights / "dwpose", other / "dwpose")
    (other / "mimicmotion").mkdir()
    state = read_state(weights / "mimicmotion/MimicMotion_1-1.pth")
    merged = other / "mimicmotion/MimicMotionMergedUnet_1-1-fp16.safetensors"
    unet = {
        name.removeprefix("unet."): tensor.clone() for name, tensor in state.items() if "unet." in name[:5]
    }
    save_file(unet, merged)
    shutil.copy(weights / "mimicmotion/MimicMotion_1-1.json", merged.with_suffix(".json"))
    with pytest.raises(WeightsMissing, match="holds the UNet alone"):
        MimicMotionState.read(merged)
    alone = {
        name.removeprefix("pose_net."): tensor.clone() for name, tensor in state.items() if "pose" in name[:5]
    }
    assert len(unet) + len(alone) == len(state)
    save_file(alone, merged.parent / POSE_NET_ALONE)
    opened = personare.open_engine("mimicmotion", weights=other, cache_dir=tmp_path / "cache")
    frames, _ = followed(opened, portrait, open_guide(guide))
    # Where tensors lie in a file decides which kernels read them, and so the last bits.
    assert np.abs(frames.astype(int) - whole).max() <= 1

    (other / "dwpose/dw-ll_ucoco_384.onnx").unlink()
    assert checkpoints.pose_component(Weights(other)) == "dwpose-onnx"
    write_checkpoints("musetalk", "tiny", other, only=["dwpose"])
    assert checkpoints.pose_component(Weights(other)) == "dwpose"
    with checkpoints._watcher(Weights(other), torch.device("cpu")) as watcher:
        x, y = watcher.pose(np.zeros((1, 3, 128, 96), np.float32))  # the tiny one sees a third
    assert (x.shape, y.shape) == ((1, 133, 192), (1, 133, 256))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("unet.conv_in.bias"), r"1 missing \(conv_in.bias\)"),
        (lambda state: state.pop("pose_net.scale"), r"1 missing \(scale\)"),
        (lambda state: state.update({"unet.more": torch.zeros(1)}), r"1 unknown \(more\)"),
        (
            lambda state: state.update({"vae.more": torch.zeros(1)}),
            "neither the UNet nor PoseNet knows: vae.more",
        ),
    ],
)
def test_the_released_file_is_read_strictly(weights, change, told):
    from personare.weights.loading import read_state

    file = weights / "mimicmotion/MimicMotion_1-1.pth"
    state = read_state(file)
    change(state)
    with pytest.raises(WeightsMismatch, match=told):
        _read_both(state, file)


def _read_both(state, file):
    made = MimicMotionState.of(state, file)
    made.unet()
    made.pose_net()


def test_without_weights_it_says_what_to_fetch(cli, portrait, guide, tmp_path):
    ended = cli(
        *(
            "follow",
            portrait,
            guide,
            "-o",
            tmp_path / "a.mp4",
            "--engine",
            "mimicmotion",
            "--weights",
            tmp_path,
        )
    )
    error, hint = error_lines(ended)
    assert ended.code == 4
    assert "MimicMotion_1-1.pth" in error or "mimicmotion-1-1" in error
    assert "weights pull" in hint
