"""`--engine nerffacespeech` as a user runs it, from a folder of checkpoints in the released
layout, at tiny size and with few steps.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

import personare
from personare.cache.store import FeatureStore
from personare.engines.engine import load_engine
from personare.engines.nerffacespeech import taken_over
from personare.engines.nerffacespeech.checkpoints import Networks
from personare.engines.nerffacespeech.inversion import with_tensors
from personare.engines.nerffacespeech.networks.loading import GeneratorState
from personare.engines.nerffacespeech.options import NerfOptions
from personare.engines.nerffacespeech.render import Renderer
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.weights.finder import Weights
from tests.conformance.case import HERE, Replay
from tests.conformance.nerffacespeech_layout import stylenerf_pickle
from tests.conftest import error_lines, write_wav
from tests.e2e.test_float import decoded

pytestmark = pytest.mark.neural

FEW = ("projection_steps=2", "tuning_steps=2", "pose_steps=10", "fit_steps=3", "device=cpu")
OPTIONS = dict(pair.split("=") for pair in FEW)
PREFIX = "nerffacespeech."
INVERTED = {f"{PREFIX}{name}" for name in ("aligned", "pose", "projection", "tuning", "front")}
FITTED = {f"{PREFIX}fit", f"{PREFIX}anchor"}


@pytest.fixture(scope="session")
def short(voice_samples, tmp_path_factory):
    """Three frames."""
    return write_wav(tmp_path_factory.mktemp("voice") / "short.wav", voice_samples[6000:7900])


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def order(cli, weights, features):
    """Any command of the engine, on one store for the whole module."""

    def call(*arguments):
        given = ("--weights", weights, "--cache-dir", features, "--json")
        return cli(*arguments, "--engine", "nerffacespeech", *given)

    return call


def test_from_a_photo_the_mesh_moves_the_field(order, portrait, short, tmp_path):
    speak = ("speak", portrait, short, "-o", tmp_path / "a.mp4", "--set", *FEW)
    first = order(*speak).json
    assert set(first["cache"]["stages"]) == INVERTED | FITTED
    assert (first["frames"], first["width"], first["height"]) == (3, 128, 128)
    assert first["warnings"] == []
    assert len(decoded(tmp_path / "a.mp4")) == 3
    again = order(*speak, "mode=latent", "seed=0", "published_text=true").json
    assert {f"{PREFIX}{name}" for name in ("projection", "tuning")} <= {
        stage for stage, outcome in again["cache"]["stages"].items() if outcome == "hit"
    }
    assert again["cache"]["clip"] == "miss"
    assert (decoded(tmp_path / "a.mp4")[0, 40:80, 40:] > 240).any()


@pytest.fixture(scope="module")
def turning(portrait, tmp_path_factory):
    """Three pictures of a head that turns; the second shows none."""
    folder = tmp_path_factory.mktemp("guide")
    photo = cv2.imread(str(portrait))
    for n, turn in enumerate((-8, 0, 8)):
        matrix = cv2.getRotationMatrix2D((256, 256), turn, 1)
        picture = np.full_like(photo, 128) if n == 1 else cv2.warpAffine(photo, matrix, (512, 512))
        cv2.imwrite(str(folder / f"{n}.png"), cv2.resize(picture, (256, 256)))
    return folder


def test_a_guide_holds_the_head_alone_or_beside_a_speech(order, portrait, short, turning, tmp_path):
    folder = turning
    followed = order("follow", portrait, folder, "-o", tmp_path / "f.mp4", "--set", *FEW, "mode=latent").json
    assert followed["frames"] == 3
    assert followed["cache"]["stages"][f"{PREFIX}watched"] == "miss"
    spoken = order(
        *("speak", portrait, short, "-o", tmp_path / "p.mp4", "--set", *FEW, "mode=latent", f"poses={folder}")
    ).json
    assert spoken["cache"]["stages"][f"{PREFIX}watched"] == "hit"
    still = order("speak", portrait, short, "-o", tmp_path / "s.mp4", "--set", *FEW, "mode=latent").json
    assert still["frames"] == spoken["frames"] == 3
    moved, fixed = decoded(tmp_path / "p.mp4").astype(int), decoded(tmp_path / "s.mp4").astype(int)
    assert np.abs(moved - fixed).mean() > 1
    (tmp_path / "nobody").mkdir()
    cv2.imwrite(str(tmp_path / "nobody" / "0.png"), np.full((256, 256, 3), 128, np.uint8))
    ended = order(
        "follow", portrait, tmp_path / "nobody", "-o", tmp_path / "n.mp4", "--set", *FEW, "mode=latent"
    )
    assert ended.code == 3
    assert "no face in any picture of the guide" in ended.json["error"]


def test_seeds_make_other_people(weights, short):
    opened = personare.open_engine("nerffacespeech", weights=weights)
    clips = []
    for seed in (7, 7, 8):
        avatar = opened.prepare(None, look="seed", seed=seed, mode="latent", device="cpu")
        assert set(avatar.features) == {f"{PREFIX}{name}" for name in ("projection", "front", "pose")}
        clips.append(np.concatenate([frames.images for frames in opened.speak(avatar, short)]))
    assert np.array_equal(clips[0], clips[1])
    assert np.abs(clips[0].astype(int) - clips[2]).mean() > 5


@pytest.fixture
def live(weights, features):
    """A performance of somebody who is made up."""
    begun = []

    def perform(**options):
        made_up = {"look": "seed", "mode": "latent", "blink_rate": 0, "batch_size": 2, "device": "cpu"}
        avatar = personare.open_engine("nerffacespeech", weights=weights).prepare(None, **made_up)
        engine = load_engine("nerffacespeech", Weights(weights))
        store = FeatureStore(features)
        begun.append(engine.perform(avatar, engine.read_options({**made_up, **options}), store=store))
        return begun[-1]

    yield perform
    for performance in begun:
        performance.close()


def test_what_comes_next_begins_where_the_face_is(live, voice_samples):
    """Speech, rest, speech, speech that is interrupted, rest: no step from one to the next is
    more than a part of what the face does anyway.
    """
    performance, voice = live(), voice_samples[6000:11100]
    shown = [said(performance, voice), performance.idle(3).images]
    shown += [said(performance, voice[3000:]), said(performance, voice)]
    stream = performance.feed(voice)
    shown += [np.concatenate([next(stream).images for _ in range(2)])]
    performance.interrupt()
    shown = [pictures.astype(int) for pictures in [*shown, performance.idle(3).images]]
    usual = np.mean([np.abs(np.diff(pictures, axis=0)).mean() for pictures in shown])
    steps = [np.abs(after[0] - before[-1]).mean() for before, after in pairwise(shown)]
    assert max(steps) < 0.6 * usual


def test_the_head_goes_on_from_how_it_is_held(live, voice_samples, turning, monkeypatch):
    """Of a guide beside several utterances, each shows what comes next; rests hold the head."""
    held = []
    colours = Renderer.colours

    def seen(self, expressions, cameras):
        held.extend(cameras[:, :3, :3].tolist())
        return colours(self, expressions, cameras)

    monkeypatch.setattr(Renderer, "colours", seen)
    performance = live(poses=turning)
    performance.idle(1)
    said(performance, voice_samples[6000:6600])  # a frame
    performance.idle(1)
    said(performance, voice_samples[6000:7200])  # two
    performance.idle(1)
    first, last = held[0], held[-1]
    assert first != last
    assert held == [first] * 4 + [last] * 2


def said(performance, samples):
    parts = [*performance.feed(samples), *performance.finish()]
    return np.concatenate([frames.images for frames in parts])


def test_a_rest_that_nobody_sees_changes_nothing(weights, portrait, features):
    """The mouth's mask is that of the frames before too, drawn or not."""
    studio = Studio(Settings(cache_dir=features, weights=weights))
    cast = studio.cast(portrait, "nerffacespeech", OPTIONS)
    avatar, _ = studio.prepare(cast)
    seen, skipped = (cast.engine.perform(avatar, cast.options) for _ in range(2))
    wanted = seen.idle(3).images[2]
    skipped.skip(2)
    assert np.array_equal(skipped.idle(1).images[0], wanted)
    studio.store.close()


