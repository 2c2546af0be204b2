"""What leaves the worker can be decoded, from where it says that a decoder may begin."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from personare.serve.live.encoders import open_encoder
from personare.serve.live.session import Tick
from personare.serve.live.wire import Kind, State

SIZE = (64, 96)
FPS = Fraction(25)


def picture(index: int) -> np.ndarray:
    """A grey that changes with the index, and a red corner."""
    image = np.full((*SIZE, 3), 40 + 3 * index, np.uint8)
    image[:32, :32] = (220, 30, 30)
    return image


def ticks(count: int, *, generation: int = 0, first: int = 0, spared: int = -1) -> list[Tick]:
    tone = np.rint(8000 * np.sin(np.arange(640) * 2 * np.pi * 10 / 640)).astype(np.int16)
    return [
        Tick(index, generation, State.IDLE, None if index == spared else picture(index), tone)
        for index in range(first, first + count)
    ]


def close_to(image: np.ndarray, index: int) -> bool:
    return bool(np.abs(image.astype(int) - picture(index)).mean() < 6)


def test_jpeg_and_pcm_are_those_of_their_tick() -> None:
    encoder = open_encoder("mjpeg", SIZE, FPS)
    for tick in ticks(3, spared=1):
        *pictures, sound = encoder.encode(tick)
        assert np.array_equal(np.frombuffer(sound.payload, "<i2"), tick.sound)
        assert len(pictures) == (tick.index != 1)
        for packet in pictures:
            seen = cv2.imdecode(np.frombuffer(packet.payload, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            assert close_to(seen, tick.index)
            assert packet.to_bytes()[:8] == bytes([1, 0, 0, 0, tick.index, 0, 0, 0])


@pytest.mark.parametrize(("media", "codec"), [("h264", "h264"), ("vp8", "vp8")])
def test_a_generation_begins_where_a_decoder_may_begin(media, codec) -> None:
    encoder = open_encoder(media, SIZE, FPS)
    made = [encoder.encode(tick)[0] for tick in [*ticks(4), *ticks(3, generation=1, first=4)]]
    encoder.key = True
    made += [encoder.encode(tick)[0] for tick in ticks(1, generation=1, first=7)]
    assert [packet.key for packet in made] == [True, False, False, False, True, False, False, True]
    decoder = av.CodecContext.create(codec, "r")
    seen = [frame for packet in made[4:] for frame in decoder.decode(av.Packet(packet.payload))]
    seen += decoder.decode(None)
    assert len(seen) == 4
    assert all(close_to(frame.to_ndarray(format="rgb24"), 4 + i) for i, frame in enumerate(seen))


def test_a_stream_of_mp4_says_what_it_is_in_its_first_bytes() -> None:
    tags = {"AIGC": '{"Label":"1"}', "xmp": "<x/>"}
    encoder = open_encoder("fmp4", SIZE, FPS, tags)
    packets = [packet for tick in ticks(6) for packet in encoder.encode(tick)]
    encoder.close()
    for kind in (Kind.MP4_VIDEO, Kind.MP4_SOUND):
        first = next(packet.payload for packet in packets if packet.kind == kind)
        with av.open(io.BytesIO(first)) as file:
            assert {name: file.metadata.get(name) for name in tags} == tags


def test_fragments_play_as_mp4_and_a_spared_picture_is_no_gap() -> None:
    encoder = open_encoder("fmp4", SIZE, FPS)
    packets = [packet for tick in ticks(10, first=50, spared=54) for packet in encoder.encode(tick)]
    encoder.close()
    video, sound = (
        b"".join(packet.payload for packet in packets if packet.kind == kind)
        for kind in (Kind.MP4_VIDEO, Kind.MP4_SOUND)
    )
    with av.open(io.BytesIO(video)) as file:
        seen = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    assert [round(at * 25) for at, _ in seen] == list(range(9))  # the last one waits for its length
    assert close_to(seen[4][1], 53)
    assert close_to(seen[8][1], 58)
    with av.open(io.BytesIO(sound)) as file:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert len(heard) > 6 * 1920  # AAC itself holds back two or three frames
    assert 0.1 < np.abs(heard[4800:9600]).mean() < 0.2  # a sine of 8000: 0.155


@pytest.mark.parametrize("void", [0, 1])
def test_no_fragment_from_before_an_interruption_leaves(void) -> None:
    """void: ticks that were encoded when it came, and are made anew."""
    encoder = open_encoder("fmp4", SIZE, FPS)
    made = [*ticks(10 + void), *ticks(10, generation=1, first=10)]
    packets = [packet for tick in made for packet in encoder.encode(tick)]
    encoder.close()
    for kind in (Kind.MP4_VIDEO, Kind.MP4_SOUND):
        new = [packet for packet in packets if packet.kind == kind and packet.generation == 1]
        assert [packet.index >= 10 for packet in new] == [True] * len(new)
        assert len(new) > 7 - void
        assert new[0].key
    video = b"".join(packet.payload for packet in packets if packet.kind == Kind.MP4_VIDEO)
    with av.open(io.BytesIO(video)) as file:
        seen = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    first = len(seen) - len([p for p in packets if p.kind == Kind.MP4_VIDEO and p.generation == 1])
    assert close_to(seen[first], 10), "what a generation begins with is its own"
