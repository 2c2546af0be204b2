"""One task is done, in the process of a worker. Whatever fails is told, not raised."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from personare.engines.engine import engine_entry_points
from personare.errors import PersonareError
from personare.perception.photo_report import look_at, report_of
from personare.studio.studio import Cast, Studio
from personare.types import SAMPLE_RATE, Progress, no_progress
from personare.work.jobs import Job
from personare.work.queue import Ended
from personare.work.tasks import Creation, Look, Task

_WARMING_SECONDS = 0.4
"""Of silence, which goes through an engine's networks once."""


def make(task: Task, studio: Studio, progress: Progress = no_progress) -> Ended:
    """Do one task: a clip, an avatar, a look at a photo, or loading something."""
    try:
        return Ended(task, report=_made(task, studio, progress))
    except PersonareError as error:
        return Ended(task, error=error.message, hint=error.hint, kind=type(error).__name__)
    except MemoryError:
        return Ended(
            task,
            error="this takes more memory than a worker may have",
            hint="a smaller portrait, or a shorter guide",
            kind="OutOfMemory",
        )
    except Exception as error:  # a fault of ours in one task is no reason to give up the others
        what = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Ended(task, error=what, hint="please report it", kind="Unexpected")


def _made(task: Task, studio: Studio, progress: Progress) -> dict[str, Any]:
    if isinstance(task, Job):
        task.order.output.parent.mkdir(parents=True, exist_ok=True)
        return asdict(studio.make(task.order, progress))
    if isinstance(task, Creation):
        return _created(task, studio, progress)
    if isinstance(task, Look):
        return {"photo": asdict(report_of(task.portrait))}
    warm(task.name, studio, progress)
    return {}


def _created(task: Creation, studio: Studio, progress: Progress) -> dict[str, Any]:
    cast = studio.cast(task.portrait, task.engine, task.options)
    photo = None if task.portrait is None else look_at(task.portrait)
    preparation = studio.create(
        task.avatar, cast, replace=task.replace, consent=task.consent, progress=progress
    )
    return {
        "avatar": task.avatar,
        "engine": cast.engine.name,
        "options": cast.options.model_dump(mode="json"),
        "stages": dict(preparation.outcome),
        "seconds": {stage: round(value, 4) for stage, value in preparation.seconds.items()},
        "photo": None if photo is None else asdict(photo),
    }


def warm(name: str, studio: Studio, progress: Progress = no_progress) -> None:
    """Load an avatar, or an engine with the bundled portrait: its features, and by a moment of
    silence its networks. Raises PersonareError.
    """
    with as_file(files("personare") / "assets" / "portrait.jpg") as bundled:
        if name in engine_entry_points():
            engine = studio.open(name)
            brings = engine.brings_portrait(engine.read_options({})) is not None
            cast = studio.cast(None if brings else bundled, name)
        else:
            studio.warm(name, progress)
            cast = studio.cast_of(studio.shelf.load_manifest(name))
        _perform_silence(studio, cast, progress)


def _perform_silence(studio: Studio, cast: Cast, progress: Progress) -> None:
    avatar, _ = studio.prepare(cast, progress)
    if "speech" not in cast.engine.drives(cast.options):
        return
    with closing(cast.engine.perform(avatar, cast.options)) as performance:
        silence = np.zeros(round(_WARMING_SECONDS * SAMPLE_RATE), np.float32)
        for _ in performance.feed(silence):
            pass
        for _ in performance.finish():
            pass
