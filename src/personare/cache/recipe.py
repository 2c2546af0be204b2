"""A recipe: stages as a graph, with keys that are known before anything is computed.

There are two kinds: what an engine prepares of a portrait, and what it hears in a speech. Both are cached alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personare.cache.keys import stage_key
from personare.errors import EngineError
from personare.types import Feature, Progress, Samples, no_progress


@dataclass(frozen=True, slots=True)
class StageInputs:
    """All that a stage may look at: the portrait file or the speech (float32 [n], 16 kHz mono), the parameters it declared,
    the features of the stages it needs."""

    portrait: Path
    parameters: Mapping[str, Any]
    features: Mapping[str, Feature]
    progress: Progress = no_progress
    speech: Samples | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A named, versioned, pure function from inputs to one feature.

    name: "ENGINE.STAGE", for example "puppet.face". version: raised by hand whenever `compute` gives other results.
    parameters: name -> JSON value of just those options that `compute` reads. needs: names of the stages whose features it
    reads. reads_portrait: whether it opens the portrait file; reads_speech: whether it hears the samples. weights: sha256 of
    every checkpoint it uses. numeric_format: for example "float32"; part of the key because results differ with it.
    """

    name: str
    version: int
    compute: Callable[[StageInputs], Feature]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads_portrait: bool = False
    reads_speech: bool = False
    weights: tuple[str, ...] = ()
    numeric_format: str = "float32"

    def __post_init__(self) -> None:
        engine, _, rest = self.name.partition(".")
        if not (engine and rest and self.name.isprintable()):
            raise EngineError(f"a stage's name must be ENGINE.STAGE, not {self.name!r}")


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
                raise EngineError(f"stage {stage.name} needs {', '.join(missing)}, which no stage before it makes")
            seen.add(stage.name)

    def keys(self, portrait: str, speech: str = "") -> dict[str, str]:
        """Stage name -> key of its feature, in recipe order, for a portrait or speech with this digest. Nothing is computed.

        Raises EngineError if a parameter is not a JSON value.
        """
        keys: dict[str, str] = {}
        for stage in self.stages:
            try:
                keys[stage.name] = stage_key(
                    name=stage.name,
                    version=stage.version,
                    parameters=stage.parameters,
                    needs={name: keys[name] for name in stage.needs},
                    portrait=portrait if stage.reads_portrait else None,
                    speech=speech if stage.reads_speech else None,
                    weights=stage.weights,
                    numeric_format=stage.numeric_format,
                )
            except (TypeError, ValueError) as error:
                raise EngineError(f"a parameter of stage {stage.name} cannot be part of a key: {error}") from None
        return keys
