"""Sound, pictures and clips: exact counts, right colours, whole files or none."""

from __future__ import annotations

import io
import math
import resource
import signal
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from personare.errors import EngineError, PictureTooLarge, UnreadableMedia, UnusableSpeech, UnwritableOutput
from personare.media.audio import open_speech, speech_from_samples
from personare.media.colour import i420
from personare.media.image import read_image
from personare.media.video import VideoSource
from personare.media.writer import ClipWriter
from personare.types import Phone, frame_count, frame_rate
from tests.conftest import write_wav


def heard(speech):
    chunks = list(speech.chunks())
    return np.concatenate([c.samples for c in chunks]), np.concatenate([c.voice for c in chunks])


# ---------------------------------------------------------------- frame rates and counts


def test_frame_rates_as_people_write_them():
    assert frame_rate("29.97") == frame_rate(29.97) == Fraction(30000, 1001)
    assert frame_rate("23.976") == Fraction(24000, 1001)
    assert frame_rate("25") == frame_rate(25) == 25
    for bad in ("0", "121", "1/0", "fast", "-25", "nan"):
        with pytest.raises(ValueError, match="frame rate"):
            frame_rate(bad)


@given(
    st.integers(0, 16000 * 3600 * 10),
    st.sampled_from([Fraction(24000, 1001), Fraction(30000, 1001), *map(Fraction, (25, 30, 50, 60))]),
)
def test_frame_counts_cover_the_sound_and_no_more(samples, fps):
    count = frame_count(samples, fps)
    assert (count - 1) / fps < Fraction(samples, 16000) <= count / fps or samples == count == 0


# ---------------------------------------------------------------- sound in


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30000), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000]))
def test_sample_counts_are_exact(count, rate):
    samples, voice = heard(speech_from_samples(np.zeros(count, np.float32), rate))
    assert len(voice) == count
    assert len(samples) == math.ceil(count * 16000 / rate)


def test_resampling_neither_delays_nor_colours(tmp_path):
    t = np.arange(48000) / 48000
    samples, _ = heard(
        open_speech(write_wav(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * t), 48000))
    )
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(samples - expected)[200:-200].max() < 1e-3


def test_stereo_is_averaged_for_the_engine_and_kept_for_the_clip(tmp_path):
    sides = np.stack([np.full(4000, 0.5), np.full(4000, -0.1)], axis=1)
    samples, voice = heard(open_speech(write_wav(tmp_path / "s.wav", sides)))
    assert voice.shape == (4000, 2)
    assert np.allclose(samples, 0.2, atol=1e-4)


def test_phones_come_with_the_chunk_in_which_they_start():
    phones = [Phone("a", 0, 100), Phone("b", 9000, 9500), Phone("", 30000, 31000)]
    position = 0
    seen = []
    for chunk in speech_from_samples(np.zeros(32000, np.float32), 16000, phones=phones).chunks():
        assert all(position <= p.start < position + len(chunk.samples) for p in chunk.phones)
        seen += chunk.phones
        position += len(chunk.samples)
    assert seen == phones


def test_a_speech_can_be_heard_twice(voice):
    speech = open_speech(voice)
    one, two = heard(speech)[0], heard(speech)[0]
    assert np.array_equal(one, two)


def test_a_wav_that_promises_more_than_it_has_plays_what_is_there(tmp_path, voice):
    path = tmp_path / "cut.wav"
    path.write_bytes(voice.read_bytes()[:20044])
    assert len(heard(open_speech(path))[0]) == 10000


