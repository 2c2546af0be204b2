"""Cameras and streams: what a face shows and says arrives, in step; a refusal is one line."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, suppress
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import numpy as np
import pytest

from personare.errors import EngineError, InvalidOption, ServiceError
from personare.media.writer import ClipWriter
from personare.rooms import camera, rtmp, spoken
from personare.rooms.signalling import IceServer, Signalling, ice_server
from tests.rooms.mirrored import SIZE, MirrorFace, run, steps

LEVEL = 102  # of 0.4


async def said(face: MirrorFace, seconds: float = 0.4) -> None:
    """A tone that is at its height in each picture's first sample."""
    at = np.arange(round(seconds * face.rate)) / face.rate
    await face.hear((0.4 * np.cos(2 * np.pi * 500 * at)).astype(np.float32))
    face.end()


class Backend:
    """A camera by the interface that pyvirtualcam asks of its backends."""

    made: ClassVar[list[Backend]] = []

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None) -> None:
        if device == "/dev/video99":
            raise RuntimeError("no such device")
        self.shape, self.fps, self.sent = (height, width), fps, []
        Backend.made.append(self)

    def close(self) -> None:
        self.closed = True

    def send(self, frame: np.ndarray) -> None:
        self.sent.append(frame.reshape(*self.shape, 3).copy())

    def device(self) -> str:
        return "fake"

    def native_fourcc(self) -> None:
        return None


def test_a_camera_shows_the_new_pictures_and_a_device_plays_all_the_sound() -> None:
    async def test() -> None:
        sent: list[np.ndarray] = []
        played: list[np.ndarray] = []
        async with MirrorFace(rate=24000, tick_seconds=0.01) as face:
            shown = spoken.moments(face, said(face))
            count = await camera.show(shown, SimpleNamespace(send=sent.append), played.append)
            assert count == len(sent)
            assert sum(abs(int(picture[0, 0, 0]) - LEVEL) < 3 for picture in sent) >= 9
            heard = np.concatenate(played)
            assert 9000 < np.count_nonzero(heard) <= 9600
            assert len(heard) % 960 == 0

    run(test())


def test_pyvirtualcam_opens_it_or_says_what_is_missing(monkeypatch) -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam")
    monkeypatch.setattr("pyvirtualcam.camera.BACKENDS", {"fake": Backend})

    async def test() -> None:
        async with MirrorFace(tick_seconds=0.01) as face:
            with camera.open_camera(face) as opened:
                assert isinstance(opened, pyvirtualcam.Camera)
                await camera.show(spoken.moments(face, said(face)), opened)
            made = Backend.made[-1]
            assert (made.shape, made.fps, made.closed) == (SIZE, 25.0, True)
            assert sum(abs(int(picture[0, 0, 0]) - LEVEL) < 3 for picture in made.sent) >= 9
            with pytest.raises(EngineError, match="no such device") as raised:
                camera.open_camera(face, "/dev/video99")
            assert "v4l2loopback" in raised.value.hint

    run(test())


