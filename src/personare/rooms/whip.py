"""A face as a stream for servers that take WHIP (RFC 9725: WebRTC in by one HTTP request), by
aiortc, of `[serve]`.

    PERSONARE_STREAM_KEY=... python -m personare.rooms.whip me.jpg --url https://live.example.org/whip/room

aiortc encodes: VP8 or H.264, whichever the server prefers, and Opus. All candidates are in the
offer; none follow. signalling.py has the HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Sequence
from fractions import Fraction
from types import TracebackType

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from personare.errors import ServiceError
from personare.media.colour import even_sized, i420
from personare.rooms.face import Moment
from personare.rooms.signalling import Signalling, ice_server
from personare.rooms.spoken import arguments, face_of, key_of, lacks, main, moments, parser, speak, take_key

try:
    from aiortc import (
        MediaStreamTrack,
        RTCConfiguration,
        RTCIceServer,
        RTCPeerConnection,
        RTCSessionDescription,
    )
except ModuleNotFoundError:
    lacks("aiortc", "serve", __name__)

RATE = 48000
CONNECT_SECONDS = 10.0
_VIDEO_CLOCK = 90000
_PIECE = RATE // 50
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
        """url: http or https. token: of `Authorization: Bearer`; other servers that this one
        leads to do not get it. ice_servers: URLs of STUN and TURN servers; none: those that the
        server offers. Raises InvalidOption.
        """
        self._signalling, self._fps = Signalling(url, token), fps
        self._host = self._signalling.host
        self._ice_servers = [ice_server(url) for url in ice_servers]
        self._connection: RTCPeerConnection | None = None
        self._connected = asyncio.Event()
        self._video, self._audio = _Track("video", _PICTURES), _Track("audio", _PIECES)
        self._first: int | None = None
        self._samples = 0
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    async def open(self) -> None:
        """Offer, take the answer, wait for the connection. Raises ServiceError."""
        servers = self._ice_servers or await asyncio.to_thread(self._signalling.ice_servers)
        known = [RTCIceServer([one.url], one.username, one.credential) for one in servers]
        connection = self._connection = RTCPeerConnection(RTCConfiguration(iceServers=known))
        connection.on("connectionstatechange", self._changed)
        for track in (self._video, self._audio):
            connection.addTransceiver(track, direction="sendonly")
        await connection.setLocalDescription(await connection.createOffer())
        try:
            answer = await asyncio.to_thread(self._signalling.answer, connection.localDescription.sdp)
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
        if self._connection is None or self._connection.connectionState in ("failed", "closed"):
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
        await asyncio.to_thread(self._signalling.end)
        if self._connection is not None:
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

    def _changed(self) -> None:
        if self._connection is not None and self._connection.connectionState == "connected":
            self._connected.set()


async def push(shown: AsyncIterable[Moment], stream: WhipStream) -> int:
    """Every moment to a stream; how many."""
    count = 0
    async for moment in shown:
        stream.write(moment)
        count += 1
    return count


async def run(words: Sequence[str] | None = None) -> None:
    """The command."""
    made = parser("A face as a stream for a server that takes WHIP.")
    made.add_argument("--url", required=True, help="https://host/path")
    made.add_argument("--token", default="", help="of Authorization: Bearer")
    told = "a STUN or TURN server, stun:host:port; without one, those that the server offers"
    made.add_argument("--ice-server", action="append", default=[], metavar="URL", help=told)
    take_key(made, "the token")
    given = arguments(made, words)
    wanted = {"token": given.token or key_of(given), "ice_servers": given.ice_server}
    WhipStream(given.url, **wanted)  # a wrong address is told before a face is opened
    async with face_of(given, RATE) as face, WhipStream(given.url, fps=face.fps, **wanted) as stream:
        await push(moments(face, speak(face, given)), stream)


if __name__ == "__main__":
    main(run)
