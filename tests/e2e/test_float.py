"""`personare speak --engine float` as a user runs it, from a folder of checkpoints in the
released layout, at tiny size.
"""

from __future__ import annotations

import shutil

import av
import cv2
import numpy as np
import pytest
import torch

import personare
from personare.engines.float import checkpoints
from personare.engines.float.drive import FRAME_SAMPLES, requested_emotion, voice_of_frames
from personare.engines.float.motion import Continuation, Guidance, MotionSampler
from personare.engines.float.prepare import APPEARANCE
from personare.engines.float.render import FrameDecoder
from personare.engines.resampling import MotionResampler
from personare.media.image import read_image
from personare.types import frame_count
from personare.weights.finder import Weights
from tests.conftest import error_lines, write_wav

pytestmark = pytest.mark.neural

PREPARED = {"float.face", "float.crop", "float.appearance"}


@pytest.fixture
def speak(cli, tmp_path, weights):
    def call(portrait, speech, *options, name="a.mp4"):
        ended = cli(
            "speak",
            portrait,
            speech,
            "-o",
            tmp_path / name,
            "--engine",
            "float",
            "--weights",
            weights,
            *options,
            "--json",
        )
        assert ended.code == 0, ended
        return ended.json, tmp_path / name

    return call


@pytest.fixture(scope="session")
def short(voice_samples, tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("voice") / "short.wav", voice_samples[:9000])


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_clip_has_the_frames_of_its_speech_and_its_sound(speak, portrait, voice, voice_samples):
    report, path = speak(portrait, voice)
    assert (report["width"], report["height"], report["fps"]) == (64, 64, 25)
    assert report["frames"] == len(decoded(path)) == frame_count(len(voice_samples), 25)
    assert {"drive", "motion", "render", "compose"} <= set(report["timings"])
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert abs(float(video.duration * video.time_base) - len(voice_samples) / 16000) <= 0.04
        assert abs(float(audio.duration * audio.time_base) - len(voice_samples) / 16000) <= 0.1


def test_what_is_known_is_not_computed_again(speak, portrait, short, tmp_path):
    """A second clip of the same portrait hears only; the same voice for another portrait only
    prepares.
    """
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), cv2.imread(str(portrait))[:, ::-1])
    first, _ = speak(portrait, short)
    assert set(first["cache"]["stages"].values()) == {"miss"}
    assert set(first["cache"]["stages"]) == PREPARED | {"float.voice", "float.emotion"}
    again, _ = speak(portrait, short, "--set", "fps=30", "nfe=4", "seed=3")
    assert set(again["cache"]["stages"].values()) == {"hit"}
    theirs, _ = speak(other, short)
    assert {stage: outcome for stage, outcome in theirs["cache"]["stages"].items() if outcome == "hit"} == {
        "float.voice": "hit",
        "float.emotion": "hit",
    }
    happy, _ = speak(other, short, "--set", "emotion=happy")
    assert "float.emotion" not in happy["cache"]["stages"]
    assert happy["cache"]["misses"] == 0


def test_status_knows_that_held_heads_need_another_stage(cli, portrait, weights):
    made = cli("avatar", "create", "anna", portrait, "--engine", "float", "--weights", weights)
    assert made.code == 0, made
    status = cli("avatar", "status", "anna", "--weights", weights, "--json").json
    assert status["recomputed_by"]["head_motion"] == ["float.reach"]
    assert set(status["recomputed_by"]["no_crop"]) == {"float.crop", "float.appearance"}
    assert status["recomputed_by"]["nfe"] == []


def test_the_photo_at_its_own_size_changes_only_in_the_square(speak, portrait, short, tmp_path):
    photo = cv2.copyMakeBorder(
        cv2.imread(str(portrait)), 50, 51, 301, 300, cv2.BORDER_CONSTANT, value=(40, 90, 160)
    )
    wide = tmp_path / "wide.png"
    cv2.imwrite(str(wide), photo)
    report, path = speak(
        wide, short, "--set", "framing=original", "head_motion=0.3", "rest_in_silence=1", "fps=30"
    )
    frames, original = decoded(path), read_image(wide)[:612, :1112]
    assert (report["width"], report["height"]) == (1112, 612)
    assert len(frames) == frame_count(9000, 30)
    assert frames.shape[1:] == original.shape
    difference = np.abs(frames.astype(int) - original).max(axis=(0, 3))
    assert difference[:, :200].max() <= 4  # H.264
    assert difference[150:450, 400:700].mean() > 20  # a network of random weights paints something else


def test_a_photo_that_changes_meanwhile_gets_nothing_pasted_into(
    cli, weights, portrait, short, tmp_path, changes_once_prepared
):
    photo = changes_once_prepared(portrait)
    speak = ("speak", photo, short, "-o", tmp_path / "a.mp4", "--engine", "float", "--weights", weights)
    ended = cli(*speak, "--set", "framing=original")
    assert ended.code == 3
    assert error_lines(ended) == (
        f"{photo} is not the photo that was prepared: it has changed",
        "prepare the avatar again",
    )
    assert not list(tmp_path.glob("*a.mp4*"))


def test_the_same_seed_gives_the_same_frames_and_another_one_does_not(portrait, short, weights):
    engine = personare.open_engine("float", weights=weights)
    avatar = engine.prepare(portrait)
    clips = [
        np.concatenate([frames.images for frames in engine.speak(avatar, short, seed=seed)])
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], clips[2])


