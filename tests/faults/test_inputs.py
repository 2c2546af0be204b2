"""What bad input gets: one line, a hint, exit code 3, and nothing half-written. Every line of
that promise is a test.
"""

from __future__ import annotations

import struct
import wave
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import error_lines, write_wav

SMALL = ("--set", "size=256")


def refused(cli, tmp_path, portrait, speech, *words, code=3):
    """`speak` must fail with this code and these words, and leave the output folder as it was."""
    target = tmp_path / "clips"
    target.mkdir(exist_ok=True)
    ended = cli("speak", portrait, speech, "-o", target / "a.mp4", *SMALL)
    assert ended.code == code, ended
    error, hint = error_lines(ended)
    for word in words:
        assert word in f"{error} {hint}", (word, error, hint)
    assert list(target.iterdir()) == []
    return error


def spoken(cli, tmp_path, portrait, speech, *options):
    target = tmp_path / "a.mp4"
    ended = cli("speak", portrait, speech, "-o", target, *SMALL, *options, "--json")
    assert ended.code == 0, ended
    assert target.stat().st_size > 1000
    return ended.json


# ---------------------------------------------------------------- voices that cannot be used


def test_empty_voice(cli, tmp_path, portrait):
    path = tmp_path / "empty.wav"
    path.write_bytes(b"")
    refused(cli, tmp_path, portrait, path, "empty.wav")


def test_voice_without_samples(cli, tmp_path, portrait):
    refused(cli, tmp_path, portrait, write_wav(tmp_path / "none.wav", np.zeros(0)), "none.wav")


def test_truncated_voice_header(cli, tmp_path, portrait, voice):
    path = tmp_path / "cut.wav"
    path.write_bytes(voice.read_bytes()[:20])
    refused(cli, tmp_path, portrait, path, "cut.wav")


def test_picture_named_wav(cli, tmp_path, portrait):
    path = tmp_path / "picture.wav"
    Image.new("RGB", (8, 8)).save(path, format="png")
    refused(cli, tmp_path, portrait, path, "picture.wav")


def test_text_named_wav(cli, tmp_path, portrait):
    path = tmp_path / "text.wav"
    path.write_text("hello " * 500)
    refused(cli, tmp_path, portrait, path, "text.wav")


def test_missing_voice(cli, tmp_path, portrait):
    refused(cli, tmp_path, portrait, tmp_path / "nowhere.wav", "nowhere.wav")


def test_folder_as_voice(cli, tmp_path, portrait):
    folder = tmp_path / "folder.wav"
    folder.mkdir()
    refused(cli, tmp_path, portrait, folder, "folder.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voice_that_is_not_numbers(cli, tmp_path, portrait, voice_samples, bad):
    samples = voice_samples.astype("<f4").copy()
    samples[9000] = bad
    data = samples.tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        16000,
        64000,
        4,
        32,
        b"data",
        len(data),
    )
    path = tmp_path / "nan.wav"
    path.write_bytes(header + data)
    refused(cli, tmp_path, portrait, path, "nan.wav")


# ---------------------------------------------------------------- voices that are unusual


@pytest.mark.parametrize("width", [1, 3])
def test_sample_widths(cli, tmp_path, portrait, voice_samples, width):
    if width == 1:
        data = ((voice_samples * 127) + 128).astype(np.uint8).tobytes()
    else:
        data = (voice_samples * 8388607).astype("<i4").tobytes()
        data = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :3].tobytes()
    path = tmp_path / f"w{width}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(16000)
        file.writeframes(data)
    report = spoken(cli, tmp_path, portrait, path)
    assert report["audio_seconds"] == len(voice_samples) / 16000


def test_float_voice_at_96_khz(cli, tmp_path, portrait):
    t = np.arange(48000) / 96000
    data = (0.3 * np.sin(2 * np.pi * 180 * t)).astype("<f4").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        96000,
        384000,
        4,
        32,
        b"data",
        len(data),
    )
    path = tmp_path / "hifi.wav"
    path.write_bytes(header + data)
    assert spoken(cli, tmp_path, portrait, path)["frames"] == 13


