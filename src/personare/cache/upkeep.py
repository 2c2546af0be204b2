"""Keeping the store in order: what there is, whether it is sound, and what has to go."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from contextlib import suppress

from personare.cache.checkpoint import Workspaces, to_remove
from personare.cache.disk import DiskTier, FileFacts
from personare.cache.index import Index, IndexBusy
from personare.cache.index_rows import Row
from personare.cache.reports import Damage, Entry, PruneReport, VerifyReport
from personare.cache.waiting import Turns

log = logging.getLogger(__name__)

WORKSPACE_DAYS = 30.0
"""A workspace that nobody touched for so long goes when the next long stage begins."""


class Upkeep:
    """Lists, checks and deletes what a store keeps on the disk. What is under way is let alone."""

    def __init__(self, disk: DiskTier, index: Index, turns: Turns, workspaces: Workspaces) -> None:
        self._disk = disk
        self._index = index
        self._turns = turns
        self._workspaces = workspaces

    def entries(self) -> list[Entry]:
        """All features, least recently used first."""
        self._index.reconcile()
        pins = self._index.pins()
        return [entry_of(row, pins.get(row.key, ())) for row in self._index.rows()]

    def verify(self) -> VerifyReport:
        """Check every file; damaged features go to quarantine, damaged checkpoints go."""
        files = list(self._disk.scan())
        reasons = {key: reason for key, _ in files if (reason := self._disk.damage(key))}
        stages = {
            row.key: row.stage for row in self._index.rows()
        }  # a lost index is rebuilt from sound files only
        damaged = [Damage(key, stages.get(key, ""), reason) for key, reason in reasons.items()]
        self._index.reconcile()
        workspaces = self._workspaces.kept()
        for each in workspaces:
            with self._turns.unless_taken(each.key) as free:
                if free and (reason := self._workspaces.damage(each.key)):
                    damaged.append(Damage(each.key, "", f"checkpoint: {reason}"))
        total = sum(facts.bytes for _, facts in files) + sum(each.bytes for each in workspaces)
        return VerifyReport(len(files), total, tuple(damaged), len(workspaces))

    def remove(self, max_bytes: int, workspace_days: float, *, keep_pinned: bool = True) -> PruneReport:
        """Delete what is in quarantine, what killed processes left, and the least recently used
        features and workspaces until the rest of each fits.
        """
        quarantined_bytes = self._disk.empty_quarantine()
        removed, freed_bytes = self._evict(max_bytes, keep_pinned=keep_pinned)
        workspaces, workspace_bytes = self.sweep_workspaces(max_bytes, workspace_days)
        self._turns.sweep()
        left = self.entries()
        return PruneReport(
            removed=removed,
            freed_bytes=freed_bytes + quarantined_bytes,
            kept=len(left),
            kept_bytes=bytes_of(left),
            pinned_bytes=bytes_of([entry for entry in left if entry.pinned_by]),
            workspaces=workspaces,
            workspace_bytes=workspace_bytes,
        )

    def make_room(self, max_bytes: int, spare: str) -> None:
        """Evict features if they take more than this, but for the one to spare."""
        with suppress(IndexBusy):  # whoever writes next finds the cache too large again
            if self._index.total_bytes() > max_bytes:
                self._evict(max_bytes, spare=spare)

    def sweep_workspaces(
        self, max_bytes: int, days: float = WORKSPACE_DAYS, spare: str = ""
    ) -> tuple[int, int]:
        """Delete the workspaces that finished stages left, those untouched for days, and what
        is too much; how many, and their bytes.
        """
        kept = [each for each in self._workspaces.kept() if each.key != spare]
        finished = {
            each.key
            for each in kept
            if (facts := self._disk.facts(each.key)) is not None and facts.modified >= each.saved
        }
        removed = []
        for each in to_remove(kept, max_bytes, time.time() - days * 86400, finished):
            with self._turns.unless_taken(each.key) as free:
                if free and self._workspaces.remove(each.key):
                    removed.append(each)
        return len(removed), sum(each.bytes for each in removed)

    def _evict(self, max_bytes: int, *, keep_pinned: bool = True, spare: str = "") -> tuple[int, int]:
        """Delete features, least recently used first, until the rest fits; how many, and their
        bytes.
        """
        self._index.reconcile()
        pinned = self._index.pins() if keep_pinned else {}
        keys = [row.key for row in to_evict(self._index.rows(), max_bytes, {spare, *pinned})]
        self._index.forget(
            keys
        )  # before the files: one without a row is found again, a row without a file misleads
        freed = sum(self._disk.remove(key) for key in keys)
        if keys:
            log.info("evicted %d features (%d bytes) from %s", len(keys), freed, self._disk.folder)
        return len(keys), freed


def to_evict(rows: Collection[Row], max_bytes: int, spared: Collection[str]) -> list[Row]:
    """Which of these rows (least recently used first) have to go so that the rest takes at most
    max_bytes.
    """
    excess = sum(row.bytes for row in rows) - max_bytes
    chosen = []
    for row in rows:
        if excess <= 0:
            break
        if row.key not in spared:
            chosen.append(row)
            excess -= row.bytes
    return chosen


def bytes_of(entries: Collection[Entry]) -> int:
    return sum(entry.bytes for entry in entries)


def row_of(key: str, stage: str, facts: FileFacts) -> Row:
    """The row of a feature that the index does not know yet."""
    return Row(key, stage, facts.bytes, created=facts.modified, last_used=facts.modified)


def entry_of(row: Row, pinned_by: tuple[str, ...]) -> Entry:
    return Entry(row.key, row.stage, row.bytes, row.created, row.last_used, row.hits, pinned_by)
