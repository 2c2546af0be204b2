"""A pipecat pipeline without network: a text is spoken, a face speaks it, a clip keeps both.

    pip install '.[pipecat,tts]'
    python examples/rooms/pipecat_clip.py "Good morning." -o spoken.mp4

In a call, a TTS service of pipecat's stands in Espeak's place, and a transport in Film's.
"""

from __future__ import annotations

import argparse
import asyncio
from fractions import Fraction
from pathlib import Path

import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    OutputImageRawFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

import personare
from personare.media.writer import ClipWriter
from personare.rooms.pipecat import PersonareVideoService


class Espeak(FrameProcessor):
    """A text becomes a voice, on this machine."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, TextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(TTSStartedFrame())
        for chunk in personare.open_text(frame.text).chunks():
            sound = np.rint(chunk.samples * 32767).astype("<i2").tobytes()
            await self.push_frame(TTSAudioRawFrame(sound, 16000, 1))
        await self.push_frame(TTSStoppedFrame())


class Film(FrameProcessor):
    """Keeps what would be seen and heard."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[np.ndarray] = []
        self.voice: list[np.ndarray] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputImageRawFrame):
            width, height = frame.size
            self._picture = np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)
        elif isinstance(frame, TTSAudioRawFrame):
            self.pictures.append(self._picture)
            self.voice.append(np.frombuffer(frame.audio, "<i2").astype(np.float32) / 32768)
        await self.push_frame(frame, direction)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--portrait", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("spoken.mp4"))
    given = parser.parse_args()

    film = Film()
    face = PersonareVideoService(portrait=given.portrait)
    worker = PipelineWorker(
        Pipeline([Espeak(), face, film]),
        params=PipelineParams(audio_out_sample_rate=24000, enable_metrics=True),
    )
    await worker.queue_frames([TextFrame(given.text), EndFrame()])
    runner = WorkerRunner()
    await runner.add_workers(worker)
    await runner.run()

    height, width = film.pictures[0].shape[:2]
    with ClipWriter(
        given.output, size=(height, width), fps=Fraction(25), voice_rate=24000, voice_channels=1
    ) as clip:
        clip.write_frames(np.stack(film.pictures))
        clip.write_voice(np.concatenate(film.voice)[:, None])
    print(f"{given.output}: {len(film.pictures)} pictures")


if __name__ == "__main__":  # the face's own process begins by reading this file
    asyncio.run(main())
