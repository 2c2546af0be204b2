"""float: one photo and a voice, by flow matching."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from personare.cache.recipe import Recipe
from personare.cache.run import hear
from personare.engines.engine import Engine, EngineOptions, Performance, one_dimensional
from personare.engines.float.options import FloatOptions
from personare.engines.neural import require_torch, torch_missing
from personare.errors import EngineError
from personare.types import Avatar, Frames, Phone, Samples, frame_count

if TYPE_CHECKING:
    from collections.abc import Generator

    from personare.cache.store import FeatureStore
    from personare.engines.float.stage import Stage
    from personare.weights.finder import Weights

CHUNK_SECONDS = 2.0


class Float(Engine):
    name: ClassVar[str] = "float"
    summary: ClassVar[str] = "one photo and a voice, by flow matching: head, gaze and mood move too (FLOAT)"
    Options: ClassVar[type[EngineOptions]] = FloatOptions
    driven_by: ClassVar[frozenset[str]] = frozenset({"speech"})
    chunk_seconds: ClassVar[float] = CHUNK_SECONDS
    lookahead_seconds: ClassVar[float] = math.inf
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "weights float": "CC-BY-NC-ND-4.0 (README) or CC-BY-NC-4.0 (LICENSE): non-commercial",
        "weights wav2vec2-base-960h": "Apache-2.0",
        "weights emotion classifier": "Apache-2.0 according to a third party",
        "weights s3fd": "none stated (code: BSD-3-Clause)",
    }

    def missing(self) -> list[str]:
        from personare.engines.float.checkpoints import needed
        from personare.weights.finder import size_of

        wanted = self.weights.missing(*needed(FloatOptions(), self.weights))
        lines = [f"{entry.name} ({size_of(entry)}): personare weights pull {entry.name}" for entry in wanted]
        return torch_missing() + lines

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.float.checkpoints import detector_of, sight
        from personare.engines.float.prepare import recipe

        require_torch(self.name)
        mine = _float_options(options)
        return recipe(sight(mine, self.weights), mine, detector_of(mine, self.weights))

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.float.checkpoints import EMOTION, VOICE, float_sha256

        names = [VOICE] + ([EMOTION] if _float_options(options).emotion == "auto" else [])
        return (*float_sha256(self.weights), *map(self.weights.sha256, names))

    def perform(
        self, avatar: Avatar, options: EngineOptions, store: FeatureStore | None = None
    ) -> FloatPerformance:
        require_torch(self.name)
        return FloatPerformance(avatar, _float_options(options), self.weights, store)


class FloatPerformance(Performance):
    """One run of one avatar. Speech is gathered until it ends, for the networks attend to all
    of it; then frames come chunk by chunk, while the next chunk is sampled: drive -> motion ->
    render -> compose.
    """

    def __init__(
        self, avatar: Avatar, options: FloatOptions, weights: Weights, store: FeatureStore | None
    ) -> None:
        from personare.engines.float.stage import Stage

        super().__init__()
        self._stage: Stage = Stage(avatar, options, weights, self.watch)
        self._store = store
        self.fps, self.size = options.fps, self._stage.size
        self._speech: list[Samples] | None = None
        self._running: Generator[Any, None, None] | None = None
        self._next_frame = 0

    def feed(self, samples: Samples, phones: Sequence[Phone] | None = None) -> Iterator[Frames]:  # noqa: ARG002
        if self._speech is None:
            self._speech = []
        self._speech.append(one_dimensional(samples).copy())
        return iter(())

    def finish(self) -> Iterator[Frames]:
        import numpy as np

        gathered, self._speech = self._speech, None
        speech = np.concatenate(gathered) if gathered else np.zeros(0, np.float32)
        return self._said(speech) if len(speech) else iter(())

    def _said(self, speech: Samples) -> Iterator[Frames]:
        with self.watch("drive"):
            heard = hear(self._stage.hearing, speech, self._store, self.progress)
        self.heard.update(heard.outcome)
        self._stage.begin(heard.features, speech)
        frames = self._stage.frames(frame_count(len(speech), self.fps))
        self._running = frames
        for images in frames:
            self._stage.shown += len(images)
            yield Frames(self._advance(len(images)), images)
        if self._running is frames:
            self._running = None

    def idle(self, n: int) -> Frames:
        if n < 1:
            raise EngineError(f"idle({n}): ask for at least one frame")
        if self._speech is not None or self._running is not None:
            raise EngineError(
                "idle() while an utterance is under way", hint="call finish() or interrupt() first"
            )
        images = self._stage.idle(n)
        return Frames(self._advance(n), images)

    def interrupt(self) -> None:
        self._speech = None
        if self._running is not None:
            running, self._running = self._running, None
            running.close()
            self._stage.stop()

    def close(self) -> None:
        self.interrupt()
        self._stage.close()

    def _advance(self, n: int) -> int:
        first = self._next_frame
        self._next_frame += n
        return first


def _float_options(options: EngineOptions) -> FloatOptions:
    if not isinstance(options, FloatOptions):
        raise EngineError(f"float was given the options of another engine: {type(options).__name__}")
    return options
