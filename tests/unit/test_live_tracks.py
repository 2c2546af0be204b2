"""What a WebRTC connection sends: when it leaves, and what time it says that it belongs to."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from personare.serve.live.reports import report_by
from personare.serve.live.tracks import Even, Sound, Timeline
from personare.serve.live.whep import Peer
from personare.serve.live.wire import Kind, Packet, State
from tests.unit.test_live_place import Stage

NTP_SECOND = 2**32
MILLISECOND = 16  # samples


def test_what_is_drawn_at_uneven_times_leaves_as_evenly_as_its_clock() -> None:
    even, position, left = Even(), 0.0, []
    for late in [0.0, 0.022] * 50 + [0.045] + [0.022] * 10 + [0.4, 0.3, 0.2] + [0.022] * 100:
        came = 1000 + position + late
        left.append((position + even.late(position, came), came, late))
        position += 0.04
    assert all(-1e-6 < leaves - came < 0.0401 for leaves, came, _ in left)
    spaces = np.diff([leaves for leaves, *_ in left])
    assert spaces[2:99] == pytest.approx(0.04, abs=0.001)  # a stretch of drawn and undrawn pictures
    assert left[-1][0] - left[-1][1] < 0.001  # a stall is not remembered for long


@pytest.mark.parametrize("fps", [25, 30])
def test_sound_is_heard_at_the_time_that_its_packets_say(fps: int) -> None:
    """Opus holds some back: what is decoded at a packet's pts is what belongs there."""
    rng, decoder = np.random.default_rng(0), av.CodecContext.create("libopus", "r")
    given = np.convolve(rng.normal(0, 4000, 16000), np.ones(8) / 4, "same").astype(np.int16)

    async def sent() -> list:
        sound, began = Sound(), Fraction(7, fps)
        for index in range(fps):
            ends = [round(edge * 16000 / fps) for edge in (index, index + 1)]
            payload = given[slice(*ends)].astype("<i2").tobytes()
            sound.put(
                Packet(Kind.SOUND, State.SPEAKING, 0, index, payload), began + Fraction(index, fps), 0.0
            )
        return [await sound.recv() for _ in range(40)]

    packets, began = asyncio.run(sent()), 7 * 16000 / fps
    decoder.sample_rate, decoder.layout = 48000, "mono"
    heard = np.concatenate(
        [
            frame.to_ndarray()[0][:960]
            for packet in packets
            for frame in decoder.decode(av.Packet(bytes(packet)))
        ]
    )[::3]
    assert {packet.pts - packets[0].pts - 320 * index for index, packet in enumerate(packets)} <= {-1, 0, 1}
    first = round(packets[0].pts * packets[0].time_base * 16000 - began)  # where it says that it is
    middle = heard[3200:9600].astype(float)
    fits = [middle @ given[3200 + first + shift :][:6400] for shift in range(-80, 81)]
    assert abs(int(np.argmax(fits)) - 80) < MILLISECOND


def test_a_picture_leaves_with_its_sound() -> None:
    async def work() -> list[tuple[float, float, Fraction, Fraction]]:
        peer, found = Peer(Stage().place, ()), []
        for index in range(4):
            head = (State.SPEAKING, 0, index)
            await asyncio.sleep(0.02 * (index % 2))
            peer.packets([Packet(Kind.PICTURE, *head, b"p"), Packet(Kind.SOUND, *head, bytes(1280))])
            picture, sound = peer._pictures._queued[-1], peer._sound._queued[-2]
            times = (one.packet.pts * one.packet.time_base for one in (picture, sound))
            found.append((picture.due, sound.due, *times))
        await peer._connection.close()
        return found

    for picture_due, sound_due, picture_at, sound_at in asyncio.run(work()):
        assert picture_due == sound_due
        assert picture_at - sound_at == Fraction(104, 16000)  # Opus' head start


def test_what_is_leaving_is_not_reported_yet() -> None:
    async def work() -> list[Fraction | None]:
        sound, left = Sound(), []
        sound.put(Packet(Kind.SOUND, State.IDLE, 0, 0, bytes(1280)), Fraction(3), 0.0)
        for _ in range(2):
            await sound.recv()
            left.append(sound.left)
        waits = asyncio.create_task(sound.recv())
        await asyncio.sleep(0)
        left.append(sound.left)
        waits.cancel()
        return left

    assert asyncio.run(work()) == [None, None, 3 + Fraction(320 - 104, 16000)]


def test_a_connection_s_clock_goes_on_where_a_session_stood_still() -> None:
    """And it never goes back; a report is on one line with all others."""

    async def work() -> tuple[list[Fraction], list[int]]:
        timeline, late = Timeline(Fraction(25)), np.random.default_rng(3)
        times = []
        for index in range(200):
            stood = 3.0 if index >= 100 else 0.0
            now = 50 + index / 25 + stood + late.uniform(0, 0.4)
            timeline._loop = SimpleNamespace(time=lambda now=now: now)
            times.append(timeline.of(1000 + index))
        return times, [timeline.ntp(at) for at in times]

    times, reports = asyncio.run(work())
    steps = np.diff([float(at) for at in times])
    assert steps.min() == pytest.approx(0.04)
    assert sorted(steps)[-2] == pytest.approx(0.04)
    assert 2.5 < steps.max() < 3.5
    first = reports[0]
    for at, report in zip(times, reports, strict=True):
        assert abs((report - first) - (at - times[0]) * NTP_SECOND) <= 1


def test_an_aiortc_that_cannot_be_told_what_to_report_still_sends(caplog) -> None:
    async def work() -> None:
        report_by(Timeline(Fraction(25)), SimpleNamespace(), Sound())

    asyncio.run(work())
    assert "aiortc" in caplog.text
