"""Videos: pictures one at a time, never held; upright, with square pixels, in sRGB, on a
ground.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from personare.errors import PictureTooLarge, UnreadableMedia
from personare.media.colour import WHITE, Colour, over
from personare.media.demux import check_decoder, claimed_seconds, decoded_frames, opened_container
from personare.media.hdr import Grade, is_wide
from personare.media.image import MAX_PIXELS
from personare.media.local import open_local, shown
from personare.types import Image

_UNTAGGED_HD_HEIGHT_PX = 720
_COLOURS_UNSPECIFIED = 2
_OPAQUE = 255
_SEEKS = 8
"""Key pictures that are tried before giving up on a container that does not find them."""
_PIXEL_SHAPES = (Fraction(1, 4), Fraction(4))
"""Width over height of a pixel; others are mistakes."""
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that know of the second picture with the transparency (alpha_mode of Matroska)."""
_GRADED_PICTURES = 16
_GRADED_WIDTH = 160
LONGEST_STAY_SECONDS = (10, 60)
_STAY_STEPS = 250
"""A picture stays for this many usual steps at most, within those limits; longer gaps are
clocks that jumped.
"""


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

    times: rising, one per picture, in the order of showing, as the container has them.
    keys: those of them from which decoding can begin; empty if the container has no times,
        which then count pictures.
    shown: when each picture is shown: `times`, with gaps closed that are no stay of a picture
        but a clock that jumped.
    end: when the last picture ends, on the same clock as `shown`.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]
    end: int
    tick: Fraction
    shown: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.shown:
            object.__setattr__(self, "shown", self.times)


