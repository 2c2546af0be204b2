"""A face for a LiveKit agent: a second participant that is seen and heard in its stead.

    from personare.rooms.livekit import AvatarSession

    avatar = AvatarSession("anna")
    await avatar.start(session, room=ctx.room)  # before session.start(...)

The agent's voice comes by LiveKit's own protocol for avatars (`DataStreamAudioOutput` to
`DataStreamAudioReceiver`), pictures and sound leave through its `AvatarRunner`. The agent can
interrupt (`lk.clear_buffer`), and is told what was heard (`lk.playback_finished`).

`AvatarWorker` is the avatar's side alone, for a process or a machine of its own:
`python -m personare.rooms.livekit`, with LIVEKIT_URL and LIVEKIT_TOKEN, joins one room.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from personare.errors import InvalidOption, PersonareError, ServiceError
from personare.rooms.face import Ended, Face
from personare.rooms.spoken import lacks, main
from personare.serve.live.wire import State
from personare.studio.settings import Settings

try:
    from livekit import api, rtc
    from livekit.agents import AgentSession, get_job_context
    from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
    from livekit.agents.voice import avatar as agents_avatar
except ModuleNotFoundError:
    lacks("livekit-agents", "livekit", __name__)

log = logging.getLogger(__name__)

RATE = 24000
"""Hz of the sound that the room hears."""
PREFILL_SECONDS = 0.06
"""Silence before an utterance, so that a late tick leaves no gap in its sound. The runner holds
pictures back by about as much.
"""
_WAIT_SECONDS = 0.1
_PLAYOUT_TICKS = 2
"""An end is told so much later: what was pushed last has been heard then."""


class FaceVideo(agents_avatar.VideoGenerator):
    """A face as LiveKit's runner wants it: voice in, frames out.

    At rest it gives pictures alone, so that the runner's playback position counts nothing but
    speech. If the face dies, the voice goes on without it.
    """

    def __init__(self, face: Face) -> None:
        self.synchroniser: rtc.AVSynchronizer | None = None
        """The runner's; what it holds is void after an interruption."""
        self._face = face
        self._clears = 0
        self._speaks = False
        self._ends_in = 0
        self._alone: asyncio.Queue[Any] | None = None  # what the agent says after the face has died

    async def push_audio(self, frame: rtc.AudioFrame | agents_avatar.AudioSegmentEnd) -> None:
        """The agent's voice, a segment being an utterance."""
        if self._alone is not None:
            self._alone.put_nowait(frame)
            return
        if isinstance(frame, agents_avatar.AudioSegmentEnd):
            self._face.end()
            return
        samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
        mono = samples[:, 0] if frame.num_channels == 1 else np.rint(samples.mean(axis=1)).astype(np.int16)
        await self._face.hear(mono, frame.sample_rate)

    async def clear_buffer(self) -> None:
        """Silent at once; nothing of what was said before comes once this has returned."""
        self._clears += 1
        try:
            if self._alone is None:
                with suppress(PersonareError):  # it has just ended: its voice goes on, from here
                    await self._face.interrupt()
            else:
                self._alone = asyncio.Queue()
            self._speaks, self._ends_in = False, 0
            if self.synchroniser is not None:
                await self.synchroniser.clear_queue()
        finally:
            self._clears -= 1

    async def __aiter__(
        self,
    ) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | agents_avatar.AudioSegmentEnd]:
        try:
            async for frame in self._faced():
                yield frame
        except PersonareError as error:
            log.error("the face is lost, its voice goes on: %s", error.message)
            self._alone = asyncio.Queue()
            if self._ends_in:
                yield agents_avatar.AudioSegmentEnd()
            while True:
                with suppress(TimeoutError):
                    # not for ever on one queue: an interruption puts another in its place
                    yield await asyncio.wait_for(self._alone.get(), _WAIT_SECONDS)

    async def _faced(
        self,
    ) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | agents_avatar.AudioSegmentEnd]:
        async for what in self._face:
            if isinstance(what, Ended):
                if not self._clears:
                    self._speaks, self._ends_in = False, _PLAYOUT_TICKS
                continue
            if self._ends_in:
                self._ends_in = 0 if what.state == State.SPEAKING else self._ends_in - 1
                if not self._ends_in:
                    yield agents_avatar.AudioSegmentEnd()
            height, width = what.picture.shape[:2]
            yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, what.picture.tobytes())
            if self._clears or what.state == State.IDLE:
                continue
            if not self._speaks:
                self._speaks = True
                await self._fill(np.zeros(round(PREFILL_SECONDS * self._face.rate), np.int16))
            if what.state == State.SPEAKING:
                yield self._sound(what.sound)
            else:  # not the agent's: its position does not count it
                await self._fill(what.sound)
        if self._ends_in:
            yield agents_avatar.AudioSegmentEnd()

    def _sound(self, sound: np.ndarray[Any, np.dtype[np.int16]]) -> rtc.AudioFrame:
        return rtc.AudioFrame(sound.tobytes(), self._face.rate, 1, len(sound))

    async def _fill(self, silence: np.ndarray[Any, np.dtype[np.int16]]) -> None:
        if self.synchroniser is not None:
            await self.synchroniser.push(self._sound(silence))


