"""A performance on its way into a file: sound in, frames out, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from personare.cache.clips import ClipFacts
from personare.cache.run import Preparation
from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions
from personare.errors import EngineError
from personare.ground import interruption
from personare.ground.stopwatch import Stopwatch
from personare.ground.tuning import one_thread
from personare.media.motions import MotionSink
from personare.media.writer import ClipWriter
from personare.provenance.content import content_of
from personare.provenance.fingerprint import MouthSeen
from personare.provenance.marks import now
from personare.studio.finished import Finished
from personare.studio.leads import Lead, Part, Voice
from personare.studio.marking import Asked, Marking
from personare.studio.motions import motion_written
from personare.studio.remarks import Remarks
from personare.studio.report import Report
from personare.types import (
    SAMPLE_RATE,
    Avatar,
    Frames,
    Guide,
    Progress,
    Speech,
    SpeechChunk,
    frame_count,
    no_progress,
)


@dataclass(frozen=True)
class Clip:
    """A performance with its sound, not yet made. Iterating gives Frames; every iteration is a
    new performance.

    engine, options, avatar: who is seen.
    speech: the sound.
    store: where features of whole speeches and guides are kept.
    lead: what moves the portrait; by default the sound does.
    """

    engine: Engine
    options: EngineOptions
    avatar: Avatar
    speech: Speech
    store: FeatureStore | None = None
    lead: Lead = field(default_factory=Voice)

    def __iter__(self) -> Iterator[Frames]:
        play = self.lead.play(self._part)
        with closing(play.performance):
            samples = 0
            for chunk in self.speech.chunks():
                samples += len(chunk.samples)
                yield from play.hear(chunk, frame_count(samples, play.performance.fps))
            yield from play.end()

    @property
    def _part(self) -> Part:
        return Part(self.engine, self.avatar, self.options, self.store)

    def save(
        self,
        output: str | Path,
        progress: Progress = no_progress,
        *,
        preparation: Preparation | None = None,
        watch: Stopwatch | None = None,
        finished: Finished | None = None,
        motion: Path | None = None,
        marking: Marking | None = None,
    ) -> Report:
        """Write the clip as mp4; the file appears when it is complete. Raises PersonareError;
        then there is no file.

        preparation: of the portrait, for the report.
        watch: goes on counting.
        finished: where the clip is kept when it is complete.
        motion: a file for the motion of every frame, see `motion_written`.
        marking: the marks that the clip gets; by default those of this machine.
        """
        marking = marking or Marking.open(Asked(), self.engine)
        watch, finished = watch or Stopwatch(), finished or Finished(None, "off")
        play = self.lead.play(self._part)
        performance = play.performance
        performance.progress = progress
        (height, width), fps, speech = performance.size, performance.fps, finished.listening(self.speech)
        expected = None if speech.seconds is None else performance.count(round(speech.seconds * SAMPLE_RATE))
        samples = frames = voiced = 0
        limit = performance.longest  # the sound ends with the last frame
        most_voice = None if limit is None else int(limit * speech.voice_rate / fps)
        remarks = Remarks(self.lead, speech, self.engine.moves)
        label, cue = marking.drawn_on((height, width), fps), marking.heard_in(speech.voice_rate)
        created, content, mouth = now(), "", MouthSeen(self.engine.moves, fps)
        marks: dict[str, str] = {}

        def facts() -> ClipFacts:
            seconds = samples / SAMPLE_RATE
            if limit is not None:
                seconds = min(seconds, float(limit / fps))
            return ClipFacts(
                frames=frames,
                fps=float(fps),
                width=width,
                height=height,
                audio_seconds=seconds,
                warnings=(*remarks.lines(self.avatar, self.options), *performance.remarks),
                created=created,
                content=content,
            )

        def completed(clip: Path) -> None:
            nonlocal content
            content = content_of(clip).digest
            finished.keep(clip, facts())
            marks.update(marking.finish(clip, Path(output).name, facts(), self.avatar, mouth.to_bytes()))

        target = ClipWriter(
            Path(output),
            size=(height, width),
            fps=fps,
            voice_rate=speech.voice_rate,
            voice_channels=speech.voice_channels,
            when_complete=completed,
        )
        told = nullcontext() if motion is None else motion_written(motion, self.engine.moves, fps)
        # For all of it: set for each frame, OpenCV would end and begin its threads each time.
        with one_thread(), closing(performance), told as sink, watch.leaving("write", target) as writer:

            def written(made: Frames) -> None:
                nonlocal frames
                if interruption.arrived():  # whatever a library made of it
                    raise KeyboardInterrupt
                with watch("write"):
                    writer.write_frames(made.images if label is None else label.draw(frames, made.images))
                _tell(sink, made)
                mouth.see(made.motion)
                remarks.see(made)
                frames += len(made)
                progress("speaking", frames, expected)

            for chunk in watch.each("hear", speech.chunks()):
                samples += len(chunk.samples)
                remarks.hear(chunk)
                voice = chunk.voice if most_voice is None else chunk.voice[: most_voice - voiced]
                voiced += len(voice)
                with watch("write"):
                    writer.write_voice(voice if cue is None else cue.mixed(voice))
                for made in watch.each("perform", play.hear(chunk, frame_count(samples, fps))):
                    written(made)
            for made in watch.each("perform", play.end()):
                written(made)
            if frames != performance.count(samples):
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
            performed=performance.heard,
            working_seconds=watch.seconds["perform"] + watch.seconds["write"],
            marks=marks,
        )


def _tell(sink: MotionSink | None, made: Frames) -> None:
    if sink is not None and made.motion is not None:
        sink.write(made.motion)


def sound_for(samples: int, name: str, sound: Speech | None = None) -> Speech:
    """The sound of a clip that is led by something else, of just so many samples at 16 kHz: a
    longer one is cut, a shorter one filled up with silence; None is silent.
    """
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

    return Speech(sound.name if sound else name, rate, channels, samples / SAMPLE_RATE, chunks)


def sound_of(guide: Guide) -> Speech:
    """The sound of a clip that follows a guide: the guide's own, as long as its pictures."""
    return sound_for(int(guide.frames * SAMPLE_RATE / guide.fps), guide.name, guide.sound)
