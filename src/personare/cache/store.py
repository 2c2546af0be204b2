"""The feature store: memory, then disk, then a remote if there is one; computed once, verified
on first read, evicted by last use.

A store that cannot be written (read-only folder, full disk) serves what it can read, computes
the rest, says so once. See disk.py for the files and index.py for what is known about them.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, get_args

from personare.cache.checkpoint import Workspace, Workspaces
from personare.cache.disk import DiskTier
from personare.cache.feature_file import read_feature, storable
from personare.cache.index import Index, Surroundings
from personare.cache.keys import file_digest
from personare.cache.memory import MemoryTier
from personare.cache.recipe import Stage, StageInputs
from personare.cache.remote import RemoteTier
from personare.cache.reports import Entry, PruneReport, StageTotals, Stats, VerifyReport
from personare.cache.upkeep import WORKSPACE_DAYS, Upkeep, bytes_of, entry_of, row_of
from personare.cache.waiting import Turns
from personare.errors import InvalidOption
from personare.ground.durable import replaced_when_complete
from personare.types import Feature, Progress, no_progress

log = logging.getLogger(__name__)

Mode = Literal["use", "refresh", "off"]
DEFAULT_MAX_BYTES = 10 * 10**9
DEFAULT_MEMORY_BYTES = 256 * 10**6


class Shelf(Protocol):
    """Whoever keeps avatars: what they pin, asked for when the index is made or mended.

    place: the text that tells this shelf from others that share the store.
    """

    @property
    def place(self) -> str: ...

    def pins(self) -> Mapping[str, tuple[str, ...]]:
        """Avatar -> the keys of its features. An avatar whose manifest is damaged is left out."""
        ...

    def has(self, avatar: str) -> bool:
        """Whether the avatar exists, readable or not: a damaged one may still be mended and
        keeps its pins.
        """
        ...


TurnElsewhere = Callable[[Stage, str, Progress], AbstractContextManager[object]]
"""turn(stage, key, progress): waits until no other machine computes this key, then keeps all
others waiting while the block runs. The progress may raise Cancelled.
"""


class FeatureStore:
    """Features by key. Thread-safe; any number of processes may share the folder.

    mode: "use"; "refresh" computes and overwrites; "off" neither reads nor writes.
    max_bytes: budget on disk, kept by evicting the least recently used features that no avatar
        pins.
    memory_bytes: budget of the tier in memory.
    remote: asked for what the disk has not, and given what is computed here.
    not_of: names of stages whose features are neither looked for nor kept, whole
        ("mimicmotion.latent") or without their engine ("latent").

    Raises InvalidOption for an unknown mode or a negative budget.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: Mode = "use",
        max_bytes: int = DEFAULT_MAX_BYTES,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        remote: RemoteTier | None = None,
        not_of: Collection[str] = (),
    ) -> None:
        if mode not in get_args(Mode):
            raise InvalidOption(f"no cache mode {mode!r}", hint=f"modes are: {', '.join(get_args(Mode))}")
        _checked_budget(max_bytes)
        _checked_budget(memory_bytes)
        self.folder = folder.absolute()
        self.mode = mode
        self.max_bytes = max_bytes
        self._memory = MemoryTier(memory_bytes)
        self._disk = DiskTier(self.folder)
        self._turns = Turns(self.folder / "locks", self._warn_once)
        self._workspaces = Workspaces(self.folder / "workspaces")
        self._remote = remote
        self._elsewhere: TurnElsewhere = lambda *_: nullcontext()
        self._not_of = frozenset(not_of)
        self._index = Index(self.folder / "index.sqlite3", partial(_look_around, self._disk, None))
        self._upkeep = Upkeep(self._disk, self._index, self._turns, self._workspaces)
        self._warned = False
        weakref.finalize(self, self._index.close)  # also at exit: the last uses are still to be written

    def follow_pins(self, shelf: Shelf) -> None:
        """Let this shelf say what is pinned, also after the index was lost."""
        self._index.look = partial(_look_around, self._disk, shelf)

    def take_turns(self, elsewhere: TurnElsewhere) -> None:
        """Compute in turn with the other machines that share the remote; without one there is
        nothing to wait for.
        """
        self._elsewhere = elsewhere

    def workspace(self, stage: Stage, key: str, progress: Progress = no_progress) -> Workspace:
        """What a computation of this stage has at hand, as part of its StageInputs."""
        keeps = stage.cost == "minutes" and not self.leaves_out(stage)
        folder = self._workspaces.path(key) if keeps else None
        return Workspace(folder, key, stage.name, progress, refresh=self.mode == "refresh")

    def fetch(
        self,
        stage: Stage,
        key: str,
        compute: Callable[[], Feature],
        *,
        inputs: StageInputs | None = None,
    ) -> tuple[Feature, bool]:
        """The feature of a stage, and whether it was there already. `compute` runs in one
        process at a time per key (see waiting.py for stopped ones).

        inputs: of the stage. What a remote has must have the form that they ask for; None asks
            no remote. The caller of their workspace is told what a process says that is waited
            for; the workspace is emptied when the feature is kept.

        Raises what `compute` and the workspace's caller raise, and EngineError for a feature
        that no file can hold; never because the cache cannot be read or written.
        """
        if self.leaves_out(stage):
            return storable(compute(), stage.name), False
        if self.mode == "use" and (known := self.get(key)) is not None:
            return known, True
        workspace = inputs.workspace if inputs else self.workspace(stage, key)
        if stage.cost == "minutes":
            self._upkeep.sweep_workspaces(self.max_bytes, spare=key)
        elsewhere = self._elsewhere if self._shares(stage, inputs) else lambda *_: nullcontext()
        with (
            self._turns.alone(stage, key, workspace) as alone,
            elsewhere(stage, key, workspace.caller),
        ):
            if not alone:
                workspace.keep_nothing()
            # Another process may have computed it while this one waited.
            if (
                self.mode == "use"
                and (known := self.get(key) or self._from_remote(key, stage, inputs)) is not None
            ):
                return known, True
            feature = storable(compute(), stage.name)
            if self._keep(key, feature, stage.name):
                workspace.clear()
        return feature, False

    def leaves_out(self, stage: Stage) -> bool:
        """Whether features of this stage are neither looked for nor kept."""
        return self.mode == "off" or not self._not_of.isdisjoint((stage.name, stage.name.partition(".")[2]))

    def get(self, key: str) -> Feature | None:
        """A cached feature, None if there is none; a damaged one is quarantined and counts as
        none.
        """
        if self.mode == "off":
            return None
        feature = self._memory.get(key)
        if feature is None:
            found = self._disk.read(key)
            if found is None:
                return None
            feature, stage, facts = found
            self._memory.put(key, feature)
            if not self._index.knows(key):  # its writer was killed before it could enter it
                self._index.record(row_of(key, stage, facts))
        self._index.touch(key, time.time())
        return feature

    def contains(self, key: str) -> Entry | None:
        """What is known of a cached feature, without loading or checking it; None if there is
        none.
        """
        facts = self._disk.facts(key)
        if self.mode == "off" or facts is None:
            return None
        row = self._index.row(key)
        if row is None:
            stage = self._disk.stage(key)
            if stage is None:
                return None
            row = row_of(key, stage, facts)
        return entry_of(row, self._index.pins().get(key, ()))

    def entries(self) -> list[Entry]:
        """All features, least recently used first."""
        return self._upkeep.entries()

    def stats(self) -> Stats:
        """The store in numbers."""
        entries = self.entries()
        by_stage: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_stage[entry.stage].append(entry)
        pinned = [entry for entry in entries if entry.pinned_by]
        workspaces = self._workspaces.kept()
        return Stats(
            folder=str(self.folder),
            mode=self.mode,
            writable=_is_writable(self.folder),
            features=len(entries),
            bytes=bytes_of(entries),
            max_bytes=self.max_bytes,
            hits=sum(entry.hits for entry in entries),
            by_stage={
                stage: StageTotals(len(these), bytes_of(these), sum(entry.hits for entry in these))
                for stage, these in sorted(by_stage.items())
            },
            pinned_features=len(pinned),
            pinned_bytes=bytes_of(pinned),
            quarantined=len(self._disk.quarantined()),
            workspaces=len(workspaces),
            workspace_bytes=sum(each.bytes for each in workspaces),
            memory_features=len(self._memory),
            memory_bytes=self._memory.nbytes,
            memory_max_bytes=self._memory.max_bytes,
        )

    def verify(self) -> VerifyReport:
        """Check every file against its checksum; damaged ones go to quarantine, damaged
        checkpoints go.
        """
        self._memory.clear()
        return self._upkeep.verify()

    def prune(self, max_bytes: int, *, workspace_days: float = WORKSPACE_DAYS) -> PruneReport:
        """Delete what is in quarantine, then the least recently used features until the rest
        fits; likewise workspaces, and those that nobody touched for so many days.

        What avatars pin stays, even if it alone takes more; so does the workspace of a stage
        under way. Raises InvalidOption for a negative budget.
        """
        return self._upkeep.remove(_checked_budget(max_bytes), workspace_days)

    def clear(self, *, keep_pinned: bool = True) -> PruneReport:
        """Delete what is in quarantine, all workspaces but those of stages under way, and all
        features, or all that no avatar pins.
        """
        self._memory.clear()
        return self._upkeep.remove(0, 0.0, keep_pinned=keep_pinned)

    def flush(self) -> None:
        """Note on disk what was used, for eviction; otherwise this happens about once a second
        and at the end.
        """
        if self.mode != "off":
            self._index.flush()

    def pin(self, avatar: str, keys: Collection[str], shelf: Path) -> None:
        """Let an avatar of a shelf hold these features, and no others."""
        self._index.pin(str(shelf.absolute()), avatar, keys)

    def unpin(self, avatar: str, shelf: Path) -> None:
        """Leave an avatar's features to eviction."""
        self._index.unpin(str(shelf.absolute()), avatar)

    def file_digest(self, path: Path) -> str:
        """The digest of a file, recalled where the file is unchanged. Raises
        UnreadableMedia.
        """
        return file_digest(path, None if self.mode == "off" else self._index)

    def close(self) -> None:
        """Write what is known of the last uses and let go of the index; a later call opens it
        again.
        """
        self._index.close()

    def adopt(self, key: str, stage: str, write: Callable[[Path], bool]) -> bool:
        """Put a feature file that somebody else wrote among the features, whole or not at all;
        whether it is there now.

        write: writes it to a path; False if it is not to be taken after all. Checking it is
        `write`'s business.
        """
        self._index.open()
        path = self._disk.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced_when_complete(path) as part:
                if not write(part):
                    raise _NotTaken
        except _NotTaken:
            return False
        except OSError as error:
            self._warn_once(error)
            return False
        if (facts := self._disk.facts(key)) is not None:
            self._index.record(row_of(key, stage, facts))
        self._upkeep.make_room(self.max_bytes, spare=key)
        return True

    def file(self, key: str) -> Path | None:
        """Where a feature is kept on disk, None if it is not."""
        return None if self._disk.facts(key) is None else self._disk.path(key)

    def _shares(self, stage: Stage, inputs: StageInputs | None) -> bool:
        """Whether what another machine computed may come from the remote."""
        return not (self._remote is None or self._remote.dead or inputs is None or stage.form is None)

    def _from_remote(self, key: str, stage: Stage, inputs: StageInputs | None) -> Feature | None:
        """The feature from the remote, which the disk then has as well; None if there is none
        that fits.
        """
        remote = self._remote
        if remote is None or inputs is None or not self._shares(stage, inputs):
            return None

        def write(part: Path) -> bool:
            if not remote.download(key, stage.name, part):
                return False
            with part.open("rb") as file:
                misfit = stage.misfit(inputs, read_feature(file, key, verify=False)[0])
            if misfit:
                log.warning("feature %s of %s is not used: %s", stage.name, remote.url, misfit)
            return not misfit

        if not self.adopt(key, stage.name, write):
            return None
        log.info("%s came from %s", stage.name, remote.url)
        return self.get(key)

    def _keep(self, key: str, feature: Feature, stage: str) -> bool:
        """Keep a feature in every tier; whether the disk has it."""
        self._memory.put(key, feature)
        self._index.open()
        try:
            facts = self._disk.write(key, feature, stage)
        except OSError as error:
            self._warn_once(error)
            return False
        self._index.record(row_of(key, stage, facts))
        if self._remote is not None:
            self._remote.upload(key, self._disk.path(key))
        self._upkeep.make_room(self.max_bytes, spare=key)
        return True

    def _warn_once(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = error.strerror or error
            log.warning("features cannot be kept in %s: %s; going on without", self.folder, reason)


class _NotTaken(Exception):
    """Ends the writing of a file that is not to appear."""


def _look_around(
    disk: DiskTier, shelf: Shelf | None, known: Collection[str], pinned: Collection[tuple[str, str]]
) -> Surroundings:
    files = dict(disk.scan())
    new = sorted(files.keys() - set(known))
    unknown = [row_of(key, stage, files[key]) for key in new if (stage := disk.stage(key)) is not None]
    if shelf is None:
        return Surroundings(files, unknown)
    ours = [avatar for where, avatar in pinned if where == shelf.place]
    gone = [avatar for avatar in ours if not shelf.has(avatar)]
    return Surroundings(files, unknown, shelf.place, shelf.pins(), gone)


def _checked_budget(max_bytes: int) -> int:
    if max_bytes < 0:
        raise InvalidOption(f"a cache cannot be {max_bytes} bytes large", hint="give 0 or more")
    return max_bytes


def _is_writable(folder: Path) -> bool:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
