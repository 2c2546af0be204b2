"""A live session for programs: what is said comes out once, with its picture, at the rate of
the room.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from personare.errors import EngineError
from personare.rooms.face import AHEAD_SECONDS, Ended, Face, Moment
from personare.rooms.line import Line
from personare.serve.live import place
from personare.serve.live.wire import State
from tests.rooms.mirrored import SIZE, MirrorFace, level_of, run, spoken, steps


async def until_ended(face: Face, most: int = 1000) -> tuple[list[Moment], Ended]:
    moments: list[Moment] = []
    async for what in face:
        if isinstance(what, Ended):
            return moments, what
        moments.append(what)
        assert len(moments) < most
    raise AssertionError("the face was closed")


async def drained(face: Face) -> list[Moment | Ended]:
    return [what async for what in face]


@pytest.mark.parametrize(("rate", "voice_rate"), [(16000, 16000), (24000, 24000), (48000, 22050)])
def test_what_is_said_is_heard_once_with_its_pictures(rate: int, voice_rate: int) -> None:
    async def test() -> None:
        async with MirrorFace(rate=rate) as face:
            voice = steps(1.0, voice_rate)
            for at in range(0, len(voice), voice_rate // 50):
                await face.hear(voice[at : at + voice_rate // 50], voice_rate)
            face.end()
            moments, ended = await until_ended(face)
            assert ended == Ended(interrupted=False)
            said = spoken(moments)
            assert len(said) == 25
            assert {len(moment.sound) for moment in moments} == {rate // 25}
            assert all(moment.picture.shape == (*SIZE, 3) for moment in moments)
            shown = [int(moment.picture[0, 0, 0]) for moment in said]
            assert shown[1:] == pytest.approx([level_of(moment.sound) for moment in said][1:], abs=3)
            heard = np.concatenate([moment.sound for moment in said])
            if rate == voice_rate:
                np.testing.assert_array_equal(heard, np.rint(voice * 32767).astype(np.int16))
            assert not any(moment.sound.any() for moment in moments if moment.state == State.IDLE)
            assert face.is_silent

    run(test())


def test_two_utterances_end_twice_and_in_order() -> None:
    async def test() -> None:
        async with MirrorFace(rate=24000) as face:
            for seconds in (0.4, 0.8):
                await face.hear(steps(seconds, 24000))
                face.end()
            face.end()  # nothing is open
            for count in (10, 20):
                moments, ended = await until_ended(face)
                assert (len(spoken(moments)), ended.interrupted) == (count, False)
            await face.hear(np.zeros(0, np.float32))
            face.end()
            for _ in range(20):
                assert isinstance(await anext(face), Moment)

    run(test())


def test_after_an_interruption_nothing_old_comes_and_what_is_new_does() -> None:
    async def test() -> None:
        async with MirrorFace(rate=24000) as face:
            await face.hear(np.full(48000, 0.9, np.float32))
            face.end()
            while not spoken([await anext(face)]):
                pass
            interrupting = asyncio.create_task(face.interrupt())
            await asyncio.sleep(0)
            await face.hear(np.full(9600, 0.5, np.float32))  # before the answer
            face.end()
            await interrupting
            moments, ended = await until_ended(face)
            assert len(spoken(moments)) == 10
            assert not ended.interrupted
            assert {level_of(moment.sound) for moment in spoken(moments)} == {128}
            assert all(moment.picture.max() < 200 for moment in moments)

    run(test())


def test_a_voice_that_is_late_is_replaced_by_silence_and_goes_on_where_it_was() -> None:
    async def test() -> None:
        async with MirrorFace(rate=24000) as face:
            voice = steps(0.8, 24000)
            await face.hear(voice[:9600])
            moments = [await anext(face)]
            while moments[-1].state != State.STARVED:
                moments.append(await anext(face))
            await face.hear(voice[9600:])
            face.end()
            rest, _ = await until_ended(face)
            heard = np.concatenate([moment.sound for moment in spoken([*moments, *rest])])
            np.testing.assert_array_equal(heard, np.rint(voice * 32767).astype(np.int16))

    run(test())


def test_who_has_more_than_fits_waits_and_an_interruption_lets_him_go() -> None:
    async def test() -> None:
        async with MirrorFace(tick_seconds=3600) as face:
            piece = np.full(16000, 0.5, np.float32)
            for _ in range(AHEAD_SECONDS + 1):
                await face.hear(piece)
            waits = asyncio.create_task(face.hear(piece))
            await asyncio.sleep(0.1)
            assert not waits.done()
            await face.interrupt()
            await waits
            assert face.is_silent

    run(test())


def test_a_lost_process_ends_what_was_complete_and_goes_on_with_what_was_not() -> None:
    async def test() -> None:
        async with MirrorFace(rate=24000) as face:
            await face.hear(steps(1.0, 24000))
            face.end()
            await face.hear(steps(1.0, 24000))
            while not spoken([await anext(face)]):
                pass
            face.processes[-1].kill()
            _, ended = await until_ended(face)
            assert ended.interrupted
            await face.hear(np.full(9600, 0.7, np.float32))
            face.end()
            moments, ended = await until_ended(face)
            assert [level_of(moment.sound) for moment in spoken(moments)] == [179] * 10
            assert not ended.interrupted
            await face.hear(np.full(2400, 0.7, np.float32))
            face.processes[-1].kill()
            for _ in range(5):
                await anext(face)
            face.end()  # nothing is left of it, yet somebody waits for its end
            assert (await until_ended(face))[1].interrupted

    run(test())


def test_a_process_that_stalls_longer_than_it_may_loses_nothing(monkeypatch) -> None:
    monkeypatch.setattr(place, "ANSWER_SECONDS", 0.05)

    async def test() -> None:
        async with MirrorFace(rate=24000) as face:
            await anext(face)
            process = face.processes[0]
            process.stall()
            hears = asyncio.create_task(face.hear(steps(0.4, 24000)))
            await asyncio.sleep(0.2)  # longer than it may take
            assert not hears.done()
            process.go_on()
            await hears
            face.end()
            moments, ended = await until_ended(face)
            assert (len(spoken(moments)), ended.interrupted) == (10, False)

    run(test())


def test_an_interruption_waits_for_a_process_that_stalls(monkeypatch) -> None:
    monkeypatch.setattr(place, "ANSWER_SECONDS", 0.05)

    async def test() -> None:
        async with MirrorFace(rate=24000) as face:
            await face.hear(np.full(48000, 0.9, np.float32))
            face.end()
            while not spoken([await anext(face)]):
                pass
            process = face.processes[0]
            process.stall()
            interrupts = asyncio.create_task(face.interrupt())
            hears = asyncio.create_task(face.hear(np.full(9600, 0.5, np.float32)))
            await asyncio.sleep(0.2)
            assert not interrupts.done()
            process.go_on()
            await asyncio.gather(interrupts, hears)
            face.end()
            moments, ended = await until_ended(face)
            assert {level_of(moment.sound) for moment in spoken(moments)} == {128}
            assert (len(spoken(moments)), ended.interrupted) == (10, False)
            process.stall()
            interrupts = asyncio.create_task(face.interrupt())
            await asyncio.sleep(0.1)
            process.kill()  # as the sweeper does
            await interrupts
            await face.hear(np.full(9600, 0.5, np.float32))
            face.end()
            moments, ended = await until_ended(face)
            assert (len(spoken(moments)), ended.interrupted) == (10, False)

    run(test())


def test_a_process_lost_too_often_is_an_error() -> None:
    async def test() -> None:
        async with MirrorFace() as face:
            await face.hear(steps(1.0, 16000))
            face.end()
            for _ in range(4):
                face.processes[-1].kill()
            with pytest.raises(EngineError, match="lost, too often"):
                await drained(face)

    run(test())


def test_an_utterance_that_fails_has_an_end() -> None:
    async def test() -> None:
        async with MirrorFace() as face:
            for fails_at in (0, 3):
                face.processes[0].performance.fails_at = fails_at
                await face.hear(steps(1.0, 16000))
                face.end()
                _, ended = await until_ended(face)
                assert ended.interrupted
                assert face.is_silent

    run(test())


def test_a_text_is_heard_at_the_rooms_rate() -> None:
    async def test() -> None:
        async with MirrorFace(rate=48000) as face:
            face.say("ten letter")
            moments, ended = await until_ended(face)
            said = spoken(moments)
            assert (len(said), ended.interrupted) == (25, False)
            assert [level_of(moment.sound) for moment in said[2:]] == pytest.approx([128] * 23, abs=1)

    run(test())


def test_closed_it_ends_and_unopened_it_says_so() -> None:
    async def test() -> None:
        face = MirrorFace()
        with pytest.raises(EngineError, match="not open"):
            await face.hear(steps(0.1, 16000))
        await face.open()
        assert isinstance(await anext(face), Moment)
        await face.close()
        await face.close()
        assert all(isinstance(what, Moment) for what in await drained(face))

    run(test())


def test_pictures_as_they_are_do_not_leave_the_machine() -> None:
    sessions = pytest.importorskip("personare.serve.routes.sessions")
    assert "rgb" not in sessions.MEDIA


def test_the_rate_of_a_line_may_change() -> None:
    line = Line(24000, 0)
    line.hear(np.full(1600, 0.5, np.float32), 16000)
    line.hear(np.full(2400, 0.5, np.float32), 24000)
    line.end()
    assert line.waiting == 4800
    sound = line.take(4900)
    assert sound[100:2300] == pytest.approx(0.5, abs=0.01)
    assert not sound[4800:].any()


@pytest.mark.slow
def test_rooms_bring_no_package_of_theirs_along() -> None:
    """The default install has none of them, and nothing below imports a room."""
    code = (
        "import sys, personare, personare.cli.main, personare.rooms.face\n"
        "strange = {'livekit', 'pipecat', 'pyvirtualcam', 'aiortc', 'fastapi', 'starlette', 'torch', 'ray'}\n"
        "print(sorted(strange & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
