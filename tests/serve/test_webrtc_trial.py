"""WebRTC is tried without a session, and nothing of it is left."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiortc import RTCSessionDescription

from personare.errors import Busy, InvalidOption
from personare.serve.keys import api_key
from personare.serve.live.live import MOST_TRIALS, LiveSessions
from personare.studio.settings import Settings
from tests.serve.live_clients import calling

SDP = {"content-type": "application/sdp"}


async def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_trial_connects_and_ends_with_its_caller() -> None:
    async def work() -> tuple[bool, int]:
        sessions, caller = LiveSessions(Settings()), await calling()
        answer = await sessions.try_webrtc(caller.localDescription.sdp)
        await caller.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: caller.connectionState == "connected")
        tried = len(sessions._trials)
        await caller.close()
        await until(lambda: not sessions._trials)
        return "m=video" in answer and "opus" in answer.lower(), tried

    assert asyncio.run(work()) == (True, 1)


def test_trials_are_few_and_end_with_the_service() -> None:
    async def work() -> tuple[int, int]:
        sessions, caller = LiveSessions(Settings()), await calling()
        for _ in range(MOST_TRIALS):
            await sessions.try_webrtc(caller.localDescription.sdp)
        with pytest.raises(Busy):
            await sessions.try_webrtc(caller.localDescription.sdp)
        under_way = len(sessions._trials)
        await sessions.close()
        await caller.close()
        return under_way, len(sessions._trials)

    assert asyncio.run(work()) == (MOST_TRIALS, 0)


def test_an_offer_without_a_common_codec_takes_no_place() -> None:
    async def work() -> int:
        sessions, caller = LiveSessions(Settings()), await calling()
        offer = caller.localDescription.sdp.replace("VP8", "VP7").replace("H264", "H261")
        for _ in range(MOST_TRIALS + 1):
            with pytest.raises(InvalidOption, match="cannot be answered"):
                await sessions.try_webrtc(offer)
        await caller.close()
        return len(sessions._trials)

    assert asyncio.run(work()) == 0


def test_trials_over_http(answering) -> None:
    client = answering(ice_servers=("stun:stun.example.org",))
    near = client.get("/v1/webrtc", headers={"x-forwarded-for": "127.0.0.1"}).json()
    assert near["ice_servers"] == ["stun:stun.example.org"]
    assert client.post("/v1/webrtc", content="v=0", headers=SDP).status_code == 422
    assert client.post("/v1/webrtc", json={}).status_code == 415


def test_trials_need_a_key_where_all_do(answering) -> None:
    client = answering(keys=(api_key("anna", "a" * 16),))
    assert client.get("/v1/webrtc").status_code == 401
    assert client.post("/v1/webrtc", content="v=0", headers=SDP).status_code == 401
