"""Videos as phones, cameras and cutting rooms make them; and files that claim or do more than
they hold.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from personare.errors import PictureTooLarge, UnreadableMedia
from personare.media.audio import open_speech
from personare.media.demux import opened_container
from personare.media.hdr import HLG, PQ, Grade
from personare.media.image import read_image
from personare.media.template import Template
from personare.media.video import VideoSource
from tests.unit.heic_pictures import box, full
from tests.unit.puppet_avatars import PORTRAIT
from tests.unit.template_videos import numbered, write_video


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    return cv2.resize(read_image(PORTRAIT), (320, 240), interpolation=cv2.INTER_AREA)


def encode(
    path: Path,
    frames: Sequence[av.VideoFrame],
    codec: str,
    form: str,
    options: dict[str, str] | None = None,
    shape: Fraction | None = None,
    colours: tuple[int, int, int] | None = None,
) -> Path:
    """colours: primaries, transfer and matrix of ITU-T H.273."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = form
        context = stream.codec_context
        if shape is not None:
            context.sample_aspect_ratio = shape
        if colours is not None:
            context.color_primaries, context.color_trc, context.colorspace = colours
        for i, frame in enumerate(frames):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def first_picture(path: Path, **options: object) -> np.ndarray:
    return next(iter(Template(path, **options)))


# ---------------------------------------------------------------- the shape of pixels


@pytest.mark.parametrize(
    ("squeezed", "shape"),
    [((240, 240), Fraction(4, 3)), ((320, 180), Fraction(3, 4)), ((320, 240), Fraction(1))],
)
def test_pixels_become_square(tmp_path, still, squeezed, shape):
    picture = cv2.resize(still, squeezed, interpolation=cv2.INTER_AREA)
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for _ in range(3)]
    path = encode(tmp_path / "a.mp4", frames, "libx264", "yuv420p", {"crf": "5"}, shape)
    template = Template(path)
    assert template.size == (240, 320)
    for image in template:
        assert image.shape == still.shape
        assert np.abs(image.astype(int) - still).mean() < 6


def test_nonsense_pixels_are_taken_for_square(tmp_path, still):
    frames = [av.VideoFrame.from_ndarray(still, format="rgb24")]
    path = encode(tmp_path / "a.mkv", frames, "libx264", "yuv420p", shape=Fraction(50, 1))
    assert Template(path).size == (240, 320)


# ---------------------------------------------------------------- light and colours


def light(picture: np.ndarray) -> np.ndarray:
    coded = picture / 255
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""Of light in BT.709's primaries (ITU-R BT.2087-0, equation 4)."""


def pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    shown = nits / 1000
    luminance = np.maximum(shown @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
    scene = shown * luminance ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def hdr_video(path: Path, nits: np.ndarray, transfer: int) -> Path:
    """Light in BT.709's primaries, cd/m2, as phones film it: HEVC of 10 bits, BT.2020."""
    coded = (pq if transfer == PQ else hlg)(np.maximum(nits @ TO_BT2020.T, 0))
    frame = av.VideoFrame.from_ndarray(np.rint(np.clip(coded, 0, 1) * 65535).astype(np.uint16), "rgb48le")
    frame = frame.reformat(format="yuv420p10le", dst_colorspace=9)
    options = {"x265-params": "log-level=none:info=0:bframes=0", "crf": "8"}
    return encode(path, [frame], "libx265", "yuv420p10le", options, colours=(9, transfer, 9))


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("white", [100, 203])
def test_hdr_looks_like_the_same_in_sdr(tmp_path, still, transfer, white):
    """White at that of ordinary video, and at that of HDR; nothing is brighter."""
    still = still.copy()
    still[:8] = 255
    image = first_picture(hdr_video(tmp_path / "a.mp4", light(still) * white, transfer))
    means = image.reshape(-1, 3).mean(axis=0), still.reshape(-1, 3).mean(axis=0)
    assert np.abs(means[0] - means[1]).max() < 4
    assert np.abs(image.astype(int) - still).mean() < 5


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_of_hdr_are_rolled_off(tmp_path, still, transfer):
    """A lamp of 900 cd/m2 in the picture: the rest stays as it was, nothing is cut before it."""
    nits = light(still) * 150.0
    nits[:60, :60] = np.linspace(150, 900, 60)[None, :, None]
    image = first_picture(hdr_video(tmp_path / "a.mp4", nits, transfer)).astype(int)
    assert image[30, 50].min() >= 250
    assert (np.diff(image[30, 2:58:4].mean(axis=1)) >= -1).all()
    darker = light(still[80:]) * 150 / 203
    coded = np.where(darker <= 0.0031308, 12.92 * darker, 1.055 * darker ** (1 / 2.4) - 0.055) * 255
    assert np.abs(image[80:] - coded).mean() < 6


def test_wide_primaries_become_srgb(tmp_path):
    """BT.2020 with an ordinary transfer: numbers of a paler colour than they look."""
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (180, 100, 80), np.uint8), "rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=1)
    path = encode(tmp_path / "a.mp4", [frame], "libx264", "yuv420p", {"crf": "1"}, colours=(9, 1, 1))
    grade = Grade(1, 9).srgb(np.full((1, 1, 3), (180, 100, 80), np.uint16) * 257)[0, 0].astype(int)
    assert grade[0] > 195
    assert np.abs(first_picture(path)[32, 32].astype(int) - grade).max() <= 4


