"""Templates: exact counts, the same bytes in either direction, bounded memory, upright, at a
constant rate.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest

from personare.errors import PictureTooLarge, UnreadableMedia
from personare.media import template
from personare.media.template import Template, palindrome
from tests.conftest import write_wav
from tests.unit.template_videos import numbered, write_video


def test_palindrome_goes_to_and_fro():
    assert [palindrome(i, 3) for i in range(9)] == [0, 1, 2, 2, 1, 0, 0, 1, 2]
    assert [palindrome(i, 1) for i in range(3)] == [0, 0, 0]


def test_a_photo_is_a_template_of_one_frame(portrait):
    photo = Template(portrait)
    assert (photo.frames, photo.moving, photo.size) == (1, False, (512, 512))
    (picture,) = photo
    cycled = list(islice(photo.cycle(), 3))
    assert [i for i, _ in cycled] == [0, 0, 0]
    assert all(np.array_equal(p, picture) for _, p in cycled)


@pytest.mark.parametrize("key_every", [1, 7, 250])
@pytest.mark.parametrize("room", [1, 5, 1000])
def test_the_same_frame_has_the_same_bytes_in_either_direction(tmp_path, monkeypatch, key_every, room):
    pictures = numbered(23)
    path = write_video(tmp_path / "a.mp4", pictures, key_every=key_every)
    monkeypatch.setattr(template, "BACKWARDS_BYTES", room * 32 * 48 * 4)
    video = Template(path)
    assert (video.frames, video.fps, video.moving, video.size) == (23, 25, True, (32, 48))
    assert all(np.array_equal(a, b) for a, b in zip(video, pictures, strict=True))
    for place, (index, picture) in enumerate(islice(video.cycle(), 60)):
        assert index == palindrome(place, 23)
        assert np.array_equal(picture, pictures[index]), place
    for start in (5, 22, 23, 40, 46 + 3):
        index, picture = next(video.cycle(start))
        assert index == palindrome(start, 23)
        assert np.array_equal(picture, pictures[index])


def test_going_backwards_holds_no_more_than_the_budget(tmp_path, monkeypatch):
    """With one key picture in the whole video."""
    path = write_video(tmp_path / "a.mp4", numbered(40))
    monkeypatch.setattr(template, "BACKWARDS_BYTES", 4 * 32 * 48 * 4)
    held = []
    original = Template._held

    def watched(self, time):
        made = original(self, time)
        held.append(len(made))
        return made

    monkeypatch.setattr(Template, "_held", watched)
    list(islice(Template(path).cycle(), 80))
    assert 1 < max(held) <= 8
    assert sum(held) == 40


@pytest.mark.parametrize("container", ["a.mp4", "a.mkv", "a.avi"])
def test_containers(tmp_path, container):
    pictures = numbered(11)
    video = Template(write_video(tmp_path / container, pictures, key_every=4))
    assert (video.frames, video.fps) == (11, 25)
    for place, (index, picture) in enumerate(islice(video.cycle(), 22)):
        assert np.array_equal(picture, pictures[index]), place


def test_uneven_times_become_a_constant_rate(tmp_path):
    """Pictures at 25 per second, but number 3 stays for half a second."""
    times = [0, 40, 80, 120] + [640 + 40 * i for i in range(8)]
    pictures = numbered(12)
    path = write_video(tmp_path / "a.mkv", pictures, times=times)
    video = Template(path, Fraction(25))
    shown = [next(i for i, p in enumerate(pictures) if np.array_equal(p, picture)) for picture in video]
    assert video.frames == len(shown)
    assert shown[:4] == [0, 1, 2, 3]
    assert shown.count(3) == 13
    assert shown[16:] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert shown == sorted(shown)
    assert Template(path).fps.denominator == 1, "its own rate is a round one"


@pytest.mark.parametrize(
    ("fps", "count"), [(50, 20), (Fraction(25, 2), 5), (30, 12), (Fraction(30000, 1001), 12)]
)
def test_another_rate(tmp_path, fps, count):
    pictures = numbered(10)
    video = Template(write_video(tmp_path / "a.mp4", pictures), Fraction(fps))
    assert (video.frames, video.fps) == (count, fps)
    for i, picture in enumerate(video):
        assert np.array_equal(picture, pictures[min(9, int((i + Fraction(1, 2)) / fps * 25))])


def test_ntsc_rates_are_exact(tmp_path):
    video = Template(write_video(tmp_path / "a.mp4", numbered(12), fps=Fraction(30000, 1001)))
    assert (video.frames, video.fps) == (12, Fraction(30000, 1001))


def test_odd_sizes_and_a_single_picture(tmp_path):
    pictures = numbered(1, 33, 47)
    video = Template(write_video(tmp_path / "a.mkv", pictures))
    assert (video.frames, video.size) == (1, (33, 47))
    assert np.array_equal(next(iter(video)), pictures[0])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_videos_are_upright(tmp_path, turns):
    pictures = numbered(3)
    video = Template(write_video(tmp_path / "a.mp4", pictures, quarter_turns=turns))
    assert video.size == np.rot90(pictures[0], turns).shape[:2]
    for picture, written in zip(video, pictures, strict=True):
        assert np.array_equal(picture, np.rot90(written, turns))


def test_a_cut_off_end_is_left_out_or_held(tmp_path):
    path = write_video(tmp_path / "a.mkv", numbered(20), key_every=5)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    video = Template(path)
    assert 8 <= video.frames < 20
    assert len(list(video)) == video.frames
    forward = list(video)
    for index, picture in islice(video.cycle(), 2 * video.frames):
        assert np.array_equal(picture, forward[index])


def test_what_is_no_template(tmp_path):
    with pytest.raises(UnreadableMedia, match="has no video"):
        Template(write_wav(tmp_path / "voice.wav", np.zeros(1000)))
    text = tmp_path / "text.mp4"
    text.write_text("no picture " * 100)
    with pytest.raises(UnreadableMedia, match="neither a picture nor a video"):
        Template(text)
    with pytest.raises(UnreadableMedia, match="does not exist"):
        Template(tmp_path / "nothing.mp4")
    empty = tmp_path / "empty.mkv"
    with av.open(str(empty), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(UnreadableMedia, match=r"no pictures|neither"):
        Template(empty)


def test_the_pixel_budget(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(2))
    with pytest.raises(PictureTooLarge, match="megapixels"):
        Template(path, max_pixels=1000)


@pytest.mark.parametrize(
    "fps", [Fraction(25), Fraction(50), Fraction(10), Fraction(30000, 1001), Fraction(24000, 1001)]
)
@pytest.mark.parametrize("first", [0, 3, 17])
def test_at_another_rate_each_frame_shows_the_place_at_its_middle(tmp_path, fps, first):
    pictures = numbered(7)
    video = Template(write_video(tmp_path / "a.mp4", pictures))
    for i, (index, picture) in enumerate(islice(video.shown_at(fps, first), 40)):
        place = int((first + i + Fraction(1, 2)) * video.fps / fps)
        assert index == palindrome(place, 7)
        assert np.array_equal(picture, pictures[index])
