"""A face as a stream for servers that take WHIP (RFC 9725: WebRTC in by one HTTP request), by
aiortc, of `[serve]`.

    PERSONARE_STREAM_KEY=... python -m personare.rooms.whip me.jpg --url https://live.example.org/whip/room

aiortc encodes: VP8 or H.264, whichever the server prefers, and Opus. All candidates are in the
offer; none follow.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections import deque
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from fractions import Fraction
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from personare.errors import InvalidOption, ServiceError
from personare.media.colour import even_sized, i420
from personare.rooms.face import Moment
from personare.rooms.spoken import arguments, face_of, key_of, main, moments, parser, speak, take_key

RATE = 48000
CONNECT_SECONDS = 10.0
_PATIENCE_SECONDS = 10.0
_VIDEO_CLOCK = 90000
_PIECE = RATE // 50
_MOST_ANSWER = 64_000
_PICTURES, _PIECES = 5, 50


class _Track(MediaStreamTrack):
    """Frames that wait for aiortc; of more than fit, the oldest goes."""

    def __init__(self, kind: str, most: int) -> None:
        super().__init__()
        self.kind = kind
        self._frames: deque[VideoFrame | AudioFrame] = deque(maxlen=most)
        self._filled = asyncio.Event()

    def put(self, frame: VideoFrame | AudioFrame) -> None:
        self._frames.append(frame)
        self._filled.set()

    async def recv(self) -> VideoFrame | AudioFrame:
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        return self._frames.popleft()


class WhipStream:
    """One connection to a server.

    async with WhipStream(url, token=...) as stream:
        stream.write(moment)
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        fps: Fraction = Fraction(25),
        ice_servers: Sequence[str] = (),
    ) -> None:
        """url: http or https. token: of `Authorization: Bearer`. ice_servers: URLs of STUN and
        TURN servers. Raises InvalidOption.
        """
        self._url, self._host, self._token, self._fps = url, _host_of(url), token, fps
        servers = [RTCIceServer(urls=[server]) for server in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._connected = asyncio.Event()
        self._location = ""
        self._video, self._audio = _Track("video", _PICTURES), _Track("audio", _PIECES)
        self._first: int | None = None
        self._samples = 0
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    async def open(self) -> None:
        """Offer, take the answer, wait for the connection. Raises ServiceError."""
        connection = self._connection
        connection.on("connectionstatechange", self._changed)
        for track in (self._video, self._audio):
            connection.addTransceiver(track, direction="sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        try:
            answer = await asyncio.to_thread(self._post, connection.localDescription.sdp)
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await asyncio.wait_for(self._connected.wait(), CONNECT_SECONDS)
        except TimeoutError:
            await self.close()
            raise ServiceError(f"{self._host} answers, but no connection comes about") from None
        except ServiceError:
            await self.close()
            raise
        except Exception as error:  # aiortc's parsers raise whatever they meet
            await self.close()
            raise ServiceError(f"the answer of {self._host} is none: {type(error).__name__}") from None

    def write(self, moment: Moment) -> None:
        """A picture and its sound. Raises ServiceError if the connection has ended."""
        if self._connection.connectionState in ("failed", "closed"):
            raise ServiceError(f"{self._host} has ended the connection")
        if self._first is None:
            self._first = moment.index
        if moment.is_new:
            picture = VideoFrame.from_ndarray(i420(even_sized(moment.picture)), format="yuv420p")
            at = (moment.index - self._first) / self._fps
            picture.pts, picture.time_base = round(at * _VIDEO_CLOCK), Fraction(1, _VIDEO_CLOCK)
            self._video.put(picture)
        samples = np.concatenate([self._rest, moment.sound])
        whole = len(samples) // _PIECE * _PIECE
        self._rest = samples[whole:]
        for start in range(0, whole, _PIECE):
            sound = AudioFrame.from_ndarray(
                samples[None, start : start + _PIECE], format="s16", layout="mono"
            )
            sound.sample_rate, sound.pts, sound.time_base = RATE, self._samples, Fraction(1, RATE)
            self._samples += _PIECE
            self._audio.put(sound)

    async def close(self) -> None:
        """Tell the server, and hang up."""
        if self._location:
            location, self._location = self._location, ""
            await asyncio.to_thread(self._delete, location)
        await self._connection.close()

    async def __aenter__(self) -> WhipStream:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _post(self, offer: str) -> str:
        request = self._request(self._url, "POST")
        request.add_header("Content-Type", "application/sdp")
        request.data = offer.encode()
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
                sdp: bytes = answer.read(_MOST_ANSWER)
                self._location = urljoin(answer.url, answer.headers.get("Location") or "")
                if answer.status != 201 or urlsplit(self._location).hostname != self._host:
                    self._location = ""
                    raise ServiceError(f"{self._host} does not speak WHIP: {answer.status}")
        except urllib.error.HTTPError as error:
            hint = "is the token right?" if error.code in (401, 403) else ""
            raise ServiceError(f"{self._host} refuses: {error.code} {error.reason}", hint) from None
        except OSError as error:
            why = getattr(error, "reason", error)
            why = getattr(why, "strerror", None) or type(why).__name__
            raise ServiceError(f"{self._host} cannot be reached: {why}") from None
        return sdp.decode("utf-8", "replace")

    def _delete(self, location: str) -> None:
        with suppress(OSError):  # it notices by itself
            urllib.request.urlopen(self._request(location, "DELETE"), timeout=_PATIENCE_SECONDS).close()

    def _request(self, url: str, method: str) -> urllib.request.Request:
        request = urllib.request.Request(url, method=method)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        return request

    def _changed(self) -> None:
        if self._connection.connectionState == "connected":
            self._connected.set()


async def push(shown: AsyncIterable[Moment], stream: WhipStream) -> int:
    """Every moment to a stream; how many."""
    count = 0
    async for moment in shown:
        stream.write(moment)
        count += 1
    return count


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOption("that is no address of a WHIP stream", hint="https://host/path")
    return parts.hostname


async def run(words: Sequence[str] | None = None) -> None:
    """The command."""
    made = parser("A face as a stream for a server that takes WHIP.")
    made.add_argument("--url", required=True, help="https://host/path")
    made.add_argument("--token", default="", help="of Authorization: Bearer")
    take_key(made, "the token")
    given = arguments(made, words)
    _host_of(given.url)
    token = given.token or key_of(given)
    async with (
        face_of(given, RATE) as face,
        WhipStream(given.url, token=token, fps=face.fps) as stream,
    ):
        await push(moments(face, speak(face, given)), stream)


if __name__ == "__main__":
    main(run)