def test_six_channels(cli, tmp_path, portrait, voice_samples):
    path = write_wav(tmp_path / "six.wav", np.repeat(voice_samples[:8000, None], 6, axis=1) * 0.3)
    assert spoken(cli, tmp_path, portrait, path)["frames"] == 13


def test_ten_milliseconds(cli, tmp_path, portrait):
    report = spoken(cli, tmp_path, portrait, write_wav(tmp_path / "blip.wav", np.full(160, 0.1)))
    assert (report["frames"], report["audio_seconds"]) == (1, 0.01)


# ---------------------------------------------------------------- portraits that cannot be used


def test_empty_portrait(cli, tmp_path, voice):
    path = tmp_path / "empty.png"
    path.write_bytes(b"")
    refused(cli, tmp_path, path, voice, "empty.png")


def test_text_named_png(cli, tmp_path, voice):
    path = tmp_path / "text.png"
    path.write_text("not a picture " * 100)
    refused(cli, tmp_path, path, voice, "text.png")


def test_truncated_portrait(cli, tmp_path, portrait, voice):
    path = tmp_path / "cut.jpg"
    data = portrait.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(cli, tmp_path, path, voice, "cut.jpg")


def test_missing_portrait(cli, tmp_path, voice):
    refused(cli, tmp_path, tmp_path / "nobody.jpg", voice, "nobody.jpg")


def test_folder_as_portrait(cli, tmp_path, voice):
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    refused(cli, tmp_path, folder, voice, "folder.jpg")


@pytest.mark.parametrize("side", [1, 40])
def test_tiny_portrait(cli, tmp_path, portrait, voice, side):
    path = tmp_path / "tiny.png"
    Image.open(portrait).resize((side, side)).save(path)
    refused(cli, tmp_path, path, voice, "tiny.png")


def test_huge_portrait_is_refused_before_decoding(cli, tmp_path, voice):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = tmp_path / "huge.png"
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )
    refused(cli, tmp_path, path, voice, "huge.png", "400 megapixels")


def test_no_face(cli, tmp_path, voice):
    path = tmp_path / "wall.png"
    Image.new("RGB", (400, 400), (150, 140, 130)).save(path)
    refused(cli, tmp_path, path, voice, "wall.png", "face")


def test_noise_is_no_face(cli, tmp_path, voice):
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(path)
    refused(cli, tmp_path, path, voice, "noise.png", "face")


def test_profile(cli, tmp_path, portrait, voice):
    """Half a face squeezed sideways is what a head turned far away looks like to the landmark
    network.
    """
    path = tmp_path / "profile.png"
    face = Image.open(portrait).crop((150, 0, 300, 300))
    face.transform((300, 300), Image.Transform.QUAD, (75, 0, 75, 300, 150, 300, 150, 0)).save(path)
    refused(cli, tmp_path, path, voice, "profile.png", "face")


# ---------------------------------------------------------------- portraits that are unusual


def test_animated_gif(cli, tmp_path, portrait, voice_samples):
    path = tmp_path / "moving.gif"
    frame = Image.open(portrait)
    frame.save(
        path, save_all=True, append_images=[frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], duration=100
    )
    spoken(cli, tmp_path, path, write_wav(tmp_path / "v.wav", voice_samples[:4000]))


def test_two_faces_the_larger_one_speaks(cli, tmp_path, portrait, voice_samples):
    path = tmp_path / "two.png"
    both = Image.new("RGB", (800, 512), (200, 200, 200))
    both.paste(Image.open(portrait), (0, 0))
    both.paste(Image.open(portrait).resize((256, 256)), (530, 100))
    both.save(path)
    spoken(cli, tmp_path, path, write_wav(tmp_path / "v.wav", voice_samples[:4000]))
    spoken(cli, tmp_path, portrait, write_wav(tmp_path / "v.wav", voice_samples[:4000]))


# ---------------------------------------------------------------- outputs


