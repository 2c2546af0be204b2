"""The contract that every engine fulfils, and how engines are found.

An engine is a class named by an entry point of the group `personare.engines`, ours and other
people's alike:

    [project.entry-points."personare.engines"]
    puppet = "personare.engines.puppet.engine:Puppet"

Importing an engine's module must be cheap (no torch, no model loading): that happens in
`prepare` stages and `perform`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from personare.cache.recipe import Recipe
from personare.cache.run import Outcome
from personare.errors import EngineError, InvalidOption, UnknownName, UnusableSpeech
from personare.ground.stopwatch import Stopwatch
from personare.types import Avatar, FaceState, Frames, Phone, Progress, Samples, no_progress

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.media.motion_files import CurveSink
    from personare.weights.finder import Weights

ENTRY_POINT_GROUP = "personare.engines"


class EngineOptions(BaseModel):
    """Base of every engine's options: a frozen pydantic model; each field has a default, a
    range, a unit and a description.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Performance(ABC):
    """One run: speech in, frames out. Owns all per-run state; never shared between sessions;
    not thread-safe.

    The performance has one timeline of frames. `feed` extends the current utterance and yields
    every frame that is settled (speech up to `lookahead_seconds` after it is known); `finish`
    ends the utterance: over one utterance the number of frames is ceil(samples * fps / 16000).
    The next `feed` begins a new utterance at the next frame. Between utterances, `idle`
    continues the timeline with natural motion and the mouth at rest.

    The iterators of `feed` and `finish` work while they are read: exhaust one before the next
    call, or `interrupt`, which ends it.
    """

    fps: Fraction
    size: tuple[int, int]
    """(height, width) of the frames in pixels."""
    watch: Stopwatch
    """Seconds spent in each room of the wing: "drive", "motion", "render", "compose"."""
    heard: dict[str, Outcome]
    """Stages of the speech that came from the cache, and those that did not."""
    progress: Progress
    """Told about anything long that makes no frames, such as hearing a whole file; may be set
    before the first `feed`.
    """
    curves: CurveSink | None
    """Told the state of every frame that is made, by engines whose `curves` is True; may be set
    before the first `feed`.
    """

    def __init__(self) -> None:
        self.curves = None
        self.watch = Stopwatch()
        self.heard = {}
        self.progress = no_progress

    def follow(self, states: Iterable[FaceState]) -> Iterator[Frames]:  # noqa: ARG002
        """Frames of given states, one each: what was told to `curves` gives the same bytes
        again. Raises EngineError if the engine has no curves.
        """
        raise EngineError("this engine does not follow curves", hint="puppet does: leave --engine out")

    def close(self) -> None:  # noqa: B027 - most performances hold nothing
        """End threads and let go of what the performance holds; nothing may be called after it."""

    @abstractmethod
    def feed(self, samples: Samples, phones: Sequence[Phone] | None = None) -> Iterator[Frames]:
        """Hear some speech; yield the frames that are settled by now.

        samples: float32 [n] at 16 kHz, any n >= 0. phones: those that start within these
        samples, with positions from the start of the utterance, if the text is known; None lets
        the engine listen. The cut into pieces does not change a byte of the frames (unless the
        engine declares `exact_streaming = False`).
        """

    @abstractmethod
    def finish(self) -> Iterator[Frames]:
        """End the utterance and yield its remaining frames. Without an utterance: nothing."""

    @abstractmethod
    def idle(self, n: int) -> Frames:
        """The next n frames at rest. Raises EngineError while an utterance is under way."""

    @abstractmethod
    def interrupt(self) -> None:
        """Drop everything queued and end the utterance at once; the next frames are idle or new
        speech, without a jump.
        """


