"""Callers of live sessions: over plain HTTP and sockets; and what a service holds meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx2 as httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from websockets.sync.client import ClientConnection, connect

from personare.serve.live.wire import HEAD_BYTES, Kind, State
from tests.serve.conftest import Running

SMALL = {"options": {"size": 256}}


def ask(method: str, url: str, **given: object) -> httpx.Response:
    return httpx.request(method, url, timeout=120, verify=False, **given)  # no certificates to load


class Seen:
    """What came on a socket: packets as (kind, state, generation, index, payload), messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.packets: list[tuple[Kind, State, int, int, bytes]] = []
        self.messages: list[dict] = []
        self._sounds = 0

    def send(self, kind: str, **fields: object) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def next(self) -> dict | tuple[Kind, State, int, int, bytes]:
        data = self.socket.recv(timeout=60)
        if isinstance(data, str):
            self.messages.append(json.loads(data))
            return self.messages[-1]
        index = int.from_bytes(data[4:8], "little")
        packet = (Kind(data[0]), State(data[1]), data[2] | data[3] << 8, index, data[HEAD_BYTES:])
        self.packets.append(packet)
        if packet[0] in (Kind.SOUND, Kind.MP4_SOUND):
            self._sounds += 1
            self.send("shown", index=index)
        return packet

    def until(self, kind: str) -> dict:
        """The next message of a kind."""
        while True:
            item = self.next()
            if isinstance(item, dict) and item["type"] == kind:
                return item

    def pictures(self, count: int, since: int = 0) -> list[np.ndarray]:
        """So many pictures of those that came since."""
        while len([p for p in self.packets[since:] if p[0] is Kind.PICTURE]) < count:
            self.next()
        data = [p[4] for p in self.packets[since:] if p[0] is Kind.PICTURE][:count]
        return [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in data]

    def fragments(self, count: int, since: int = 0) -> None:
        """Take packets until so many of pictures in MP4 have come, of those since."""
        while len([p for p in self.packets[since:] if p[0] is Kind.MP4_VIDEO]) < count:
            self.next()

    def sounds(self, count: int) -> None:
        """Take packets until so many sounds have come."""
        have = self._sounds
        while self._sounds < have + count:
            self.next()

    def sound(self, state: State = State.SPEAKING) -> np.ndarray:
        pieces = [p[4] for p in self.packets if p[0] is Kind.SOUND and p[1] is state]
        return np.frombuffer(b"".join(pieces), "<i2")


@contextmanager
def session(running: Running, **wanted: object) -> Iterator[dict]:
    made = ask("post", f"{running.url}/v1/sessions", json={**SMALL, **wanted})
    assert made.status_code == 201, made.text
    yield made.json()
    ask("delete", f"{running.url}/v1/sessions/{made.json()['id']}")


@contextmanager
def watched(running: Running, made: dict, media: str = "mjpeg") -> Iterator[Seen]:
    url = f"{running.url.replace('http', 'ws')}{made['ws']}?token={made['token']}&media={media}"
    with connect(url, max_size=1 << 22) as socket:
        seen = Seen(socket)
        assert seen.next()["type"] == "session.ready"
        yield seen


def boxes(data: bytes) -> list[str]:
    """The boxes of a piece of MP4, by name; they fill it exactly."""
    names, at = [], 0
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    assert at == len(data)
    return names


def voice_as_pcm(samples: np.ndarray) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def in_voice(samples: np.ndarray, rate: int = 0) -> bytes:
    return bytes([Kind.VOICE, 0, 0, 0]) + rate.to_bytes(4, "little") + voice_as_pcm(samples)


def children(running: Running) -> set[int]:
    listed = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
    return {int(number) for number in listed.split()}


def open_files(running: Running) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))


def threads(running: Running) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/task").iterdir()))


def memory_mib(pid: int) -> float:
    """What one process holds, without its workers."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(kib) / 1024


def most_memory(pid: int) -> int:
    """What one process may ask for, in bytes."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    (most,) = re.findall(r"^Max data size\s+(\d+)", limits, re.MULTILINE)
    return int(most)


async def calling() -> RTCPeerConnection:
    """A caller over WebRTC, with its offer to watch."""
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in ("video", "audio"):
        caller.addTransceiver(kind, direction="recvonly")
    await caller.setLocalDescription(await caller.createOffer())
    return caller