class VideoSource:
    """The pictures of a video file, upright, with square pixels, in sRGB.

    background: laid behind what is transparent. size: (height, width) after rotation, with
    square pixels. fps: the average rate. seconds: what the container claims, or None. rotation:
    counter-clockwise quarter turns that were applied. Raises UnreadableMedia if there is no
    video that can be decoded, PictureTooLarge above `max_pixels` a picture.
    """

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS, background: Colour = WHITE) -> None:
        self.path = path
        self._background = background
        with opened_container(path, "video") as container:
            stream = _video_track(container, path)
            width, height = _square_pixels(stream.width, stream.height, stream.sample_aspect_ratio)
            if width * height > max_pixels:
                raise PictureTooLarge(
                    f"{shown(path)} has {width * height / 1e6:.0f} megapixels a picture;"
                    f" the limit is {max_pixels / 1e6:g}",
                    hint="scale it down first",
                )
            first = next(_decoded(container, stream, path), None)
            if first is None:
                raise UnreadableMedia(
                    f"{shown(path)} has no pictures", hint="give a video with pictures in it"
                )
            self.rotation = _quarter_turns(first)
            width, height = _square_pixels(first.width, first.height, stream.sample_aspect_ratio)
            self.size = (width, height) if self.rotation % 2 else (height, width)
            self.fps = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self.seconds = claimed_seconds(container, stream)
            wide = is_wide(first.color_trc, first.color_primaries)
        self._grade = self._graded(first) if wide else None

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
                yield VideoFrameAt(index, seconds - start, self.upright(frame))

    def timeline(self) -> Timeline:
        """When each picture is shown, from the container alone; decoded only if that has no
        times.
        """
        with opened_container(self.path, "video") as container:
            stream = _video_track(container, self.path)
            tick = stream.time_base or Fraction(1) / self.fps
            count, seen, seen_keys = 0, set[int](), set[int]()
            for packet in _packets(container, stream):  # none is kept: they hold the file's bytes
                if not packet.size or packet.is_discard:
                    continue
                count += 1
                if packet.pts is not None:
                    seen.add(packet.pts)
                    if packet.is_keyframe:
                        seen_keys.add(packet.pts)
            times, keys = sorted(seen), sorted(seen_keys)
            if len(times) < count or not keys:
                return self._counted()
            # The last picture stays as long as is usual: what containers say of it may be
            # anything.
            usual = int(np.median(np.diff(times))) if len(times) > 1 else round(1 / self.fps / tick)
            shown_at, end = _without_jumps(times, usual, tick)
            return Timeline(tuple(times), tuple(keys), end, tick, shown_at)

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
        height, width = (self.size[1], self.size[0]) if self.rotation % 2 else self.size
        transparent = self._transparent(frame, width, height)
        if transparent is not None:
            image = transparent
        elif self._grade is not None:
            image = self._grade.srgb(_reformatted(frame, "rgb48le", width, height))
        else:
            image = _reformatted(frame, "rgb24", width, height)
        return np.ascontiguousarray(np.rot90(image, self.rotation))

    def _transparent(self, frame: VideoFrame, width: int, height: int) -> Image | None:
        """A picture with transparent places over the background; None for one without.

        Mixed before it is scaled, lest what is hidden shows at the edges.
        """
        form = frame.format
        if not (form.has_palette or any(part.is_alpha for part in form.components)):
            return None
        coloured = _reformatted(frame, "rgba", frame.width, frame.height)
        alpha = coloured[..., 3]
        if alpha.min() == _OPAQUE:
            return None
        image = coloured[..., :3]
        if self._grade is not None:
            image = self._grade.srgb(_reformatted(frame, "rgb48le", frame.width, frame.height))
        image = over(image, alpha, self._background)
        if (frame.width, frame.height) != (width, height):
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        return image

    def _graded(self, first: VideoFrame) -> Grade:
        """How light and colours become sRGB: from some pictures from which decoding can begin."""
        samples = []
        with opened_container(self.path, "video") as container:
            stream = _video_track(container, self.path)
            stream.codec_context.skip_frame = "NONKEY"
            for frame in islice(_decoded(container, stream, self.path), _GRADED_PICTURES):
                width = min(_GRADED_WIDTH, frame.width)
                samples.append(
                    _reformatted(frame, "rgb48le", width, max(1, frame.height * width // frame.width))
                )
        return Grade.of(first.color_trc, first.color_primaries, samples)

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
    check_decoder(stream, path, "video")
    stream.codec_context.thread_count = 1  # more threads would hold as many pictures
    # A picture may grow in the middle of a stream; those above the limit do not decode.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _square_pixels(width: int, height: int, shape: Fraction | None) -> tuple[int, int]:
    """(width, height) with square pixels; none is lost: the shorter side of a pixel grows."""
    if not shape or not _PIXEL_SHAPES[0] <= shape <= _PIXEL_SHAPES[1]:
        return width, height
    return (round(width * shape), height) if shape > 1 else (width, round(height / shape))


def _without_jumps(times: list[int], usual: int, tick: Fraction) -> tuple[tuple[int, ...], int]:
    """When each picture is shown, and when the last one ends."""
    least, most = (round(seconds / tick) for seconds in LONGEST_STAY_SECONDS)
    longest = min(max(_STAY_STEPS * usual, least), most)
    usual = max(1, min(usual, longest))
    steps = np.diff(np.array(times, np.int64))
    shown = times
    if (steps > longest).any():
        stays = np.where(steps > longest, usual, steps)
        shown = (times[0] + np.concatenate([[0], np.cumsum(stays)])).tolist()
    return tuple(shown), shown[-1] + usual


def _decoded(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    decoder = None
    alpha = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if alpha in av.codecs_available and stream.metadata.get("alpha_mode") == "1":
        decoder = cast(VideoCodecContext, CodecContext.create(alpha, "r"))
        decoder.thread_count = 1
        decoder.options = stream.codec_context.options
    return cast(Iterator[VideoFrame], decoded_frames(container, stream, path, "video", decoder))


def _reformatted(frame: VideoFrame, form: str, width: int, height: int) -> NDArray[Any]:
    """[height, width, channels]; a stream may change its own size on the way."""
    untagged_hd = frame.colorspace == _COLOURS_UNSPECIFIED and frame.height >= _UNTAGGED_HD_HEIGHT_PX
    matrix = Colorspace.ITU709 if untagged_hd else None
    return np.asarray(
        frame.reformat(width=width, height=height, format=form, src_colorspace=matrix).to_ndarray()
    )


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4
