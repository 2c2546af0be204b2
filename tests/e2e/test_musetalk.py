"""`personare speak --engine musetalk` as a user runs it, from a folder of checkpoints in the
released layout, at tiny size.
"""

from __future__ import annotations

import shutil
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

import personare
from personare.engines.musetalk.prepare import BOXES, LABELS, LATENTS, MASKS, TRACK
from personare.media.image import read_image
from personare.media.template import Template, palindrome
from personare.types import frame_count
from personare.weights.resident import BUDGET_VARIABLE
from tests.conftest import error_lines, write_wav
from tests.unit.template_videos import moved_portrait, numbered, write_video

pytestmark = pytest.mark.neural

PREPARED = {TRACK, BOXES, LATENTS, LABELS, MASKS}
HEAR = "musetalk.hear"
CODEC_LEVELS = 16
"""What H.264 may change of 99 in 100 pixels that were not painted."""


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("template") / "template.mp4", moved_portrait(3))


@pytest.fixture(scope="session")
def short(voice_samples, tmp_path_factory):
    """0.22 s that begin within a word: six frames at 25 a second."""
    return write_wav(tmp_path_factory.mktemp("voice") / "short.wav", voice_samples[5000:8500])


@pytest.fixture
def run(cli, weights):
    def call(*arguments):
        ended = cli(*arguments, "--engine", "musetalk", "--weights", weights, "--json")
        assert ended.code == 0, ended
        return ended.json

    return call


@pytest.fixture
def speak(run, tmp_path):
    def call(portrait, speech, *options, name="a.mp4"):
        return run("speak", portrait, speech, "-o", tmp_path / name, *options), tmp_path / name

    return call


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A cache that tests share which do not ask what is in it."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def opened(weights, kept):
    return personare.open_engine("musetalk", weights=weights, cache_dir=kept)


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def stages(report, outcome):
    return {name for name, value in report["cache"]["stages"].items() if value == outcome}


def test_the_mouth_alone_is_painted_and_what_is_known_is_not_computed_again(speak, template, short):
    report, path = speak(template, short)
    assert (report["width"], report["height"], report["fps"]) == (256, 256, 25)
    assert report["frames"] == frame_count(3500, Fraction(25)) == 6
    assert stages(report, "miss") == PREPARED | {HEAR}
    assert {"drive", "motion", "render", "compose"} <= set(report["timings"])
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        assert abs(float(audio.duration * audio.time_base) - 3500 / 16000) <= 0.1
    made, shown = decoded(path), list(Template(template))
    assert len(made) == 6
    change = np.stack(
        [np.abs(frame.astype(int) - shown[palindrome(i, 3)]).max(axis=-1) for i, frame in enumerate(made)]
    )
    assert change[:, :90].mean() < 6  # brow and eyes, through H.264 twice
    assert change[:, :, :50].mean() < 6
    assert (change[:, 130:200, 90:166] > 30).mean() > 0.15  # a network of chance paints something else

    again, second = speak(template, short, "--no-clip-cache", name="again.mp4")
    assert stages(again, "hit") == PREPARED | {HEAR}
    assert second.read_bytes() == path.read_bytes()
    kept, third = speak(template, short, name="kept.mp4")
    assert kept["cache"]["clip"] == "hit"
    assert third.read_bytes() == path.read_bytes()
    changed, _ = speak(template, short, "--set", "parsing_mode=raw", "batch_size=3", "silence=off")
    assert stages(changed, "miss") == {MASKS}


def test_status_knows_what_another_version_computes_anew(cli, run, weights, template):
    run("avatar", "create", "anna", template)
    status = cli("avatar", "status", "anna", "--weights", weights, "--json").json
    assert set(status["recomputed_by"]["version"]) == {BOXES, LATENTS, LABELS, MASKS}
    assert status["recomputed_by"]["mask_blur"] == [MASKS]
    assert status["recomputed_by"]["audio"] == []
    assert status["unknown"]["detector"] == ["dwpose"], "its checkpoint is not here"
    assert "dwpose: checkpoints are missing" in cli("avatar", "status", "anna", "--weights", weights).out