def test_ordinary_colours_are_not_touched(tmp_path, still):
    for colours in ((1, 1, 1), (6, 6, 6), (5, 1, 5), (2, 2, 2)):
        frame = av.VideoFrame.from_ndarray(still, format="rgb24")
        path = encode(tmp_path / "a.mp4", [frame], "libx264", "yuv420p", {"crf": "10"}, colours=colours)
        with av.open(str(path)) as container:
            expected = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.array_equal(first_picture(path), expected)


# ---------------------------------------------------------------- transparency


def cut_out(path: Path, codec: str, form: str, options: dict[str, str] | None = None) -> Path:
    """A red disc, black and transparent around it."""
    picture = np.zeros((96, 96, 4), np.uint8)
    cv2.circle(picture, (48, 48), 30, (200, 40, 30, 255), -1)
    frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=form)
    return encode(path, [frame, frame, frame], codec, form, options)


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 180, 0)])
@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.webm", "libvpx", "yuva420p"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "png", "rgba"),
        ("a.mov", "qtrle", "argb"),
    ],
)
def test_transparent_videos_lie_on_a_colour(tmp_path, name, codec, form, background):
    options = {"auto-alt-ref": "0", "crf": "4"} if "vpx" in codec else {}
    if codec == "prores_ks":
        options = {"profile": "4444"}
    path = cut_out(tmp_path / name, codec, form, options)
    template = Template(path, background=background)
    for image in template:
        assert np.abs(image[4, 4].astype(int) - background).max() <= 3
        assert np.abs(image[48, 48].astype(int) - (200, 40, 30)).max() <= 12
    if background == (255, 255, 255):
        assert np.abs(first_picture(path)[4, 4].astype(int) - background).max() <= 3


def test_opaque_videos_with_alpha_are_not_touched(tmp_path, still):
    frame = av.VideoFrame.from_ndarray(still, format="rgb24").reformat(format="rgba")
    path = encode(tmp_path / "a.mov", [frame], "png", "rgba")
    assert np.array_equal(first_picture(path), still)


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("rate", "step"), [(25, 40), (30, 100 / 3), (50, 20), (Fraction(30000, 1001), 33.3667)]
)
def test_a_video_with_lost_pictures_keeps_its_rate(tmp_path, rate, step):
    lost = {2, 5, 6, 11, 17, 18, 22, 29, 33, 36}
    times = [round(i * step) for i in range(40) if i not in lost]
    pictures = numbered(len(times))
    path = write_video(tmp_path / "a.mkv", pictures, times=times)
    template = Template(path)
    assert abs(float(template.fps / rate) - 1) < 0.002
    assert template.frames == pytest.approx(40, abs=1)
    shown = [next(i for i, p in enumerate(pictures) if np.array_equal(p, image)) for image in template]
    assert set(shown) == set(range(len(pictures)))  # none is skipped