def test_pictures_to_look_at(order, portrait, tmp_path):
    folder = tmp_path / "pictures"
    made = order(
        *("avatar", "create", "anna", portrait, "--pictures", folder),
        *("--set", *FEW, "seed=5", "mode=deform"),
    )
    assert made.code == 0, made
    seen = {path.name: cv2.imread(str(path)) for path in folder.iterdir()}
    assert set(seen) == {f"{name}.png" for name in ("aligned", "projection", "tuning", "front", "fit")}
    assert seen["aligned.png"].shape == (128, 128, 3)


def test_in_the_photo_only_the_square_changes(order, portrait, short, tmp_path):
    wide = cv2.copyMakeBorder(cv2.imread(str(portrait)), 0, 1, 300, 301, cv2.BORDER_CONSTANT, value=(9, 9, 9))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    options = ("framing=original", "mode=latent", "fps=30")
    made = order(
        *("speak", tmp_path / "wide.png", short, "-o", tmp_path / "w.mp4", "--set", *FEW, *options)
    ).json
    assert (made["width"], made["height"], made["frames"]) == (1112, 512, 4)
    frames = decoded(tmp_path / "w.mp4").astype(int)
    away = np.abs(frames - wide[:512, :1112, ::-1]).max(axis=(0, 3))
    assert away[:, :150].max() <= 6  # H.264
    assert away[60:160, 480:580].mean() > 20


