"""What a worker can be given: a clip (`jobs.Job`), an avatar to be kept, a photo to be looked
at, or something to be loaded before it is asked for. A task's `name` is its identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from personare.shelf.manifest import Consent
from personare.work.jobs import Job


@dataclass(frozen=True, slots=True)
class Creation:
    """An avatar that is wanted: a portrait, prepared and kept under a name.

    portrait: None where the engine brings its own. replace: one of the same name.
    consent: of the person in it, if anybody wrote it down.
    """

    name: str
    avatar: str
    portrait: Path | None
    engine: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    replace: bool = False
    consent: Consent | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A photo, or a template video, that is to be looked at: what it is good for."""

    name: str
    portrait: Path


@dataclass(frozen=True, slots=True)
class Warming:
    """An avatar, or an engine, that is to be loaded with its networks."""

    name: str


Task: TypeAlias = Job | Creation | Look | Warming


@dataclass(frozen=True, slots=True)
class Step:
    """How far a task is. total: None if it is not known."""

    what: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Stop:
    """A task is no longer wanted; said to the worker that is at it."""

    name: str


def place_of(task: Task) -> str:
    """Where a task is best done: by the worker that has been there, and so has its features and
    networks in memory. An avatar's name, else the engine's, else "".
    """
    if isinstance(task, Job):
        return task.order.avatar or task.order.engine or ""
    if isinstance(task, Look):
        return ""
    return task.avatar if isinstance(task, Creation) else task.name
