"""A face in a LiveKit room, against LiveKit's own agent side: what the agent says is seen and
heard, ends once, and stops when it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.avatar import AudioSegmentEnd, DataStreamAudioOutput

from personare.rooms import livekit as rooms
from personare.rooms.livekit import RATE, AvatarWorker, FaceVideo
from personare.serve.live import place
from tests.rooms.livekit_room import FakeRoom
from tests.rooms.mirrored import MirrorFace, run

pytestmark = pytest.mark.slow

TICK = RATE // 25


def voice(seconds: float, level: float) -> list[rtc.AudioFrame]:
    """In pieces of 100 ms."""
    piece = np.full(RATE // 10, round(level * 32767), np.int16).tobytes()
    return [rtc.AudioFrame(piece, RATE, 1, RATE // 10) for _ in range(round(seconds * 10))]


class Audience:
    """What a track of the avatar's brings to those who take it."""

    def __init__(self, room: FakeRoom) -> None:
        self.seen: list[int] = []
        self.heard: list[int] = []
        self._room = room
        self._tasks: list[asyncio.Task[None]] = []

    async def sit(self) -> None:
        """Wait for both tracks."""
        published = self._room.local_participant.track_publications
        while len(published) < 2:
            await asyncio.sleep(0.01)
        by_kind = {publication.kind: publication.track for publication in published.values()}
        self._streams = [
            rtc.VideoStream(by_kind[rtc.TrackKind.KIND_VIDEO], format=rtc.VideoBufferType.RGB24),
            rtc.AudioStream(by_kind[rtc.TrackKind.KIND_AUDIO], sample_rate=RATE, num_channels=1),
        ]
        for stream, take in zip(self._streams, (self._see, self._hear), strict=True):
            self._tasks.append(asyncio.create_task(self._take(stream, take)))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams:
            await stream.aclose()

    async def _take(self, stream: Any, take: Any) -> None:
        async for event in stream:
            take(event.frame)

    def _see(self, frame: rtc.VideoFrame) -> None:
        self.seen.append(frame.data[0])

    def _hear(self, frame: rtc.AudioFrame) -> None:
        self.heard.append(round(int(np.abs(np.frombuffer(frame.data, np.int16)).max()) / 32767 * 255))


@asynccontextmanager
async def call() -> AsyncIterator[tuple[DataStreamAudioOutput, FakeRoom, Audience]]:
    """An agent's output, and the avatar that it speaks through."""
    hall: dict[str, FakeRoom] = {}
    agent, avatar = FakeRoom(hall, "agent"), FakeRoom(hall, "avatar")
    async with MirrorFace(rate=RATE, tick_seconds=0.04) as face:
        output = DataStreamAudioOutput(
            agent,
            destination_identity="avatar",
            sample_rate=RATE,
            wait_remote_track=rtc.TrackKind.KIND_VIDEO,
            wait_playback_start=True,
        )
        avatar.face = face
        worker = AvatarWorker(avatar, face, agent_identity="agent")
        await worker.start()
        audience = Audience(avatar)
        await audience.sit()
        try:
            yield output, avatar, audience
        finally:
            await audience.leave()
            await worker.close()


async def say(output: DataStreamAudioOutput, seconds: float, level: float) -> None:
    for frame in voice(seconds, level):
        await output.capture_frame(frame)
    output.flush()


def test_a_segment_is_seen_and_heard_and_its_end_is_told_once() -> None:
    async def test() -> None:
        async with call() as (output, avatar, audience):
            started: list[Any] = []
            output.on("playback_started", started.append)
            for seconds, level in ((0.6, 0.4), (0.4, 0.8)):
                await say(output, seconds, level)
                ended = await output.wait_for_playout()
                assert not ended.interrupted
                assert ended.playback_position == pytest.approx(seconds)
                await asyncio.sleep(0.2)
                shown = [picture for picture in audience.seen if abs(picture - level * 255) < 6]
                assert 5 < len(shown) < seconds * 25 + 5
                assert max(audience.heard) == pytest.approx(level * 255, abs=1)
            assert len(started) == 2
            assert [method for method, _ in avatar.calls].count("lk.playback_finished") == 2

    run(test())


def test_clear_buffer_silences_at_once_and_tells_how_far_it_came() -> None:
    async def test() -> None:
        async with call() as (output, avatar, audience):
            await say(output, 10, 0.4)
            while 102 not in audience.heard:
                await asyncio.sleep(0.02)
            output.clear_buffer()
            ended = await output.wait_for_playout()
            assert ended.interrupted
            assert 0 < ended.playback_position < 10
            await asyncio.sleep(0.1)  # what the native side had taken
            del audience.heard[:], audience.seen[:]
            await say(output, 0.4, 0.8)
            ended = await output.wait_for_playout()
            assert not ended.interrupted
            assert ended.playback_position == pytest.approx(0.4)
            await asyncio.sleep(0.2)
            assert 102 not in audience.heard
            assert 102 not in audience.seen
            assert [method for method, _ in avatar.calls].count("lk.playback_finished") == 2

    run(test())