def test_a_video_without_a_usual_step_has_its_mean_rate(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(10, 120, 40)).tolist()
    template = Template(write_video(tmp_path / "a.mkv", numbered(40), times=times))
    assert template.fps == round(40 / ((times[-1] - times[0]) / 1000))


@pytest.mark.parametrize("jump_seconds", [30, 3600, 95443, 10**6])
def test_a_clock_that_jumps_is_closed(tmp_path, jump_seconds):
    """Work grows with the pictures, not with what their times claim."""
    times = [40 * i + (1000 * jump_seconds if i > 8 else 0) for i in range(12)]
    pictures = numbered(12)
    template = Template(write_video(tmp_path / "a.mkv", pictures, times=times, key_every=4))
    assert (template.frames, template.fps) == (12, 25)
    for image, picture in zip(template, pictures, strict=True):
        assert np.array_equal(image, picture)
    backwards = [next(images) for images in [template.cycle(12)] for _ in range(12)]
    assert [index for index, _ in backwards] == list(range(11, -1, -1))
    assert all(np.array_equal(image, pictures[index]) for index, image in backwards)


def test_every_picture_may_stay_a_while(tmp_path):
    times = [0, 40, 80, 5080, 5120, 5160]
    template = Template(write_video(tmp_path / "a.mkv", numbered(6), times=times))
    assert template.frames == pytest.approx(5.2 * float(template.fps), abs=1)
    slides = Template(write_video(tmp_path / "b.mkv", numbered(3), times=[0, 30_000, 60_000]))
    assert slides.frames == pytest.approx(90 * float(slides.fps), abs=1)
    claimed = Template(write_video(tmp_path / "c.mkv", numbered(3), times=[0, 10**8, 2 * 10**8]))
    assert claimed.frames <= 200


# ---------------------------------------------------------------- what files claim


@pytest.mark.slow
def test_pictures_that_grow_on_the_way_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("personare.media.video.MAX_PIXELS", 10_000)
    sizes = [(64, 64), (512, 512), (64, 64)]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        time = 0
        for width, height in sizes:
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base = Fraction(1, 25)
            packets = []
            for _ in range(3):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 25)
                time += 1
                packets += encoder.encode(frame.reformat(format="yuv420p"))
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    assert len(list(VideoSource(tmp_path / "a.mkv").frames())) == 6


def test_the_pixel_budget_counts_square_pixels(tmp_path, still):
    frames = [av.VideoFrame.from_ndarray(still, format="rgb24")]
    path = encode(tmp_path / "a.mp4", frames, "libx264", "yuv420p", shape=Fraction(2, 1))
    with pytest.raises(PictureTooLarge):
        VideoSource(path, max_pixels=100_000)


def test_a_template_video_is_not_held(tmp_path):
    """40 MB of file; what is kept of a packet are numbers."""
    noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    frames = [av.VideoFrame.from_ndarray(np.roll(noise, i, 1), format="rgb24") for i in range(60)]
    path = encode(tmp_path / "a.avi", frames, "rawvideo", "rgb24")
    assert path.stat().st_size > 40_000_000
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom personare.media.template import Template\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nTemplate(Path(sys.argv[1]))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 25


