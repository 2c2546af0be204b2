"""Portraits and voices that are not files are the same as if they were."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import personare
from personare.errors import InvalidOption, PersonareError, UnreadableMedia, UnusableSpeech
from personare.media.image import read_image
from personare.studio.in_memory import open_voice_of, portrait_file


@pytest.fixture
def engine(tmp_path):
    return personare.open_engine("puppet", cache_dir=tmp_path / "features")


def heard(speech):
    return np.concatenate([chunk.samples for chunk in speech.chunks()])


def test_a_file_as_bytes_is_that_file(engine, portrait):
    """Same bytes, same keys: what was prepared from the file is found."""
    prepared = engine.prepare(portrait, size=256)
    for given in (
        portrait.read_bytes(),
        io.BytesIO(portrait.read_bytes()),
        memoryview(portrait.read_bytes()),
    ):
        assert engine.prepare(given, size=256).keys == prepared.keys
    with portrait.open("rb") as file:
        assert engine.prepare(file, size=256).keys == prepared.keys


def test_the_same_array_twice_is_prepared_once(engine, portrait):
    picture = read_image(portrait)
    cast = engine.studio.cast(portrait_file(picture), None, {"size": 256})
    assert set(engine.studio.prepare(cast)[1].outcome.values()) == {"miss"}
    again = engine.studio.cast(portrait_file(picture.copy()), None, {"size": 256})
    assert set(engine.studio.prepare(again)[1].outcome.values()) == {"hit"}
    assert (
        engine.prepare(np.asfortranarray(picture), size=256).keys
        == engine.prepare(Pillow.fromarray(picture), size=256).keys
    )
    changed = picture.copy()
    changed[0, 0] ^= 1
    assert engine.prepare(changed, size=256).portrait != engine.prepare(picture, size=256).portrait


def test_an_array_is_found_by_another_process(portrait, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from personare.media.image import read_image\n"
        "from personare.studio.in_memory import portrait_file\n"
        "path = portrait_file(read_image(Path(sys.argv[1]))); print(path)"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(portrait)], capture_output=True, text=True, check=True
    )
    theirs, ours = Path(ended.stdout.strip()), portrait_file(read_image(portrait))
    assert theirs != ours
    assert theirs.name == ours.name
    assert not theirs.exists(), "the folder of a process ends with it"
    assert not ended.stderr


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "HSV", "1"])
def test_pil_pictures_of_any_mode_are_read_as_from_a_file(mode, portrait):
    picture = Pillow.open(portrait).convert("RGB").resize((64, 48)).convert(mode)
    seen = read_image(portrait_file(picture))
    assert seen.shape == (48, 64, 3)
    expected = picture if mode == "CMYK" else picture.convert("RGB")
    assert np.abs(seen.astype(int) - np.asarray(expected.convert("RGB"))).max() <= 2


def test_pil_pictures_stand_upright_and_alpha_lies_over_white(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Pillow.open(tmp_path / "turned.png") as picture:
        assert np.array_equal(read_image(portrait_file(picture)), read_image(tmp_path / "turned.png"))
    clear = np.zeros((20, 40, 4), np.uint8)
    assert read_image(portrait_file(clear)).min() == 255


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8), np.uint8), "no picture"),
        (np.zeros((8, 8, 2), np.uint8), "no picture"),
        (np.zeros((0, 8, 3), np.uint8), "no picture"),
        (np.zeros((5, 8, 8, 3), np.uint8), "is a video"),
        (b"", "empty"),
        (io.StringIO("text"), "open as text"),
        (7, "is a int"),
        ([[1, 2], [3, 4]], "is a list"),
    ],
)
def test_what_is_no_picture_is_said_with_a_hint(given, said):
    with pytest.raises(UnreadableMedia) as caught:
        portrait_file(given)
    assert said in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_what_cannot_be_read_is_said(engine, portrait):
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(UnreadableMedia, match="closed"):
        portrait_file(closed)
    with pytest.raises(PersonareError):
        engine.prepare(b"no picture at all")
    cut = Pillow.open(io.BytesIO(portrait.read_bytes()[:20_000]))
    with pytest.raises(UnreadableMedia, match="cannot be read"):
        portrait_file(cut)


def test_voices_from_memory(voice, voice_samples):
    expected = heard(open_voice_of(voice))
    assert np.array_equal(heard(open_voice_of(voice.read_bytes())), expected)
    with voice.open("rb") as file:
        assert np.array_equal(heard(open_voice_of(file)), expected)
    pcm = (np.clip(voice_samples, -1, 1) * 32767).astype(np.int16)
    assert np.allclose(heard(personare.Speech.from_samples(pcm, 16000)), expected, atol=1e-4)
    stereo = personare.Speech.from_samples(np.stack([pcm, pcm], axis=1), 48000, name="two")
    assert (stereo.name, stereo.voice_rate, stereo.voice_channels) == ("two", 48000, 2)
    assert len(heard(stereo)) == -(-len(pcm) // 3)


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (np.zeros(100, np.complex64), 16000, "type complex64"),
        (np.zeros(100, np.int64), 16000, "type int64"),
        (np.zeros((2, 100), np.float32), 16000, r"shape \(2, 100\)"),
        (np.zeros((1, 100, 1), np.float32), 16000, "shape"),
        (np.zeros(0, np.float32), 16000, "zero samples"),
        (np.array([0, np.nan], np.float32), 16000, "NaN"),
        (np.zeros(100, np.float32), 0, "0 Hz"),
        ([[]], 16000, "shape"),
    ],
)
def test_samples_that_are_no_speech(samples, rate, said):
    with pytest.raises(UnusableSpeech, match=said) as caught:
        personare.Speech.from_samples(samples, rate)
    assert caught.value.hint


def test_a_bare_array_or_a_url_is_no_voice():
    with pytest.raises(UnusableSpeech) as caught:
        open_voice_of(np.zeros(16000, np.float32))
    assert "from_samples" in caught.value.hint
    with pytest.raises(InvalidOption, match="is a URL"):
        open_voice_of("https://example.com/a.mp3")


def test_a_portrait_of_the_engines_own(engine):
    assert engine.prepare(look="mesh", size=256).portrait_file is not None