def test_any_rate_keeps_time_and_prepares_nothing_anew(speak, template, short):
    for given, fps in (("23.976", Fraction(24000, 1001)), ("60", Fraction(60))):
        report, path = speak(template, short, "--fps", given)
        assert report["frames"] == len(decoded(path)) == frame_count(3500, fps)
    report, _ = speak(template, short, "--fps", "25", "--set", "audio=streaming")
    assert stages(report, "miss") == set()
    assert report["frames"] == frame_count(3500, Fraction(25))


def test_turned_odd_sized_and_still_templates(speak, short, portrait, tmp_path):
    upright = moved_portrait(2, (255, 211))
    phone = write_video(
        tmp_path / "phone.mp4", [np.rot90(picture, -1) for picture in upright], quarter_turns=1
    )
    report, _ = speak(phone, short)
    assert (report["height"], report["width"]) == (255, 211)
    report, path = speak(portrait, short)
    assert (report["height"], report["width"], report["frames"]) == (512, 512, 6)
    still = np.abs(decoded(path)[:, :60].astype(int) - read_image(portrait)[:60])
    assert np.percentile(still, 99) <= CODEC_LEVELS


def test_frames_without_a_face_pass_through(speak, short, tmp_path):
    pictures = moved_portrait(5)
    pictures[2] = numbered(1, 256, 256)[0]
    pictures[2] = cv2.blur(pictures[2], (15, 15))
    sometimes = write_video(tmp_path / "sometimes.mp4", pictures)
    report, path = speak(sometimes, short, "--set", "silence=off")
    made = decoded(path)
    assert report["frames"] == len(made) == 6
    for i, frame in enumerate(made):
        change = np.abs(frame.astype(int) - pictures[palindrome(i, 5)]).max(axis=-1)
        assert (np.percentile(change, 99) <= CODEC_LEVELS) == (palindrome(i, 5) == 2)
    nearest, path = speak(sometimes, short, "--set", "faceless=nearest")
    assert stages(nearest, "miss") == set()
    assert np.abs(decoded(path)[2].astype(int) - pictures[2]).mean() > 20


def test_of_two_faces_one_is_painted(speak, short, tmp_path):
    pair = [
        np.concatenate([picture, cv2.resize(picture, (160, 256))[:, ::-1]], axis=1)
        for picture in moved_portrait(3)
    ]
    report, path = speak(write_video(tmp_path / "pair.mp4", pair), short)
    change = np.abs(decoded(path)[4].astype(int) - pair[palindrome(4, 3)]).max(axis=-1) > 30
    assert report["width"] == 416
    assert max(change[:, :256].sum(), change[:, 256:].sum()) > 1000
    assert min(change[:, :256].sum(), change[:, 256:].sum()) < 100  # H.264 at edges


def test_a_template_without_any_face_is_bad_input(cli, weights, short, tmp_path):
    noise = write_video(tmp_path / "noise.mp4", numbered(3, 256, 256))
    ended = cli("speak", noise, short, "-o", tmp_path / "a.mp4", "--engine", "musetalk", "--weights", weights)
    assert ended.code == 3
    assert "no face" in error_lines(ended)[0]
    assert not (tmp_path / "a.mp4").exists()


def test_an_avatar_tells_what_is_there(run, cli, weights, template, short, tmp_path, monkeypatch):
    run("avatar", "create", "anna", template, "--set", "parsing_mode=raw")
    monkeypatch.setenv("PERSONARE_WEIGHTS", str(weights))
    status = cli("avatar", "status", "anna", "--json")
    assert status.code == 0, status
    assert {stage["stage"]: stage["cached"] for stage in status.json["stages"]} == dict.fromkeys(
        PREPARED, True
    )
    report = run("speak", "anna", short, "-o", tmp_path / "a.mp4")
    assert (report["avatar"], stages(report, "miss")) == ("anna", {HEAR})


