"""Running a recipe against the store, and telling beforehand what would be computed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.cache.store import FeatureStore
from personare.types import Feature, Progress, no_progress


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a recipe gave, by stage name. portrait: digest of the portrait file. seconds: computing, or finding in the cache."""

    portrait: str
    features: Mapping[str, Feature]
    keys: Mapping[str, str]
    outcome: Mapping[str, Literal["hit", "miss"]]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage of a recipe as the cache has it. size in bytes and age_seconds are 0 if it is not cached."""

    stage: str
    key: str
    cached: bool
    size: int
    age_seconds: float
    parameters: tuple[str, ...]
    needs: tuple[str, ...]


def prepare(recipe: Recipe, portrait: Path, store: FeatureStore, progress: Progress = no_progress) -> Preparation:
    """All features of a recipe; each is computed only if the store has it not.

    Raises UnreadableMedia if the portrait cannot be read, and what the stages raise.
    """
    digest = store.digest(portrait)
    keys = recipe.keys(digest)
    features: dict[str, Feature] = {}
    outcome: dict[str, Literal["hit", "miss"]] = {}
    seconds: dict[str, float] = {}
    for i, stage in enumerate(recipe.stages):
        progress("preparing", i, len(recipe.stages))
        began = time.perf_counter()
        inputs = StageInputs(portrait, stage.parameters, {name: features[name] for name in stage.needs}, progress)
        features[stage.name], hit = store.fetch(stage, keys[stage.name], lambda s=stage, i=inputs: s.compute(i))
        outcome[stage.name] = "hit" if hit else "miss"
        seconds[stage.name] = time.perf_counter() - began
    progress("preparing", len(recipe.stages), len(recipe.stages))
    return Preparation(digest, features, keys, outcome, seconds)


def explain(recipe: Recipe, keys: Mapping[str, str], store: FeatureStore) -> list[StageStatus]:
    """Which stages are cached, without computing or loading any."""
    return [_status(stage, keys[stage.name], store) for stage in recipe.stages]


def changed_by(before: Recipe, after: Recipe, portrait: str) -> list[str]:
    """Names of the stages of `after` that `before` has not prepared already, for the portrait with this digest."""
    known = set(before.keys(portrait).values())
    return [name for name, key in after.keys(portrait).items() if key not in known]


def _status(stage: Stage, key: str, store: FeatureStore) -> StageStatus:
    entry = store.contains(key)
    size, age = (entry.bytes, max(0.0, time.time() - entry.created)) if entry else (0, 0.0)
    return StageStatus(stage.name, key, entry is not None, size, age, tuple(stage.parameters), stage.needs)
