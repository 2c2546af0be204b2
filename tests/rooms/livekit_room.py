"""A LiveKit room without a server: participants, calls and byte streams of one process.
Sources, tracks and streams are LiveKit's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from livekit import rtc

AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
ACTIVE = rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE


class Stream:
    """One byte stream: the writer's and the reader's side."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.info = SimpleNamespace(attributes=attributes, stream_id="stream")
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self._pieces.put_nowait(data)

    async def aclose(self) -> None:
        self._pieces.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.get()
        if piece is None:
            raise StopAsyncIteration
        return piece


class Publication:
    """A track that somebody published, and everybody takes."""

    def __init__(self, track: Any) -> None:
        self.track, self.kind, self.sid = track, track.kind, f"TR_{track.name}"
        self.subscribed = True

    async def wait_for_subscription(self) -> None:
        pass


class Participant:
    """Somebody, as he and the others see him."""

    kind, state = AGENT, ACTIVE

    def __init__(self, room: FakeRoom, identity: str) -> None:
        self.identity = identity
        self.attributes: dict[str, str] = {}
        self.track_publications: dict[str, Publication] = {}
        self._room = room
        self._rpc_handlers: dict[str, Any] = {}

    def register_rpc_method(self, name: str, handler: Any) -> None:
        self._rpc_handlers[name] = handler

    async def perform_rpc(self, *, destination_identity: str, method: str, payload: str) -> str:
        await asyncio.sleep(0)
        other = self._room.hall[destination_identity].local_participant
        self._room.calls.append((method, payload))
        call = rtc.RpcInvocationData("1", self.identity, payload, 10.0)
        return other._rpc_handlers[method](call)

    async def stream_bytes(
        self, name: str, *, topic: str, destination_identities: list[str], attributes: dict[str, str]
    ) -> Stream:
        stream = Stream(attributes)
        for identity in destination_identities:
            self._room.hall[identity].streams[topic](stream, self.identity)
        return stream

    async def publish_track(self, track: Any, options: Any) -> Publication:
        publication = self.track_publications[track.name] = Publication(track)
        for identity, room in self._room.hall.items():
            if identity != self.identity:
                room.emit("track_published", publication, self)
        return publication


class FakeRoom(rtc.EventEmitter[str]):
    """One participant's view. hall: all rooms of the call, by identity."""

    name = "hall"
    face: Any = None
    """Of a test's avatar."""

    def __init__(self, hall: dict[str, FakeRoom], identity: str) -> None:
        super().__init__()
        self.hall = hall
        self.streams: dict[str, Any] = {}
        self.calls: list[tuple[str, str]] = []
        self.local_participant = Participant(self, identity)
        hall[identity] = self
        for room in self._others():
            room.emit("participant_active", self.local_participant)

    @property
    def remote_participants(self) -> dict[str, Participant]:
        return {room.local_participant.identity: room.local_participant for room in self._others()}

    def isconnected(self) -> bool:
        return True

    def register_byte_stream_handler(self, topic: str, handler: Any) -> None:
        self.streams[topic] = handler

    async def disconnect(self) -> None:
        del self.hall[self.local_participant.identity]

    def _others(self) -> list[FakeRoom]:
        return [room for room in self.hall.values() if room is not self]
