"""A watcher over WebRTC, by WHEP: an offer in, an answer out, and no trickle of candidates.

Pictures and sound come encoded to aiortc, which packs and sends them as they are. What aiortc
has no public setting for is said at each place: its version is pinned by our tests.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction

import aioice.ice
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from personare.errors import InvalidOption
from personare.serve.live.place import CONNECT_SECONDS, Place
from personare.serve.live.reports import report_by
from personare.serve.live.tracks import Even, Pictures, Sound, Timeline, Track
from personare.serve.live.wire import Event, Kind, Media, Packet

SILENT_SECONDS = 10.0
"""Without a report of the receiver: it has gone."""
_MOST_OFFER = 64_000


def only_loopback() -> None:
    """Candidates of this machine alone: aioice leaves loopback out and would open ports on
    every other interface (there is no public setting).
    """
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # noqa: ARG005


class Peer:
    """One connection. It ends by itself if it is not connected in 10 s, or falls silent."""

    def __init__(self, place: Place, ice_servers: Sequence[str]) -> None:
        self.id = secrets.token_hex(8)
        self.place = place
        self._timeline, self._even = Timeline(Fraction(place.facts["fps"])), Even()
        self._connection = _connection(ice_servers)
        self._pictures, self._sound = Pictures(place.ask_for_key), Sound()
        self._senders: list[RTCRtpSender] = []
        self._media: Media = "h264"
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
        self._connection.on("connectionstatechange", self._changed)
        tracks = (self._pictures, self._sound)
        answer = await _answered(self._connection, offer, self.id, tracks)
        self._senders = self._connection.getSenders()
        for sender, track in zip(self._senders, tracks, strict=True):
            report_by(self._timeline, sender, track)
        # the receiver's wish for a key picture reaches aiortc's own encoders alone
        self._senders[0]._send_keyframe = self.place.ask_for_key  # type: ignore[method-assign]
        self._media = _media_of(answer)
        return answer

    # ------------------------------------------------------------- as a watcher

    def packets(self, packets: Sequence[Packet]) -> None:
        """Those of one tick: they leave together."""
        at = self._timeline.of(packets[0].index)
        due = float(at) + self._even.late(float(at), asyncio.get_running_loop().time())
        for packet in packets:
            if packet.kind == Kind.PICTURE:
                self._pictures.put(packet, at, due)
            elif packet.kind == Kind.SOUND:
                self._sound.put(packet, at, due)

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


class Trial:
    """A connection that carries nothing, to see whether one comes about. It ends with the
    caller's end, or after 10 s.
    """

    def __init__(self, ice_servers: Sequence[str]) -> None:
        self._connection = _connection(ice_servers)
        self._ended = asyncio.Event()

    async def answer(self, offer: str) -> str:
        """As a Peer's."""
        self._connection.on("connectionstatechange", self._changed)
        return await _answered(self._connection, offer, "trial", (Pictures(lambda: None), Sound()))

    def close(self) -> None:
        self._ended.set()

    async def live(self) -> None:
        """From the answer to the end; returns when the connection is closed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), CONNECT_SECONDS)
        await self._connection.close()

    def _changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self.close()


def _connection(ice_servers: Sequence[str]) -> RTCPeerConnection:
    # the default would ask a public STUN server
    servers = [RTCIceServer(urls=[url]) for url in ice_servers]
    return RTCPeerConnection(RTCConfiguration(iceServers=servers))


async def _answered(
    connection: RTCPeerConnection,
    offer: str,
    stream: str,
    tracks: Sequence[Track],
) -> str:
    """The answer to an offer, with all candidates; the connection is closed if there is none."""
    if len(offer) > _MOST_OFFER:
        await connection.close()
        raise InvalidOption("an offer of that length", hint=f"at most {_MOST_OFFER} characters")
    try:
        for track in tracks:
            # one stream, or the browser does not keep the two together; aiortc gives each
            # sender one of its own
            connection.addTrack(track)._stream_id = stream
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
    return sdp


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
