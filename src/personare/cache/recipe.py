"""A recipe: stages as a graph, with keys that are known before anything is computed.

Stages read a portrait, a speech, a guide, or several of them; all their features are cached
alike, by the content of what they read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from personare.cache.checkpoint import Workspace
from personare.cache.form import Form, Misfit
from personare.cache.keys import stage_key
from personare.errors import EngineError, PersonareError
from personare.types import Feature, Guide, Image, Progress, Samples, Source, no_progress

Sources = Mapping[Source, Any]
"""What a recipe runs on: a Path as "portrait", Samples as "speech", a Guide as "guide"."""

Show = Callable[[str, Image], None]
"""Told a picture of what is being made, uint8 [H, W, 3], under a name."""


def show_nothing(name: str, picture: Image) -> None:
    """A Show for those who do not look."""


Cost = Literal["seconds", "minutes"]
"""How long a stage may take; one of "minutes" (or hours) has a workspace for checkpoints."""


@dataclass(frozen=True, slots=True)
class StageInputs:
    """All that a stage may look at, through one door: a source that the stage does not declare
    in `reads` raises EngineError, for its feature would be kept under a key that knows nothing
    of it.

    parameters: those that the stage declared.
    features: of the stages that it needs.
    sources: those that it declared.
    progress: to be told how far the stage is; it may raise Cancelled.
    workspace: where a stage of minutes keeps checkpoints and finds the last one; keeps nothing
        for a stage of seconds.
    show: for pictures that people look at while it works.
    """

    parameters: Mapping[str, Any]
    features: Mapping[str, Feature]
    sources: Sources
    progress: Progress = no_progress
    workspace: Workspace = field(default_factory=Workspace)
    show: Show = show_nothing

    @property
    def portrait(self) -> Path:
        """The portrait's file."""
        return cast(Path, self._source("portrait"))

    @property
    def speech(self) -> Samples:
        """The samples, float32 [n], 16 kHz mono."""
        return cast(Samples, self._source("speech"))

    @property
    def guide(self) -> Guide:
        """The guide, to be opened."""
        return cast(Guide, self._source("guide"))

    def _source(self, source: Source) -> Any:
        if source not in self.sources:
            raise EngineError(f"the stage does not declare that it reads the {source}")
        return self.sources[source]


@dataclass(frozen=True, slots=True)
class Stage:
    """A named, versioned, pure function from inputs to one feature.

    name: "ENGINE.STAGE", for example "puppet.face".
    version: raised by hand whenever `compute` gives other results.
    parameters: name -> JSON value of just those options that `compute` reads.
    needs: names of the stages whose features it reads.
    reads: the sources that it opens itself.
    weights: sha256 of every checkpoint it uses.
    numeric_format: for example "float32"; part of the key because results differ with it.
    form: the form of its feature for given inputs. None: a feature of it is never taken from
        others.
    cost: no part of the key.
    pictures: what people can see of its finished feature, by name.
    """

    name: str
    version: int
    compute: Callable[[StageInputs], Feature]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads: tuple[Source, ...] = ()
    weights: tuple[str, ...] = ()
    numeric_format: str = "float32"
    form: Callable[[StageInputs], Form] | None = None
    cost: Cost = "seconds"
    pictures: Callable[[Feature], Mapping[str, Image]] | None = None

    def __post_init__(self) -> None:
        engine, _, rest = self.name.partition(".")
        if not (engine and rest and self.name.isprintable()):
            raise EngineError(f"a stage's name must be ENGINE.STAGE, not {self.name!r}")

    def misfit(self, inputs: StageInputs, feature: Feature) -> str:
        """Why a feature that somebody else made of these inputs is not taken; "" if it is."""
        if self.form is None:
            return f"stage {self.name} does not declare the form of its features"
        try:
            self.form(inputs).check(feature)
        except Misfit as misfit:
            return str(misfit)
        except PersonareError as error:  # the inputs themselves cannot be used
            return error.message
        return ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stages in an order in which each comes after those that it needs.

    Raises EngineError if a name occurs twice or a stage needs one that does not come before it.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in seen:
                raise EngineError(f"stage {stage.name} is twice in the recipe")
            if missing := sorted(set(stage.needs) - seen):
                raise EngineError(
                    f"stage {stage.name} needs {', '.join(missing)}, which no stage before it makes"
                )
            seen.add(stage.name)

    def sources(self) -> dict[str, frozenset[Source]]:
        """Stage name -> the sources that its feature depends on, its own and those of the
        stages it needs.
        """
        reached: dict[str, frozenset[Source]] = {}
        for stage in self.stages:
            reached[stage.name] = frozenset(stage.reads).union(*(reached[name] for name in stage.needs))
        return reached

    def within(self, *sources: Source) -> Recipe:
        """The stages that these sources are enough for: with "portrait" alone, what is prepared
        before anything is said or shown.
        """
        reached = self.sources()
        return Recipe(tuple(stage for stage in self.stages if reached[stage.name] <= set(sources)))

    def portrait_keys(self, portrait: str) -> dict[str, str]:
        """Stage name -> key of what a portrait with this digest is enough for."""
        return self.within("portrait").keys({"portrait": portrait})

    def keys(self, digests: Mapping[Source, str]) -> dict[str, str]:
        """Stage name -> key of its feature, in recipe order, for sources with these digests.
        Nothing is computed.

        Raises EngineError if a parameter is not a JSON value, or a source is missing.
        """
        keys: dict[str, str] = {}
        for stage in self.stages:
            if absent := [source for source in stage.reads if source not in digests]:
                raise EngineError(f"stage {stage.name} reads the {absent[0]}, and none is given")
            try:
                keys[stage.name] = stage_key(
                    name=stage.name,
                    version=stage.version,
                    parameters=stage.parameters,
                    needs={name: keys[name] for name in stage.needs},
                    sources={source: digests[source] for source in stage.reads},
                    weights=stage.weights,
                    numeric_format=stage.numeric_format,
                )
            except (TypeError, ValueError) as error:
                raise EngineError(
                    f"a parameter of stage {stage.name} cannot be part of a key: {error}"
                ) from None
        return keys
