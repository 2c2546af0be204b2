"""A recipe: the stages of one engine's preparation as a graph, with keys that are known before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personare.types import Feature, Progress, no_progress


@dataclass(frozen=True, slots=True)
class StageInputs:
    """All that a stage may look at: the portrait file, the parameters it declared, the features of the stages it needs."""

    portrait: Path
    parameters: Mapping[str, Any]
    features: Mapping[str, Feature]
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True)
class Stage:
    """A named, versioned, pure function from inputs to one feature.

    name: "ENGINE.STAGE", for example "puppet.face". version: raised by hand whenever `compute` gives other results.
    parameters: name -> JSON value of just those options that `compute` reads. needs: names of the stages whose features it
    reads. reads_portrait: whether it opens the portrait file. weights: sha256 of every checkpoint it uses.
    numeric_format: for example "float32"; part of the key because results differ with it.
    """

    name: str
    version: int
    compute: Callable[[StageInputs], Feature]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads_portrait: bool = False
    weights: tuple[str, ...] = ()
    numeric_format: str = "float32"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stages in an order in which each comes after those that it needs."""

    stages: tuple[Stage, ...]