def movie(
    samples: int,
    *,
    sample_bytes: int = 10,
    handler: bytes = b"vide",
    duration: int = 512,
    small: bool = False,
    edits: int = 0,
    fragment: int = 0,
    compressed: bool = False,
) -> bytes:
    """A QuickTime file of a few kB whose tables claim samples that it has not."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    picture = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HHII", 256, 256, 0x480000, 0x480000)
    picture += struct.pack(">IH", 0, 1) + bytes(32) + struct.pack(">Hh", 24, -1)
    sound = bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHHHI", 1, 16, 0, 0, 16000 << 16)
    entry = box(b"avc1", picture) if handler == b"vide" else box(b"sowt", sound)
    sizes = full(b"stsz", struct.pack(">II", sample_bytes, samples))
    if small:
        sizes = full(b"stz2", struct.pack(">II", 8, samples))
    tables = full(b"stsd", struct.pack(">I", 1) + entry) + full(
        b"stts", struct.pack(">III", 1, samples, duration)
    )
    tables += full(b"stsc", struct.pack(">IIII", 1, 1, max(samples, 1), 1)) + sizes
    tables += full(b"stco", struct.pack(">II", 1, 40))
    media = full(b"hdlr", bytes(4) + handler + bytes(13))
    media = full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 12800, 2**32 - 1, 0x55C4, 0)) + media
    media += box(b"minf", full(b"vmhd", bytes(8), flags=1) + box(b"stbl", tables))
    track = full(
        b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 2**32 - 1) + bytes(16) + matrix + bytes(8), flags=3
    )
    if edits:
        entries = struct.pack(">III", 10**6, 0, 0x10000) * edits
        track += box(b"edts", full(b"elst", struct.pack(">I", edits) + entries))
    head = full(
        b"mvhd",
        struct.pack(">IIIIIH", 0, 0, 1000, 2**32 - 1, 0x10000, 0x100) + bytes(10) + matrix + bytes(28),
    )
    inside = head + box(b"trak", track + box(b"mdia", media))
    if fragment:
        inside += box(b"mvex", full(b"trex", struct.pack(">IIIII", 1, 1, 512, 10, 0)))
    index = box(b"moov", inside)
    if compressed:
        packed = struct.pack(">I", len(index)) + zlib.compress(index)
        index = box(b"moov", box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", packed)))
    data = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + index
    if fragment:
        run = full(b"trun", struct.pack(">II", fragment, 0), flags=1)
        parts = full(b"tfhd", struct.pack(">I", 1), flags=0x20000) + run
        data += box(b"moof", full(b"mfhd", bytes(4)) + box(b"traf", parts))
    return data + box(b"mdat", bytes(6000))


@pytest.mark.parametrize(
    "claims",
    [
        {"samples": 80_000_000},
        {"samples": 80_000_000, "sample_bytes": 0},
        {"samples": 80_000_000, "small": True},
        {"samples": 80_000_000, "handler": b"soun"},
        {"samples": 80_000_000, "handler": b"soun", "duration": 1},
        {"samples": 0, "fragment": 80_000_000},
        {"samples": 80_000_000, "compressed": True},
        {"samples": 5000, "sample_bytes": 1, "edits": 4000},
    ],
)
def test_a_container_that_claims_more_than_it_holds_is_refused(tmp_path, claims):
    (tmp_path / "a.mp4").write_bytes(movie(**claims))
    for opened in (VideoSource, open_speech):
        with pytest.raises(UnreadableMedia, match="claims more"):
            opened(tmp_path / "a.mp4")
    with pytest.raises(UnreadableMedia):
        Template(tmp_path / "a.mp4")


def test_honest_claims_are_opened(tmp_path):
    """As sound of old QuickTime, which counts samples; fragments; an edit list."""
    for claims in (
        {"samples": 2500, "sample_bytes": 2, "handler": b"soun", "duration": 1},
        {"samples": 100, "sample_bytes": 1, "edits": 2},
        {"samples": 0, "sample_bytes": 2, "handler": b"soun", "fragment": 100},
    ):
        (tmp_path / "a.mp4").write_bytes(movie(**claims))
        with opened_container(tmp_path / "a.mp4", "video") as container:
            assert len(container.streams) == 1


def test_packets_that_never_decode_come_to_an_end(tmp_path):
    (tmp_path / "a.mp4").write_bytes(movie(6000, sample_bytes=1) + bytes(4000))
    with pytest.raises(UnreadableMedia):
        VideoSource(tmp_path / "a.mp4")


def test_decoders_are_named_one_by_one(tmp_path, still):
    """FFmpeg reads old games' formats, too; here they are refused with a word what to do."""
    frames = [av.VideoFrame.from_ndarray(still, format="rgb24").reformat(format="bgr24")]
    path = encode(tmp_path / "a.avi", frames, "zlib", "bgr24")
    with pytest.raises(UnreadableMedia, match="not read here: zlib"):
        VideoSource(path)
