"""Running a recipe against the store, on a portrait, a speech, a guide or several of them, and
saying beforehand what that would compute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from personare.cache.checkpoint import Workspace
from personare.cache.keys import FileStamp, file_stamp, guide_digest, speech_digest
from personare.cache.recipe import Recipe, Show, Sources, Stage, StageInputs, show_nothing
from personare.cache.store import FeatureStore
from personare.errors import Cancelled, EngineError, PersonareError, UnreadableMedia
from personare.types import Feature, Guide, Progress, Samples, Source, no_progress

log = logging.getLogger(__name__)

Outcome = Literal["hit", "miss"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a recipe made of its sources. All mappings but the first are by stage name, in
    recipe order; seconds include waiting and loading.

    digests: of the sources; empty, as are the keys, where nothing is kept.
    """

    digests: Mapping[Source, str]
    keys: Mapping[str, str]
    features: Mapping[str, Feature]
    outcome: Mapping[str, Outcome]
    seconds: Mapping[str, float]

    @property
    def portrait(self) -> str:
        """The digest of the portrait, "" if there was none."""
        return self.digests.get("portrait", "")


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What the store holds of a stage. bytes, age_seconds, hits and pinned_by are of the cached
    feature, if there is one.
    """

    stage: str
    key: str
    cached: bool
    bytes: int
    age_seconds: float
    hits: int
    pinned_by: tuple[str, ...]
    parameters: dict[str, Any]
    needs: tuple[str, ...]
    reads: tuple[Source, ...]


def prepare(
    recipe: Recipe,
    portrait: Path,
    store: FeatureStore,
    progress: Progress = no_progress,
    show: Show = show_nothing,
) -> Preparation:
    """The features of every stage that a portrait alone is enough for. See `run`."""
    return run(recipe.within("portrait"), {"portrait": portrait}, store, progress, show)


def hear(
    recipe: Recipe, samples: Samples, store: FeatureStore | None, progress: Progress = no_progress
) -> Preparation:
    """The features of every stage for a piece of speech (float32 [n], 16 kHz mono): cached by
    its content, for every portrait. See `run`.
    """
    return run(recipe, {"speech": samples}, store, progress)


def run(
    recipe: Recipe,
    sources: Sources,
    store: FeatureStore | None,
    progress: Progress = no_progress,
    show: Show = show_nothing,
) -> Preparation:
    """The features of every stage: from the store where it has them, computed where it has not.

    sources: those that the stages read.
    store: None computes everything and keeps nothing.
    progress: told each stage's name with the number of stages done and their total; stages may
        report their own steps between.
    show: given the pictures that stages show while they compute, and of finished features.

    Raises UnreadableMedia if a file cannot be read or changes meanwhile, whatever
    PersonareError a stage raises, and EngineError if a stage fails otherwise.
    """
    files = {source: _files(given) for source, given in sources.items()}
    stamps = {path: _stamp(path) for paths in files.values() for path in paths}
    digests = _digests(sources, store) if store else {}
    keys = recipe.keys(digests) if store else {}

    def compute(stage: Stage, inputs: StageInputs) -> Feature:
        feature = _computed(stage, inputs, _named(sources))
        for path in (path for source in inputs.sources for path in files[source]):
            if _stamp(path) != stamps[path]:
                raise UnreadableMedia(
                    f"{path} changed while it was being prepared", hint="try again when it is complete"
                )
        return feature

    return Preparation(digests, keys, *_run(recipe, sources, keys, compute, store, progress, show))


def inputs_of(
    stage: Stage,
    sources: Sources,
    features: Mapping[str, Feature],
    workspace: Workspace | None = None,
    show: Show = show_nothing,
) -> StageInputs:
    """What a stage may look at, of the sources and features that there are.

    workspace: the one that it works in; None for one that keeps nothing.
    """
    workspace = workspace or Workspace(stage=stage.name)
    read = {source: sources[source] for source in stage.reads if source in sources}
    needed = MappingProxyType({name: features[name] for name in stage.needs})
    parameters = MappingProxyType(dict(stage.parameters))
    return StageInputs(parameters, needed, read, workspace.progress, workspace, show)


def _files(given: Any) -> tuple[Path, ...]:
    if isinstance(given, Guide):
        return given.files
    return (given,) if isinstance(given, Path) else ()


def _digests(sources: Sources, store: FeatureStore) -> dict[Source, str]:
    digests: dict[Source, str] = {}
    for source, given in sources.items():
        if isinstance(given, Guide):
            digests[source] = guide_digest(given, store.file_digest)
        elif isinstance(given, Path):
            digests[source] = store.file_digest(given)
        else:
            digests[source] = speech_digest(given)
    return digests


def _named(sources: Sources) -> str:
    """What a stage failed on, for a message."""
    names = [
        given.name if isinstance(given, Guide) else str(given) if isinstance(given, Path) else "the speech"
        for given in sources.values()
    ]
    return " and ".join(names)


def _run(
    recipe: Recipe,
    sources: Sources,
    keys: Mapping[str, str],
    compute: Callable[[Stage, StageInputs], Feature],
    store: FeatureStore | None,
    progress: Progress,
    show: Show,
) -> tuple[dict[str, Feature], dict[str, Outcome], dict[str, float]]:
    """Every stage in order: its features, whether each was there already, and the seconds that
    each took.
    """
    features: dict[str, Feature] = {}
    outcome: dict[str, Outcome] = {}
    seconds: dict[str, float] = {}
    total = len(recipe.stages)
    for done, stage in enumerate(recipe.stages):
        progress(stage.name, done, total)
        began = time.perf_counter()
        if store is None:
            workspace = Workspace(stage=stage.name, progress=progress)
        else:
            workspace = store.workspace(stage, keys[stage.name], progress)
        inputs = inputs_of(stage, sources, features, workspace, show)
        make = partial(compute, stage, inputs)
        if store is None:
            features[stage.name], hit = make(), False
        else:
            features[stage.name], hit = store.fetch(stage, keys[stage.name], make, inputs=inputs)
        outcome[stage.name] = "hit" if hit else "miss"
        seconds[stage.name] = time.perf_counter() - began
        if show is not show_nothing and stage.pictures is not None:
            for name, picture in stage.pictures(features[stage.name]).items():
                show(name, picture)
        log.info("%s %s in %.3f s", stage.name, "found" if hit else "computed", seconds[stage.name])
        progress(stage.name, done + 1, total)
    if store is not None:
        store.flush()
    return features, outcome, seconds


def explain(recipe: Recipe, keys: Mapping[str, str], store: FeatureStore) -> list[StageStatus]:
    """Stage by stage: is its feature in the store, how large and old is it, and what does it
    depend on. Nothing is loaded.
    """
    now = time.time()
    statuses = []
    for stage in recipe.stages:
        entry = store.contains(keys[stage.name])
        statuses.append(
            StageStatus(
                stage=stage.name,
                key=keys[stage.name],
                cached=entry is not None,
                bytes=entry.bytes if entry else 0,
                age_seconds=max(0.0, now - entry.created) if entry else 0.0,
                hits=entry.hits if entry else 0,
                pinned_by=entry.pinned_by if entry else (),
                parameters=dict(stage.parameters),
                needs=stage.needs,
                reads=stage.reads,
            )
        )
    return statuses


def changed_by(recipe: Recipe, changed: Recipe, digests: Mapping[Source, str]) -> list[str]:
    """Stages of the changed recipe whose features the first one does not make: what a change
    would compute anew.

    digests: of the sources that both read.
    """
    made = recipe.keys(digests)
    return [stage for stage, key in changed.keys(digests).items() if made.get(stage) != key]


def _computed(stage: Stage, inputs: StageInputs, source: str) -> Feature:
    workspace = inputs.workspace
    try:
        feature = stage.compute(inputs)
    except (KeyboardInterrupt, Cancelled) as stop:
        if workspace.kept is not None:
            step, steps = workspace.kept
            stop.add_note(f"step {step} of {steps} is kept")
        raise
    except PersonareError:
        raise
    except Exception as error:
        hint = "this is a fault of the engine: please report it with the output of --debug"
        if workspace.resumed:
            hint += "; it went on from a checkpoint: `personare cache prune --workspace-days 0` deletes it"
        raise EngineError(
            f"{stage.name} failed on {source}: {type(error).__name__}: {error}", hint
        ) from error
    if not isinstance(feature, Feature):
        raise EngineError(f"{stage.name} made no Feature but {type(feature).__name__}")
    return feature


def _stamp(portrait: Path) -> FileStamp:
    try:
        return file_stamp(portrait)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableMedia(
            f"cannot read {portrait}: {reason}", hint="check the path and its permissions"
        ) from None
