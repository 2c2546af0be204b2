"""Ticks -> packets, made where the picture is made, so that nothing larger crosses a process.

Fast enough beside the drawing of a face: JPEG 2.2 ms of one core for 512x512, x264 superfast
2.6, libvpx at its fastest 2.6 (aiortc's own H.264: 11.6).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import av
import cv2
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import PictureType, VideoFrame

from personare.media.colour import even_sized, i420
from personare.serve.live.session import Tick
from personare.serve.live.wire import Kind, Media, Packet
from personare.types import SAMPLE_RATE, Image

VIDEO_CLOCK = Fraction(1, 90000)
KEY_FRAME_SECONDS = 10
"""At the latest; a watcher who lost something asks before."""
MEGABIT = 1_000_000
JPEG_QUALITY = 80
_AAC_RATE = 48000
_FRAGMENTS = "empty_moov+default_base_moof+frag_every_frame"


class Encoder(ABC):
    """Makes the packets of one watcher's stream. Not thread-safe."""

    def __init__(self) -> None:
        self.key = True
        """The next picture has to be one where a decoder may begin. So does the first of every
        generation: what was on its way before it is dropped.
        """
        self._generation = -1

    @abstractmethod
    def encode(self, tick: Tick) -> list[Packet]:
        """A tick's packets, pictures first."""

    def close(self) -> None:  # noqa: B027
        """Let go of what it holds."""

    def _begins(self, tick: Tick) -> bool:
        begins, self.key = self.key or tick.generation != self._generation, False
        self._generation = tick.generation
        return begins


