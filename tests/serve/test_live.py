"""Live sessions over real sockets, drawn by real workers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from io import BytesIO
from socket import SHUT_RDWR
from types import SimpleNamespace

import av
import httpx2 as httpx
import numpy as np
import pytest
from starlette.requests import Request
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from personare.ground.machine import main_memory
from personare.serve.keys import api_key
from personare.serve.live.wire import Kind, State
from personare.serve.routes.sessions import transport_for
from tests.serve.conftest import Running, needs_children, until
from tests.serve.live_clients import (
    SMALL,
    ask,
    boxes,
    children,
    in_voice,
    most_memory,
    open_files,
    session,
    threads,
    watched,
)
from tests.unit.test_live_place import Willing

pytestmark = pytest.mark.slow
TEXT = "My mother bought five purple shoes."


@pytest.fixture(scope="module")
def kept(running) -> Iterator[list[dict]]:
    """The session that tests share; another one where it was not watched for too long."""
    kept: list[dict] = []
    yield kept
    for made in kept:
        ask("delete", f"{running.url}/v1/sessions/{made['id']}")


@pytest.fixture
def made(running, kept) -> dict:
    if not kept or ask("get", f"{running.url}/v1/sessions/{kept[-1]['id']}").status_code == 404:
        kept.append(ask("post", f"{running.url}/v1/sessions", json=SMALL).json())
    return kept[-1]


def test_a_text_is_said_with_its_own_sound_once(running, made, voice_samples) -> None:
    assert made["transport"] == "websocket"
    with watched(running, made) as seen:
        assert seen.messages[0]["size"] == [256, 256]
        assert seen.messages[0]["badge"]
        seen.send("curves", on=True)
        seen.pictures(2)
        seen.send("say", text=TEXT, voice="en-us")
        started, finished = seen.until("utterance.started"), seen.until("utterance.finished")
        assert started["id"] == finished["id"]
        assert not finished["interrupted"]
        heard = seen.sound()
        told = (finished["position_samples"] - started["position_samples"]) / 640
        assert len(heard) == told * 640
        assert np.abs(heard[: len(voice_samples)] / 32767 - voice_samples).max() < 1e-3
        curves = [message for message in seen.messages if message["type"] == "curves"]
        jaw = made["columns"].index("jawOpen")
        assert max(message["values"][jaw] for message in curves) > 0.1
        shown = [p[3] for p in seen.packets if p[0] is Kind.PICTURE and p[1] is State.SPEAKING]
        assert set(shown) <= {message["index"] for message in curves}
        assert seen.pictures(1)[0].shape == (256, 256, 3)


def test_pieces_of_20_ms_are_one_utterance(running, made, voice_samples) -> None:
    """Complaint 15, over the wire."""
    with watched(running, made) as seen:
        for start in range(0, len(voice_samples), 320):
            seen.socket.send(in_voice(voice_samples[start : start + 320]))
        seen.send("input_audio_buffer.commit")
        seen.until("utterance.finished")
        seen.send("interrupt")
        seen.until("interrupted")
        kinds = [message["type"] for message in seen.messages]
        assert kinds.count("utterance.started") == kinds.count("utterance.finished") == 1


def test_after_the_answer_to_an_interrupt_nothing_old_comes(running, made) -> None:
    """Complaint 2: 60 s of voice at once, and a stop."""
    tone = (0.3 * np.sin(np.arange(16000 * 20) * 0.05)).astype(np.float32)
    with watched(running, made) as seen:
        for _ in range(3):
            for _ in range(3):
                seen.socket.send(in_voice(tone))
            seen.until("utterance.started")
            seen.pictures(3, len(seen.packets))
            seen.send("interrupt")
            told = seen.until("interrupted")
            finished = [message for message in seen.messages if message["type"] == "utterance.finished"]
            assert finished[-1]["id"] == told["utterance"]
            assert finished[-1]["interrupted"]
            place = len(seen.packets)
            seen.pictures(3, place)
            after = seen.packets[place:]
            assert {p[2] for p in after} == {told["generation"] & 0xFFFF}
            assert {p[1] for p in after} == {State.IDLE}
            assert not any(any(p[4]) for p in after if p[0] is Kind.SOUND)


def test_interrupt_and_say_without_a_socket(running, made) -> None:
    with watched(running, made) as seen:
        there = f"{running.url}/v1/sessions/{made['id']}"
        said = ask("post", f"{there}/say", json={"text": "one two three four five six seven"})
        assert said.status_code == 202
        started = seen.until("utterance.started")
        answer = ask("post", f"{there}/interrupt").json()
        assert answer == {"generation": said.json()["generation"] + 1, "utterance": started["id"]}
        assert seen.until("interrupted")["generation"] == answer["generation"]
        bad = ask("post", f"{there}/say", json={"text": "a", "voice": "piper:/etc/passwd"})
        assert bad.status_code == 422
        assert bad.headers["content-type"] == "application/problem+json"


def test_what_is_no_message_is_told_and_ends_nothing(running, made) -> None:
    with watched(running, made, "none") as seen:
        for wrong in ("{", '{"type": "dance"}', b"\x09" + bytes(9), b"ab"):
            seen.socket.send(wrong)
            told = seen.until("error")
            assert told["error"]["detail"]
            assert told["error"]["hint"]
        seen.send("follow")
        assert "no guide" in seen.until("error")["error"]["detail"]


def test_mp4_over_a_socket_is_two_files_in_fragments_and_a_generation_begins_anew(running, made) -> None:
    with watched(running, made, "fmp4") as seen:
        seen.fragments(3)
        seen.send("interrupt")
        generation = seen.until("interrupted")["generation"] & 0xFFFF
        place = len(seen.packets)
        seen.fragments(2, place)
    for kind in (Kind.MP4_VIDEO, Kind.MP4_SOUND):
        mine = [(born, index, boxes(data)) for each, _, born, index, data in seen.packets if each is kind]
        assert mine[0][2][:2] == ["ftyp", "moov"], "a player can begin here"
        assert all(found[-2:] == ["moof", "mdat"] for _, _, found in mine[1:])
        indices = [index for _, index, _ in mine]
        assert indices == sorted(indices)
    after = seen.packets[place:]
    assert {packet[2] for packet in after} == {generation}
    first = next(packet for packet in after if packet[0] is Kind.MP4_VIDEO)
    assert first[3] >= max(packet[3] for packet in seen.packets[:place] if packet[0] is Kind.MP4_VIDEO)
    video = b"".join(packet[4] for packet in seen.packets if packet[0] is Kind.MP4_VIDEO)
    with av.open(BytesIO(video)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert pictures[0].shape == (256, 256, 3)
    assert len(pictures) == boxes(video).count("moof") >= 4


def test_sound_alone_brings_no_picture(running, made) -> None:
    with watched(running, made, "sound") as seen:
        seen.send("curves", on=True)
        seen.sounds(5)
        seen.until("curves")
        assert {packet[0] for packet in seen.packets} == {Kind.SOUND}
        assert {len(packet[4]) for packet in seen.packets} == {1280}  # 40 ms
        indices = [packet[3] for packet in seen.packets]
        assert indices == list(range(indices[0], indices[0] + len(indices)))


def test_wrong_tokens_and_media_are_turned_away(running, made) -> None:
    base = f"{running.url.replace('http', 'ws')}{made['ws']}"
    for query, code in (
        (f"token={made['token']}x", 4404),
        ("", 4404),
        (f"token={made['token']}&media=vhs", 4422),
    ):
        with connect(f"{base}?{query}") as socket, pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code == code
    assert ask("get", f"{running.url}/v1/sessions/session_0").status_code == 404
    offer = {"content": "v=0", "headers": {"content-type": "application/sdp"}}
    assert ask("post", f"{running.url}{made['whep']}?token=x", **offer).status_code == 404
    there = f"{running.url}{made['whep']}?token={made['token']}"
    assert ask("post", there, **offer).status_code == 422
    assert ask("post", there, content="{}").status_code == 415


def test_who_watches_last_watches(running, made) -> None:
    with watched(running, made) as first, watched(running, made) as second:
        second.pictures(2)
        with pytest.raises(ConnectionClosed):
            first.until("nothing")
        assert first.socket.close_code == 4409


def test_fifty_rounds_of_connect_and_vanish_leave_nothing(running, made) -> None:
    """Complaints 1 and 12."""

    with watched(running, made) as seen:
        seen.pictures(1)
    files, before, workers = open_files(running), threads(running), children(running)
    for _ in range(50):
        url = f"{running.url.replace('http', 'ws')}{made['ws']}?token={made['token']}"
        with connect(url, close_timeout=0) as socket:
            socket.recv(timeout=30)
            socket.socket.shutdown(SHUT_RDWR)  # as a browser that was killed
    until(lambda: open_files(running) <= files + 1)
    assert threads(running) <= before + 1
    assert children(running) == workers
    with watched(running, made) as seen:  # and it is still there
        seen.pictures(2)


@needs_children
def test_a_lost_worker_is_replaced_under_the_same_id(running) -> None:
    before = children(running)
    with session(running) as made, watched(running, made) as seen:
        worker = (children(running) - before).pop()
        assert most_memory(worker) == pytest.approx(0.75 * main_memory()[1], rel=1e-3), "as a job's may have"
        seen.send("say", text="one two three four five six seven eight nine ten")
        started = seen.until("utterance.started")
        index = seen.packets[-1][3] if seen.packets else 0
        os.kill(worker, signal.SIGKILL)
        lost = seen.until("error")
        assert lost["error"]["code"] == "worker_lost"
        assert lost["error"]["resumed"]
        finished = [message for message in seen.messages if message["type"] == "utterance.finished"]
        assert [message["id"] for message in finished] == [started["id"]]
        assert finished[0]["interrupted"]
        place = len(seen.packets)
        seen.pictures(3, place)
        assert {p[2] for p in seen.packets[place:]} == {lost["error"]["generation"]}
        assert seen.packets[place][3] > index
        assert ask("get", f"{running.url}/v1/sessions/{made['id']}").status_code == 200
        left = children(running)
    until(lambda: not (left - before) & children(running))  # an ended session leaves no process


@needs_children
def test_a_worker_that_hangs_does_not_keep_others_waiting(running, voice_samples) -> None:
    before = children(running)
    with session(running) as made, watched(running, made) as seen:
        worker = (children(running) - before).pop()
        os.kill(worker, signal.SIGSTOP)
        try:
            for _ in range(20):  # more than a pipe takes
                seen.socket.send(in_voice(np.tile(voice_samples, 10)[:32000]))
            assert httpx.get(f"{running.url}/healthz", timeout=30).status_code == 200
        finally:
            os.kill(worker, signal.SIGKILL)
        assert seen.until("error")["error"]["code"] == "worker_lost"


def test_webrtc_brings_pictures_and_sound_of_what_is_said(running, made) -> None:
    seen, heard, location, status = asyncio.run(whep_round(running, made))
    assert location.startswith(made["whep"])
    assert status == 204
    assert {picture.shape for picture in seen} == {(256, 256, 3)}
    assert np.abs(seen[-1].astype(int) - seen[0]).mean() < 20
    assert np.abs(heard).max() > 1000


async def whep_round(running: Running, made: dict):
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    from personare.serve.live.whep import _media_of, only_loopback

    only_loopback()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pictures, sounds, tracks = [], [], {}
    peer.on("track", lambda track: tracks.update({track.kind: track}))
    for kind in ("video", "audio"):
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.post(
            f"{running.url}{made['whep']}",
            content=peer.localDescription.sdp,
            headers={"content-type": "application/sdp", "authorization": f"Bearer {made['token']}"},
        )
        assert answer.status_code == 201, answer.text
        assert "a=msid" in answer.text
        assert _media_of(answer.text) == "h264"  # though the offer has VP8 first
        streams = {line.split()[0] for line in answer.text.splitlines() if line.startswith("a=msid:")}
        assert len(streams) == 1  # one stream: else browsers do not keep the two together
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        location = answer.headers["location"]
        pictures.append((await asyncio.wait_for(tracks["video"].recv(), 60)).to_ndarray(format="rgb24"))
        said = await http.post(f"{running.url}/v1/sessions/{made['id']}/say", json={"text": TEXT})
        assert said.status_code == 202
        for _ in range(30):
            pictures.append((await asyncio.wait_for(tracks["video"].recv(), 60)).to_ndarray(format="rgb24"))
        deadline = time.monotonic() + 60
        while not any(np.abs(sound).max() > 1000 for sound in sounds) and time.monotonic() < deadline:
            sounds.append((await asyncio.wait_for(tracks["audio"].recv(), 60)).to_ndarray())
        status = (await http.delete(f"{running.url}{location}?token={made['token']}")).status_code
    await peer.close()
    return pictures, np.concatenate(sounds, axis=None), location, status


def test_webrtc_is_not_what_a_far_caller_is_told_where_it_cannot_reach_him(running, made) -> None:
    """As behind a proxy on the same machine."""
    there = f"{running.url}/v1/sessions/{made['id']}"
    far = ask("get", there, headers={"x-forwarded-for": "8.8.8.8"}).json()
    assert far["transport"] == "websocket"
    assert "--host" in far["reason"]
    tried = ask("get", f"{running.url}/v1/webrtc", headers={"x-forwarded-for": "8.8.8.8"}).json()
    assert "--host" in tried["reason"]


def test_a_key_has_as_many_sessions_as_its_quota(answering) -> None:
    keys = [api_key(name, name * 16) for name in ("a", "b")]
    client = answering(keys=(keys[0].model_copy(update={"sessions": 1}), keys[1]), sessions=0)

    def asked(name: str):
        return client.post("/v1/sessions", json=SMALL, headers={"Authorization": f"Bearer {name * 16}"})

    assert asked("a").json()["error"]["code"] == "busy", "there is no place at all"
    client.house.live._coming["a"] = 1
    refused = asked("a")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["code"] == "quota"
    client.house.live._places["session_1"] = SimpleNamespace(caller="b")
    assert asked("b").json()["error"]["code"] == "busy"
    assert client.house.live.count("b") == 1


@pytest.mark.parametrize(
    ("address", "wanted", "ice", "host", "told"),
    [
        ("8.8.8.8", "auto", (), "127.0.0.1", "websocket"),
        ("8.8.8.8", "webrtc", (), "127.0.0.1", "websocket"),
        ("10.0.0.5", "webrtc", (), "127.0.0.1", "websocket"),
        ("8.8.8.8", "mp4", (), "127.0.0.1", "mp4"),
        ("127.0.0.1", "webrtc", (), "127.0.0.1", "webrtc"),
        ("127.0.0.1", "auto", (), "127.0.0.1", "websocket"),
        ("8.8.8.8", "auto", ("stun:example.org",), "127.0.0.1", "websocket"),
        ("8.8.8.8", "auto", ("turn:example.org:443",), "127.0.0.1", "webrtc"),
        ("8.8.8.8", "auto", (), "0.0.0.0", "webrtc"),
        ("10.0.0.5", "auto", (), "0.0.0.0", "websocket"),
    ],
)
def test_the_transport_suits_the_caller_and_the_service(answering, address, wanted, ice, host, told) -> None:
    app = answering(host=host, ice_servers=ice, keys=(api_key("anna", "a" * 16),)).app
    request = Request({"type": "http", "client": (address, 1), "app": app})
    transport, reason = transport_for(wanted, request)
    assert transport == told
    assert reason == "as asked for" or wanted not in ("mp4", transport)


@pytest.mark.parametrize(
    ("transport", "media"), [("websocket", "mjpeg"), ("webrtc", "h264"), ("mp4", "fmp4"), ("auto", "mjpeg")]
)
def test_a_session_is_measured_with_what_its_transport_shows(answering, monkeypatch, transport, media):
    from personare.serve.live import live

    monkeypatch.setattr(live, "WorkerProcess", lambda *_: Willing())
    client = answering()
    assert client.post("/v1/sessions", json={"transport": transport}).status_code == 201
    (place,) = client.house.live._places.values()
    assert place.wanted.media == media


def test_no_place_is_503_and_says_when_to_come_again(answering) -> None:
    answer = answering(sessions=0).post("/v1/sessions", json=SMALL)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "busy"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"avatar": "../../etc/passwd"}, 404),
        ({"avatar": "nobody"}, 404),
        ({"engine": "nothing"}, 422),
        ({"options": {"size": 1}}, 422),
        ({"options": {"device": "cuda:9"}}, 422),
        ({"guide": "/etc/passwd"}, 422),
        ({"transport": "pigeon"}, 422),
        ({"colour": "red"}, 422),
    ],
)
def test_what_cannot_be_a_session_is_refused_before_a_worker_is_asked(answering, wanted, status) -> None:
    answer = answering().post("/v1/sessions", json=wanted)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]