@pytest.mark.parametrize("fps", [25, 30])
def test_after_an_interruption_the_motion_goes_on_from_the_last_frame_that_was_shown(
    portrait, voice_samples, weights, fps
):
    """To the byte: what a sampler that is given all motion up to that frame makes of silence."""
    options = {"emotion": "neutral", "fixed_noise": True, "fps": fps, "device": "cpu", "precision": "float32"}
    opened, speech = personare.open_engine("float", weights=weights), voice_samples[:16000]
    avatar = opened.prepare(portrait, emotion="neutral")
    performance = opened.perform(avatar, **options)
    list(performance.feed(speech))
    said = performance.finish()
    shown = sum(len(next(said)) for _ in range(7))
    performance.interrupt()
    after = performance.idle(4).images
    performance.close()

    files, read, cpu = Weights(weights), opened.engine.read_options(options), torch.device("cpu")
    seen = avatar.features[APPEARANCE].arrays
    transformer = checkpoints.lease_transformer(files, cpu, torch.float32).network
    previous, chunk = transformer.config.previous, transformer.config.chunk

    def sampler(continuation=None):
        return MotionSampler(
            transformer,
            seen["reference"],
            requested_emotion("neutral"),
            points=read.nfe,
            guidance=Guidance(read.a_cfg_scale, read.e_cfg_scale),
            seed=read.seed,
            fixed=True,
            continuation=continuation,
        )

    ears = checkpoints.ears(read, files)
    voice = voice_of_frames(*ears.voice, speech, read.whole_seconds)
    silence = voice_of_frames(*ears.voice, np.zeros(chunk * FRAME_SAMPLES, np.float32), chunk)
    motion = np.concatenate(list(sampler().chunks(voice)))
    end = (shown - 1) * 25 // fps + 1
    assert end > previous
    continuation = Continuation(motion[end - previous : end], voice[end - previous : end])
    goes_on = MotionResampler(read.fps).push(sampler(continuation).sample(silence))[:4]
    decoder = FrameDecoder(
        checkpoints.lease_decoder(files, cpu).network, seen["appearance"], seen, torch.float32
    )
    assert np.array_equal(after, np.concatenate([decoder.render(one[None]) for one in goes_on]))


def test_silence_makes_a_clip(speak, portrait, tmp_path):
    report, _ = speak(
        portrait, write_wav(tmp_path / "silence.wav", np.zeros(8000)), "--set", "rest_in_silence=1"
    )
    assert report["frames"] == 13


@pytest.mark.parametrize(
    ("setting", "told", "hint"),
    [
        ("emotion=joyful", "'angry', 'disgust', 'fear', 'happy', 'neutral', 'sad' or 'surprise'", "auto"),
        ("nfe=0", "greater than or equal to 2", "Euler steps"),
        ("framing=wide", "'square' or 'original'", "own size"),
    ],
)
def test_an_option_that_does_not_exist_is_one_line_and_a_hint(
    cli, weights, portrait, short, tmp_path, setting, told, hint
):
    output = tmp_path / "a.mp4"
    ended = cli(
        "speak", portrait, short, "-o", output, "--engine", "float", "--weights", weights, "--set", setting
    )
    error, advice = error_lines(ended)
    assert ended.code == 3
    assert told in error
    assert hint in advice
    assert not output.exists()


def test_emotions_are_read_in_any_case(speak, portrait, short):
    assert speak(portrait, short, "--set", "emotion=HAPPY")[0]["frames"]


def test_no_face_and_a_tiny_face_are_refused(cli, weights, portrait, short, tmp_path):
    blank, tiny = tmp_path / "blank.png", tmp_path / "tiny.png"
    cv2.imwrite(str(blank), np.full((300, 300, 3), 128, np.uint8))
    small = np.full((600, 600, 3), 128, np.uint8)
    small[200:260, 200:260] = cv2.resize(cv2.imread(str(portrait)), (60, 60), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tiny), small)
    for picture in (blank, tiny):
        ended = cli(
            "speak", picture, short, "-o", tmp_path / "a.mp4", "--engine", "float", "--weights", weights
        )
        assert ended.code == 3
        assert "face" in error_lines(ended)[0]


def test_grey_and_clear_pictures_speak(speak, portrait, short, tmp_path):
    grey, clear = tmp_path / "grey.png", tmp_path / "clear.png"
    colours = cv2.imread(str(portrait))
    cv2.imwrite(str(grey), cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(clear), np.dstack([colours, np.full(colours.shape[:2], 255, np.uint8)]))
    assert speak(grey, short)[0]["frames"] == speak(clear, short)[0]["frames"] == 15


def test_without_weights_it_says_what_to_fetch(cli, portrait, short, tmp_path):
    ended = cli(
        "speak", portrait, short, "-o", tmp_path / "a.mp4", "--engine", "float", "--weights", tmp_path
    )
    error, hint = error_lines(ended)
    assert ended.code == 4
    assert "float/float.pth" in error
    assert "non-commercial" in error
    assert "weights pull" in hint


def test_the_wrong_weights_are_refused(cli, weights, portrait, short, tmp_path):
    wrong = tmp_path / "wrong"
    shutil.copytree(weights, wrong)
    (wrong / "float/float.pth").write_bytes(
        (weights / "wav2vec-english-speech-emotion-recognition/pytorch_model.bin").read_bytes()
    )
    ended = cli("speak", portrait, short, "-o", tmp_path / "a.mp4", "--engine", "float", "--weights", wrong)
    assert ended.code == 4
    assert "float.pth" in error_lines(ended)[0]
