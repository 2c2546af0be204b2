"""`personare speak` and `avatar create` with a template video, as a user runs them."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from personare.types import frame_count
from tests.conftest import error_lines, write_wav
from tests.unit.template_videos import moved_portrait, write_video


@pytest.fixture
def speech(tmp_path, voice_samples):
    return write_wav(tmp_path / "v.wav", voice_samples[:12345])


def spoken(cli, *arguments):
    ended = cli("speak", *arguments, "--json")
    assert ended.code == 0, ended
    return ended.json


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_speaks_at_its_own_size_and_rate(cli, tmp_path, speech):
    """Of odd size, at an NTSC rate; the second run is warm and the same to the byte."""
    video = write_video(tmp_path / "a.mkv", moved_portrait(9, (257, 243)), fps=Fraction(30000, 1001))
    report = spoken(cli, video, speech, "-o", tmp_path / "one.mp4")
    assert report["frames"] == frame_count(12345, Fraction(30000, 1001))
    assert (report["height"], report["width"]) == (257, 243)
    pictures = decoded(tmp_path / "one.mp4")
    assert len(pictures) == report["frames"]
    assert [n + n % 2 for n in (257, 243)] == list(pictures[0].shape[:2])
    report = spoken(cli, video, speech, "-o", tmp_path / "two.mp4")
    assert set(report["cache"]["stages"].values()) == {"hit"}
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    report = spoken(cli, video, speech, "-o", tmp_path / "fast.mp4", "--fps", "50")
    assert (report["fps"], report["frames"]) == (50, frame_count(12345, Fraction(50)))
    assert set(report["cache"]["stages"].values()) == {"hit"}


def test_turned_and_uneven_videos(cli, tmp_path, speech):
    turned = [np.rot90(picture, -1) for picture in moved_portrait(5, (256, 200))]
    video = write_video(tmp_path / "phone.mp4", turned, quarter_turns=1)
    report = spoken(cli, video, speech, "-o", tmp_path / "a.mp4")
    assert (report["height"], report["width"]) == (256, 200)
    times = [0, 40, 80, 120, 320, 360, 400, 440, 480]
    video = write_video(tmp_path / "uneven.mkv", moved_portrait(9), times=times)
    report = spoken(cli, video, speech, "-o", tmp_path / "b.mp4")
    assert report["frames"] == frame_count(12345, Fraction(report["fps"]))
    assert report["fps"] == round(report["fps"])


def test_an_avatar_keeps_its_video(cli, tmp_path, speech):
    video = write_video(tmp_path / "a.mp4", moved_portrait(6))
    ended = cli("avatar", "create", "anna", video)
    assert ended.code == 0, ended
    expected = spoken(cli, video, speech, "-o", tmp_path / "one.mp4")
    video.unlink()
    report = spoken(cli, "anna", speech, "-o", tmp_path / "two.mp4")
    assert report["avatar"] == "anna"
    assert report["frames"] == expected["frames"]
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert cli("avatar", "status", "anna").code == 0


def test_what_is_no_portrait(cli, tmp_path, speech):
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 100)
    for portrait, word in ((speech, "is a sound"), (text, "neither a picture nor a video")):
        ended = cli("speak", portrait, speech, "-o", tmp_path / "a.mp4")
        assert ended.code == 3
        assert word in error_lines(ended)[0]


def test_the_whole_photo(cli, tmp_path, portrait, speech):
    report = spoken(cli, portrait, speech, "-o", tmp_path / "a.mp4", "--set", "framing=original")
    assert (report["height"], report["width"]) == (512, 512)