_DIES_IN_RENDER = """
import os, signal
from personare.cli.main import run
from personare.engines.nerffacespeech.render import Renderer
colours, drawn = Renderer.colours, []
def last(self, *what):
    if len(drawn) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    drawn.append(colours(self, *what))
    return drawn[-1]
Renderer.colours = last
run()
"""


def test_killed_while_frames_are_drawn_the_next_run_is_whole(
    order, weights, features, portrait, voice_samples, tmp_path
):
    voice = write_wav(tmp_path / "v.wav", voice_samples[6000:10000])  # seven frames
    killed, undisturbed = tmp_path / "killed.mp4", tmp_path / "whole.mp4"
    speak = ("speak", portrait, voice, "--set", *FEW, "mode=latent", "batch_size=1", "-o")
    assert order(*speak, undisturbed, "--no-clip-cache").json["frames"] == 7
    killed.write_bytes(b"what was there before")
    given = (*speak, killed, "--engine", "nerffacespeech", "--weights", weights, "--cache-dir", features)
    ended = subprocess.run(
        [sys.executable, "-c", _DIES_IN_RENDER, *map(str, given)], capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert killed.read_bytes() == b"what was there before"
    assert list(tmp_path.glob(".killed.mp4.*.part"))
    again = order(*speak, killed).json
    assert again["cache"]["clip"] == "miss"
    assert set(again["cache"]["stages"].values()) == {"hit"}
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert not list(tmp_path.glob(".killed.mp4.*"))


def test_a_photo_that_changes_meanwhile_gets_nothing_pasted_into(
    order, portrait, short, tmp_path, changes_once_prepared
):
    photo = changes_once_prepared(portrait)
    speak = ("speak", photo, short, "-o", tmp_path / "a.mp4", "--set", *FEW, "mode=latent")
    ended = order(*speak, "framing=original")
    assert (ended.code, ended.json["error"]) == (
        3,
        f"{photo} is not the photo that was prepared: it has changed",
    )
    assert ended.json["hint"] == "prepare the avatar again"
    assert not list(tmp_path.glob("*a.mp4*"))


# ---------------------------------------------------------------- taken over


@pytest.fixture(scope="module")
def character(weights, tmp_path_factory):
    """What the published program keeps of a person."""
    folder = tmp_path_factory.mktemp("character")
    networks = Networks(NerfOptions(device="cpu"), Weights(weights))
    with networks.generator() as released:
        tensors = {
            name: parameter.numpy() * np.float32(1.01)
            for name, parameter in released.synthesis.named_parameters()
        }
        tuned = with_tensors(released, tensors)
        w, z = torch.randn(1, released.config.styles, released.config.w), torch.randn(1, 8)
    config = Replay("nerffacespeech", HERE / "nerffacespeech", {}).config("generator")
    state = {**dict(tuned.named_parameters()), **dict(tuned.named_buffers())}
    stylenerf_pickle({name: tensor.detach() for name, tensor in state.items()}, config, folder / "G_PTI.pt")
    torch.save(w, folder / "w_PTI.pt")
    torch.save((torch.randn(1, 8), torch.randn(1, 8), z, torch.randn(1, 8)), folder / "bg_PTI.pt")
    torch.save(torch.zeros(1, 257), folder / "fitted_coeffs.pt")
    return folder, tensors, w


def test_a_person_of_the_published_program_is_taken_over(
    character, weights, portrait, features, voice_samples
):
    folder, tensors, w = character
    opened = personare.open_engine("nerffacespeech", weights=weights, cache_dir=features)
    avatar = opened.prepare(portrait, take_over=str(folder), mode="deform", device="cpu")
    held = avatar.features[f"{PREFIX}tuning"].arrays
    assert all(np.array_equal(held[name], value) for name, value in tensors.items())
    assert np.array_equal(avatar.features[f"{PREFIX}projection"].arrays["w"], w[0].numpy())
    assert avatar.features[f"{PREFIX}projection"].metadata["remark"] == taken_over.NOT_KNOWN
    blip = personare.Speech.from_samples(voice_samples[6000:6600], 16000)
    assert sum(len(frames) for frames in opened.speak(avatar, blip)) == 1


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        ("bg_PTI.pt", lambda path: path.unlink(), "lacks bg_PTI.pt"),
        ("w_PTI.pt", lambda path: torch.save(torch.zeros(1, 21, 512), path), "(1, 15, 512) belongs"),
        ("G_PTI.pt", lambda path: path.write_bytes(path.read_bytes()[:5000]), "G_PTI.pt"),
    ],
    ids=["missing", "another size", "cut off"],
)
def test_what_is_not_whole_is_not_taken_over(character, order, portrait, short, tmp_path, name, spoil, told):
    folder = tmp_path / "character"
    folder.mkdir()
    for each in taken_over.FILES:
        (folder / each).write_bytes((character[0] / each).read_bytes())
    spoil(folder / name)
    ended = order(
        *("speak", portrait, short, "-o", tmp_path / "a.mp4"),
        *("--set", f"take_over={folder}", "device=cpu", "mode=latent"),
    )
    assert ended.code in (3, 4)
    assert told in ended.json["error"]
    assert not (tmp_path / "a.mp4").exists()


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def other(weights, tmp_path):
    """A folder of the same files, in which one may be replaced."""
    folder = tmp_path / "weights"
    (folder / "nerffacespeech").mkdir(parents=True)
    for path in (weights / "nerffacespeech").iterdir():
        (folder / "nerffacespeech" / path.name).symlink_to(path)
    return folder


