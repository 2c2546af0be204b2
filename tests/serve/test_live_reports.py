"""What browsers keep sound and picture together by, read as they read it: RTCP sender reports."""

from __future__ import annotations

import asyncio
import random
from fractions import Fraction

import numpy as np
import pytest
from aiortc import RTCSessionDescription
from aiortc.rtp import RtcpSrPacket

from personare.serve.live.encoders import VideoEncoder
from personare.serve.live.session import Tick
from personare.serve.live.wire import State
from tests.serve.live_clients import calling
from tests.unit.live_performances import TICK
from tests.unit.test_live_place import Stage

RATES = {"video": 90000, "audio": 48000}
SECONDS = 6.0
SLIP_TICK, SLIP_SECONDS = 75, 0.8
MOST_LATE_SECONDS = 0.06


@pytest.mark.slow
def test_sender_reports_of_sound_and_picture_agree_however_late_they_leave(monkeypatch) -> None:
    """To less than a millisecond, but for what sound is meant to come later: NTP time minus
    time on the connection's clock, where every tick is late by some tens of milliseconds, and
    the session stands still for a while.
    """
    from personare.serve.live import whep

    monkeypatch.setattr(whep.aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    offsets = asyncio.run(reported(whep))
    assert min(len(some) for some in offsets.values()) >= 3
    every = [*offsets["video"], *(value - 0.025 for value in offsets["audio"])]
    assert max(every) - min(every) < 0.001


class Receiver:
    """What reaches one receiver of a caller, and which of our packets it is."""

    def __init__(self, transceiver, track) -> None:
        self.kind, receiver = transceiver.kind, transceiver.receiver
        self.sent: list[tuple[bytes, Fraction]] = []
        self.reports: list[tuple[int, int]] = []
        self.origin: int | None = None
        self._recv = track.recv
        self._take, self._hear = receiver._handle_rtp_packet, receiver._handle_rtcp_packet
        receiver._handle_rtp_packet, receiver._handle_rtcp_packet = self._packet, self._report
        track.recv = self._leaves

    async def _leaves(self):
        packet = await self._recv()
        self.sent.append((bytes(packet), packet.pts * packet.time_base))
        return packet

    async def _packet(self, packet, arrival_time_ms):
        """The last part of what the track gave is its end, after a head of two bytes at most."""
        for data, at in self.sent:
            if len(packet.payload) > 20 and data.endswith(packet.payload[2:]):
                self.origin = packet.timestamp - round(at * RATES[self.kind])
        return await self._take(packet, arrival_time_ms)

    async def _report(self, packet):
        if isinstance(packet, RtcpSrPacket):
            self.reports.append((packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp))
        return await self._hear(packet)

    def offsets(self) -> list[float]:
        """Seconds of NTP minus those of the connection's clock, of each report."""
        assert self.origin is not None
        rate = RATES[self.kind]
        return [ntp / 2**32 - (rtp - self.origin) % 2**32 / rate for ntp, rtp in self.reports if ntp]


async def reported(whep) -> dict[str, list[float]]:
    stage, caller = Stage(), await calling()
    peer = whep.Peer(stage.place, ())
    answer = await peer.answer(caller.localDescription.sdp)
    tracks = {"video": peer._pictures, "audio": peer._sound}
    receivers = [Receiver(one, tracks[one.kind]) for one in caller.getTransceivers()]
    living = asyncio.create_task(peer.live())
    await caller.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while not stage.place._watching:
        await asyncio.sleep(0.01)
    encoder, loop = VideoEncoder(peer._media, (64, 64), Fraction(25)), asyncio.get_running_loop()
    began, late, noise = loop.time(), random.Random(1), np.random.default_rng(1)
    for index in range(round(SECONDS * 25)):
        stood = SLIP_SECONDS if index >= SLIP_TICK else 0.0
        due = began + index / 25 + stood + late.uniform(0, MOST_LATE_SECONDS)
        await asyncio.sleep(max(0.0, due - loop.time()))
        image = noise.integers(0, 255, (64, 64, 3), np.uint8)
        sound = noise.integers(-8000, 8000, TICK).astype(np.int16)
        stage.workers[0].hear("packets", encoder.encode(Tick(index, 0, State.SPEAKING, image, sound)))
    offsets = {one.kind: one.offsets() for one in receivers}
    peer.close()
    await caller.close()
    await asyncio.wait([living])
    return offsets