def test_output_into_a_missing_folder(cli, tmp_path, portrait, voice):
    ended = cli("speak", portrait, voice, "-o", tmp_path / "missing" / "a.mp4", *SMALL)
    assert ended.code == 3
    assert "missing" in error_lines(ended)[0]
    assert not (tmp_path / "missing").exists()


def test_output_is_a_folder(cli, tmp_path, portrait, voice):
    (tmp_path / "a.mp4").mkdir()
    ended = cli("speak", portrait, voice, "-o", tmp_path / "a.mp4", *SMALL)
    assert ended.code == 3
    error_lines(ended)


def test_output_that_is_no_video(cli, tmp_path, portrait, voice):
    ended = cli("speak", portrait, voice, "-o", tmp_path / "a.txt", *SMALL)
    assert ended.code == 3
    assert ".mp4" in " ".join(error_lines(ended))


def test_failure_keeps_the_old_clip(cli, tmp_path, portrait, voice_samples):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"the old clip")
    samples = voice_samples.astype("<f4").copy()
    samples[-1] = np.nan
    data = samples.tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        16000,
        64000,
        4,
        32,
        b"data",
        len(data),
    )
    path = tmp_path / "late.wav"
    path.write_bytes(header + data)
    assert cli("speak", portrait, path, "-o", target, *SMALL).code == 3
    assert target.read_bytes() == b"the old clip"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "late.wav"]


@pytest.mark.parametrize(
    "name", ["with space.mp4", "quo'te\".mp4", "語り手.mp4", "-dash.mp4", "file:x.mp4", "%d.mp4"]
)
def test_names(cli, tmp_path, portrait, voice_samples, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stem = name.removesuffix(".mp4")
    speech = write_wav(tmp_path / f"{stem}.wav", voice_samples[:3200])
    photo = tmp_path / f"{stem}.jpg"
    photo.write_bytes(portrait.read_bytes())
    ended = cli("speak", "--set", "size=256", f"--output=./{name}", "--", photo, speech)
    assert ended.code == 0, ended
    assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize("name", ["../x", "a b", 'it\'s "me"', "安娜", "CON", "x" * 300])
def test_avatar_names(cli, tmp_path, portrait, name, home):
    before = sorted(path.name for path in home.parent.iterdir())
    assert cli("avatar", "create", name, portrait, *SMALL).code == 0
    assert [a["name"] for a in cli("avatar", "list", "--json").json["avatars"]] == [name]
    assert cli("avatar", "rm", name).code == 0
    assert sorted(path.name for path in home.parent.iterdir()) == before


# ---------------------------------------------------------------- options and words


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--set", "size=100"), "256"),
        (("--set", "size"), "KEY=VALUE"),
        (("--set", "sise=512"), "size"),
        (("--set", "fps=0"), "fps"),
        (("--set", "fps=1/0"), "fps"),
        (("--engine", "nobody"), "puppet"),
    ],
)
def test_options(cli, tmp_path, portrait, voice, arguments, word):
    ended = cli("speak", portrait, voice, "-o", tmp_path / "a.mp4", *arguments)
    assert ended.code == 3
    assert word in " ".join(error_lines(ended))


def test_errors_in_json(cli, tmp_path, portrait):
    ended = cli("speak", portrait, tmp_path / "no.wav", "-o", tmp_path / "a.mp4", "--json")
    assert ended.code == 3
    assert set(ended.json) == {"error", "hint", "kind"}


def test_usage_errors_exit_with_2(cli, tmp_path, portrait, voice):
    assert cli("speak", portrait, "-o", tmp_path / "a.mp4").code == 2
    assert cli("speak", portrait, voice, "--text", "hi", "-o", tmp_path / "a.mp4").code == 2
    assert cli("nonsense").code == 2


def test_hidden_file_permissions(cli, tmp_path, portrait, voice):
    """A path that cannot be opened (a name too long for any file system) is a sentence, not a
    traceback.
    """
    refused(cli, tmp_path, portrait, Path("x" * 5000 + ".wav"))
