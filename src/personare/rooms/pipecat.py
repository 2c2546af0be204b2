"""A face in a pipecat pipeline: a video service that stands after the TTS.

    from personare.rooms.pipecat import PersonareVideoService

    face = PersonareVideoService("anna")
    pipeline = Pipeline([transport.input(), stt, llm, tts, face, transport.output()])

The TTS's sound leaves again with the picture of its time, 25 times a second. Frames that came
between pieces of sound (words, the end of a response) stay between them: each leaves when the
sound before it has left, so what an interruption cuts off was not told as said. The transport
has `video_out_enabled=True` and leaves `video_out_is_live` off: pictures ride in the queue of
the sound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings

from personare.errors import PersonareError
from personare.rooms.face import Ended, Face, Moment
from personare.serve.live.wire import State
from personare.studio.settings import Settings

_WAIT_SECONDS = 0.02


class PersonareVideoService(AIService):
    """Turns a TTS's sound into a talking face. Without one (it failed), the sound passes as it
    is, and the error is pushed.
    """

    def __init__(
        self,
        avatar: str = "",
        *,
        portrait: str | Path | None = None,
        engine: str = "",
        options: Mapping[str, Any] = MappingProxyType({}),
        badge: bool = True,
        studio: Settings | None = None,
        **given: Any,
    ) -> None:
        """As `Face`; `given` is pipecat's."""
        super().__init__(settings=ServiceSettings(model=engine or "personare"), **given)
        self._made_of = {
            "avatar": avatar,
            "portrait": portrait,
            "engine": engine,
            "options": options,
            "badge": badge,
            "settings": studio,
        }
        self._face: Face | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[int, Frame]] = deque()
        """Frames between pieces of sound: each leaves when so many samples have."""
        self._ends: deque[int] = deque()
        self._heard = self._said = 0
        self._context: deque[tuple[int, str | None]] = deque()
        self._is_timed = False

    def can_generate_metrics(self) -> bool:
        """Time to the first speaking picture, and to the last one."""
        return True

    def face(self, rate: int) -> Face:
        """Who speaks. rate: Hz of the pipeline's sound."""
        return Face(**self._made_of, rate=rate)  # type: ignore[arg-type]

    # ------------------------------------------------------------- pipecat's life cycle

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Open the face while the others set up."""
        await super().setup(setup)
        face = self.face(setup.audio_out_sample_rate)
        try:
            await face.open()
        except PersonareError as error:
            await self._broken(error)
        else:
            self._face = face

    async def start(self, frame: StartFrame) -> None:
        """The pipeline starts."""
        await super().start(frame)

    async def stop(self, frame: EndFrame) -> None:
        """The pipeline ends."""
        await super().stop(frame)
        await self._close()

    async def cancel(self, frame: CancelFrame) -> None:
        """The pipeline ends at once."""
        await super().cancel(frame)
        await self._close()

    async def cleanup(self) -> None:
        """Let go of the face."""
        await super().cleanup()
        await self._close()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Sound to the face; what is in order with it waits for it; all else passes."""
        if isinstance(frame, EndFrame):
            await self._silence()
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            await self._interrupt()
            await self.push_frame(frame, direction)
        elif isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            if self._face is not None and self._task is None:
                self._task = self.create_task(self._show(self._face))
        elif self._face is None or isinstance(frame, SystemFrame) or direction == FrameDirection.UPSTREAM:
            await self.push_frame(frame, direction)
        elif isinstance(frame, TTSAudioRawFrame):
            await self._hear(self._face, frame)
        else:
            if isinstance(frame, TTSStoppedFrame) and self._heard > (self._ends[-1] if self._ends else 0):
                self._ends.append(self._heard)
                self._face.end()
            if self._said < self._heard or self._ends:
                self._waiting.append((self._heard, frame))
            else:
                await self.push_frame(frame, direction)

    # ------------------------------------------------------------- sound in, pictures out

    async def _hear(self, face: Face, frame: TTSAudioRawFrame) -> None:
        samples = np.frombuffer(frame.audio, "<i2").reshape(-1, frame.num_channels)
        mono = samples[:, 0] if frame.num_channels == 1 else np.rint(samples.mean(axis=1)).astype(np.int16)
        if not self._is_timed:
            self._is_timed = True
            await self.start_ttfb_metrics()
            await self.start_processing_metrics()
        if not self._context or self._context[-1][1] != frame.context_id:
            self._context.append((self._heard, frame.context_id))
        self._heard += round(len(mono) * face.rate / frame.sample_rate)
        await face.hear(mono, frame.sample_rate)

    async def _show(self, face: Face) -> None:
        """What the face does, downstream, for as long as it lives."""
        try:
            async for what in face:
                if isinstance(what, Ended):
                    await self._ended(what)
                else:
                    await self._push(face, what)
        except PersonareError as error:
            await self._broken(error)

    async def _push(self, face: Face, moment: Moment) -> None:
        if moment.state != State.IDLE:
            if moment.state == State.SPEAKING:
                await self.stop_ttfb_metrics()
                await self._let_go(self._said)
                self._said += len(moment.sound)
            sound = TTSAudioRawFrame(
                moment.sound.astype("<i2").tobytes(), face.rate, 1, context_id=self._context_now()
            )
        if moment.is_new or moment.state != State.IDLE:
            height, width = moment.picture.shape[:2]
            picture = OutputImageRawFrame(moment.picture.tobytes(), (width, height), "RGB")
            picture.sync_with_audio = True
            await self.push_frame(picture)
        if moment.state != State.IDLE:
            await self.push_frame(sound)

    async def _ended(self, ended: Ended) -> None:
        self._said = self._ends.popleft() if self._ends else self._heard
        await self._let_go(self._said)
        if not self._ends:
            self._is_timed = False
            await self.stop_processing_metrics()
        if ended.interrupted:
            await self.push_error("an utterance was not said to its end")

    async def _let_go(self, said: int) -> None:
        while self._waiting and self._waiting[0][0] <= said:
            await self.push_frame(self._waiting.popleft()[1])

    def _context_now(self) -> str | None:
        while len(self._context) > 1 and self._context[1][0] < self._said:
            self._context.popleft()
        return self._context[0][1] if self._context else None

    async def _interrupt(self) -> None:
        """What is said and what waits is void, but for frames that no interruption may drop."""
        kept = [frame for _, frame in self._waiting if not frame.interruptible]
        self._waiting.clear()
        self._ends.clear()
        self._context.clear()
        self._said = self._heard
        self._is_timed = False
        if self._face is not None:
            try:
                await self._face.interrupt()
            except PersonareError as error:
                await self._broken(error)
        await self.stop_all_metrics()
        for frame in kept:
            await self.push_frame(frame)

    async def _silence(self) -> None:
        """Wait until all has been said."""
        if self._face is not None:
            self._face.end()
        while self._face is not None and not (self._face.is_silent and not self._waiting):
            await asyncio.sleep(_WAIT_SECONDS)

    async def _broken(self, error: PersonareError) -> None:
        face, self._face = self._face, None
        for _, frame in self._waiting:
            await self.push_frame(frame)
        self._waiting.clear()
        if face is not None:
            await face.close()
        hint = f" ({error.hint})" if error.hint else ""
        await self.push_error(f"personare: {error.message}{hint}", exception=error)

    async def _close(self) -> None:
        face, self._face = self._face, None
        task, self._task = self._task, None
        if task is not None:
            await self.cancel_task(task)
        if face is not None:
            await face.close()
