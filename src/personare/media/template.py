"""A template: the pictures that a portrait shows on its own. A photo is a template of one
frame, a video one of many.

Nothing here holds more than a few dozen pictures: what is wanted again, or backwards, is
decoded again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from personare.errors import UnreadableMedia
from personare.media.colour import WHITE, Colour
from personare.media.demux import opened_container
from personare.media.image import MAX_PIXELS, is_picture, read_image
from personare.media.local import shown
from personare.media.video import Timeline, VideoSource
from personare.types import Image

PHOTO_FPS = Fraction(25)
"""The rate of a photo, unless one is asked for."""
BACKWARDS_BYTES = 64 << 20
"""Decoded pictures that are held to be shown in falling order."""
_USUAL_RATES = [Fraction(rate) for rate in (25, 30, 24, 50, 60)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 60)
]
_EVEN = Fraction(1, 2)
"""Pictures are at even times if none is off its place by this share of a frame."""
_USUAL_SHARE, _SAME_STEP = 0.5, 0.2
"""A step is usual if this share of all differs from it by less than that share of it."""
_NEAR_USUAL = 0.01
_RATE_LIMITS = (Fraction(1), Fraction(120))


def palindrome(i: int, frames: int) -> int:
    """Frame i >= 0 of an endless walk to and fro over that many frames: 0 1 2 2 1 0 0 1 .."""
    place = i % (2 * frames)
    return place if place < frames else 2 * frames - 1 - place


class Template:
    """The upright pictures of a photo or a video at a constant rate.

    size: (height, width). fps: the template's own rate (a video whose pictures come at uneven
    times is evened out to a round one), or the one asked for. frames: how many there are at
    that rate; exact, known without decoding. moving: whether it is a video. background: laid
    behind what is transparent. photo: what to show in place of the first picture of an
    animation. Frame i shows what
    the video shows in the middle of it, at (i + 1/2) / fps; what does not decode is replaced by
    the picture before. Raises UnreadableMedia if it is neither picture nor video, or a video
    without pictures; PictureTooLarge above `max_pixels` a picture.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction | None = None,
        max_pixels: int = MAX_PIXELS,
        background: Colour = WHITE,
        photo: Image | None = None,
    ) -> None:
        self.path = path
        self.moving = not is_picture(path)
        self._photo: Image | None = None
        if not self.moving:
            self._photo = read_image(path, max_pixels, background) if photo is None else photo
            self.size = (self._photo.shape[0], self._photo.shape[1])
            self.fps = fps or PHOTO_FPS
            self.frames = 1
            return
        self._source = _video(path, max_pixels, background)
        self.size = self._source.size
        self._timeline = timeline = self._source.timeline()
        self.fps = fps or own_rate(timeline, self._source.fps)
        self._start = timeline.shown[0]
        self._ticks_per_frame = 1 / self.fps / timeline.tick
        self.frames = max(1, round((timeline.end - self._start) / self._ticks_per_frame))

    def __iter__(self) -> Iterator[Image]:
        """Every frame once, in order, in constant memory. The pictures are the caller's to
        read, not to change.
        """
        if self._photo is not None:
            yield self._photo
            return
        for _, picture in self._forward(0):
            yield picture

    def cycle(self, start: int = 0) -> Generator[tuple[int, Image]]:
        """Endlessly (frame index, picture) to and fro, from place `start` of `palindrome`.

        Holds at most BACKWARDS_BYTES of decoded pictures. The same index gives the same bytes
        in either direction.
        """
        if self._photo is not None:
            while True:
                yield 0, self._photo
        place = start % (2 * self.frames)
        while True:
            if place < self.frames:
                yield from self._forward(place)
                place = self.frames
            yield from self._backward(2 * self.frames - 1 - place)
            place = 0

    def shown_at(self, fps: Fraction, frame: int = 0) -> Generator[tuple[int, Image]]:
        """Endlessly (frame index, picture): what a clip at another rate shows, from one of its
        frames on.

        Each of the clip's frames shows the place of `palindrome` at its middle, so that rates
        may differ without drift.
        """
        step = self.fps / fps
        place = floor((frame + Fraction(1, 2)) * step)
        with closing(self.cycle(place)) as pictures:
            shown = next(pictures)
            while True:
                yield shown
                frame += 1
                wanted = floor((frame + Fraction(1, 2)) * step)
                for _ in range(wanted - place):
                    shown = next(pictures)
                place = wanted

    def _time(self, frame: int) -> int:
        """Of the picture that is to be seen at a frame, in ticks."""
        middle = self._start + (frame + Fraction(1, 2)) * self._ticks_per_frame
        return self._timeline.times[max(0, bisect_right(self._timeline.shown, middle) - 1)]

    def _forward(self, first: int) -> Iterator[tuple[int, Image]]:
        """Frames from `first` to the last."""
        with closing(self._source.decode(self._timeline, self._time(first))) as decoded:
            now = next(decoded, None)
            if now is None:
                raise self._damaged()
            upcoming = next(decoded, None)
            picture = None
            for frame in range(first, self.frames):
                time = self._time(frame)
                while upcoming is not None and upcoming[0] <= time:
                    now, upcoming, picture = upcoming, next(decoded, None), None
                if picture is None:
                    picture = self._source.upright(now[1])
                yield frame, picture

    def _backward(self, last: int) -> Iterator[tuple[int, Image]]:
        """Frames from `last` to the first."""
        held: list[tuple[int, VideoFrame]] = []
        picture = None
        for frame in range(last, -1, -1):
            time = self._time(frame)
            while held and held[-1][0] > time:
                held.pop()
                picture = None
            if not held:
                held = self._held(time)
            if picture is None:
                picture = self._source.upright(held[-1][1])
            yield frame, picture

    def _held(self, time: int) -> list[tuple[int, VideoFrame]]:
        """(time, picture) of the last pictures up to `time`, as many as the budget holds, at
        least one.
        """
        times, keys = self._timeline.times, self._timeline.keys or (0,)
        height, width = self.size
        room = max(1, BACKWARDS_BYTES // (height * width * 3 // 2))
        earliest = times[max(0, bisect_right(times, time) - room)]
        # The first key picture from which all fits or, where they are rare, the last one before
        # the end.
        nearest = max(0, bisect_right(keys, time) - 1)
        for key in reversed(keys[: min(bisect_left(keys, earliest), nearest) + 1]):
            held = self._decoded(key, time)
            if held and held[0][0] <= time:
                return held
        if not held:
            raise self._damaged()
        return [(self._start, held[0][1])]

    def _decoded(self, key: int, time: int) -> list[tuple[int, VideoFrame]]:
        """(time, picture) of the last pictures from a key picture up to `time`; if there are
        none, the one after.
        """
        held: deque[tuple[int, VideoFrame]] = deque()
        size = 0
        with closing(self._source.decode(self._timeline, key)) as decoded:
            for at, picture in decoded:
                if held and at > time:
                    break
                held.append((at, picture))
                size += _nbytes(picture)
                while len(held) > 1 and size > BACKWARDS_BYTES:
                    size -= _nbytes(held.popleft()[1])
        return list(held)

    def _damaged(self) -> UnreadableMedia:
        return UnreadableMedia(
            f"{shown(self.path)} is damaged: none of its pictures can be decoded", hint="convert it to H.264"
        )


def own_rate(timeline: Timeline, claimed: Fraction) -> Fraction:
    """The rate of pictures that come at even times: the claimed one if it fits. Where some were
    lost, the rate of the usual step, at which those that are there fall on their places; where
    no step is usual, a whole rate near the mean.
    """
    times, tick = timeline.shown, timeline.tick
    start = times[0]
    for rate in (claimed, *_USUAL_RATES):
        if all(abs((time - start) * tick * rate - i) < _EVEN for i, time in enumerate(times)):
            return _within_limits(rate)
    steps = np.diff(np.array(times, np.float64)) * float(tick)
    usual = float(np.median(steps))
    if np.mean(np.abs(steps - usual) < _SAME_STEP * usual) >= _USUAL_SHARE:
        # Steps are rounded to ticks; their mean is closer than any of them.
        step = float(steps[np.abs(steps - usual) < _SAME_STEP * usual].mean())
        nearest = min((claimed, *_USUAL_RATES), key=lambda rate: abs(float(rate) * step - 1))
        if abs(float(nearest) * step - 1) < _NEAR_USUAL:
            return _within_limits(nearest)
        return _within_limits(Fraction(max(1, round(1 / step))))
    mean = len(times) / ((timeline.end - start) * tick)
    return _within_limits(Fraction(round(mean)))


def _within_limits(rate: Fraction) -> Fraction:
    return min(max(rate, _RATE_LIMITS[0]), _RATE_LIMITS[1])


def _video(path: Path, max_pixels: int, background: Colour) -> VideoSource:
    try:
        with opened_container(path, "video"):
            pass
    except UnreadableMedia:
        message = f"{shown(path)} is neither a picture nor a video that can be read, or it is damaged"
        raise UnreadableMedia(
            message, hint="give a JPEG, PNG or WebP picture, or an mp4, mov, webm or mkv video"
        ) from None
    return VideoSource(path, max_pixels, background)


def _nbytes(picture: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in picture.planes)