@pytest.fixture
def refused(other, portrait, short, tmp_path, cli, features):
    """The error and the hint of a speech with these files."""

    def call(*options):
        target = tmp_path / "a.mp4"
        speak = ("speak", portrait, short, "-o", target, "--engine", "nerffacespeech")
        ended = cli(*speak, "--weights", other, "--cache-dir", features, "--set", *FEW, *options)
        assert ended.code == 4
        assert not list(tmp_path.glob("*a.mp4*"))
        return error_lines(ended)

    return call


def write_generator(folder, state, **synthesis):
    config = Replay("nerffacespeech", HERE / "nerffacespeech", {}).config("generator")
    config["synthesis_kwargs"] = {**config["synthesis_kwargs"], **synthesis}
    path = folder / "nerffacespeech" / "ffhq_1024.pkl"
    path.unlink()
    stylenerf_pickle(state, config, path)


def test_a_face_model_of_another_layout(other, refused):
    from scipy.io import savemat

    (other / "bfm").mkdir()
    savemat(other / "bfm" / "BFM_model_front.mat", {"meanshape": np.zeros((1, 90))})
    assert "not the face model: it has no idBase" in refused("pose_steps=11")[0]


def test_a_generator_of_another_kind(other, refused):
    write_generator(other, {}, upsample_mode="bicubic")
    assert "upsamples by 'bicubic'" in refused()[0]


def test_a_generator_in_the_middle_of_its_training(other, refused):
    state = GeneratorState.read(other / "nerffacespeech" / "ffhq_1024.pkl").tensors
    write_generator(other, {**state, "synthesis.alpha": torch.tensor(0.5)})
    error, hint = refused()
    assert "in the middle of its training (alpha is 0.5, not 1)" in error
    assert hint == "use the released ffhq_1024.pkl"


def test_a_voice_of_ten_milliseconds_is_a_frame(order, portrait, voice_samples, tmp_path):
    blip = write_wav(tmp_path / "blip.wav", voice_samples[6000:6160])
    made = order("speak", portrait, blip, "-o", tmp_path / "b.mp4", "--set", *FEW, "mode=latent").json
    assert made["frames"] == 1