class AvatarWorker:
    """The avatar's side of a room: hears the agent, publishes picture and sound."""

    def __init__(self, room: rtc.Room, face: Face, *, agent_identity: str | None = None) -> None:
        """room: connected as the avatar's own participant.
        face: open, at RATE.
        agent_identity: who speaks; None: the first agent in the room.
        """
        self._face, self._video = face, FaceVideo(face)
        height, width = face.size
        self._receiver = agents_avatar.DataStreamAudioReceiver(room, sender_identity=agent_identity)
        self.runner = agents_avatar.AvatarRunner(
            room,
            audio_recv=self._receiver,
            video_gen=self._video,
            options=agents_avatar.AvatarOptions(
                video_width=width,
                video_height=height,
                video_fps=float(face.fps),
                audio_sample_rate=face.rate,
                audio_channels=1,
            ),
        )
        self._video.synchroniser = self.runner.av_sync

    async def start(self) -> None:
        """Begin; returns when the agent is there."""
        await self.runner.start()

    async def wait(self) -> None:
        """Until the face can not go on, or the worker is closed. Raises what ended it."""
        await self.runner.wait_for_complete()

    async def close(self) -> None:
        """Leave; the room itself and the face are their owners' to close."""
        await self.runner.aclose()


class AvatarSession(agents_avatar.AvatarSession[str]):
    """A face beside an agent, as LiveKit's plugins for hosted avatars have it; drawn in a
    process of its own on the agent's machine.
    """

    def __init__(
        self,
        avatar: str = "",
        *,
        portrait: str | Path | None = None,
        engine: str = "",
        options: Mapping[str, Any] = MappingProxyType({}),
        badge: bool = True,
        settings: Settings | None = None,
        identity: str = "personare-avatar",
        name: str = "personare",
    ) -> None:
        """As `Face`. identity, name: of the avatar's participant."""
        super().__init__()
        self.face = Face(
            avatar,
            portrait=portrait,
            engine=engine,
            options=options,
            rate=RATE,
            badge=badge,
            settings=settings,
        )
        self._identity, self._name = identity, name
        self._avatar_room: rtc.Room | None = None
        self._worker: AvatarWorker | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def avatar_identity(self) -> str:
        return self._identity

    @property
    def provider(self) -> str:
        return "personare"

    async def start(
        self,
        agent_session: AgentSession[Any],
        room: rtc.Room,
        *,
        livekit_url: str | None = None,
        livekit_api_key: str | None = None,
        livekit_api_secret: str | None = None,
    ) -> None:
        """Open the face, join the room, and lead the agent's voice there. Before
        `agent_session.start`. What is not given comes from LIVEKIT_URL, LIVEKIT_API_KEY and
        LIVEKIT_API_SECRET. Raises what opening the face raises.
        """
        await super().start(agent_session, room)
        job = get_job_context(required=False)
        agent = job.local_participant_identity if job is not None else room.local_participant.identity
        url = livekit_url or os.getenv("LIVEKIT_URL")
        if not url:
            raise InvalidOption("no LiveKit server is named", hint="LIVEKIT_URL=wss://..., or livekit_url=")
        token = self._token(room.name, agent, livekit_api_key, livekit_api_secret)
        await self.face.open()
        try:
            self._avatar_room = await self._join(url, token)
        except BaseException:
            await self.face.close()
            raise
        self._worker = AvatarWorker(self._avatar_room, self.face, agent_identity=agent)
        agent_session.output.replace_audio_tail(
            agents_avatar.DataStreamAudioOutput(
                room,
                destination_identity=self._identity,
                sample_rate=RATE,
                wait_remote_track=rtc.TrackKind.KIND_VIDEO,
                wait_playback_start=True,
            )
        )
        # it waits for the agent, who may connect only in agent_session.start
        self._starting = asyncio.create_task(self._worker.start())

    async def aclose(self) -> None:
        """Leave the room, end the face."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            if self._worker is not None and not self._starting.cancelled():
                await self._worker.close()
            self._starting = None
        if self._avatar_room is not None:
            await self._avatar_room.disconnect()
            self._avatar_room = None
        await self.face.close()
        await super().aclose()

    async def _join(self, url: str, token: str) -> rtc.Room:
        room = rtc.Room()
        await room.connect(url, token)
        return room

    def _token(self, room: str, agent: str, key: str | None, secret: str | None) -> str:
        """A token for the avatar's participant, who publishes on behalf of the agent."""
        token = api.AccessToken(key, secret)
        token = token.with_kind("agent").with_identity(self._identity).with_name(self._name)
        token = token.with_grants(api.VideoGrants(room_join=True, room=room))
        return token.with_attributes({ATTRIBUTE_PUBLISH_ON_BEHALF: agent}).to_jwt()


async def run() -> None:
    """The command: one face in one room, until either ends."""
    url, token = os.getenv("LIVEKIT_URL"), os.getenv("LIVEKIT_TOKEN")
    if not url or not token:
        raise InvalidOption("no room is named", hint="set LIVEKIT_URL and LIVEKIT_TOKEN")
    async with Face(os.getenv("PERSONARE_AVATAR", ""), rate=RATE) as face:
        room, left = rtc.Room(), asyncio.Event()
        room.on("disconnected", lambda *_: left.set())
        try:
            await room.connect(url, token)
        except rtc.ConnectError as error:
            hint = "is LIVEKIT_URL the server's, and the token's time not over?"
            raise ServiceError(f"the room cannot be joined: {error}", hint) from None
        agent = room.local_participant.attributes.get(ATTRIBUTE_PUBLISH_ON_BEHALF)
        worker = AvatarWorker(room, face, agent_identity=agent)
        try:
            await worker.start()
            ends = [asyncio.ensure_future(end) for end in (worker.wait(), left.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await worker.close()
            await room.disconnect()


if __name__ == "__main__":
    main(run)
