"""Pictures as phones, upscalers and messengers make them, and pictures that are made to cost."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from personare.errors import PictureTooLarge, UnreadableMedia
from personare.media.audio import open_speech
from personare.media.image import animation, is_animation, is_picture, read_image
from personare.media.template import Template
from personare.media.video import VideoSource, has_video
from tests.unit.heic_pictures import write_heic
from tests.unit.puppet_avatars import PORTRAIT


@pytest.fixture(scope="module")
def portrait_picture() -> np.ndarray:
    return read_image(PORTRAIT)[:384, :448]


# ---------------------------------------------------------------- HEIC


@pytest.mark.parametrize("tile", [None, 256])
@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("major", [b"heic", b"mif1"])
def test_heic_is_a_picture(tmp_path, portrait_picture, tile, turns, major):
    path = write_heic(tmp_path / "a.heic", portrait_picture, tile, turns, major)
    assert is_picture(path)
    image = read_image(path)
    expected = np.rot90(portrait_picture, turns)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 4


def test_heic_is_never_a_video(tmp_path, portrait_picture):
    path = write_heic(tmp_path / "a.mp4", portrait_picture, 256)
    template = Template(path)
    assert (template.moving, template.frames, template.size) == (False, 1, (384, 448))
    assert not has_video(path)
    with pytest.raises(UnreadableMedia, match="HEIC picture"):
        VideoSource(path)
    with pytest.raises(UnreadableMedia, match="HEIC picture"):
        open_speech(path)


def test_avif_is_never_a_video(tmp_path, portrait_picture):
    path = tmp_path / "a.mov"
    Image.fromarray(portrait_picture).save(path, format="AVIF")
    assert is_picture(path)
    with pytest.raises(UnreadableMedia, match="AVIF picture"):
        VideoSource(path)


def test_damaged_heic_is_not_half_a_picture(tmp_path, portrait_picture):
    data = write_heic(tmp_path / "a.heic", portrait_picture, 256).read_bytes()
    for cut in (20, 100, len(data) // 2):
        (tmp_path / "b.heic").write_bytes(data[:cut])
        assert is_picture(tmp_path / "b.heic")
        with pytest.raises(UnreadableMedia, match="damaged"):
            read_image(tmp_path / "b.heic")


def test_heic_without_its_reader_is_told_so(tmp_path, portrait_picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    path = write_heic(tmp_path / "a.heic", portrait_picture)
    with pytest.raises(UnreadableMedia, match="HEIC") as refused:
        read_image(path)
    assert "pip install pi-heif" in (refused.value.hint or "")


def test_the_pixel_budget_holds_for_heic(tmp_path, portrait_picture):
    with pytest.raises(PictureTooLarge, match="448x384"):
        read_image(write_heic(tmp_path / "a.heic", portrait_picture), max_pixels=100_000)


def test_wide_colours_of_heic_become_srgb(tmp_path):
    """Display P3 by numbers: the same numbers are a stronger red than sRGB's."""
    picture = np.full((64, 64, 3), (200, 80, 60), np.uint8)
    plain = read_image(write_heic(tmp_path / "a.heic", picture))[32, 32].astype(int)
    wide = read_image(
        write_heic(tmp_path / "b.heic", picture, colour=b"nclx" + struct.pack(">HHHB", 12, 13, 6, 0))
    )
    assert np.abs(plain - (200, 80, 60)).max() <= 4
    assert np.abs(wide[32, 32].astype(int) - (216, 73, 51)).max() <= 5


def test_hlg_of_heic_becomes_srgb(tmp_path):
    """HLG's code 0.75 is HDR's white of 203 cd/m2, 0.38 a grey of 26 (ITU-R BT.2408-7, table
    1).
    """
    picture = np.full((64, 64, 3), round(0.38 * 65535), np.uint16)
    picture[:, :8] = round(0.75 * 65535)
    path = write_heic(
        tmp_path / "a.heic", picture, depth=10, colour=b"nclx" + struct.pack(">HHHB", 9, 18, 9, 0)
    )
    image = read_image(path)
    assert image[32, 2].min() > 245
    assert np.abs(image[32, 40].astype(int) - 101).max() <= 4


# ---------------------------------------------------------------- animations


def frames_of_grey(levels: list[int]) -> list[Image.Image]:
    return [Image.new("RGB", (24, 16), (level, level, level)) for level in levels]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_gives_its_frames(tmp_path, monkeypatch, name):
    monkeypatch.setattr("personare.media.image._HELD_BYTES", 2000)  # two frames at once
    first, *rest = frames_of_grey([0, 60, 120, 180, 240])
    first.save(tmp_path / name, save_all=True, append_images=rest, duration=40, lossless=True)
    assert is_animation(tmp_path / name)
    levels = [int(frame[8, 12, 0]) for frame in animation(tmp_path / name)]
    assert levels == pytest.approx([0, 60, 120, 180, 240], abs=2)
    assert read_image(tmp_path / name).max() == 0


