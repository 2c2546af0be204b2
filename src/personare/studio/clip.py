"""A performance of one speech, or of given curves, on its way into a file: feed, write, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from personare.cache.clips import ClipFacts
from personare.cache.run import Preparation
from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions, Performance
from personare.errors import EngineError, InvalidOption
from personare.ground.stopwatch import Stopwatch
from personare.media.motion_files import CurveTrack, curves_written
from personare.media.writer import ClipWriter
from personare.studio.finished import Finished
from personare.studio.report import Report
from personare.types import (
    SAMPLE_RATE,
    Avatar,
    Frames,
    Phone,
    Progress,
    Samples,
    Speech,
    SpeechChunk,
    frame_count,
    no_progress,
)


@dataclass(frozen=True)
class Clip:
    """A performance of one speech, not yet made. Iterating gives Frames; every iteration is a
    new performance.

    track: curves that are followed in place of the speech, which is only the clip's sound then.
    """

    engine: Engine
    options: EngineOptions
    avatar: Avatar
    speech: Speech
    store: FeatureStore | None = None
    track: CurveTrack | None = None

    def __iter__(self) -> Iterator[Frames]:
        with closing(self._performed()) as performance:
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
        curves: Path | None = None,
    ) -> Report:
        """Write the clip as mp4; the file appears when it is complete. Raises PersonareError;
        then there is no file.

        finished: where the clip is kept when it is complete. curves: a .json or .csv file for
        the curves of every frame.
        """
        watch, finished = watch or Stopwatch(), finished or Finished(None, "off")
        if curves is not None and not self.engine.curves:
            raise InvalidOption(
                f"{self.engine.name} has no curves to write", hint="puppet has: leave --engine out"
            )
        performance = self._performed()
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
        told = nullcontext() if curves is None else curves_written(curves, fps)
        with closing(performance), told as performance.curves, watch.leaving("write", target) as writer:
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
                raise EngineError(
                    f"{self.engine.name} made {frames} frames of {samples} samples at {fps} fps"
                )
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

    def _performed(self) -> Performance:
        performance = self.engine.perform(self.avatar, self.options, self.store)
        return performance if self.track is None else _Following(performance, self.track)

    @staticmethod
    def _write(made: Frames, writer: ClipWriter, watch: Stopwatch) -> int:
        with watch("write"):
            writer.write_frames(made.images)
        return len(made)


class _Following(Performance):
    """A performance that shows given states for as long as the sound lasts."""

    def __init__(self, performance: Performance, track: CurveTrack) -> None:
        super().__init__()
        if performance.fps != track.fps:
            rates = f"at {float(track.fps):g} frames per second, the clip at {float(performance.fps):g}"
            message = f"the curves are {rates}"
            raise InvalidOption(message, hint=f"--fps {track.fps}")
        self._performance, self._track = performance, track
        self.fps, self.size, self.watch = performance.fps, performance.size, performance.watch
        self._samples = self._shown = 0

    def feed(self, samples: Samples, phones: Sequence[Phone] | None = None) -> Iterator[Frames]:  # noqa: ARG002
        self._samples += len(samples)
        first, self._shown = self._shown, min(frame_count(self._samples, self.fps), len(self._track.states))
        self._performance.curves = self.curves
        return self._performance.follow(self._track.states[first : self._shown])

    def finish(self) -> Iterator[Frames]:
        return iter(())

    def idle(self, n: int) -> Frames:
        return self._performance.idle(n)

    def interrupt(self) -> None:
        self._performance.interrupt()

    def close(self) -> None:
        self._performance.close()


def sound_under(track: CurveTrack, sound: Speech | None = None) -> Speech:
    """The sound of a clip that shows curves, as long as they are: a longer one is cut, a
    shorter one filled up with silence.
    """
    samples = int(len(track.states) * SAMPLE_RATE / track.fps)
    rate, channels = (sound.voice_rate, sound.voice_channels) if sound else (SAMPLE_RATE, 1)

    def chunks() -> Iterator[SpeechChunk]:
        heard, kept = samples, samples * rate // SAMPLE_RATE  # still to come: of `samples`, of `voice`
        for chunk in sound.chunks() if sound else ():
            piece = SpeechChunk(chunk.samples[:heard], chunk.voice[:kept])
            heard, kept = heard - len(piece.samples), kept - len(piece.voice)
            yield piece
            if not heard and not kept:
                return
        while heard or kept:
            n, m = min(SAMPLE_RATE, heard), min(rate, kept)
            heard, kept = heard - n, kept - m
            yield SpeechChunk(np.zeros(n, np.float32), np.zeros((m, channels), np.float32))

    return Speech(sound.name if sound else "the curves", rate, channels, samples / SAMPLE_RATE, chunks)