def test_without_pyvirtualcam_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    face = SimpleNamespace(size=SIZE, fps=25)
    with pytest.raises(EngineError) as raised:
        camera.open_camera(face)  # type: ignore[arg-type]
    assert "personare[camera]" in raised.value.hint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Listener(threading.Thread):
    """A server that takes one RTMP stream."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.url = f"rtmp://127.0.0.1:{free_port()}/live/secret"
        self.pictures: list[tuple[float, int]] = []
        self.sound: list[np.ndarray] = []
        self.start()

    def run(self) -> None:
        options = {"listen": "1", "timeout": "20"}
        with (
            av.open(self.url, options=options) as container,
            suppress(av.FFmpegError),
        ):  # the sender's goodbye
            self.rate = container.streams.audio[0].rate
            for frame in container.decode(video=0, audio=0):
                if isinstance(frame, av.VideoFrame):
                    self.pictures.append((float(frame.time), int(frame.to_ndarray(format="rgb24")[4, 4, 0])))
                else:
                    self.sound.append(frame.to_ndarray()[0])


async def connected(listener: Listener, face: MirrorFace) -> rtmp.RtmpStream:
    """The listener may need a moment before it listens."""
    for _ in range(100):
        try:
            return await asyncio.to_thread(rtmp.RtmpStream, listener.url, face.size, face.fps)
        except ServiceError:
            await asyncio.sleep(0.05)
    raise AssertionError("nobody listens")


def test_a_server_gets_pictures_and_sound_of_one_clock_by_rtmp() -> None:
    async def test() -> None:
        listener = Listener()
        async with MirrorFace(rate=rtmp.RATE, tick_seconds=0.01) as face:
            with await connected(listener, face) as stream:
                count = await rtmp.push(spoken.moments(face, said(face)), stream)
        await asyncio.to_thread(listener.join)
        assert len(listener.pictures) == count
        bright = [time for time, level in listener.pictures if abs(level - LEVEL) < 8]
        assert len(bright) >= 9  # the first one shows the edge of the tone
        sound = np.concatenate(listener.sound)
        assert listener.rate == rtmp.RATE
        loud = np.flatnonzero(np.abs(sound) > 0.2) / rtmp.RATE
        assert loud[0] == pytest.approx(bright[0], abs=0.045)
        assert loud[-1] - loud[0] == pytest.approx(0.4, abs=0.03)

    run(test())


@pytest.mark.parametrize("url", ["http://host/app/key", "rtmp://host", "rtmp:///app", "file:///etc/passwd"])
def test_what_is_no_rtmp_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption, match="no address"):
        rtmp.RtmpStream(url, SIZE, 25)  # type: ignore[arg-type]


def test_a_server_that_is_not_there_is_named_without_the_key() -> None:
    with pytest.raises(ServiceError) as raised:
        rtmp.RtmpStream(f"rtmp://127.0.0.1:{free_port()}/live/secret", SIZE, 25)  # type: ignore[arg-type]
    assert str(raised.value).startswith("127.0.0.1 does not take the stream")
    assert "secret" not in raised.value.message + raised.value.hint


def test_a_key_comes_from_a_file_or_a_variable_and_need_not_stand_on_the_command_line(
    tmp_path, monkeypatch
) -> None:
    opened: list[str] = []

    def refuse(url: str, *_: object, **__: object) -> None:
        opened.append(url)
        raise ServiceError("nobody is there")

    monkeypatch.setattr(rtmp, "RtmpStream", refuse)
    monkeypatch.setattr(rtmp, "face_of", lambda given, rate: MirrorFace(rate=rate))
    file = tmp_path / "key"
    file.write_text("from-a-file\nwhat else is in it")

    async def test() -> None:
        for given in ([], ["--key-file", str(file)]):
            with pytest.raises(ServiceError):
                await rtmp.run(["--say", "Hello.", "--url", "rtmp://127.0.0.1/app/", *given])
        monkeypatch.delenv(spoken.KEY)
        with pytest.raises(ServiceError):
            await rtmp.run(["--say", "Hello.", "--url", "rtmp://127.0.0.1/app/key"])

    monkeypatch.setenv(spoken.KEY, "from-a-variable")
    run(test())
    assert [url.removeprefix("rtmp://127.0.0.1/app/") for url in opened] == [
        "from-a-variable",
        "from-a-file",
        "key",
    ]


def test_files_texts_and_lines_are_said_in_turn(tmp_path, monkeypatch) -> None:
    path = tmp_path / "voice.mp4"
    with ClipWriter(path, size=(16, 16), fps=Fraction(25), voice_rate=16000, voice_channels=1) as clip:
        clip.write_frames(np.zeros((10, 16, 16, 3), np.uint8))
        clip.write_voice(steps(0.4, 16000)[:, None])

    async def seconds(*words: str) -> float:
        given = spoken.arguments(spoken.parser("a test"), words)
        async with MirrorFace(rate=16000) as face:
            all_of_it = [moment async for moment in spoken.moments(face, spoken.speak(face, given))]
            return sum(int(moment.state) == 1 for moment in all_of_it) / 25

    async def test() -> None:
        assert await seconds("--speech", str(path), "--say", "ten letter") == pytest.approx(
            1.4, abs=0.1
        )  # AAC pads
        monkeypatch.setattr("sys.stdin", io.StringIO("ten letter\n\nten letter\n"))
        assert await seconds() == pytest.approx(2.0)

    run(test())


class WhipServer:
    """One endpoint in this event loop: HTTP by hand, WebRTC by aiortc."""

    def __init__(self) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.levels: list[int] = []
        self.peaks: list[int] = []
        self.requests: list[str] = []
        self.tokens: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.peer.on("track", self._track)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from aiortc import RTCSessionDescription

        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        body = (await reader.readexactly(int(fields.get("content-length", 0)))).decode()
        self.requests.append(head.split("\r\n")[0])
        self.tokens.append(fields.get("authorization", ""))
        if head.startswith("OPTIONS"):
            status, location, answer = "204 No Content", "", ""
        elif fields.get("authorization") != "bearer key":
            status, location, answer = "401 Unauthorized", "", ""
        elif head.startswith("DELETE"):
            status, location, answer = "200 OK", "", ""
        else:
            await self.peer.setRemoteDescription(RTCSessionDescription(body, "offer"))
            await self.peer.setLocalDescription(await self.peer.createAnswer())
            status, location, answer = "201 Created", "/whip/one", self.peer.localDescription.sdp
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(answer)}", "Connection: close"]
        lines += [f"Location: {location}"] if location else []
        writer.write("\r\n".join([*lines, "", answer]).encode())
        await writer.drain()
        writer.close()

    def _track(self, track: Any) -> None:
        self._tasks.append(asyncio.ensure_future(self._take(track)))

    async def _take(self, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError

        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                self.levels.append(int(frame.to_ndarray(format="rgb24")[4, 4, 0]))
            else:
                self.peaks.append(round(int(np.abs(frame.to_ndarray()).max()) / 32767 * 255))


@asynccontextmanager
async def whip_server() -> Any:
    server = WhipServer()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    try:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/whip"
    finally:
        listening.close()
        await server.peer.close()


@pytest.mark.slow
def test_a_server_gets_pictures_and_sound_by_whip(monkeypatch) -> None:
    aioice = pytest.importorskip("aioice.ice")
    from personare.rooms import whip

    monkeypatch.setattr(aioice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    async def test() -> None:
        async with whip_server() as (server, url):
            with pytest.raises(ServiceError, match="refuses: 401"):
                await whip.WhipStream(url, token="other").open()
            async with (
                MirrorFace(rate=whip.RATE, tick_seconds=0.04) as face,
                whip.WhipStream(url, token="key", fps=face.fps) as stream,
            ):
                await whip.push(spoken.moments(face, said(face, 1.6)), stream)
                await asyncio.sleep(0.5)
            assert sum(abs(level - LEVEL) < 8 for level in server.levels) > 10
            assert sum(abs(peak - LEVEL) < 30 for peak in server.peaks) > 25
            asked = ["OPTIONS /whip HTTP/1.1", "POST /whip HTTP/1.1"]
            assert server.requests == [*asked, *asked, "DELETE /whip/one HTTP/1.1"]

    run(test())


def test_what_is_no_whip_address_is_refused() -> None:
    for url in ("rtmp://host/x", "file:///etc/passwd", "https:///x", "http://host:99999/x"):
        with pytest.raises(InvalidOption, match="no address"):
            Signalling(url)
    with pytest.raises(InvalidOption, match="no STUN or TURN server"):
        ice_server("https://host")


class Scripted(threading.Thread):
    """An HTTP server that answers each request with the next of its answers, and notes what it
    was asked.
    """

    def __init__(self, *answers: str) -> None:
        super().__init__(daemon=True)
        self.heads: list[str] = []
        self._answers = answers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        with self._listening:
            for answer in self._answers:
                with self._listening.accept()[0] as there:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += there.recv(65536)
                    self.heads.append(head.decode())
                    there.sendall(answer.replace("\n", "\r\n").encode())


def test_a_redirection_is_followed_and_the_token_stays_with_the_server_that_was_named() -> None:
    done = "HTTP/1.1 201 Created\nLocation: /session\nContent-Length: 3\nConnection: close\n\nsdp"
    gone = "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"
    other = Scripted(done, gone)
    moved = "HTTP/1.1 307 Temporary Redirect\nLocation: {}\nContent-Length: 0\nConnection: close\n\n"
    named = Scripted(moved.format("/there"), moved.format(f"{other.url}/whip?room=1"))
    signalling = Signalling(f"{named.url}/whip", "key")
    assert signalling.answer("offer") == "sdp"
    signalling.end()
    signalling.end()
    named.join(10)
    other.join(10)
    assert [head.split(" HTTP")[0] for head in named.heads] == ["POST /whip", "POST /there"]
    assert [head.split(" HTTP")[0] for head in other.heads] == ["POST /whip?room=1", "DELETE /session"]
    assert all("Authorization: Bearer key" in head for head in named.heads)
    assert not any("Authorization" in head for head in other.heads)
    assert "Content-Type: application/sdp" in other.heads[0]


@pytest.mark.parametrize(
    ("status", "location", "says"),
    [
        ("302 Found", "{}/whip", "refuses: 302"),  # urllib would GET it
        ("307 Temporary Redirect", "https://127.0.0.1/whip", "not http"),
        ("308 Permanent Redirect", "file:///etc/passwd", "not http"),
        ("307 Temporary Redirect", "", "refuses: 307"),
    ],
)
def test_other_redirections_are_not_followed(status: str, location: str, says: str) -> None:
    other = socket.create_server(("127.0.0.1", 0))
    there = location.format(f"http://127.0.0.1:{other.getsockname()[1]}")
    field = f"Location: {there}\n" if there else ""
    server = Scripted(f"HTTP/1.1 {status}\n{field}Content-Length: 0\nConnection: close\n\n")
    with other, pytest.raises(ServiceError, match=says):
        Signalling(f"{server.url}/whip", "key").answer("offer")


def test_a_server_that_leads_in_circles_is_left() -> None:
    moved = "HTTP/1.1 307 Temporary Redirect\nLocation: /whip\nContent-Length: 0\nConnection: close\n\n"
    server = Scripted(*[moved] * 5)
    with pytest.raises(ServiceError, match="in circles"):
        Signalling(f"{server.url}/whip").answer("offer")


def test_ice_servers_come_from_the_links_of_the_server() -> None:
    links = (
        '<stun:stun.example.net>; rel="ice-server", <https://example.org>; rel="help"',
        '<turn:turn.example.net:3478?transport=udp>; rel="ice-server"; username="a, b"; '
        'credential="p;q"; credential-type="password"',
        '<turn:turn.example.net>; rel=ice-server; credential="x"; credential-type="oauth"',
        '<file:///etc/passwd>; rel="ice-server"',
        "no link at all <",
    )
    head = "".join(f"Link: {link}\n" for link in links)
    server = Scripted(f"HTTP/1.1 204 No Content\n{head}Connection: close\n\n", "nonsense\n\n")
    signalling = Signalling(f"{server.url}/whip", "key")
    assert signalling.ice_servers() == [
        IceServer("stun:stun.example.net"),
        IceServer("turn:turn.example.net:3478?transport=udp", "a, b", "p;q"),
    ]
    assert server.heads[0].startswith("OPTIONS /whip ")
    assert signalling.ice_servers() == []


def test_what_could_not_be_said_is_told_at_the_end(caplog) -> None:
    async def test() -> None:
        given = spoken.arguments(spoken.parser("a test"), ["--say", "Hello."])
        async with MirrorFace(tick_seconds=0.001) as face:
            face.processes[0].has_voice = False
            with pytest.raises(EngineError, match="not all was said"):
                async for _ in spoken.moments(face, spoken.speak(face, given)):
                    pass
        assert caplog.messages == ["there is no voice. install one"]

    run(test())


@pytest.mark.slow
@pytest.mark.parametrize(("room", "package"), [("whip", "aiortc"), ("livekit", "livekit")])
def test_a_room_without_its_package_says_how_to_get_it(room: str, package: str) -> None:
    hidden = f"import runpy, sys; sys.modules[{package!r}] = None; "
    command = [
        sys.executable,
        "-c",
        f"{hidden}runpy.run_module('personare.rooms.{room}', run_name='__main__')",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert re.fullmatch(r"error: \S+ is not installed\nhint: pip install 'personare\[\w+\]'\n", ended.stderr)
