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
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from personare.cache.recipe import Recipe
from personare.engines.performance import Movement as Movement
from personare.engines.performance import Performance as Performance
from personare.errors import EngineError, InvalidOption, UnknownName
from personare.motion import Space
from personare.types import Avatar, Guide, Source, frame_rate

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.weights.finder import Weights

ENTRY_POINT_GROUP = "personare.engines"


class EngineOptions(BaseModel):
    """Base of every engine's options: a frozen pydantic model; each field has a default, a
    range, a unit and a description.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def numerics(self) -> dict[str, object]:
        """JSON: what this machine makes of options that leave it the choice; part of the key of
        a finished clip.
        """
        return {}


Options = TypeVar("Options", bound=EngineOptions)


def _exact_rate(value: Any) -> Fraction:
    try:
        return frame_rate(value)
    except TypeError:  # pydantic would let it through as a bug of ours
        raise ValueError("a frame rate is a number or a text, such as 25, 29.97 or 30000/1001") from None


FrameRate = Annotated[Fraction, BeforeValidator(_exact_rate), PlainSerializer(str, return_type=str)]
"""An option that is a frame rate: what `types.frame_rate` reads, and a text in JSON."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long after a moment of speech its frame can be out, however fast the machine is.

    chunk_seconds: the engine works in steps of this length.
    lookahead_seconds: speech after a frame's time that must be known before the frame is
        settled; infinite where the whole speech must be known.
    """

    chunk_seconds: float
    lookahead_seconds: float

    @property
    def floor_seconds(self) -> float:
        """Chunk and look-ahead together: what a live voice waits for at least."""
        return self.chunk_seconds + self.lookahead_seconds


class Engine(ABC):
    """One way to animate a portrait."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[EngineOptions]]
    exact_streaming: ClassVar[bool] = True
    """Whether the cut of the speech into pieces never changes a byte of the frames."""
    idles: ClassVar[bool] = True
    """Whether performances have motion of their own while nobody speaks."""
    moves: ClassVar[Space | None] = None
    """The space of the motion that this engine makes, if others can use it."""
    shows: ClassVar[frozenset[str]] = frozenset()
    """Names of the spaces whose motions its performances show."""
    licences: ClassVar[Mapping[str, str]]
    """What it consists of ("code", "networks", ...) -> SPDX expression or plain words."""
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
    def latency(self, options: EngineOptions) -> Latency:
        """The latency with these options; true, not hoped for."""

    def drives(self, options: EngineOptions) -> frozenset[Source]:  # noqa: ARG002
        """What moves the portrait with these options: speech, a guide, or either."""
        return frozenset({"speech"})

    @abstractmethod
    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ) -> Performance:
        """Start a performance of a prepared avatar.

        guide: what to do, for engines that `drives` says are moved by one.
        store: where features of whole speeches and guides are kept and found; None (live
            voices) keeps nothing.
        """

    def move(
        self,
        options: EngineOptions,  # noqa: ARG002
        *,
        guide: Guide | None = None,  # noqa: ARG002
        store: FeatureStore | None = None,  # noqa: ARG002
    ) -> Movement:
        """Start making motion alone, in the space that the engine `moves`, for another engine's
        portrait or a file.
        """
        raise EngineError(f"{self.name} makes no motion that others could use")

    def brings_portrait(self, options: EngineOptions) -> Path | None:  # noqa: ARG002
        """The portrait that the engine brings along where these options ask for none of the
        user's; else None.
        """
        return None

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:  # noqa: ARG002
        """sha256 of every checkpoint that a performance uses: part of what names a finished
        clip.
        """
        return ()

    def styles(self) -> Mapping[str, Path]:
        """Ways of moving that one of its options chooses by name: name -> file."""
        return {}

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
            wrong = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                raise InvalidOption(
                    f"{self.name} has no option {field!r}", hint=f"its options are: {known}"
                ) from None
            doc = self.Options.model_fields[field].description if field in self.Options.model_fields else ""
            raise InvalidOption(
                f"{self.name} option {field}={first['input']!r}: {wrong}", hint=doc or ""
            ) from None


def own_options(options: EngineOptions, kind: type[Options], engine: str) -> Options:
    """The options as the wing's own class. Raises EngineError for those of another engine."""
    if not isinstance(options, kind):
        raise EngineError(f"{engine} was given the options of another engine: {type(options).__name__}")
    return options


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
