"""A watcher over WebRTC, by WHEP: an offer in, an answer out, and no trickle of candidates.

Pictures come encoded from the worker; aiortc packs and sends them as they are. What aiortc has
no public setting for is said at each place: its version is pinned by our tests.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import aioice.ice
import av.packet
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame

from personare.errors import InvalidOption
from personare.serve.live.encoders import VIDEO_CLOCK
from personare.serve.live.place import CONNECT_SECONDS, Place
from personare.serve.live.wire import Event, Kind, Media, Packet
from personare.types import SAMPLE_RATE

SILENT_SECONDS = 10.0
"""Without a report of the receiver: it has gone."""
_PIECE = SAMPLE_RATE // 50
_SOUND_PIECES = 50
_PICTURES = 25
_JUMP_SECONDS = 0.5
_MOST_OFFER = 64_000
_LESS_LATE_SECONDS = 0.0005
_MOST_HELD_SECONDS = 0.04


def only_loopback() -> None:
    """Candidates of this machine alone: aioice leaves loopback out and would open ports on
    every other interface (there is no public setting).
    """
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # noqa: ARG005


class Pictures(MediaStreamTrack):
    """Encoded pictures, as they are."""

    kind = "video"

    def __init__(self, ask_for_key: Callable[[], None]) -> None:
        super().__init__()
        self._ask_for_key = ask_for_key
        self._queued: deque[tuple[bytes, int, int]] = deque()
        self._filled = asyncio.Event()
        self._waits_for_key = True

    def put(self, packet: Packet, pts: int) -> None:
        """A picture. One that builds on a picture that was left out is left out, too."""
        if packet.key:
            self._waits_for_key = False
        elif len(self._queued) >= _PICTURES and not self._waits_for_key:
            self._queued.clear()
            self._waits_for_key = True
            self._ask_for_key()
        if not self._waits_for_key:
            self._queued.append((packet.payload, pts, packet.generation))
            self._filled.set()

    def void(self, generation: int) -> None:
        """Older pictures are dropped; each generation begins with a key picture."""
        self._queued = deque(item for item in self._queued if item[2] >= generation)

    async def recv(self) -> av.packet.Packet[Any]:
        while not self._queued:
            self._filled.clear()
            await self._filled.wait()
        data, pts, _ = self._queued.popleft()
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, VIDEO_CLOCK
        return packet


class Even:
    """What comes at uneven times -> times to leave at, as even as its own and hardly later."""

    def __init__(self) -> None:
        self._late = -math.inf

    def late(self, position: float, now: float) -> float:
        """Seconds that what belongs at `position`, and came now, leaves after its time: as the
        latest of the last ones did, less and less, and never more than 40 ms from now.
        """
        late = now - position
        self._late = max(late, min(self._late - _LESS_LATE_SECONDS, late + _MOST_HELD_SECONDS))
        return self._late


@dataclass(frozen=True, slots=True)
class _Piece:
    """20 ms of sound. due: when it leaves, on the loop's clock."""

    samples: np.ndarray[tuple[int], np.dtype[np.int16]]
    position: int
    generation: int
    due: float


