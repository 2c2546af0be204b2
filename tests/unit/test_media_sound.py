"""The voice in a file: any number of channels, the track that speaks, channels that cancel,
pauses that were not sent, voices too quiet to be heard.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from personare.errors import UnreadableMedia
from personare.media.audio import open_speech, speech_from_samples
from personare.media.mix import speech_seconds
from tests.conftest import write_wav
from tests.unit.sound_files import RATE, at_rate, write_float, write_tracks


def heard(speech):
    chunks = list(speech.chunks())
    return np.concatenate([c.samples for c in chunks]), np.concatenate([c.voice for c in chunks])


def tone(seconds: float, hz: float = 300.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def loud_from(samples: np.ndarray, after: float = 0.0) -> float:
    """Seconds from which on, after a moment, there is sound again."""
    return float(np.flatnonzero(np.abs(samples[round(after * 16000) :]) > 0.02)[0] / 16000 + after)


# ---------------------------------------------------------------- channels


def unnamed_channels(path: Path, samples: np.ndarray) -> Path:
    """int16 [n, channels] as the plainest wav, which names no places."""
    channels = samples.shape[1]
    data = samples.astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, 16000, 32000 * channels, 2 * channels, 16)
    head = struct.pack("<4sI4s4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16)
    path.write_bytes(head + form + struct.pack("<4sI", b"data", len(data)) + data)
    return path


_EVERY_NUMBER_OF_CHANNELS = """
import sys
from pathlib import Path
import numpy as np
from personare.media.audio import open_speech
for path in sys.argv[1:]:
    samples = np.concatenate([c.samples for c in open_speech(Path(path)).chunks()])
    print(path, len(samples), float(np.abs(samples).max()))
