"""A performance of one speech on its way into a file: feed, write, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from personare.cache.clips import ClipFacts
from personare.cache.prepare import Preparation
from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions
from personare.errors import EngineError
from personare.finished import Finished
from personare.media.writer import ClipWriter
from personare.report import Report
from personare.stopwatch import Stopwatch
from personare.types import SAMPLE_RATE, Avatar, Frames, Progress, Speech, frame_count, no_progress


@dataclass(frozen=True)
class Clip:
    """A performance of one speech, not yet made. Iterating gives Frames; every iteration is a new performance."""

    engine: Engine
    options: EngineOptions
    avatar: Avatar
    speech: Speech
    store: FeatureStore | None = None

    def __iter__(self) -> Iterator[Frames]:
        with closing(self.engine.perform(self.avatar, self.options, self.store)) as performance:
            for chunk in self.speech.chunks():
                yield from performance.feed(chunk.samples, chunk.phones)
            yield from performance.finish()

    def save(
        self,
        output: str | Path,
        progress: Progress = no_progress,
        *,
        preparation: Preparation | None = None,
        watch: Stopwatch | None = None,
        finished: Finished | None = None,
    ) -> Report:
        """Write the clip as mp4; the file appears when it is complete. Raises PersonareError; then there is no file.

        finished: where the clip is kept when it is complete.
        """
        watch, finished = watch or Stopwatch(), finished or Finished(None, "off")
        performance = self.engine.perform(self.avatar, self.options, self.store)
        performance.progress = progress
        (height, width), fps, speech = performance.size, performance.fps, finished.listening(self.speech)
        expected = None if speech.seconds is None else frame_count(round(speech.seconds * SAMPLE_RATE), fps)
        samples = frames = 0

        def facts() -> ClipFacts:
            seconds = samples / SAMPLE_RATE
            return ClipFacts(frames=frames, fps=float(fps), width=width, height=height, audio_seconds=seconds)

        target = ClipWriter(
            Path(output),
            size=(height, width),
            fps=fps,
            voice_rate=speech.voice_rate,
            voice_channels=speech.voice_channels,
            when_complete=lambda complete: finished.keep(complete, facts()),
        )
        with closing(performance), watch.leaving("write", target) as writer:
            for chunk in watch.each("hear", speech.chunks()):
                samples += len(chunk.samples)
                with watch("write"):
                    writer.write_voice(chunk.voice)
                for made in watch.each("perform", performance.feed(chunk.samples, chunk.phones)):
                    frames += self._write(made, writer, watch)
                    progress("speaking", frames, expected)
            for made in watch.each("perform", performance.finish()):
                frames += self._write(made, writer, watch)
                progress("speaking", frames, expected)
            if frames != frame_count(samples, fps):
                raise EngineError(f"{self.engine.name} made {frames} frames of {samples} samples at {fps} fps")
        stages = {**(preparation.outcome if preparation else {}), **performance.heard}
        prepared = preparation.seconds if preparation else {}
        return Report.of(
            self.engine.name,
            self.avatar.name,
            output,
            facts(),
            seconds={**prepared, **performance.watch.seconds, **watch.seconds, "total": watch.total()},
            stages=stages,
            clip=finished.outcome,
            working_seconds=watch.seconds["perform"] + watch.seconds["write"],
        )

    @staticmethod
    def _write(made: Frames, writer: ClipWriter, watch: Stopwatch) -> int:
        with watch("write"):
            writer.write_frames(made.images)
        return len(made)
