"""A face in a real pipecat pipeline: sound leaves with its picture, frames keep their places,
interruptions silence, and without a face the sound goes on.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # audioop, which it replaces from Python 3.13 on
    pytest.importorskip("pipecat.frames.frames")

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.metrics.metrics import ProcessingMetricsData, TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from personare.errors import NoFaceFound
from personare.rooms.pipecat import PersonareVideoService
from personare.serve.live import place
from tests.rooms.mirrored import SIZE, MirrorFace, run

pytestmark = pytest.mark.slow

RATE = 24000


class Service(PersonareVideoService):
    """Drawn by mirrors."""

    def face(self, rate: int) -> MirrorFace:
        self.mirror = MirrorFace(rate=rate)
        return self.mirror


class Sink(FrameProcessor):
    """What comes out of the service, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Frame] = []
        self.came = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction == FrameDirection.DOWNSTREAM:
            self.got.append(frame)
            self.came.set()
        await self.push_frame(frame, direction)

    def of(self, *kinds: type) -> list[Any]:
        return [frame for frame in self.got if isinstance(frame, kinds)]

    async def until(self, happened: Any) -> None:
        while not happened(self):
            self.came.clear()
            await self.came.wait()


class Call:
    """A pipeline under way."""

    def __init__(self, service: FrameProcessor, *more: FrameProcessor) -> None:
        self.sink = Sink()
        self.worker = PipelineWorker(
            Pipeline([service, self.sink, *more]),
            params=PipelineParams(audio_out_sample_rate=RATE, enable_metrics=True),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
        )
        self.errors: list[ErrorFrame] = []
        self.worker.add_event_handler("on_pipeline_error", self._failed)

    async def __aenter__(self) -> Call:
        self._runner = WorkerRunner(handle_sigint=False)
        await self._runner.add_workers(self.worker)
        self._running = asyncio.create_task(self._runner.run())
        await self.sink.until(lambda sink: sink.of(StartFrame))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.worker.queue_frame(EndFrame())
        await self._running

    async def say(self, seconds: float, level: float, context: str, rate: int = RATE) -> None:
        """As a TTS does: 100 ms at a time, a word before each."""
        piece = np.full(rate // 10, round(level * 32767), "<i2").tobytes()
        await self.worker.queue_frame(TTSStartedFrame(context_id=context))
        for number in range(round(seconds * 10)):
            await self.worker.queue_frame(TTSTextFrame(f"{context}{number}", "word"))
            await self.worker.queue_frame(TTSAudioRawFrame(piece, rate, 1, context_id=context))
        await self.worker.queue_frame(TTSStoppedFrame(context_id=context))

    async def _failed(self, _: Any, error: ErrorFrame) -> None:
        self.errors.append(error)


def level(frame: Any) -> int:
    """8 bits of what a picture shows, or a sound's middle sample."""
    if isinstance(frame, OutputImageRawFrame):
        return frame.image[0]
    return round(int(np.frombuffer(frame.audio, "<i2")[len(frame.audio) // 4]) / 32767 * 255)


def stopped(times: int) -> Any:
    return lambda sink: len(sink.of(TTSStoppedFrame)) == times


def test_a_face_that_stalls_says_it_all_afterwards(monkeypatch) -> None:
    monkeypatch.setattr(place, "ANSWER_SECONDS", 0.05)

    async def test() -> None:
        service = Service()
        async with Call(service) as call:
            (process,) = service.mirror.processes
            process.stall()
            await call.say(0.4, 0.4, "a")
            await asyncio.sleep(0.2)
            process.go_on()
            await call.sink.until(lambda sink: sink.of(TTSStoppedFrame))
        assert sum(level(sound) == 102 for sound in call.sink.of(TTSAudioRawFrame)) == 10
        assert call.errors == []

    run(test())


def test_sound_leaves_with_its_picture_and_frames_keep_their_places() -> None:
    async def test() -> None:
        async with Call(Service()) as call:
            await call.say(0.4, 0.4, "a")
            await call.say(0.2, 0.8, "b", rate=16000)
            await call.sink.until(stopped(2))
            got = call.sink.got
            for context, spoken, ticks in (("a", 0.4, 10), ("b", 0.8, 5)):
                sounds = [f for f in call.sink.of(TTSAudioRawFrame) if f.context_id == context]
                assert len(sounds) == ticks
                assert {(f.sample_rate, f.num_frames, f.num_channels) for f in sounds} == {(RATE, 960, 1)}
                for sound in sounds[1:-1]:
                    picture = got[got.index(sound) - 1]
                    assert picture.sync_with_audio
                    assert (picture.size, picture.format) == (SIZE[::-1], "RGB")
                    assert level(picture) == pytest.approx(level(sound), abs=2)
                    assert level(sound) == pytest.approx(spoken * 255, abs=2)
            order = [
                frame.text
                if isinstance(frame, TTSTextFrame)
                else {TTSAudioRawFrame: ".", TTSStoppedFrame: "|"}[type(frame)]
                for frame in call.sink.of(TTSTextFrame, TTSAudioRawFrame, TTSStoppedFrame)
            ]
            # a word at 100 ms leaves after the tick of 80 to 120 ms
            assert "".join(order) == "a0...a1..a2...a3..|b0...b1..|"
            kinds = {type(data) for frame in call.sink.of(MetricsFrame) for data in frame.data}
            assert {TTFBMetricsData, ProcessingMetricsData} <= kinds
            assert not call.errors

    run(test())


def test_an_interruption_voids_sound_words_and_pictures() -> None:
    async def test() -> None:
        async with Call(service := Service()) as call:
            await call.say(20, 0.8, "a")
            await call.sink.until(lambda sink: len(sink.of(TTSAudioRawFrame)) > 5)
            await call.worker.queue_frame(InterruptionFrame())
            await call.sink.until(lambda sink: sink.of(InterruptionFrame))
            at = call.sink.got.index(call.sink.of(InterruptionFrame)[0])
            await call.say(0.2, 0.4, "b")
            await call.sink.until(stopped(1))
            after = call.sink.got[at:]
            sounds = [frame for frame in after if isinstance(frame, TTSAudioRawFrame)]
            assert [frame.context_id for frame in sounds] == ["b"] * 5
            pictures = [frame for frame in after if isinstance(frame, OutputImageRawFrame)]
            assert max(level(frame) for frame in [*sounds, *pictures]) < 110
            assert [f.text for f in after if isinstance(f, TTSTextFrame)] == ["b0", "b1"]
            assert service.mirror.is_silent

    run(test())


def test_the_end_waits_until_all_has_been_said() -> None:
    async def test() -> None:
        async with Call(Service()) as call:
            await call.say(0.4, 0.4, "a")
        assert len(call.sink.of(TTSAudioRawFrame)) == 10
        assert isinstance(call.sink.got[-1], EndFrame)

    run(test())


def test_a_transport_plays_both_in_step() -> None:
    class Screen(BaseOutputTransport):
        """What a room would show: the picture when a sound is written."""

        def __init__(self) -> None:
            height, width = SIZE
            super().__init__(
                TransportParams(
                    audio_out_enabled=True,
                    audio_out_sample_rate=RATE,
                    audio_out_auto_silence=False,
                    video_out_enabled=True,
                    video_out_width=width,
                    video_out_height=height,
                    video_out_framerate=100,
                )
            )
            self.shown = 0
            self.played: list[tuple[int, int]] = []

        async def start(self, frame: StartFrame) -> None:
            await super().start(frame)
            await self.set_transport_ready(frame)

        async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
            await asyncio.sleep(0.03)
            self.played.append((level(frame), self.shown))
            return True

        async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
            self.shown = level(frame)
            return True

    async def test() -> None:
        screen = Screen()
        async with Call(Service(), screen) as call:
            await call.say(0.4, 0.4, "a")
            await call.sink.until(stopped(1))
        heard = [played for played in screen.played if played[0]]
        assert len(heard) == 10
        assert [shown for _, shown in heard[1:-1]] == pytest.approx([102] * 8, abs=2)

    run(test())


def test_without_a_face_the_sound_goes_on_and_the_error_is_told() -> None:
    class Faceless(PersonareVideoService):
        def face(self, rate: int) -> Any:
            class Nobody(MirrorFace):
                async def open(self) -> None:
                    raise NoFaceFound("nobody is in the picture", hint="another one")

            return Nobody(rate=rate)

    async def test() -> None:
        async with Call(Faceless()) as call:
            await call.say(0.2, 0.4, "a")
            await call.sink.until(stopped(1))
            assert len(call.sink.of(TTSAudioRawFrame)) == 2
            assert "nobody is in the picture" in call.errors[0].error
        async with Call(service := Service()) as call:
            await call.say(20, 0.4, "a")
            await call.sink.until(lambda sink: sink.of(TTSAudioRawFrame))
            for _ in range(4):
                service.mirror.processes[-1].kill()
            await call.sink.until(stopped(1))
        assert "too often" in call.errors[-1].error

    run(test())