class Sound(MediaStreamTrack):
    """The sound of each picture, in pieces of 20 ms, each at its time: if two leave at once
    every 40 ms, some late because their picture took longer, the browser takes the network for
    an uneven one, keeps 100 ms in hand and lets the pictures wait as long.

    The times are the pictures' own, and as much later as the latest of the last ones came. (A
    timer of its own would begin late and never catch up.)
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queued: deque[_Piece] = deque()
        self._filled = asyncio.Event()
        self._rest = np.zeros(0, np.int16)
        self._even = Even()

    def put(self, packet: Packet, position: int) -> None:
        """position: of the first sample, on the track's clock."""
        before, now = len(self._rest), asyncio.get_running_loop().time()
        late = self._even.late(position / SAMPLE_RATE, now)
        samples = np.concatenate([self._rest, np.frombuffer(packet.payload, "<i2")])
        whole = len(samples) // _PIECE * _PIECE
        self._rest = samples[whole:]
        for start in range(0, whole, _PIECE):
            piece, at = samples[start : start + _PIECE], position + start - before
            self._queued.append(_Piece(piece, at, packet.generation, at / SAMPLE_RATE + late))
        while len(self._queued) > _SOUND_PIECES:
            self._queued.popleft()
        self._filled.set()

    def void(self, generation: int) -> None:
        """Older sound is dropped."""
        self._queued = deque(piece for piece in self._queued if piece.generation >= generation)
        self._rest = self._rest[:0]

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        while not self._queued or self._queued[0].due > loop.time():
            if self._queued:
                await asyncio.sleep(self._queued[0].due - loop.time())
            else:
                self._filled.clear()
                await self._filled.wait()
        piece = self._queued.popleft()
        frame = AudioFrame.from_ndarray(piece.samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, piece.position, Fraction(1, SAMPLE_RATE)
        return frame


class Peer:
    """One connection. It ends by itself if it is not connected in 10 s, or falls silent."""

    def __init__(self, place: Place, ice_servers: Sequence[str]) -> None:
        self.id = secrets.token_hex(8)
        self.place = place
        self._fps = Fraction(place.facts["fps"])
        # the default would ask a public STUN server
        servers = [RTCIceServer(urls=[url]) for url in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._pictures, self._sound = Pictures(place.ask_for_key), Sound()
        self._senders: list[RTCRtpSender] = []
        self._media: Media = "h264"
        self._origin: float | None = None
        self._stood = Fraction(0)
        self._stood_at = datetime.now(UTC)  # when time last stood still for the session
        self._decided = asyncio.Event()  # it is connected, or never will be
        self._ended = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def is_connected(self) -> bool:
        return self._decided.is_set() and not self._ended.is_set()

    async def answer(self, offer: str) -> str:
        """The answer to an offer, with all candidates. Raises InvalidOption for an offer that
        takes no picture and sound of ours.
        """
        if len(offer) > _MOST_OFFER:
            raise InvalidOption("an offer of that length", hint=f"at most {_MOST_OFFER} characters")
        connection = self._connection
        connection.on("connectionstatechange", self._changed)
        try:
            for track in (self._pictures, self._sound):
                sender = connection.addTrack(track)
                # one stream, or the browser does not keep the two together; aiortc gives each
                # sender one of its own
                sender._stream_id = self.id
                self._senders.append(sender)
            # the receiver's wish for a key picture reaches aiortc's own encoders alone
            self._senders[0]._send_keyframe = self.place.ask_for_key  # type: ignore[method-assign]
            for transceiver in connection.getTransceivers():
                if transceiver.kind == "video":
                    transceiver.setCodecPreferences(_preferred())
            # after the preferences: it is what chooses the codecs
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # aiortc's parsers raise whatever they meet
            await connection.close()
            raise InvalidOption(
                f"the offer cannot be answered: {type(error).__name__}",
                hint="recvonly video (H.264 or VP8) and audio (Opus)",
            ) from None
        sdp: str = connection.localDescription.sdp
        self._media = _media_of(sdp)
        return sdp

    # ------------------------------------------------------------- as a watcher

    def packets(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            at = self._time_of(packet.index)
            if packet.kind == Kind.PICTURE:
                self._pictures.put(packet, round(at * 90000))
            elif packet.kind == Kind.SOUND:
                self._sound.put(packet, round(at * SAMPLE_RATE))

    def event(self, event: Event) -> None:
        """Messages go by the WebSocket."""

    def void(self, generation: int) -> None:
        self._pictures.void(generation)
        self._sound.void(generation)

    def close(self, code: int = 1000) -> None:  # noqa: ARG002
        self._ended.set()
        self._decided.set()

    # ------------------------------------------------------------- its life

    async def live(self) -> None:
        """From the answer to the end; returns when the connection is closed."""
        place = self.place
        try:
            await asyncio.wait_for(self._decided.wait(), CONNECT_SECONDS)
            if not self._ended.is_set():
                # only now: sound that waited for the connection would stay late for ever
                place.attach(self, self._media)
            while not self._ended.is_set() and not await self._is_silent():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), 2.0)
        except (TimeoutError, MediaStreamError):
            pass
        finally:
            place.detach(self)
            self._ended.set()
            await self._connection.close()

    async def _is_silent(self) -> bool:
        if self.place.stands:  # nothing leaves, so nothing is reported; ICE sees who has gone
            self._stood_at = datetime.now(UTC)
            return False
        reports = await self._senders[0].getStats()
        seen = [report.timestamp for report in reports.values() if report.type == "remote-inbound-rtp"]
        if not seen:
            return False
        return bool((datetime.now(UTC) - max(*seen, self._stood_at)).total_seconds() > SILENT_SECONDS)

    def _changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._decided.set()
        elif state in ("failed", "closed"):
            self.close()

    def _time_of(self, index: int) -> Fraction:
        """Seconds of a tick on the connection's clock: the session's, but where time stood
        still for the session, this one goes on, as the receiver's does.
        """
        at, now = index / self._fps, asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = now - float(at)
        behind = now - self._origin - float(at + self._stood)
        if behind > _JUMP_SECONDS:
            self._stood += round(behind * self._fps) / self._fps
        return at + self._stood


def _preferred() -> list[RTCRtpCodecCapability]:
    """H.264 as every browser has it, then VP8."""
    known = RTCRtpSender.getCapabilities("video").codecs
    h264 = [
        codec
        for codec in known
        if codec.mimeType == "video/H264"
        and codec.parameters.get("packetization-mode") == "1"
        and str(codec.parameters.get("profile-level-id")).startswith("42e0")
    ]
    return [*h264, *(codec for codec in known if codec.mimeType == "video/VP8")]


def _media_of(sdp: str) -> Media:
    """The codec that an answer begins its video with."""
    section = sdp.partition("m=video")[2].partition("m=")[0]
    first = re.match(r" \d+ \S+ (\d+)", section)
    name = re.search(rf"a=rtpmap:{first[1]} (\w+)/", section) if first else None
    return "vp8" if name is not None and name[1].upper() == "VP8" else "h264"
