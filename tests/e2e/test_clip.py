"""`personare speak` as a user runs it: media in, mp4 decoded and judged."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

import personare
from personare.media.colour import i420
from personare.media.writer import ClipWriter
from personare.types import frame_count
from tests.conftest import write_wav

SMALL = ("--set", "size=256")


@pytest.fixture
def speak(cli, tmp_path, portrait):
    def call(speech, *options, name="a.mp4"):
        ended = cli("speak", portrait, speech, "-o", tmp_path / name, *SMALL, *options, "--json")
        assert ended.code == 0, ended
        return ended.json, tmp_path / name

    return call


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_clip_is_what_players_expect(speak, voice):
    report, path = speak(voice)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.codec_context.pix_fmt) == (256, 256, "yuv420p")
        assert video.average_rate == 25
        assert video.frames == report["frames"]
        video_seconds = video.duration * video.time_base
        audio_seconds = audio.duration * audio.time_base
    assert abs(video_seconds - audio_seconds) <= Fraction(1, 25)
    assert abs(audio_seconds - Fraction(report["audio_seconds"])) <= Fraction(1, 25)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_report_has_the_fields_that_scripts_rely_on(speak, voice, voice_samples):
    report, path = speak(voice)
    assert set(report) == {
        "output", "engine", "avatar", "frames", "fps", "width", "height", "audio_seconds", "timings", "cache",
        "realtime_factor", "peak_memory_mb", "resident_bytes", "warnings", "marks",
    }  # fmt: skip
    assert report["output"] == str(path)
    assert report["audio_seconds"] == len(voice_samples) / 16000
    assert report["frames"] == frame_count(len(voice_samples), Fraction(25))
    assert report["timings"]["total"] > 0
    assert set(report["cache"]["stages"].values()) == {"miss"}
    assert report["cache"]["misses"] == len(report["cache"]["stages"])


def test_the_second_run_is_warm_and_gives_the_same_bytes(speak, voice):
    _, one = speak(voice, name="one.mp4")
    second, two = speak(voice, name="two.mp4")
    assert set(second["cache"]["stages"].values()) == {"hit"}
    assert one.read_bytes() == two.read_bytes()


def test_no_cache_and_refresh(speak, voice, home):
    report, _ = speak(voice, "--no-cache")
    assert report["cache"]["hits"] == 0
    assert not list(home.rglob("*.safetensors"))
    speak(voice)
    report, _ = speak(voice, "--refresh")
    assert set(report["cache"]["stages"].values()) == {"miss"}


@pytest.mark.parametrize("fps", ["23.976", "29.97", "30", "50"])
def test_frame_rates_are_exact(speak, tmp_path, voice_samples, fps):
    speech = write_wav(tmp_path / "v.wav", voice_samples[:12345])
    report, path = speak(speech, "--set", f"fps={fps}")
    exact = {"23.976": Fraction(24000, 1001), "29.97": Fraction(30000, 1001)}.get(fps) or Fraction(fps)
    assert report["frames"] == frame_count(12345, exact)
    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert times == [i / exact for i in range(report["frames"])]


def test_the_voice_keeps_its_own_rate(speak, tmp_path, voice_samples):
    stereo = np.repeat(np.repeat(voice_samples, 3)[:, None], 2, axis=1)
    _, path = speak(write_wav(tmp_path / "v.wav", stereo, 48000))
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        assert (audio.rate, audio.channels) == (48000, 2)


def test_the_mouth_moves_with_the_voice_and_rests_in_silence(speak, tmp_path, voice_samples):
    from personare.perception.face import find_face

    # afterwards it stays a little parted for a moment, as people's mouths do
    before, after = np.zeros(16000, np.float32), np.zeros(24000, np.float32)
    sound = np.concatenate([before, voice_samples, after])
    _, path = speak(write_wav(tmp_path / "v.wav", sound), "--set", "size=512")
    pictures = decoded(path)
    opening = []
    for picture in pictures[::2]:
        face = find_face(picture)
        opening.append(np.linalg.norm(face.landmarks[13, :2] - face.landmarks[14, :2]) / face.eye_distance_px)
    opening = np.array(opening)
    speaking = opening[14:-20]
    before, after = opening[3:11], opening[-9:]
    assert np.percentile(speaking, 95) > np.median(before) + 0.06
    assert np.ptp(before) < 0.03
    assert abs(np.median(after) - np.median(before)) < 0.03


def test_the_encoded_picture_is_close_to_the_one_that_was_made(tmp_path, portrait, voice_samples):
    """Every frame of a talking portrait, decoded: 44 dB of luma (45 were seen, and 43.5 two
    steps of x264's rate factor further down), at less than 3.5 kB a frame (2.6).
    """
    engine = personare.open_engine("puppet")
    performance = engine.perform(engine.prepare(portrait))
    made = [*performance.feed(voice_samples[4000:16000]), *performance.finish()]
    images = np.concatenate([frames.images for frames in made])
    path = tmp_path / "a.mp4"
    with ClipWriter(path, size=performance.size, fps=performance.fps) as writer:
        writer.write_frames(images)
    with av.open(str(path)) as container:
        shown = np.stack([frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)])
    errors = np.square(shown.astype(float) - [i420(image) for image in images])
    luma, chroma = errors[:, : performance.size[0]], errors[:, performance.size[0] :]
    assert psnr(luma.mean(axis=(1, 2))).min() > 44
    assert psnr(chroma.mean(axis=(1, 2))).min() > 47
    assert path.stat().st_size / len(images) < 3500


def psnr(square_errors):
    """dB, of 8 bits"""
    return 10 * np.log10(255**2 / square_errors)


def test_an_interruption_that_a_library_swallowed_ends_the_clip(
    tmp_path, portrait, voice_samples, monkeypatch
):
    engine = personare.open_engine("puppet", cache_dir=tmp_path / "features")
    clip = engine.speak(engine.prepare(portrait, size=256), write_wav(tmp_path / "v.wav", voice_samples))
    monkeypatch.setattr("personare.ground.interruption.arrived", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        clip.save(tmp_path / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features", "v.wav"]


def test_another_seed_is_another_life(speak, voice):
    _, one = speak(voice, name="one.mp4")
    _, two = speak(voice, "--set", "seed=7", name="two.mp4")
    assert one.read_bytes() != two.read_bytes()


def test_text(cli, tmp_path, portrait):
    ended = cli("speak", portrait, "--text", "Hello.", "-o", tmp_path / "a.mp4", *SMALL, "--json")
    assert ended.code == 0, ended
    assert 0.3 < ended.json["audio_seconds"] < 3
    (tmp_path / "words.txt").write_text("Bonjour.", encoding="utf-8")
    ended = cli(
        "speak",
        portrait,
        "--text-file",
        tmp_path / "words.txt",
        "--voice",
        "fr",
        "-o",
        tmp_path / "b.mp4",
        *SMALL,
    )
    assert ended.code == 0, ended


_MEASURE = """
import resource, sys
import numpy as np
from personare.studio.studio import Studio
from personare.media.audio import speech_from_samples
from pathlib import Path
seconds = int(sys.argv[3])
voice = np.resize(np.load(sys.argv[2]), seconds * 16000)
studio = Studio()
cast = studio.cast(Path(sys.argv[1]), None, {"size": 256})
report = studio.speak(cast, speech_from_samples(voice, 16000), Path(sys.argv[4]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - voice.nbytes / 2**20)
"""


def test_memory_does_not_grow_with_the_clip(tmp_path, portrait, voice_samples):
    """Half a minute needs no more memory than five seconds (but for the samples that this test
    itself holds).
    """
    np.save(tmp_path / "voice.npy", voice_samples)

    def peak_mb(seconds):
        arguments = [portrait, tmp_path / "voice.npy", seconds, tmp_path / "a.mp4"]
        ended = subprocess.run(
            [sys.executable, "-c", _MEASURE, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        return float(ended.stdout)

    assert peak_mb(30) - peak_mb(5) < 15
