"""The feature store: memory, then disk; one process computes, the others wait; damaged files are never served."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import BaseFileLock, FileLock

from personare.cache.disk import DiskTier, FileFacts
from personare.cache.feature_file import storable
from personare.cache.index import Index, IndexBusy, Row, Surroundings
from personare.cache.keys import portrait_digest
from personare.cache.manifest import folder_name, manifests
from personare.cache.memory import MemoryTier
from personare.cache.recipe import Stage
from personare.cache.reports import Damage, Entry, PruneReport, StageTotals, Stats, VerifyReport
from personare.errors import CacheError, InvalidOption
from personare.types import Feature

log = logging.getLogger(__name__)

Mode = Literal["use", "refresh", "off"]
DEFAULT_MAX_BYTES = 10 * 10**9
DEFAULT_MEMORY_BYTES = 256 * 10**6


class FeatureStore:
    """Features by key. Thread-safe; any number of processes may share the folder.

    mode: "use"; "refresh" computes and overwrites; "off" neither reads nor writes. max_bytes: budget on disk, kept by evicting the
    least recently used features that no avatar pins. A folder that cannot be written is read where possible; the first failure is
    logged, the rest is silent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: Mode = "use",
        max_bytes: int = DEFAULT_MAX_BYTES,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self.folder = folder
        self.mode = mode
        self.max_bytes = max_bytes
        self._shelf: Path | None = None
        self._disk = DiskTier(folder)
        self._memory = MemoryTier(memory_bytes)
        self._index = Index(folder / "index.sqlite3", self._look)
        self._warned = False

    def follow_avatars(self, shelf: Path) -> None:
        """Take the pins of a rebuilt index from the manifests in this folder."""
        self._shelf = shelf

    def fetch(self, stage: Stage, key: str, compute: Callable[[], Feature]) -> tuple[Feature, bool]:
        """The feature of a stage, and whether it was there already. `compute` runs in one process at a time per key.

        Raises what `compute` raises; never because the cache cannot be read or written.
        """
        if self.mode == "off":
            return storable(compute(), stage.name), False
        if self.mode == "use" and (known := self.get(key)) is not None:
            return known, True
        with self._alone(key):
            # Another process may have computed it while this one waited.
            if self.mode == "use" and (known := self.get(key)) is not None:
                return known, True
            feature = storable(compute(), stage.name)
            self._keep(key, feature, stage.name)
        return feature, False

    def get(self, key: str) -> Feature | None:
        """A cached feature, None if there is none; a damaged one is quarantined and counts as none."""
        if self.mode == "off":
            return None
        feature = self._memory.get(key)
        if feature is None:
            found = self._disk.read(key)
            if found is None:
                return None
            feature, stage, facts = found
            self._memory.put(key, feature)
            if not self._index.knows(key):
                self._index.record(_row(key, stage, facts))
        self._index.touch(key, time.time())
        return feature

    def contains(self, key: str) -> Entry | None:
        """What is known of a cached feature, without loading it."""
        facts = self._disk.facts(key)
        if facts is None:
            return None
        row = self._index.row(key) or _row(key, self._disk.stage(key) or "", facts)
        return _entry(row, self._index.pins().get(key, ()))

    def entries(self) -> list[Entry]:
        """All features, least recently used first."""
        with self._answered():
            self._index.reconcile()
            pins = self._index.pins()
            return [_entry(row, pins.get(row.key, ())) for row in self._index.rows()]

    def stats(self) -> Stats:
        """The store in numbers."""
        entries = self.entries()
        by_stage: dict[str, StageTotals] = {}
        for entry in entries:
            so_far = by_stage.get(entry.stage, StageTotals(0, 0, 0))
            by_stage[entry.stage] = StageTotals(so_far.features + 1, so_far.bytes + entry.bytes, so_far.hits + entry.hits)
        pinned = [entry.bytes for entry in entries if entry.pinned_by]
        return Stats(
            folder=str(self.folder),
            mode=self.mode,
            writable=self._writable(),
            features=len(entries),
            bytes=sum(entry.bytes for entry in entries),
            max_bytes=self.max_bytes,
            hits=sum(entry.hits for entry in entries),
            by_stage=dict(sorted(by_stage.items())),
            pinned_features=len(pinned),
            pinned_bytes=sum(pinned),
            quarantined=len(self._disk.quarantined()),
            memory_features=len(self._memory),
            memory_bytes=self._memory.nbytes,
            memory_max_bytes=self._memory.max_bytes,
        )

    def verify(self) -> VerifyReport:
        """Check every file against its checksum; damaged ones go to quarantine."""
        entries = self.entries()
        damaged = []
        for entry in entries:
            if (reason := self._disk.damage(entry.key)) is not None:
                damaged.append(Damage(entry.key, entry.stage, reason))
        self._memory.clear()
        with self._answered():
            self._index.forget([damage.key for damage in damaged])
        return VerifyReport(len(entries), sum(entry.bytes for entry in entries), tuple(damaged))

    def prune(self, max_bytes: int) -> PruneReport:
        """Delete the least recently used features until the rest fits; what avatars pin stays. Raises InvalidOption."""
        if max_bytes < 0:
            raise InvalidOption(f"a cache cannot be {max_bytes} bytes large", hint="give 0 or more")
        return self._remove(lambda entry, kept: kept > max_bytes and not entry.pinned_by)

    def clear(self, *, keep_pinned: bool = True) -> PruneReport:
        """Delete all features, or all that no avatar pins, and what is in quarantine."""
        self._disk.empty_quarantine()
        return self._remove(lambda entry, _: not (keep_pinned and entry.pinned_by))

    def flush(self) -> None:
        """Note on disk what was used, for eviction; otherwise this happens about once a second."""
        if self.mode != "off":
            self._index.flush()

    def pin(self, avatar: str, keys: Collection[str], shelf: Path) -> None:
        """Let an avatar of a shelf hold these features, and no others."""
        with self._answered():
            self._index.pin(str(shelf.absolute()), avatar, keys)

    def unpin(self, avatar: str, shelf: Path) -> None:
        """Let go of what an avatar of a shelf held."""
        with self._answered():
            self._index.unpin(str(shelf.absolute()), avatar)

    def portrait_digest(self, path: Path) -> str:
        """The digest of a portrait file, recalled where the file is unchanged. Raises UnreadableMedia."""
        return portrait_digest(path, None if self.mode == "off" else self._index)

    def _keep(self, key: str, feature: Feature, stage: str) -> None:
        self._memory.put(key, feature)
        try:
            facts = self._disk.write(key, feature, stage)
        except OSError as error:
            self._warn(f"features cannot be kept in {self.folder}: {error.strerror or error}")
            return
        self._index.record(_row(key, stage, facts))
        try:
            if self._index.total_bytes() > self.max_bytes:
                self.prune(self.max_bytes)
        except (IndexBusy, CacheError):
            log.info("the index is busy; the cache is pruned another time")

    def _remove(self, unwanted: Callable[[Entry, int], bool]) -> PruneReport:
        entries = self.entries()
        kept, freed, removed = sum(entry.bytes for entry in entries), 0, []
        for entry in entries:
            if unwanted(entry, kept):
                freed += self._disk.remove(entry.key)
                kept -= entry.bytes
                removed.append(entry.key)
        self._memory.clear()
        with self._answered():
            self._index.forget(removed)
        pinned = sum(entry.bytes for entry in entries if entry.pinned_by and entry.key not in removed)
        return PruneReport(len(removed), freed, len(entries) - len(removed), kept, pinned)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Only one process computes a key; where no lock can be made, nobody waits."""
        waiting = FileLock(self.folder / "locks" / f"{key}.lock")
        lock: BaseFileLock | None = None
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            waiting.acquire()
            lock = waiting
        except OSError as error:
            self._warn(f"features cannot be kept in {self.folder}: {error.strerror or error}")
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except IndexBusy:
            raise CacheError(f"the index of {self.folder} is held by another process", hint="try again when it has ended") from None

    def _look(self, known: Collection[str], pinned: Collection[tuple[str, str]]) -> Surroundings:
        files = dict(self._disk.scan())
        unknown = [
            _row(key, stage, facts)
            for key, facts in files.items()
            if key not in known and (stage := self._disk.stage(key)) is not None
        ]
        if self._shelf is None:
            return Surroundings(files, unknown)
        pins = {manifest.name: tuple(manifest.keys.values()) for manifest in manifests(self._shelf)}
        here = str(self._shelf)
        # A damaged manifest may still be mended: only an avatar whose folder is gone has lost its pins.
        gone = [a for shelf, a in pinned if shelf == here and not (self._shelf / folder_name(a)).exists()]
        return Surroundings(files, unknown, here, pins, gone)

    def _writable(self) -> bool:
        probe = FileLock(self.folder / "locks" / "probe.lock")
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            with probe:
                return True
        except OSError:
            return False

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s; going on without", message)


def _row(key: str, stage: str, facts: FileFacts) -> Row:
    return Row(key, stage, facts.bytes, facts.modified, facts.modified)


def _entry(row: Row, pinned_by: tuple[str, ...]) -> Entry:
    return Entry(row.key, row.stage, row.bytes, row.created, row.last_used, row.hits, pinned_by)
