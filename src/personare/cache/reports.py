"""What the feature store says about itself: frozen, and JSON after `dataclasses.asdict`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One feature in the store. Times are seconds since the epoch; pinned_by are names of
    avatars.
    """

    key: str
    stage: str
    bytes: int
    created: float
    last_used: float
    hits: int
    pinned_by: tuple[str, ...]

    @property
    def engine(self) -> str:
        return self.stage.partition(".")[0]


@dataclass(frozen=True, slots=True)
class StageTotals:
    """The features of one stage, together."""

    features: int
    bytes: int
    hits: int


@dataclass(frozen=True, slots=True)
class Stats:
    """The store as a whole. The memory figures are of this process; writable is what the
    folder's permissions say; workspaces hold checkpoints of stages that are not finished.
    """

    folder: str
    mode: str
    writable: bool
    features: int
    bytes: int
    max_bytes: int
    hits: int
    by_stage: dict[str, StageTotals]
    pinned_features: int
    pinned_bytes: int
    quarantined: int
    workspaces: int
    workspace_bytes: int
    memory_features: int
    memory_bytes: int
    memory_max_bytes: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A feature or a checkpoint that failed its check."""

    key: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Every file that was checked; the damaged features are in quarantine now, the damaged
    checkpoints are gone.

    checked: features. workspaces: how many there were, beside those. bytes: of all of them.
    """

    checked: int
    bytes: int
    damaged: tuple[Damage, ...]
    workspaces: int


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was deleted and what is left of the features. pinned_bytes: how much of it named
    avatars hold. workspaces, workspace_bytes: what was deleted of these.
    """

    removed: int
    freed_bytes: int
    kept: int
    kept_bytes: int
    pinned_bytes: int
    workspaces: int
    workspace_bytes: int