def test_a_face_that_stalls_says_it_all_afterwards_and_every_segment_ends(monkeypatch) -> None:
    monkeypatch.setattr(place, "ANSWER_SECONDS", 0.05)

    async def test() -> None:
        async with call() as (output, avatar, _), asyncio.timeout(10):
            (process,) = avatar.face.processes
            for seconds in (0.4, 0.2):
                process.stall()
                await say(output, seconds, 0.4)
                await asyncio.sleep(0.2)
                process.go_on()
                ended = await output.wait_for_playout()
                assert (ended.interrupted, ended.playback_position) == (False, pytest.approx(seconds))
            process.stall()
            await say(output, 0.4, 0.4)
            await asyncio.sleep(0.1)
            output.clear_buffer()
            await asyncio.sleep(0.1)
            process.go_on()
            assert (await output.wait_for_playout()).interrupted
            while [method for method, _ in avatar.calls].count("lk.playback_finished") < 3:
                await asyncio.sleep(0.01)

    run(test())


def test_at_rest_there_are_pictures_alone_and_segments_in_a_row_end_each() -> None:
    async def test() -> None:
        async with MirrorFace(rate=RATE) as face:
            video = FaceVideo(face)
            for level in (0.4, 0.8):
                for frame in voice(0.2, level):
                    await video.push_audio(frame)
                await video.push_audio(AudioSegmentEnd())
            await video.push_audio(AudioSegmentEnd())  # as after a clear
            kinds = ""
            async for what in video:
                kinds += {rtc.VideoFrame: "v", rtc.AudioFrame: "a", AudioSegmentEnd: "."}[type(what)]
                if kinds.count(".") == 2 and kinds.endswith("vvvv"):
                    break
            said = "va" * 5
            assert kinds.strip("v") == f"{said}.{said}v."[1:]

    run(test())


def test_a_face_that_died_leaves_the_voice_alone() -> None:
    async def test() -> None:
        async with MirrorFace(rate=RATE) as face:
            video = FaceVideo(face)
            for frame in voice(0.4, 0.4):
                await video.push_audio(frame)
            await video.push_audio(AudioSegmentEnd())
            frames = aiter(video)
            while not isinstance(await anext(frames), rtc.AudioFrame):
                pass
            for _ in range(4):
                face.processes[-1].kill()
            while not isinstance(await anext(frames), AudioSegmentEnd):
                pass
            waits = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(0.01)
            said = voice(0.2, 0.8)
            for frame in (*said, AudioSegmentEnd(), said[0]):
                await video.push_audio(frame)
            assert [await waits, await anext(frames)] == said
            assert isinstance(await anext(frames), AudioSegmentEnd)
            await video.clear_buffer()
            await video.push_audio(said[1])
            assert await anext(frames) is said[1]

    run(test())


def test_stereo_is_heard_as_mono() -> None:
    async def test() -> None:
        async with MirrorFace(rate=RATE) as face:
            both = np.tile(np.array([20000, 10000], np.int16), RATE // 10)
            video = FaceVideo(face)
            for _ in range(4):
                await video.push_audio(rtc.AudioFrame(both.tobytes(), RATE, 2, RATE // 10))
            await video.push_audio(AudioSegmentEnd())
            async for what in video:
                if isinstance(what, rtc.AudioFrame):
                    assert what.samples_per_channel == TICK
                    assert set(what.data) == {15000}
                    break

    run(test())


def test_an_agent_speaks_through_it_in_three_lines(monkeypatch) -> None:
    hall: dict[str, FakeRoom] = {}

    class AvatarSession(rooms.AvatarSession):
        """Joins the hall, drawn by mirrors."""

        async def _join(self, url: str, token: str) -> Any:
            claims = rooms.api.TokenVerifier("key", "secret" * 8).verify(token)
            assert (url, claims.identity, claims.video.room) == ("ws://here", self.avatar_identity, "hall")
            assert claims.attributes == {"lk.publish_on_behalf": "agent"}
            return FakeRoom(hall, self.avatar_identity)

    async def spoken() -> AsyncIterator[rtc.AudioFrame]:
        for frame in voice(0.6, 0.4):
            yield frame

    async def test() -> None:
        room = FakeRoom(hall, "agent")
        session = AgentSession()

        avatar = AvatarSession()
        avatar.face = MirrorFace(rate=RATE, tick_seconds=0.04)
        await avatar.start(session, room=room)
        await session.start(Agent(instructions=""), record=False)

        handle = session.say("Good morning.", audio=spoken())
        await handle
        assert not handle.interrupted
        assert [item.text_content for item in session.history.items if item.type == "message"] == [
            "Good morning."
        ]
        calls = [method for method, _ in hall[avatar.avatar_identity].calls]
        assert calls == ["lk.playback_started", "lk.playback_finished"]
        await session.aclose()
        await avatar.aclose()
        await avatar.aclose()
        assert list(hall) == ["agent"]

    monkeypatch.setenv("LIVEKIT_URL", "ws://here")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret" * 8)
    run(test())
