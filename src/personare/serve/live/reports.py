"""RTCP sender reports that tell when a packet is to be seen or heard.

Browsers keep sound and picture together by them: each maps a stream's RTP times to one clock.
aiortc's tell when the last packet happened to leave, of each stream by itself, so that the two
seem to move against each other with whatever delayed a packet.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from aiortc import RTCRtpSender
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

from personare.serve.live.tracks import Timeline, Track

log = logging.getLogger(__name__)

SOUND_LATER = Fraction(25, 1000)
"""Seconds by which reports say that sound is to be heard later than it belongs. Browsers leave
a difference below 30 ms as it is, mostly with the sound ahead; people notice sound that is 45
ms ahead, or 125 ms behind (ITU-R BT.1359).
"""


def report_by(timeline: Timeline, sender: RTCRtpSender, track: Track) -> None:
    """Let a sender report by a connection's clock. (aiortc has no public setting. If what is
    wrapped is not there in some version, its own reports have to do, and tests fail.)
    """
    send: Callable[[Sequence[AnyRtcpPacket]], Awaitable[None]] | None = getattr(sender, "_send_rtcp", None)
    if send is None:
        log.warning("this aiortc cannot be told what to report: sound may wander against pictures")
        return

    async def by_the_clock(packets: Sequence[AnyRtcpPacket]) -> None:
        if any(isinstance(packet, RtcpSrPacket) for packet in packets) and track.left is None:
            return  # nothing has left yet; the next report comes in a second
        await send([_told(packet, timeline, track) for packet in packets])

    sender._send_rtcp = by_the_clock  # type: ignore[method-assign]


def _told(packet: AnyRtcpPacket, timeline: Timeline, track: Track) -> AnyRtcpPacket:
    """A report has the RTP time of the packet that left last."""
    if not isinstance(packet, RtcpSrPacket) or track.left is None:
        return packet
    at = track.left + (SOUND_LATER if track.kind == "audio" else 0)
    return replace(packet, sender_info=replace(packet.sender_info, ntp_timestamp=timeline.ntp(at)))