def test_a_damaged_feature_is_computed_again(speak, template, short, home):
    _, first = speak(template, short, name="first.mp4")
    features = sorted(home.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    data = bytearray(features[-1].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    features[-1].write_bytes(data)
    report, second = speak(template, short, "--no-clip-cache", name="second.mp4")
    assert len(stages(report, "miss")) == 1
    assert second.read_bytes() == first.read_bytes()


def test_missing_and_wrong_weights_end_with_4(cli, weights, template, short, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    ended = cli(
        "speak", template, short, "-o", tmp_path / "a.mp4", "--engine", "musetalk", "--weights", tmp_path
    )
    message, hint = error_lines(ended)
    assert ended.code == 4
    assert "licence" in message
    assert "personare weights pull" in hint
    mixed = tmp_path / "mixed"
    shutil.copytree(weights, mixed)
    shutil.copy(weights / "sd-vae/diffusion_pytorch_model.bin", mixed / "musetalkV15/unet.pth")
    ended = cli(
        "speak", template, short, "-o", tmp_path / "a.mp4", "--engine", "musetalk", "--weights", mixed
    )
    assert ended.code == 4
    assert "unet.pth" in error_lines(ended)[0]
    assert not (tmp_path / "a.mp4").exists()


def test_the_template_goes_on_after_an_interruption(opened, template, voice_samples):
    """What the steps had taken of it, and was not shown, comes again."""
    performance = opened.perform(opened.prepare(template), audio="streaming", batch_size=2)
    shown = list(Template(template))
    made = [performance.idle(3), next(performance.feed(voice_samples[:24000]))]
    performance.interrupt()
    made += [performance.idle(4), *performance.feed(voice_samples[:6400]), *performance.finish()]
    performance.close()
    assert [frames.first for frames in made[:4]] == [0, 3, 5, 9]
    for frames in made:
        for i, image in enumerate(frames.images, frames.first):
            np.testing.assert_array_equal(image[:80], shown[palindrome(i, 3)][:80])
            np.testing.assert_array_equal(image[:, :40], shown[palindrome(i, 3)][:, :40])


@pytest.mark.parametrize("silence", ["rest", "template"])
def test_the_mouth_rests_in_silence(opened, portrait, silence, voice_samples):
    """A photo: while nobody speaks every frame is the same, while somebody does they differ."""
    quiet = np.zeros(12800, np.float32)
    avatar = opened.prepare(portrait)
    performance = opened.perform(avatar, silence=silence, fps=10)
    made = [*performance.feed(np.concatenate([quiet, voice_samples[4000:10400]])), *performance.finish()]
    made.append(performance.idle(2))
    performance.close()
    images = np.concatenate([frames.images for frames in made])
    steps = np.abs(np.diff(images.astype(int), axis=0)).max(axis=(1, 2, 3))
    assert steps[:5].max() <= 2  # 0.8 s of silence, at whose end the mouth makes ready
    assert steps[9:11].min() > 4
    assert np.abs(images[0].astype(int) - images[-1]).max() <= 2
    if silence == "template":
        np.testing.assert_array_equal(images[0], read_image(portrait))


def test_memory_that_runs_out_halves_the_batch(opened, template, short, monkeypatch):
    """The frames are those of the smaller batch; nothing is lost and nothing comes twice."""
    import torch

    from personare.engines.musetalk.motion import FacePredictor

    whole, sizes = FacePredictor.predict, []

    def starved(self, latents, tokens):
        sizes.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return whole(self, latents, tokens)

    monkeypatch.setenv(BUDGET_VARIABLE, "0")  # else networks that nobody uses are dropped first
    avatar = opened.prepare(template)
    wanted = np.concatenate(
        [f.images for f in opened.speak(avatar, short, batch_size=2, precision="float32")]
    )
    monkeypatch.setattr(FacePredictor, "predict", starved)
    made = np.concatenate([f.images for f in opened.speak(avatar, short, batch_size=8, precision="float32")])
    assert sizes == [6, 4, 2, 2, 2]
    assert np.abs(made.astype(int) - wanted).max() <= 1


def test_the_network_of_2024_hears_as_it_was_trained(speak, template, short):
    report, _ = speak(template, short, "--set", "version=v1")
    assert report["frames"] == 6
    assert {BOXES, LATENTS, MASKS} <= stages(report, "miss")
