"""Speech into a file of motion, without a portrait and without a picture."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from personare.cache.run import Outcome
from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions
from personare.errors import EngineError
from personare.ground.stopwatch import Stopwatch
from personare.studio.installed import engines_that
from personare.studio.motions import checked_motion_target, motion_written
from personare.types import SAMPLE_RATE, Progress, Speech, no_progress


@dataclass(frozen=True, slots=True)
class MotionReport:
    """What was made. timings: seconds by room, and in all. stages: what came from the cache."""

    output: Path
    engine: str
    space: str
    frames: int
    fps: float
    timings: Mapping[str, float]
    stages: Mapping[str, Outcome]


def write_motion(
    engine: Engine,
    options: EngineOptions,
    speech: Speech,
    output: Path,
    store: FeatureStore | None = None,
    progress: Progress = no_progress,
) -> MotionReport:
    """The motion of a speech in a file, whose suffix says how it is written. Raises
    PersonareError; then there is no file.
    """
    watch = Stopwatch()
    if engine.moves is None:
        can = engines_that(lambda other: other.moves is not None)
        raise EngineError(f"{engine.name} makes no motion", hint=f"engines that do: {can}")
    checked_motion_target(output, engine.moves)
    frames = 0
    with closing(engine.move(options, store=store)) as movement:
        movement.progress = progress
        expected = None if speech.seconds is None else movement.count(round(speech.seconds * SAMPLE_RATE))
        with motion_written(output, movement.space, movement.fps) as sink:
            for chunk in speech.chunks():
                for part in movement.feed(chunk.samples, chunk.phones):
                    sink.write(part.values)
                    frames += len(part)
                    progress("moving", frames, expected)
            for part in movement.finish():
                sink.write(part.values)
                frames += len(part)
    seconds = {name: round(value, 4) for name, value in movement.watch.seconds.items()}
    return MotionReport(
        output,
        engine.name,
        movement.space.name,
        frames,
        float(movement.fps),
        {**seconds, "total": round(watch.total(), 4)},
        dict(movement.heard),
    )