def test_playlists_cannot_reach_other_files(tmp_path, voice):
    (tmp_path / "secret.wav").write_bytes(voice.read_bytes())
    lists = {
        "a.wav": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "b.wav": "ffconcat version 1.0\nfile secret.wav\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableMedia):
            heard(open_speech(tmp_path / name))


@pytest.mark.slow
def test_an_hour_is_heard_in_constant_memory(tmp_path):
    """An hour of flac silence; the process may not grow by more than a fraction of what it is in
    samples (230 MB).
    """
    path = tmp_path / "long.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16000, layout="mono")
        block = np.zeros((1, 16000 * 60), np.int16)
        for minute in range(60):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, minute * block.shape[1]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(len(chunk.samples) for chunk in open_speech(path).chunks()) == 3600 * 16000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_speech_that_is_nothing():
    with pytest.raises(UnusableSpeech):
        heard(speech_from_samples(np.zeros(0, np.float32), 16000))
    with pytest.raises(UnusableSpeech):
        heard(speech_from_samples(np.array([0.0, np.nan], np.float32), 16000))


# ---------------------------------------------------------------- pictures in

RED = (220, 30, 40)


def test_exif_orientation(tmp_path):
    picture = Image.new("RGB", (40, 20), (0, 0, 0))
    picture.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png")
    assert image.shape == (40, 20, 3)
    assert tuple(image[5, 10]) == RED
    assert tuple(image[35, 10]) == (0, 0, 0)


def test_transparency_is_laid_over_white(tmp_path):
    Image.new("RGBA", (8, 8), (*RED, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert np.abs(read_image(tmp_path / "deep.png").astype(int) - 128).max() <= 1


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (32, 32), (255, 255, 255)).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (32, 32, 3)
    assert image.min() > 245


def test_one_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "dot.png")
    assert read_image(tmp_path / "dot.png").tolist() == [[list(RED)]]


def test_the_pixel_budget_is_checked_on_the_header(tmp_path):
    Image.new("1", (3000, 3000)).save(tmp_path / "large.png")
    with pytest.raises(PictureTooLarge, match="3000x3000"):
        read_image(tmp_path / "large.png", max_pixels=1_000_000)


# ---------------------------------------------------------------- clips out


def write_clip(target, images, fps=Fraction(25), voice=None, rate=16000, **options):
    with ClipWriter(
        target, size=images.shape[1:3], fps=fps, voice_rate=rate if voice is not None else None, **options
    ) as writer:
        if voice is not None:
            writer.write_voice(voice[:, None].astype(np.float32))
        writer.write_frames(images)


def test_planes_are_those_of_the_standard():
    """Within one level of BT.601 in floating point; chroma is the mean of four pixels."""
    image = np.random.default_rng(3).integers(0, 256, (34, 22, 3), np.uint8)
    planes = i420(image)
    assert planes.shape == (34 * 3 // 2, 22)
    quarters = np.rint(image.reshape(17, 2, 11, 2, 3).mean(axis=(1, 3)))
    blue, red = (
        quarters @ np.array(row) / 255 + 128 for row in ([-37.797, -74.203, 112.0], [112.0, -93.786, -18.214])
    )
    wanted = [image @ np.array([65.481, 128.553, 24.966]) / 255 + 16, blue, red]
    got = [planes[:34], *planes[34:].reshape(2, 17, 11)]
    for plane, exact in zip(got, wanted, strict=True):
        assert np.abs(plane - exact).max() <= 1.01


def test_colours_survive(tmp_path):
    colours = [(220, 30, 40), (30, 200, 60), (40, 60, 210), (128, 128, 128), (250, 240, 230), (10, 12, 8)]
    images = np.stack([np.full((64, 64, 3), colour, np.uint8) for colour in colours])
    write_clip(tmp_path / "a.mp4", images)
    for frame, colour in zip(VideoSource(tmp_path / "a.mp4").frames(), colours, strict=True):
        assert np.abs(frame.image[32, 32].astype(int) - colour).max() <= 4


def test_sound_is_where_it_was(tmp_path):
    voice = np.zeros(16000, np.float32)
    voice[8000:8040] = 0.9
    write_clip(tmp_path / "a.mp4", np.zeros((25, 32, 32, 3), np.uint8), voice=voice)
    samples, _ = heard(open_speech(tmp_path / "a.mp4"))
    centre = (np.arange(len(samples)) * samples**2).sum() / (samples**2).sum()
    assert abs(centre - 8020) < 32
    with av.open(str(tmp_path / "a.mp4")) as container:
        lengths = [float(s.duration * s.time_base) for s in container.streams]
    assert abs(lengths[0] - lengths[1]) <= 0.04


def test_odd_sizes_are_made_even(tmp_path):
    write_clip(tmp_path / "a.mp4", np.zeros((2, 33, 47, 3), np.uint8))
    assert VideoSource(tmp_path / "a.mp4").size == (34, 48)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    voice = np.random.default_rng(1).normal(0, 0.1, 7680).astype(np.float32)
    for name in "ab":
        write_clip(tmp_path / f"{name}.mp4", images, voice=voice)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_live_clip_plays_while_it_grows():
    stream = io.BytesIO()
    write_clip(stream, np.zeros((10, 32, 32, 3), np.uint8), voice=np.zeros(6400))
    data = stream.getvalue()
    assert b"moof" in data
    with av.open(io.BytesIO(data)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10


def interrupted_clip(target):
    with ClipWriter(target, size=(32, 32), fps=Fraction(25)) as writer:
        writer.write_frames(np.zeros((3, 32, 32, 3), np.uint8))
        raise KeyboardInterrupt


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted_clip(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_shape_are_refused(tmp_path):
    with (
        pytest.raises(EngineError, match="frames of"),
        ClipWriter(tmp_path / "a.mp4", size=(32, 32), fps=Fraction(25)) as writer,
    ):
        writer.write_frames(np.zeros((1, 32, 30, 3), np.uint8))


class Full(io.RawIOBase):
    """A disk that takes 2 kB."""

    def __init__(self):
        self.room = 2000

    def writable(self):
        return True

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return len(data)


def test_a_full_disk_is_said_so():
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(UnwritableOutput, match=r"full|space"):
        write_clip(Full(), noise)


_OUT_OF_SPACE = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from personare.errors import UnwritableOutput
from personare.media.writer import ClipWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    with ClipWriter(Path(sys.argv[1]), size=(256, 256), fps=Fraction(25)) as writer:
        for i in range(60):
            writer.write_frames(np.random.default_rng(i).integers(0, 255, (1, 256, 256, 3), dtype=np.uint8))
except UnwritableOutput:
    sys.exit(77)
"""


def test_no_half_file_when_there_is_no_more_room(tmp_path):
    target = tmp_path / "a.mp4"
    ended = subprocess.run([sys.executable, "-c", _OUT_OF_SPACE, str(target)], capture_output=True, text=True)
    assert ended.returncode == 77, ended.stderr
    assert ended.returncode != -signal.SIGXFSZ
    assert list(tmp_path.iterdir()) == []
