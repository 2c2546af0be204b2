"""What a long stage keeps of its work until its feature is complete.

    FOLDER/workspaces/abcd.../checkpoint.safetensors      by the key of the feature that it becomes

A checkpoint is written as a feature is (see feature_file.py): whole or not at all, on the disk
before the one of before goes, with a checksum. It bears the digest of the feature's key, so
that it can never pass for a feature. One that is damaged, or belongs to another key or stage,
is told of in the log and not used.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from personare.cache.feature_file import DamagedFeature, read_feature, storable, write_feature
from personare.ground.durable import replaced_when_complete
from personare.types import Feature, Progress, no_progress

log = logging.getLogger(__name__)

SAVE_EVERY_SECONDS = 60.0
_SAVING_SHARE = 0.05
"""Saving takes no more than this of the time, however large a checkpoint is."""

_FILE = "checkpoint.safetensors"
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a long stage after `step` of `steps` steps. The arrays are its own copies."""

    step: int
    steps: int
    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any]


class _About(BaseModel):
    """The metadata of a checkpoint's file. refresh: whether a run with `--refresh` saved it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    step: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=0)]
    refresh: bool
    metadata: dict[str, JsonValue]


class Workspace:
    """What a stage has at hand while it computes: a progress to tell, and a place for its
    checkpoint.

    A stage goes on from the last checkpoint and must come to the same bytes as without one:
    what it saves is all that the rest depends on, the state of its random generators included.
    Checkpoints are of one key, so of one version of the stage: who changes what a stage saves
    raises its version.

    folder: where the checkpoint is kept; None for stages of seconds, for a store that is off,
        and where no lock can be had: `save` then keeps nothing and `load` finds nothing.
    progress: of the caller, who is told all that the stage tells.
    refresh: use only what a run with this set saved.
    """

    def __init__(
        self,
        folder: Path | None = None,
        key: str = "",
        stage: str = "",
        progress: Progress = no_progress,
        *,
        refresh: bool = False,
    ) -> None:
        self.told: tuple[str, int, int | None] = (stage, 0, None)
        """The last progress, for those who wait for this stage."""
        self.kept: tuple[int, int] | None = None
        """(step, steps) of the checkpoint on the disk, as far as this run knows."""
        self.resumed = False
        self.caller = progress
        self._folder = folder
        self._key = key
        self._stage = stage
        self._refresh = refresh
        self._saved_at = time.monotonic()
        self._saving_seconds = 0.0
        self._warned = False

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Tell how far the stage is (a Progress). May raise Cancelled."""
        self.told = (what, done, total)
        self.caller(what, done, total)

    def load(self) -> Checkpoint | None:
        """The checkpoint to go on from; None if there is none that can be trusted."""
        if self._folder is None:
            return None
        path = self._folder / _FILE
        try:
            about, arrays = _read(path, self._key, self._stage)
        except FileNotFoundError:
            return None
        except (DamagedFeature, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            log.warning("checkpoint %s is not used (%s); %s begins anew", path, reason, self._stage)
            return None
        if self._refresh and not about.refresh:
            log.info("%s begins anew: the checkpoint at step %d is of before", self._stage, about.step)
            return None
        log.info("%s goes on at step %d of %d", self._stage, about.step, about.steps)
        self.kept, self.resumed = (about.step, about.steps), True
        return Checkpoint(about.step, about.steps, arrays, about.metadata)

    def due(self, seconds: float = SAVE_EVERY_SECONDS) -> bool:
        """Whether it is time to save: this long after the last time, and so that saving takes
        no more than a twentieth of the time. False where nothing is kept.
        """
        wait = max(seconds, self._saving_seconds / _SAVING_SHARE)
        return self._folder is not None and time.monotonic() - self._saved_at >= wait

    def save(
        self,
        arrays: Mapping[str, NDArray[Any]],
        metadata: Mapping[str, Any] | None = None,
        *,
        step: int,
        steps: int,
    ) -> None:
        """Keep this state in place of the one of before. A place that cannot be written costs a
        warning, not the stage.

        arrays: numpy arrays, of dtypes that a feature can hold.
        metadata: JSON values.
        step: how many steps are done, of `steps`; for people.

        Raises EngineError for what a file cannot hold.
        """
        about = {"step": step, "steps": steps, "refresh": self._refresh, "metadata": dict(metadata or {})}
        state = storable(Feature(arrays, about), self._stage)
        if self._folder is None:
            return
        began = time.monotonic()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replaced_when_complete(self._folder / _FILE) as part:
                write_feature(part, state, _checkpoint_key(self._key), self._stage)
        except OSError as error:
            self._warn_once(error)
        else:
            self.kept = step, steps
        self._saved_at = time.monotonic()
        self._saving_seconds = self._saved_at - began

    def keep_nothing(self) -> None:
        """From now on be a workspace without a place."""
        self._folder = None

    def clear(self) -> None:
        """Delete the checkpoint: the feature is there."""
        if self._folder is not None:
            _remove(self._folder)

    def _warn_once(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = error.strerror or error
            log.warning("no checkpoint can be kept in %s: %s; going on without", self._folder, reason)


@dataclass(frozen=True, slots=True)
class KeptWorkspace:
    """A workspace on the disk. saved: when its checkpoint was, in seconds since the epoch; 0 if
    there is none.
    """

    key: str
    bytes: int
    saved: float


class Workspaces:
    """The workspaces of a store. Whoever deletes or checks one must hold the lock of its key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        return self._folder / key

    def kept(self) -> list[KeptWorkspace]:
        """All of them, the longest untouched first."""
        found = []
        for path in _entries(self._folder):
            if _KEY.fullmatch(path.name):
                with suppress(OSError):
                    files = [file.stat() for file in path.iterdir()]
                    saved = max((status.st_mtime for status in files), default=0.0)
                    found.append(KeptWorkspace(path.name, sum(status.st_size for status in files), saved))
        return sorted(found, key=lambda workspace: (workspace.saved, workspace.key))

    def remove(self, key: str) -> bool:
        """Delete one; whether it is gone."""
        return _remove(self.path(key))

    def damage(self, key: str) -> str | None:
        """What is wrong with a checkpoint, None if it is sound or gone. A damaged one is
        deleted; one that cannot be read is not.
        """
        try:
            _read(self.path(key) / _FILE, key, None)
        except DamagedFeature as damage:
            self.remove(key)
            return str(damage)
        except FileNotFoundError:
            return None
        except OSError as error:
            return str(error.strerror)
        return None


def to_remove(
    kept: Sequence[KeptWorkspace], max_bytes: int, untouched_since: float, finished: Collection[str]
) -> list[KeptWorkspace]:
    """Which of these workspaces (the longest untouched first) go: those whose feature is there,
    those not touched since a moment, and as many more as the rest needs to fit.
    """
    chosen = [each for each in kept if each.key in finished or each.saved <= untouched_since]
    rest = [each for each in kept if each not in chosen]
    excess = sum(each.bytes for each in rest) - max_bytes
    for each in rest:
        if excess <= 0:
            break
        chosen.append(each)
        excess -= each.bytes
    return chosen


def _checkpoint_key(key: str) -> str:
    return blake3(f"checkpoint of {key}".encode("ascii")).hexdigest()


def _read(path: Path, key: str, stage: str | None) -> tuple[_About, dict[str, NDArray[Any]]]:
    """A checkpoint's file, checked as a whole. stage: that it must be of; None for any. Raises
    DamagedFeature, OSError.
    """
    with path.open("rb") as file:
        state, made_by = read_feature(file, _checkpoint_key(key), verify=True)
        if stage not in (None, made_by):
            raise DamagedFeature(f"it is of stage {made_by[:80]!r}")
        try:
            about = _About.model_validate(state.metadata)
        except ValidationError:
            raise DamagedFeature("it does not say which step it is of") from None
        return about, {name: np.array(array) for name, array in state.arrays.items()}


def _remove(folder: Path) -> bool:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("workspace %s cannot be deleted: %s", folder, error.strerror)
        return False
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
