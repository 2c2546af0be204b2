"""When a session ends by itself, what becomes of a lost worker, which engines can be live."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from personare.engines.performance import Made
from personare.errors import Busy, EngineError, InvalidOption
from personare.serve.live import opened
from personare.serve.live.admission import TRANSPORT_CORES, UNKNOWN_CORES, WEBRTC_CORES
from personare.serve.live.encoders import SoundEncoder
from personare.serve.live.live import LiveSessions
from personare.serve.live.opened import Wanted, check_live
from personare.serve.live.place import Place
from personare.serve.live.session import Interrupted
from personare.serve.live.wire import Kind, Packet, State, Word
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from tests.unit.live_performances import Mirror

FACTS = {"size": (2, 2), "fps": 25, "columns": [], "latency_seconds": 0.2, "cost": None}
MINUTE = timedelta(minutes=1)


class Worker:
    """Where commands go, and from where a test speaks."""

    is_alive = True

    def __init__(self) -> None:
        self.sent: list[tuple] = []
        self.killed = 0

    def serve(self, heard, lost) -> None:
        self.hear, self.lose = heard, lost

    def send(self, *command) -> None:
        self.sent.append(command)

    def kill(self) -> None:
        self.killed += 1


class Watcher:
    def __init__(self) -> None:
        self.got: list[Packet] = []
        self.told: list[dict] = []
        self.voided: list[int] = []
        self.closed: list[int] = []

    def packets(self, packets) -> None:
        self.got += packets

    def event(self, event) -> None:
        self.told.append(event)

    def void(self, generation) -> None:
        self.voided.append(generation)

    def close(self, code) -> None:
        self.closed.append(code)


class Stage:
    def __init__(self) -> None:
        self.workers = [Worker()]
        self.left: list[Place] = []
        self.place = Place("session_1", Wanted(), "", self.workers[0], self._renew, self.left.append)
        self.workers[0].hear("opened", FACTS)
        self.time = 0.0
        self.place._now = lambda: self.time
        self.place._unwatched_since = self.place._heard_at = 0.0

    def _renew(self) -> Worker:
        self.workers.append(Worker())
        return self.workers[-1]


def picture(index: int, generation: int = 0) -> list[Packet]:
    return [Packet(Kind.PICTURE, State.IDLE, generation, index, b"")]


def on_stage(test):
    """The test in an event loop."""

    def run() -> None:
        async def inside() -> None:
            test(Stage())

        asyncio.run(inside())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@on_stage
def test_a_session_that_nobody_watches_ends(stage: Stage) -> None:
    """Complaint 12: also one that was never watched, and messages alone keep none."""
    stage.place.attach(Watcher(), None)
    stage.time = 29
    assert stage.place.overdue() == ""
    stage.time = 31
    assert stage.place.overdue() == "unwatched"
    watcher = Watcher()
    stage.place.attach(watcher, "mjpeg")
    assert stage.place.overdue() == ""
    stage.place.detach(watcher)
    stage.time = 60
    assert stage.place.overdue() == ""
    stage.time = 62
    assert stage.place.overdue() == "unwatched"
    assert ("watch", None) in stage.workers[0].sent


@on_stage
def test_a_session_whose_offer_never_connects_ends_before_one_that_waits(stage: Stage) -> None:
    """Complaint 12; one that was watched before may be taken up as long as any."""
    stage.time = 5
    stage.place.offered()
    stage.time = 14
    assert stage.place.overdue() == ""
    stage.time = 16
    assert stage.place.overdue() == "unwatched"
    watcher = Watcher()
    stage.place.attach(watcher, "mjpeg")
    stage.place.detach(watcher)
    stage.time = 45
    assert stage.place.overdue() == ""
    stage.time = 47
    assert stage.place.overdue() == "unwatched"


@on_stage
def test_a_pause_goes_with_whoever_asked_for_it(stage: Stage) -> None:
    """Also where he only sends messages, and pictures go another way."""

    def paused() -> bool:
        return [sent[1] for sent in stage.workers[0].sent if sent[0] == "pause"][-1]

    first, second, controls = Watcher(), Watcher(), Watcher()
    stage.place.attach(first, "mjpeg")
    stage.place.obey(Word(type="pause"), first)
    assert paused()
    stage.place.detach(first)
    assert not paused()
    stage.place.attach(first, "mjpeg")
    stage.place.obey(Word(type="pause"), first)
    stage.place.attach(second, "mjpeg")  # takes over
    assert not paused()
    stage.place.attach(controls, None)
    stage.place.obey(Word(type="pause"), controls)
    stage.place.detach(Watcher())
    assert paused()
    stage.place.detach(controls)
    assert not paused()


@on_stage
def test_a_session_that_is_watched_but_paused_for_half_an_hour_ends(stage: Stage) -> None:
    watcher = Watcher()
    stage.place.attach(watcher, "mjpeg")
    stage.time = 100
    for stage.time in (100, 1000):  # said again, it does not begin again
        stage.place.obey(Word(type="pause"), watcher)
    stage.time = 1899
    assert stage.place.overdue() == ""
    assert stage.place.overdue(paused_seconds=60) == "paused"
    stage.time = 1901
    assert stage.place.overdue() == "paused"
    stage.place.obey(Word(type="resume"), watcher)
    assert stage.place.overdue() == ""
    assert stage.workers[0].killed == 0


@on_stage
def test_a_worker_that_says_nothing_is_killed_but_not_one_that_stands_still(stage: Stage) -> None:
    stage.place.attach(Watcher(), "mjpeg")
    stage.place.hold(True)
    stage.time = 20
    stage.place.overdue()
    stage.place.hold(False)
    stage.place.overdue()
    assert stage.workers[0].killed == 0, "it has only just been let go"
    stage.time = 31
    stage.place.overdue()
    assert stage.workers[0].killed == 1


@on_stage
def test_a_worker_that_lives_may_be_slow_with_its_pictures_but_not_for_ever(stage: Stage) -> None:
    """Networks are loaded at the first word, and may be slow on a busy machine."""
    stage.place.attach(Watcher(), "mjpeg")
    for stage.time in range(0, 120, 8):
        stage.workers[0].hear("alive")
        stage.place.overdue()
    assert stage.workers[0].killed == 0
    stage.time = 121
    stage.place.overdue()
    assert stage.workers[0].killed == 1


@on_stage
def test_a_lost_worker_is_replaced_three_times(stage: Stage) -> None:
    watcher = Watcher()
    stage.place.attach(watcher, "h264")
    stage.workers[0].hear("packets", picture(70))
    stage.workers[0].hear("event", {"type": "utterance.started", "id": "utt_0_1"})
    for losses in range(1, 4):
        stage.workers[-1].lose()
        assert stage.workers[-1].sent[0] == (
            "open",
            replace(Wanted(), generation=losses, index=71, measure=False),
        )
        assert ("watch", "h264") in stage.workers[-1].sent
        assert watcher.told[-1]["error"]["resumed"]
        stage.workers[-1].hear("opened", FACTS)
    assert watcher.voided == [1, 2, 3]
    assert [told["id"] for told in watcher.told if told["type"] == "utterance.finished"] == ["utt_0_1"]
    stage.workers[-1].lose()
    assert not watcher.told[-2]["error"]["resumed"]
    assert watcher.closed == [4500]
    assert stage.left == [stage.place]


@on_stage
def test_losses_that_lie_far_apart_end_no_session(stage: Stage) -> None:
    watcher = Watcher()
    stage.place.attach(watcher, "h264")
    for _ in range(9):
        stage.time += 61
        stage.workers[-1].lose()
        stage.workers[-1].hear("opened", FACTS)
    assert stage.place.losses == 9
    assert watcher.closed == []


@pytest.mark.parametrize("losses", [1, 2])
def test_one_lost_before_it_is_open_is_tried_once_more(losses) -> None:
    async def work() -> None:
        workers = [Worker()]

        def renew() -> Worker:
            workers.append(Worker())
            return workers[-1]

        place = Place("session_1", Wanted(measure=True), "", workers[0], renew, lambda place: None)
        for _ in range(losses):
            workers[-1].lose()
        assert len(workers) == 2
        assert workers[-1].sent[0] == ("open", Wanted(generation=1, measure=True))
        if losses == 1:
            workers[-1].hear("opened", FACTS)
            assert await place.until_open() == FACTS
        else:
            with pytest.raises(EngineError, match="was lost, too often"):
                await place.until_open()
        place.close()

    asyncio.run(work())


@on_stage
def test_media_of_an_older_generation_goes_to_nobody(stage: Stage) -> None:
    watcher = Watcher()
    stage.place.attach(watcher, "mjpeg")
    stage.workers[0].hear("interrupted", 1, Interrupted(1, None))
    stage.workers[0].hear("packets", picture(5, generation=0))
    stage.workers[0].hear("packets", picture(5, generation=1))
    assert [packet.generation for packet in watcher.got] == [1]
    assert watcher.told[-1] == {"type": "interrupted", "generation": 1, "utterance": None}


@pytest.mark.parametrize("hung_up", [False, True])
def test_an_offer_that_is_never_connected_ends(monkeypatch, hung_up) -> None:
    """Complaint 12: and the session waits for another one. Hung up, it ends at once."""
    from aiortc import RTCConfiguration, RTCPeerConnection

    from personare.serve.live import whep

    monkeypatch.setattr(whep, "CONNECT_SECONDS", 3600 if hung_up else 0.2)
    monkeypatch.setattr(whep.aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    async def work() -> tuple[bool, list]:
        stage = Stage()
        caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in ("video", "audio"):
            caller.addTransceiver(kind, direction="recvonly")
        await caller.setLocalDescription(await caller.createOffer())
        peer = whep.Peer(stage.place, ())
        answer = await peer.answer(caller.localDescription.sdp)
        if hung_up:
            peer.close()
        await asyncio.wait_for(peer.live(), 20)
        await caller.close()
        return "a=candidate" in answer, stage.place._watching

    answered, watching = asyncio.run(work())
    assert answered
    assert watching == []


def test_who_watches_a_session_that_stands_still_is_not_taken_for_gone(monkeypatch) -> None:
    """A hidden tab over WebRTC: nothing leaves, so its receiver reports nothing."""
    from personare.serve.live import whep

    class Sender:
        async def getStats(self):  # noqa: N802
            return {"": SimpleNamespace(type="remote-inbound-rtp", timestamp=datetime.now(UTC) - MINUTE)}

    async def work() -> list[bool]:
        stage, silent = Stage(), []
        peer = whep.Peer(stage.place, ())
        peer._senders, peer._stood_at = [Sender()], datetime.now(UTC) - MINUTE
        silent.append(await peer._is_silent())
        for kind in ("pause", "resume"):
            stage.place.obey(Word(type=kind))
            silent.append(await peer._is_silent())
        monkeypatch.setattr(whep, "SILENT_SECONDS", 0)
        return [*silent, await peer._is_silent()]

    assert asyncio.run(work()) == [True, False, False, True]


class Willing(Worker):
    """Opens whatever it is asked to."""

    def send(self, *command) -> None:
        if command[0] == "open":
            asyncio.get_running_loop().call_soon(self.hear, "opened", FACTS)

    async def end(self) -> None:
        self.is_alive = False


def test_a_session_has_two_connections_however_many_are_offered(monkeypatch) -> None:
    """Those that are not connected make room, the oldest first."""
    from personare.serve.live import live, whep

    class Peer:
        """Of as much of a connection as is counted."""

        is_connected = has_ended = False

        def __init__(self, place, ice_servers) -> None:
            self.place, self.id, self.over = place, str(len(made)), asyncio.Event()
            made.append(self)

        async def answer(self, offer) -> str:
            await asyncio.sleep(0)
            return offer

        def close(self) -> None:
            self.has_ended = True
            self.over.set()

        async def live(self) -> None:
            await self.over.wait()

    made: list[Peer] = []
    monkeypatch.setattr(live, "WorkerProcess", lambda *_: Willing())
    monkeypatch.setattr(whep, "Peer", Peer)

    async def work() -> tuple[list[str], int]:
        sessions = LiveSessions(Settings())
        sessions.admission.capacity = 8.0
        place, other = await sessions.create(Wanted(), ""), await sessions.create(Wanted(), "")
        await sessions.answer(other, "")
        await sessions.answer(place, "")
        made[1].is_connected = True
        await asyncio.gather(*(sessions.answer(place, "") for _ in range(6)))
        left = [peer.id for peer in made if not peer.has_ended]
        await sessions.close()
        return left, len(sessions._peers)

    assert asyncio.run(work()) == (["0", "1", "7"], 0)


def test_no_place_is_left_taken_by_a_session_that_could_not_be_opened(monkeypatch) -> None:
    """Complaint 12."""
    from personare.serve.live import live

    class Refusing(Worker):
        def send(self, *command) -> None:
            asyncio.get_running_loop().call_soon(self.hear, "refused", InvalidOption("no"))

        async def end(self) -> None:
            self.is_alive = False

    monkeypatch.setattr(live, "WorkerProcess", lambda *_: Refusing())

    async def work() -> float:
        sessions = LiveSessions(Settings(), most=1)
        for _ in range(50):
            with pytest.raises(InvalidOption):
                await sessions.create(Wanted(), "")
        sessions.admission.enter("x", "kind")
        with pytest.raises(Busy):
            await sessions.create(Wanted(), "")
        sessions.admission.leave("x")
        await sessions.close()
        return sessions.admission.used

    assert asyncio.run(work()) == 0


@pytest.mark.parametrize(("media", "more"), [("mjpeg", 0.0), ("h264", WEBRTC_CORES)])
def test_what_a_session_in_play_takes_is_what_its_place_costs(monkeypatch, media, more) -> None:
    from personare.serve.live import live

    monkeypatch.setattr(live, "WorkerProcess", lambda *_: Willing())

    async def work() -> list[float]:
        sessions = LiveSessions(Settings())
        place = await sessions.create(Wanted(media=media), "")
        used = [sessions.admission.used]
        place.process.hear("spent", 0.3)
        used.append(sessions.admission.used)
        await sessions.close()
        return used

    assert asyncio.run(work()) == [UNKNOWN_CORES, pytest.approx(0.3 + TRANSPORT_CORES + more)]


class Dear(Mirror):
    """A picture of speech takes 16 ms of the processor, one at rest 4."""

    spent = 0.0

    def _frame(self) -> Made:
        Dear.spent += 0.016
        self._made += 1
        return Made(np.zeros((1, 2, 2, 3), np.uint8))

    def _rest(self, n) -> Made:
        Dear.spent += 0.004 * n
        return super()._rest(n)


@pytest.mark.parametrize("fields", [{}, {"device": None}])
def test_a_session_costs_what_it_takes_while_it_speaks(monkeypatch, fields) -> None:
    """Else those that are at rest now would come in, and speak too slowly together."""
    engine = SimpleNamespace(
        idles=True,
        Options=SimpleNamespace(model_fields=fields),
        latency=lambda options: SimpleNamespace(lookahead_seconds=0.16, floor_seconds=0.2),
        perform=lambda avatar, options, guide, store: Dear(),
    )
    studio = SimpleNamespace(prepare=lambda cast: (SimpleNamespace(consent=""), ""), store=None)
    monkeypatch.setattr(opened, "_cast", lambda *_: SimpleNamespace(engine=engine, options=None))
    monkeypatch.setattr(opened.time, "process_time", lambda: Dear.spent)
    assert opened.open_wanted(Wanted(), studio).cost == pytest.approx(0.016 * 25)
    assert opened.open_wanted(Wanted(measure=False), studio).cost is None

    class Encoder(SoundEncoder):
        def encode(self, tick):
            Dear.spent += 0.002
            return super().encode(tick)

    found = {"h264": Encoder, "mjpeg": SoundEncoder}
    monkeypatch.setattr(opened, "open_encoder", lambda media, size, fps: found[media]())
    assert opened.open_wanted(Wanted(media="h264"), studio).cost == pytest.approx(0.018 * 25)
    assert opened.open_wanted(Wanted(), studio).cost == pytest.approx(0.016 * 25)


def test_engines_that_cannot_be_live_say_so() -> None:
    studio = Studio(Settings())
    for name, options, reason, hint in (
        ("float", {}, "hears the whole speech", "puppet"),
        ("artalk", {}, "no motion while nobody speaks", "puppet"),
        ("musetalk", {}, "s after the voice", "audio=streaming"),
    ):
        engine = studio.open(name)
        with pytest.raises(InvalidOption, match=reason) as caught:
            check_live(engine, engine.read_options(options))
        assert hint in caught.value.hint
    musetalk = studio.open("musetalk")
    check_live(musetalk, musetalk.read_options({"audio": "streaming"}))
    puppet = studio.open("puppet")
    check_live(puppet, puppet.read_options({}))


def test_who_waits_for_what_never_opens_is_told(monkeypatch):
    monkeypatch.setattr("personare.serve.live.place.OPEN_SECONDS", 0.01)

    async def waiting():
        place = Place("session_1", Wanted(), "", Worker(), Worker, lambda place: None)
        try:
            with pytest.raises(EngineError, match="preparing takes longer"):
                await place.until_open()
        finally:
            place.close()

    asyncio.run(waiting())