class JpegEncoder(Encoder):
    """Every picture by itself."""

    def encode(self, tick: Tick) -> list[Packet]:
        packets = []
        if tick.image is not None:
            bgr = cv2.cvtColor(tick.image, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            packets.append(_packet(Kind.PICTURE, tick, data.tobytes()))
        return [*packets, _sound(tick)]


class SoundEncoder(Encoder):
    """No pictures."""

    def encode(self, tick: Tick) -> list[Packet]:
        return [_sound(tick)]


class RgbEncoder(Encoder):
    """Pictures as they are, for a room that encodes them itself."""

    def encode(self, tick: Tick) -> list[Packet]:
        picture = [] if tick.image is None else [_packet(Kind.PICTURE, tick, tick.image.tobytes())]
        return [*picture, _sound(tick)]


class VideoEncoder(Encoder):
    """H.264 (constrained baseline) or VP8, one packet a picture; for WebRTC."""

    def __init__(self, codec: Media, size: tuple[int, int], fps: Fraction) -> None:
        super().__init__()
        self._codec = _video_codec(codec, size, fps)
        self._fps = fps

    def encode(self, tick: Tick) -> list[Packet]:
        packets = []
        if tick.image is not None:
            frame = _video_frame(tick.image, round(tick.index / self._fps * 90000), self._begins(tick))
            for packet in self._codec.encode(frame):
                packets.append(_packet(Kind.PICTURE, tick, bytes(packet), bool(packet.is_keyframe)))
        return [*packets, _sound(tick)]


class Mp4Encoder(Encoder):
    """Fragmented MP4, one fragment a picture, one an AAC frame (21 ms). Two files side by side:
    in one, each track would wait for the other. A fragment leaves when the next one begins,
    because its length is known only then.
    """

    def __init__(self, size: tuple[int, int], fps: Fraction, tags: Mapping[str, str]) -> None:
        super().__init__()
        self._fps = fps
        self._video, self._sound = _File(Kind.MP4_VIDEO, tags), _File(Kind.MP4_SOUND, tags)
        self._pictures = self._video.container.add_stream("libx264", rate=fps, options=_x264(fps))
        self._pictures.height, self._pictures.width = _even(size)
        self._pictures.pix_fmt = "yuv420p"
        self._pictures.codec_context.thread_count = 1
        self._pictures.codec_context.bit_rate = MEGABIT
        self._aac = self._sound.container.add_stream("aac", rate=_AAC_RATE)
        self._aac.layout = "mono"
        self._aac.bit_rate = 64000
        # FFmpeg's holds back less than a millisecond, soxr's tens of them
        self._resampler = AudioResampler(format="fltp", layout="mono", rate=_AAC_RATE)
        self._first: int | None = None
        self._encoded = -1
        self._samples = 0
        self._last: Image | None = None

    def encode(self, tick: Tick) -> list[Packet]:
        if self._first is None:
            self._first = tick.index  # each file begins at 0
        elif tick.index == self._encoded:  # it became void once it was encoded, and comes anew
            self._first -= 1
        self._encoded = tick.index
        at = tick.index - self._first
        packets: list[Packet] = []
        # a player of MP4 takes a gap for the end: the last picture again
        image = self._last if tick.image is None else tick.image
        self._last = image
        if image is not None:
            key = self._begins(tick)
            for packet in self._pictures.encode(_video_frame(image, at, key, 1 / self._fps)):
                packets += self._video.packets(packet, tick, at, at, key)
        for heard in self._resampler.resample(self._frame_of(tick)):
            for packet in self._aac.encode(heard):
                begins = int(Fraction(packet.pts or 0) / _AAC_RATE * self._fps)
                packets += self._sound.packets(packet, tick, at, begins, True)
        return packets

    def close(self) -> None:
        self._video.container.close()
        self._sound.container.close()

    def _frame_of(self, tick: Tick) -> AudioFrame:
        frame = AudioFrame.from_ndarray(tick.sound[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self._samples, Fraction(1, SAMPLE_RATE)
        self._samples += len(tick.sound)
        return frame


class _File:
    """A fragmented file, and whose fragment it holds back."""

    def __init__(self, kind: Kind, tags: Mapping[str, str]) -> None:
        self._kind = kind
        self._data = bytearray()
        self._generation, self._since = -1, 0
        self._held: tuple[int, bool] | None = None
        movflags = _FRAGMENTS + ("+use_metadata_tags" if tags else "")
        self.container = av.open(
            self,
            "w",
            format="mp4",
            container_options={"movflags": movflags, "flush_packets": "1"},
            buffer_size=1 << 16,
        )
        self.container.metadata.update(tags)

    def write(self, data: bytes) -> int:
        """What the muxer writes."""
        self._data += data
        return len(data)

    def packets(
        self,
        packet: Any,
        tick: Tick,
        at: int,
        begins: int,
        key: bool,
    ) -> list[Packet]:
        """What leaves as an encoder's packet comes. at, begins: where in the file the tick is,
        and where the packet begins, in ticks.

        A fragment from before an interruption does not leave any more.
        """
        if tick.generation != self._generation:
            self._generation, self._since = tick.generation, at
        self.container.mux(packet)
        held, self._held = self._held, (begins, key)
        data, self._data = bytes(self._data), bytearray()
        if not data or (held is not None and held[0] < self._since):
            return []
        began, decodable = held or (begins, True)  # first of all comes the head of the file
        index = tick.index - at + began
        return [Packet(self._kind, tick.state, tick.generation, index, data, decodable)]


def open_encoder(
    media: Media, size: tuple[int, int], fps: Fraction, tags: Mapping[str, str] = MappingProxyType({})
) -> Encoder:
    """An encoder of one's own for a watcher. size: (height, width). tags: what an MP4 stream
    says of itself.
    """
    if media == "mjpeg":
        return JpegEncoder()
    if media == "sound":
        return SoundEncoder()
    if media == "rgb":
        return RgbEncoder()
    if media == "fmp4":
        return Mp4Encoder(size, fps, tags)
    return VideoEncoder(media, size, fps)


def _video_codec(codec: Media, size: tuple[int, int], fps: Fraction) -> Any:
    made: Any = av.CodecContext.create("libx264" if codec == "h264" else "libvpx", "w")
    made.height, made.width = _even(size)
    made.pix_fmt, made.framerate, made.time_base = "yuv420p", fps, VIDEO_CLOCK
    made.thread_count, made.bit_rate = 1, MEGABIT
    made.gop_size = round(fps * KEY_FRAME_SECONDS)
    if codec == "h264":
        made.profile, made.options = "Baseline", _x264(fps)
    else:
        made.options = {
            "deadline": "realtime",
            "cpu-used": "-12",
            "lag-in-frames": "0",
            "error-resilient": "1",
            "noise-sensitivity": "0",
        }
    return made


def _x264(fps: Fraction) -> dict[str, str]:
    return {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "g": str(round(fps * KEY_FRAME_SECONDS)),
        "forced-idr": "1",
    }


def _video_frame(image: Image, pts: int, key: bool, time_base: Fraction = VIDEO_CLOCK) -> VideoFrame:
    frame = VideoFrame.from_ndarray(i420(even_sized(image)), format="yuv420p")
    frame.pts, frame.time_base = pts, time_base
    if key:
        frame.pict_type = PictureType.I
    return frame


def _even(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    return height + height % 2, width + width % 2


def _packet(kind: Kind, tick: Tick, payload: bytes, key: bool = True) -> Packet:
    return Packet(kind, tick.state, tick.generation, tick.index, payload, key)


def _sound(tick: Tick) -> Packet:
    return _packet(Kind.SOUND, tick, tick.sound.astype("<i2").tobytes())