"""


@pytest.mark.slow
def test_any_number_of_channels_is_mixed(tmp_path):
    """In a process of its own: eight channels and more used to end it."""
    wave = (9000 * np.sin(np.arange(8000) * 0.06)).astype(np.int16)
    paths = [unnamed_channels(tmp_path / f"{n}.wav", np.repeat(wave[:, None], n, 1)) for n in range(1, 65)]
    command = [sys.executable, "-c", _EVERY_NUMBER_OF_CHANNELS, *map(str, paths)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    for line, path in zip(ended.stdout.splitlines(), paths, strict=True):
        name, count, loudest = line.split()
        assert (name, count) == (str(path), "8000")
        assert float(loudest) == pytest.approx(9000 / 32768, abs=1e-3)


@pytest.mark.parametrize(
    ("codec", "name", "layout", "options"),
    [
        ("libopus", "a.ogg", "9 channels", {"mapping_family": "255"}),
        ("libopus", "a.ogg", "7.1", {}),
        ("wavpack", "a.wv", "8 channels", {}),
        ("aac", "a.mp4", "7.1", {}),
        ("tta", "a.tta", "9 channels", {}),
    ],
)
def test_many_channels_in_planes(tmp_path, codec, name, layout, options):
    channels = av.AudioLayout(layout).nb_channels
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout=layout, options=options)
        resampler = av.AudioResampler(stream.codec_context.format.name, layout, RATE)
        size = stream.codec_context.frame_size or 960
        samples = np.repeat(tone(0.5)[:, None], channels, 1)
        for start in range(0, len(samples) - size + 1, size):
            frame = av.AudioFrame(format="flt", layout=layout, samples=size)
            frame.sample_rate = RATE
            data = samples[start : start + size].tobytes()
            frame.planes[0].update(data.ljust(frame.planes[0].buffer_size, b"\0"))
            (frame,) = resampler.resample(frame)
            frame.pts, frame.time_base = start, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples, _ = heard(open_speech(tmp_path / name))
    assert len(samples) == pytest.approx(8000, abs=700)
    assert np.abs(samples).max() > 0.25


def test_more_channels_than_can_be_mixed_are_refused(tmp_path):
    path = unnamed_channels(tmp_path / "a.wav", np.ones((400, 100)))
    with pytest.raises(UnreadableMedia, match="100 channels"):
        open_speech(path)


@pytest.mark.parametrize("other", [-1.0, -0.97, -0.3])
def test_channels_in_opposite_phase_do_not_cancel(tmp_path, voice_samples, other):
    sides = np.stack([voice_samples, other * voice_samples], axis=1) * 0.9
    for speech in (open_speech(write_wav(tmp_path / "a.wav", sides)), speech_from_samples(sides, 16000)):
        samples, voice = heard(speech)
        assert np.corrcoef(samples, voice_samples)[0, 1] > 0.999
        assert np.abs(samples).max() == pytest.approx(
            0.9 * (1 - other) / 2 * np.abs(voice_samples).max(), rel=0.01
        )
        assert voice.shape[1] == 2
        assert np.allclose(voice, sides, atol=1e-4)  # the clip keeps what was recorded


def test_many_channels_in_opposite_phase_do_not_cancel(tmp_path, voice_samples):
    signs = np.array([1, -1, 1, -1, -1, 1, -1, 1, -1])
    path = unnamed_channels(tmp_path / "a.wav", voice_samples[:, None] * signs * 30000)
    samples, _ = heard(open_speech(path))
    assert np.corrcoef(samples, voice_samples)[0, 1] > 0.999


def test_ordinary_stereo_is_mixed_as_ever(tmp_path, voice_samples):
    """Wide, late on one side, silent on one side: the plain mean, to the bit."""
    noise = np.random.default_rng(0).normal(0, 0.05, len(voice_samples))
    for right in (voice_samples * 0, np.roll(voice_samples, 190), noise - 0.4 * voice_samples):
        sides = np.stack([voice_samples, right], axis=1).astype(np.float32) * 0.7
        samples, voice = heard(open_speech(write_wav(tmp_path / "a.wav", sides)))
        assert np.array_equal(samples, voice.mean(axis=1, dtype=np.float32))


# ---------------------------------------------------------------- tracks


def noise(seconds: float, level: float = 0.05) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, level, round(seconds * RATE))
    return samples.astype(np.float32)


def beeps(seconds: float) -> np.ndarray:
    return tone(seconds, 880) * (np.arange(round(seconds * RATE)) % RATE < RATE // 3)


@pytest.mark.parametrize("other", ["silence", "noise", "hum", "beeps"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_track_that_speaks_is_taken(tmp_path, voice_samples, other, place):
    speech = at_rate(np.concatenate([np.zeros(16000, np.float32), voice_samples]))
    seconds = len(speech) / RATE
    sounds = {
        "silence": noise(seconds, 0.0),
        "noise": noise(seconds),
        "hum": tone(seconds, 100, 0.2),
        "beeps": beeps(seconds),
    }
    tracks = [[(0.0, sounds[other])] for _ in range(3)]
    tracks[place] = [(0.0, speech)]
    samples, _ = heard(open_speech(write_tracks(tmp_path / "a.mkv", tracks)))
    expected = speech[1::3][: len(samples)]
    assert np.corrcoef(samples[: len(expected)], expected)[0, 1] > 0.9


def test_of_two_that_speak_the_first_is_kept(tmp_path, voice_samples):
    first, second = at_rate(voice_samples), at_rate(voice_samples[::-1])
    path = write_tracks(tmp_path / "a.mkv", [[(0.0, first)], [(0.0, second)]])
    assert np.corrcoef(heard(open_speech(path))[0], voice_samples[: len(first) // 960 * 320])[0, 1] > 0.9


def test_a_track_is_chosen_by_its_number(tmp_path, voice_samples):
    speech = at_rate(voice_samples)
    path = write_tracks(tmp_path / "a.mkv", [[(0.0, speech)], [(0.0, tone(2.0))]])
    samples, _ = heard(open_speech(path, track=2))
    assert len(samples) == pytest.approx(32000, abs=1600)
    assert samples.max() == pytest.approx(0.3, abs=0.02)
    for number in (0, 3):
        with pytest.raises(UnreadableMedia, match="2 sound tracks"):
            open_speech(path, track=number)


def test_what_is_speech_and_what_is_not(voice_samples):
    spoken = np.concatenate([voice_samples] * 2)
    assert speech_seconds(spoken) > 0.5 * len(spoken) / 16000
    assert speech_seconds(spoken * np.float32(10**-2.5)) > 0.5 * len(spoken) / 16000
    for other in (noise(3), tone(3, 100), beeps(3), np.zeros(48000, np.float32)):
        assert speech_seconds(other[::3]) == 0


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libopus"), ("a.mkv", "pcm_s16le"), ("a.mp4", "aac")])
def test_a_pause_that_was_not_sent_keeps_its_time(tmp_path, name, codec):
    path = write_tracks(tmp_path / name, [[(0.0, tone(1.0)), (3.0, tone(1.0)), (4.5, tone(1.0))]], codec)
    samples, voice = heard(open_speech(path))
    assert len(samples) / 16000 == pytest.approx(5.5, abs=0.05)
    assert len(samples) == -(-len(voice) * 16000 // RATE)
    assert loud_from(samples, 1.2) == pytest.approx(3.0, abs=0.03)
    assert loud_from(samples, 4.2) == pytest.approx(4.5, abs=0.03)


@pytest.mark.parametrize("pictures", [0.0, 4.0])
def test_a_late_start_keeps_its_time(tmp_path, pictures):
    path = write_tracks(tmp_path / "a.mp4", [[(1.0, tone(2.0))]], "aac", pictures)
    assert loud_from(heard(open_speech(path))[0]) == pytest.approx(1.0, abs=0.03)


def test_time_stamps_that_tremble_change_nothing(tmp_path):
    """Pieces of 20 ms that come up to 50 ms late, as live recordings have them."""
    late = np.random.default_rng(1).uniform(0, 0.05, 100)
    begins = np.maximum.accumulate(0.5 + 0.02 * np.arange(100) + late) + 0.001 * np.arange(100)
    parts = [(begin, tone(0.02)) for begin in begins]
    samples, _ = heard(open_speech(write_tracks(tmp_path / "a.mkv", [parts], "pcm_s16le")))
    assert len(samples) == 32000


@pytest.mark.parametrize("jump", [3600.0, 95443.7, -3.0])
def test_a_clock_that_jumps_is_closed(tmp_path, jump):
    parts = [(5.0, tone(1.0)), (6.0 + jump, tone(1.0)), (8.0 + jump, tone(1.0))]
    if jump < 0:  # the muxer refuses falling times: two recordings, one behind the other
        data = [
            write_tracks(tmp_path / f"{i}.ogg", [[(0.0, tone(1.0))]], "libopus").read_bytes() for i in (0, 1)
        ]
        (tmp_path / "a.ogg").write_bytes(b"".join(data))
        assert len(heard(open_speech(tmp_path / "a.ogg"))[0]) == pytest.approx(32000, abs=700)
        return
    samples, _ = heard(open_speech(write_tracks(tmp_path / "a.mkv", [parts], "pcm_s16le")))
    assert len(samples) == 64000  # the second pause is one


# ---------------------------------------------------------------- quiet voices


@pytest.mark.parametrize("db", [-45, -50, -55])
def test_a_clean_quiet_voice_is_raised(tmp_path, voice_samples, db):
    quiet = voice_samples * np.float32(10 ** (db / 20))
    for speech in (open_speech(write_float(tmp_path / "a.wav", quiet)), speech_from_samples(quiet, 16000)):
        samples, voice = heard(speech)
        assert np.abs(samples).max() > 0.1
        assert np.corrcoef(samples, voice_samples)[0, 1] > 0.9999
        assert np.array_equal(voice[:, 0], quiet)  # the clip keeps its own


@pytest.mark.parametrize("db", [0, -10, -20])
def test_an_ordinary_voice_is_left_as_it_is(tmp_path, voice_samples, db):
    spoken = voice_samples * np.float32(10 ** (db / 20))
    assert np.array_equal(heard(open_speech(write_float(tmp_path / "a.wav", spoken)))[0], spoken)


def test_a_loud_word_after_a_quiet_minute_is_an_ordinary_voice(tmp_path, voice_samples):
    quiet = np.tile(voice_samples * np.float32(0.002), 20)
    samples = np.concatenate([quiet, voice_samples])
    assert np.array_equal(heard(open_speech(write_float(tmp_path / "a.wav", samples)))[0], samples)


def test_quiet_noise_is_not_raised(tmp_path, voice_samples):
    """Neither noise alone nor a voice that hardly stands out of it."""
    rng = np.random.default_rng(0)
    hiss = rng.normal(0, 10 ** (-65 / 20), len(voice_samples)).astype(np.float32)
    for sound in (hiss, hiss + voice_samples * np.float32(10 ** (-50 / 20))):
        assert np.array_equal(heard(open_speech(write_float(tmp_path / "a.wav", sound)))[0], sound)
