"""Videos: pictures one at a time, never held."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from personare.errors import PictureTooLarge, UnreadableMedia
from personare.media.demux import claimed_seconds, decoded_frames, opened_container
from personare.media.image import MAX_PIXELS
from personare.media.local import open_local, shown
from personare.types import Image

_UNTAGGED_HD_HEIGHT_PX = 720
_COLOURS_UNSPECIFIED = 2
_SEEKS = 8
"""Key pictures that are tried before giving up on a container that does not find them."""


@dataclass(frozen=True, slots=True)
class VideoFrameAt:
    """One picture of a video: its index, its time from the first picture in seconds, uint8 [H,
    W, 3] RGB.
    """

    index: int
    seconds: float
    image: Image


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the container says about its pictures, without decoding them. Times are in ticks of
    `tick` seconds.

    times: rising, one per picture, in the order of showing. keys: those of them from which
    decoding can begin; empty if the container has no times, which then count pictures. end:
    when the last picture ends.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]
    end: int
    tick: Fraction


class VideoSource:
    """The pictures of a video file, upright.

    size: (height, width) after rotation. fps: the average rate. seconds: what the container
    claims, or None. rotation: counter-clockwise quarter turns that were applied. Raises
    UnreadableMedia if there is no video that can be decoded, PictureTooLarge above `max_pixels`
    a picture.
    """

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS) -> None:
        self.path = path
        with opened_container(path, "video") as container:
            stream = _video_track(container, path)
            if stream.width * stream.height > max_pixels:
                raise PictureTooLarge(
                    f"{shown(path)} has {stream.width * stream.height / 1e6:.0f} megapixels a picture;"
                    f" the limit is {max_pixels / 1e6:g}",
                    hint="scale it down first",
                )
            first = next(_decoded(container, stream, path), None)
            if first is None:
                raise UnreadableMedia(
                    f"{shown(path)} has no pictures", hint="give a video with pictures in it"
                )
            self.rotation = _quarter_turns(first)
            self.size = (first.width, first.height) if self.rotation % 2 else (first.height, first.width)
            self.fps = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self.seconds = claimed_seconds(container, stream)

    def frames(self) -> Iterator[VideoFrameAt]:
        """Every picture in order, from the start, decoded as it is asked for. A damaged end is
        left out.
        """
        with opened_container(self.path, "video") as container:
            stream = _video_track(container, self.path)
            start: float | None = None
            for index, frame in enumerate(_decoded(container, stream, self.path)):
                seconds = frame.time if frame.time is not None else float(index / self.fps)
                start = seconds if start is None else start
                yield VideoFrameAt(index, seconds - start, _rgb(frame, self.size, self.rotation))

    def timeline(self) -> Timeline:
        """When each picture is shown, from the container alone; decoded only if that has no
        times.
        """
        with opened_container(self.path, "video") as container:
            stream = _video_track(container, self.path)
            tick = stream.time_base or Fraction(1) / self.fps
            packets = [
                packet for packet in _packets(container, stream) if packet.size and not packet.is_discard
            ]
            times = sorted({packet.pts for packet in packets if packet.pts is not None})
            keys = sorted({packet.pts for packet in packets if packet.pts is not None and packet.is_keyframe})
            if len(times) < len(packets) or not keys:
                return self._counted()
            # The last picture stays as long as is usual: what containers say of it may be
            # anything.
            usual = int(np.median(np.diff(times))) if len(times) > 1 else round(1 / self.fps / tick)
            return Timeline(tuple(times), tuple(keys), times[-1] + usual, tick)

    def decode(self, timeline: Timeline, start: int) -> Generator[tuple[int, VideoFrame]]:
        """(time, picture) of all pictures from the last key picture at or before `start`, times
        rising.

        Pictures that do not decode are left out. Each call opens the file anew; close the
        iterator to close it.
        """
        for key in reversed(timeline.keys[: bisect_right(timeline.keys, start)][-_SEEKS:] or (None,)):
            last = None
            for time, frame in self._decoded_from(timeline, key):
                if key is not None and key > timeline.keys[0] and last is None and time > key:
                    break  # some containers seek too far: once more, from the key picture before
                # What is shown before its key picture refers to what was not decoded.
                if (key is None or time >= key) and (last is None or time > last):
                    last = time
                    yield time, frame
            if last is not None:
                return

    def upright(self, frame: VideoFrame) -> Image:
        """A decoded picture as uint8 [H, W, 3] RGB of the source's size."""
        return _rgb(frame, self.size, self.rotation)

    def _decoded_from(self, timeline: Timeline, key: int | None) -> Iterator[tuple[int, VideoFrame]]:
        with opened_container(self.path, "video") as container:
            stream = _video_track(container, self.path)
            if key is None:
                yield from enumerate(_decoded(container, stream, self.path))
                return
            if key > timeline.keys[0]:
                try:
                    container.seek(key, stream=stream, backward=True)
                except av.FFmpegError:
                    return
            for frame in _decoded(container, stream, self.path):
                if frame.pts is not None:
                    yield frame.pts, frame

    def _counted(self) -> Timeline:
        with opened_container(self.path, "video") as container:
            count = sum(1 for _ in _decoded(container, _video_track(container, self.path), self.path))
        return Timeline(tuple(range(count)), (), count, 1 / self.fps)


def has_video(path: Path) -> bool:
    """Whether the file has moving pictures (cover art does not count); False if it is no
    container at all.

    Raises UnreadableMedia as `open_local`.
    """
    open_local(path).close()
    try:
        with opened_container(path, "video") as container:
            return _moving_pictures(container) is not None
    except UnreadableMedia:
        return False


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Of the stream, up to where the container breaks."""
    with suppress(av.FFmpegError):
        yield from container.demux(stream)


def _moving_pictures(container: InputContainer) -> VideoStream | None:
    best = container.streams.best("video")
    candidates = [*([best] if isinstance(best, VideoStream) else []), *container.streams.video]
    return next((stream for stream in candidates if not stream.disposition & Disposition.attached_pic), None)


def _video_track(container: InputContainer, path: Path) -> VideoStream:
    stream = _moving_pictures(container)
    if stream is None:
        raise UnreadableMedia(f"{shown(path)} has no video", hint="give a file with moving pictures")
    if stream.codec_context is None:
        raise UnreadableMedia(f"the video of {shown(path)} has no known codec", hint="convert it to H.264")
    stream.codec_context.thread_count = 1  # more threads would hold as many pictures
    return stream


def _decoded(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    return cast(Iterator[VideoFrame], decoded_frames(container, stream, path, "video"))


def _rgb(frame: VideoFrame, size: tuple[int, int], quarter_turns: int) -> Image:
    """The frame as upright RGB of the source's first size (a stream may change its own on the
    way).
    """
    height, width = (size[1], size[0]) if quarter_turns % 2 else size
    untagged_hd = frame.colorspace == _COLOURS_UNSPECIFIED and frame.height >= _UNTAGGED_HD_HEIGHT_PX
    image = frame.reformat(
        width=width, height=height, format="rgb24", src_colorspace=Colorspace.ITU709 if untagged_hd else None
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4