def test_a_still_picture_is_no_animation(tmp_path):
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        assert not is_animation(tmp_path / name)


# ---------------------------------------------------------------- transparency


def test_transparency_is_laid_over_a_chosen_colour(tmp_path):
    Image.new("RGBA", (8, 8), (200, 100, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (8, 8), (200, 100, 0, 128)).save(tmp_path / "half.png")
    assert (read_image(tmp_path / "clear.png", background=(0, 255, 0)) == (0, 255, 0)).all()
    assert (
        np.abs(read_image(tmp_path / "half.png", background=(0, 255, 0)).astype(int) - (100, 177, 0)).max()
        <= 1
    )


# ---------------------------------------------------------------- work and memory


@pytest.mark.parametrize("progressive", [False, True])
def test_a_huge_jpeg_is_decoded_smaller(tmp_path, portrait_picture, progressive):
    """As from an upscaler; 'huge' is here what passes a small limit."""
    large = Image.fromarray(portrait_picture).resize((1344, 1152))
    exif = Image.Exif()
    exif[0x0112] = 6
    large.save(tmp_path / "a.jpg", quality=95, exif=exif, progressive=progressive)
    image = read_image(tmp_path / "a.jpg", max_pixels=500_000)
    assert image.shape == (672, 576, 3)
    small = np.rot90(np.asarray(Image.fromarray(portrait_picture).resize((672, 576))), -1)
    assert np.abs(image.astype(int) - small).mean() < 3


def test_a_jpeg_beyond_all_sizes_is_refused(tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65000, 65000)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(PictureTooLarge, match="megapixels"):
        read_image(tmp_path / "a.jpg")


def scanned_again(times: int, side: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), 128).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * times + data[-2:]


def test_scans_count(tmp_path):
    (tmp_path / "a.jpg").write_bytes(scanned_again(1000, 3000))
    with pytest.raises(PictureTooLarge, match="scanned 10"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(scanned_again(1000, 100))
    assert read_image(tmp_path / "b.jpg").shape == (100, 100, 3)
    (tmp_path / "c.jpg").write_bytes(scanned_again(0, 3000))
    assert read_image(tmp_path / "c.jpg").shape == (3000, 3000, 3)


def test_wide_channels_are_scaled_by_all_of_the_picture(tmp_path, monkeypatch):
    """Also where it is converted in bands."""
    monkeypatch.setattr("personare.media.image._BAND_PIXELS", 64)
    values = np.linspace(0, 4.0, 40 * 16, dtype=np.float32).reshape(40, 16)
    Image.fromarray(values).save(tmp_path / "a.tif")
    expected = np.rint(values.astype(np.float64) / 4 * 255)
    assert (read_image(tmp_path / "a.tif")[..., 0] == expected).all()
    rng = np.random.default_rng(0)
    coloured = rng.integers(0, 255, (40, 16, 4), np.uint8)
    Image.fromarray(coloured, "RGBA").save(tmp_path / "b.png")
    in_bands = read_image(tmp_path / "b.png")
    monkeypatch.undo()
    assert np.array_equal(in_bands, read_image(tmp_path / "b.png"))


_READ = """
import resource, sys
from pathlib import Path
from personare.errors import InputError
from personare.media.image import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(Path(sys.argv[1]))
except InputError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def read_elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _READ, str(path)], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float", "16 bits", "transparent"])
def test_memory_is_a_small_multiple_of_the_picture(tmp_path, kind):
    """12 megapixels: 37 MB as pixels, up to 98 as the decoder holds them."""
    picture = {
        "float": Image.new("F", (4000, 3000), 0.5),
        "16 bits": Image.new("I;16", (4000, 3000), 30000),
        "transparent": Image.new("RGBA", (4000, 3000), (10, 20, 30, 40)),
    }[kind]
    path = tmp_path / ("a.tif" if kind == "float" else "a.png")
    picture.save(path)
    ended = read_elsewhere(path)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 220


def test_decoders_do_not_write_to_stderr(tmp_path):
    """libtiff writes past Python, Pillow's log to whoever does not listen."""
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "TIFF", compression="tiff_lzw")
    data = bytearray(out.getvalue())
    data[16:200] = b"\xff" * 184
    (tmp_path / "a.tif").write_bytes(data)
    samples = bytearray(out.getvalue())
    at = samples.index(struct.pack("<HHII", 284, 3, 1, 1))  # what stands there says: 9 samples a pixel
    samples[at : at + 12] = struct.pack("<HHII", 277, 3, 1, 9)
    (tmp_path / "b.tif").write_bytes(samples)
    for name in ("a.tif", "b.tif"):
        ended = read_elsewhere(tmp_path / name)
        assert ended.returncode == 0
        assert ended.stderr == ""
        assert name in ended.stdout