class Engine(ABC):
    """One way to animate a portrait."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[EngineOptions]]
    driven_by: ClassVar[frozenset[str]]
    """What moves the portrait: {"speech"}, {"guide"} or both."""
    chunk_seconds: ClassVar[float]
    """The engine works in steps of this length."""
    lookahead_seconds: ClassVar[float]
    """Speech after a frame's time that must be known before the frame is settled. Latency floor
    = chunk + look-ahead.
    """
    exact_streaming: ClassVar[bool] = True
    licences: ClassVar[Mapping[str, str]]
    """What it consists of ("code", "networks", ...) -> SPDX expression or plain words."""
    curves: ClassVar[bool] = False
    """Whether performances tell the curves of their frames and follow given ones."""
    version: ClassVar[int] = 1
    """Raised whenever a performance gives other frames than before: finished clips of the old
    version are then not served.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        """weights: where checkpoints are looked for; None for the usual places. Engines without
        checkpoints ignore it.
        """
        self._weights = weights

    @property
    def weights(self) -> Weights:
        """Where this engine's checkpoints are looked for."""
        if self._weights is None:
            from personare.weights.finder import Weights

            self._weights = Weights()
        return self._weights

    @abstractmethod
    def missing(self) -> list[str]:
        """What has to be installed or downloaded before this engine can run, one line each;
        empty if it is ready.
        """

    @abstractmethod
    def recipe(self, options: EngineOptions) -> Recipe:
        """The preparation of a portrait, as stages."""

    @abstractmethod
    def perform(
        self, avatar: Avatar, options: EngineOptions, store: FeatureStore | None = None
    ) -> Performance:
        """Start a performance of a prepared avatar.

        store: where features of whole speeches are kept and found; None (live voices) keeps
        nothing.
        """

    def carried_portrait(self, options: EngineOptions) -> Path | None:  # noqa: ARG002
        """The portrait that the engine brings along where these options ask for none of the
        user's; else None.
        """
        return None

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:  # noqa: ARG002
        """sha256 of every checkpoint that a performance uses: part of what names a finished
        clip.
        """
        return ()

    def read_options(self, values: Mapping[str, Any]) -> EngineOptions:
        """Validated options; raises InvalidOption with the field, what is wrong and what
        exists.
        """
        try:
            return self.Options(**values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "options"
            known = ", ".join(self.Options.model_fields)
            if first["type"] == "extra_forbidden":
                raise InvalidOption(
                    f"{self.name} has no option {field!r}", hint=f"its options are: {known}"
                ) from None
            doc = self.Options.model_fields[field].description if field in self.Options.model_fields else ""
            raise InvalidOption(
                f"{self.name} option {field}={first['input']!r}: {first['msg']}", hint=doc or ""
            ) from None


def one_dimensional(samples: np.ndarray[Any, Any]) -> Samples:
    """The samples given to `feed` as float32 [n].

    Raises EngineError for any other shape, UnusableSpeech for NaN and infinite samples.
    """
    if samples.ndim != 1:
        raise EngineError(f"speech must be one-dimensional 16 kHz mono, not of shape {samples.shape}")
    heard = np.ascontiguousarray(samples, dtype=np.float32)
    if not np.isfinite(heard).all():
        raise UnusableSpeech("the speech has NaN or infinite samples", hint="feed samples from -1 to 1")
    return heard


def engine_entry_points() -> dict[str, EntryPoint]:
    """Installed engines by name; nothing is imported."""
    return {
        point.name: point for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name)
    }


def load_engine(name: str, weights: Weights | None = None) -> Engine:
    """An engine by name, which looks for its checkpoints in `weights`.

    Raises UnknownName with the list of installed ones, EngineError if its module cannot be
    imported.
    """
    points = engine_entry_points()
    if name not in points:
        raise UnknownName(
            f"no engine named {name!r}", hint=f"installed engines: {', '.join(points) or 'none'}"
        )
    try:
        loaded = points[name].load()
    except ImportError as error:
        raise EngineError(
            f"engine {name} cannot be imported: {error}", hint=f"reinstall the package of {name}"
        ) from error
    engine = loaded(weights)
    if not isinstance(engine, Engine):
        raise EngineError(f"entry point {name} is not a personare engine: {points[name].value}")
    return engine
