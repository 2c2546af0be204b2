"""A face as a stream for servers that take RTMP (YouTube, Twitch, OBS, MediaMTX), by PyAV.

    PERSONARE_STREAM_KEY=... python -m personare.rooms.rtmp me.jpg --url rtmp://live.example.org/app

H.264 and AAC at 48 kHz in FLV, a key picture every two seconds, as such servers ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from personare.errors import InvalidOption, ServiceError
from personare.media.colour import even_sized, i420
from personare.rooms.face import Moment
from personare.rooms.spoken import arguments, face_of, key_of, main, moments, parser, speak, take_key

RATE = 48000
KEY_SECONDS = 2
SOUND_BITS = 128_000
PATIENCE_SECONDS = 10
_SCHEMES = ("rtmp", "rtmps")


class RtmpStream:
    """Pushes moments to a server. Its calls block; one thread at a time."""

    def __init__(
        self,
        url: str,
        size: tuple[int, int],
        fps: Fraction,
        *,
        rate: int = RATE,
        bit_rate: int = 2_500_000,
    ) -> None:
        """url: rtmp://host/app/key. Messages name its host alone, for the rest is a secret.
        size: (height, width). rate: Hz of the sound. bit_rate: of the pictures, per second.

        Raises InvalidOption for another kind of URL, ServiceError if nobody takes the stream.
        """
        self._host = _host_of(url)
        self._fps, self._rate = fps, rate
        self._first: int | None = None
        self._samples = 0
        patience = {"rw_timeout": str(PATIENCE_SECONDS * 1_000_000)}
        try:
            self._container = av.open(url, "w", format="flv", container_options=patience)
            height, width = size
            self._video: Any = self._container.add_stream("libx264", rate=fps)
            self._video.height, self._video.width = height + height % 2, width + width % 2
            self._video.pix_fmt, self._video.bit_rate = "yuv420p", bit_rate
            self._video.codec_context.gop_size = round(KEY_SECONDS * fps)
            self._video.options = {"preset": "superfast", "tune": "zerolatency"}
            self._audio: Any = self._container.add_stream("aac", rate=rate)
            self._audio.layout, self._audio.bit_rate = "mono", SOUND_BITS
            self._container.start_encoding()
        except (av.FFmpegError, OSError) as error:
            raise self._refused(error) from None

    def write(self, moment: Moment) -> None:
        """A picture and its sound. Raises ServiceError if the server has gone."""
        if self._first is None:
            self._first = moment.index
        picture = VideoFrame.from_ndarray(i420(even_sized(moment.picture)), format="yuv420p")
        picture.pts, picture.time_base = moment.index - self._first, 1 / self._fps
        sound = AudioFrame.from_ndarray(moment.sound[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = self._rate, self._samples, Fraction(1, self._rate)
        self._samples += len(moment.sound)
        try:
            self._container.mux(self._video.encode(picture))
            self._container.mux(self._audio.encode(sound))
        except (av.FFmpegError, OSError) as error:
            raise self._refused(error) from None

    def close(self) -> None:
        """Send the rest, and say that it ends."""
        try:
            for stream in (self._video, self._audio):
                self._container.mux(stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise self._refused(error) from None

    def __enter__(self) -> RtmpStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()

    def _refused(self, error: Exception) -> ServiceError:
        why = getattr(error, "strerror", None) or type(error).__name__
        hint = "is the server there, and is the key right?"
        return ServiceError(f"{self._host} does not take the stream: {why}", hint=hint)


async def push(shown: AsyncIterable[Moment], stream: RtmpStream) -> int:
    """Every moment to a stream, in a thread; how many."""
    count = 0
    async for moment in shown:
        await asyncio.to_thread(stream.write, moment)
        count += 1
    return count


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or not parts.path.strip("/"):
        raise InvalidOption("that is no address of an RTMP stream", hint="rtmp://host/app/key")
    return parts.hostname


async def run(words: Sequence[str] | None = None) -> None:
    """The command."""
    made = parser("A face as a stream for a server that takes RTMP.")
    made.add_argument("--kbits", type=int, default=2500, help="of the pictures, per second")
    made.add_argument("--url", required=True, help="rtmp://host/app, or rtmp://host/app/key")
    take_key(made, "the key, which is put behind the URL")
    given = arguments(made, words)
    url = "/".join(filter(None, (given.url.rstrip("/"), key_of(given))))
    _host_of(url)
    async with face_of(given, RATE) as face:
        opening = asyncio.to_thread(RtmpStream, url, face.size, face.fps, bit_rate=given.kbits * 1000)
        with await opening as stream:
            await push(moments(face, speak(face, given)), stream)


if __name__ == "__main__":
    main(run)
