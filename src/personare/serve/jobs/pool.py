"""The rows of jobs as what a crew works off: a row becomes a task, its end a row again."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from personare.serve.avatars import AvatarNotes
from personare.serve.jobs.requests import AvatarRequest, ClipRequest, order_of
from personare.serve.jobs.store import TRIES, JobStore, Row
from personare.serve.problems import Problem, coded, without_paths
from personare.work.jobs import Job
from personare.work.queue import Ended, Waiting
from personare.work.tasks import Creation, Look, Step, Task

log = logging.getLogger(__name__)

_SPEAKING = "speaking"
_PREPARED = 15
"""Percent of a clip that preparing its portrait counts for."""
_FRAMES_A_CHARACTER, _FEWEST = 2.0, 25.0
"""A text is not known to the end until it has been spoken: what it may come to."""


class JobPool:
    """What waits, for a crew. changed: told the id of every job that has changed, in the crew's
    thread.
    """

    def __init__(self, store: JobStore, avatars: AvatarNotes, changed: Callable[[str], None]) -> None:
        self._store, self._avatars, self._changed = store, avatars, changed
        self._expected: dict[str, float] = {}

    def waiting(self) -> Sequence[Waiting]:
        return self._store.waiting()

    def take(self, name: str) -> Task | None:
        row = self._store.begin(name)
        if row is None:
            return None
        self._changed(name)
        self._expected[name] = max(_FEWEST, len(row.request.get("text") or "") * _FRAMES_A_CHARACTER)
        return task_of(row, self._store.folder / row.id)

    def step(self, name: str, step: Step) -> None:
        if self._store.advance(name, percent(step, self._expected.get(name, _FEWEST)), step.what[:80]):
            self._changed(name)

    def end(self, ended: Ended) -> None:
        task, name = ended.task, ended.task.name
        self._expected.pop(name, None)
        folder = self._store.folder / name
        if ended.error:
            log.info("job %s failed: %s", name, ended.kind)
            if lost := self._lost_inputs(name):
                error = f"what was sent with this job is no longer there: {', '.join(lost)}"
                self._fail(task, "input-lost", error, "send it again, with a new job")
            else:
                ended_by_us = ended.kind in ("TooSlow", "WorkerLost")
                self._fail(task, coded(ended.kind), ended.error, ended.hint, kept=ended_by_us)
        else:
            if isinstance(task, Creation):
                self._avatars.settle(task.avatar, name, ended.report["photo"])
            if not self._store.complete(name, _public(ended.report), folder_bytes(folder)):
                self._forget(task, folder)  # cancelled in its last moment
        self._changed(name)

    def give_back(self, lost: Ended, *, blameless: bool = False) -> None:
        name = lost.task.name
        if not self._store.wait_again(name, blameless=blameless):
            hint = "out of memory? a smaller portrait or a shorter guide may do"
            self._fail(lost.task, "worker-lost", f"{lost.error}, {TRIES} times", hint, kept=True)
        self._changed(name)

    def _lost_inputs(self, name: str) -> list[str]:
        """What was sent with a job and is not in its folder any more: portrait, speech ..."""
        with suppress(Problem):
            inputs = self._store.get(name).inputs
            return [
                field for field, file in inputs.items() if not (self._store.folder / name / file).exists()
            ]
        return []  # the job itself was removed

    def _forget(self, task: Task, folder: Path) -> None:
        if isinstance(task, Creation):
            self._avatars.withdraw(task.name)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _fail(self, task: Task, code: str, error: str, hint: str, *, kept: bool = False) -> None:
        """kept: whether an avatar may have been kept already, for its worker was ended, or an
        earlier one was.
        """
        self._store.fail(task.name, code, without_paths(error), without_paths(hint))
        if isinstance(task, Creation):
            if kept or task.replace:
                self._avatars.withdraw(task.name)
            else:
                self._avatars.release(task.name)


def task_of(row: Row, folder: Path) -> Task:
    """What a worker is to do for a job; folder: the job's own."""
    if row.kind == "clip":
        order = order_of(ClipRequest.model_validate(row.request), row.inputs, folder)
        return Job(order, row.id, row.id)
    portrait = None if "portrait" not in row.inputs else folder / row.inputs["portrait"]
    if row.kind == "photo":
        assert portrait is not None
        return Look(row.id, portrait)
    return Creation(
        row.id,
        avatar=row.request["name"],
        portrait=portrait,
        engine=row.request["engine"],
        options=row.request["options"],
        replace=row.attempts > 1,  # it may have been kept just before the server died
        consent=AvatarRequest.model_validate(row.request).agreed,
    )


def percent(step: Step, expected: float) -> int:
    """How far a job is, 0 to 99. expected: steps, where the engine does not know it."""
    part = step.done / step.total if step.total else step.done / (step.done + expected / 4)
    if step.what.startswith(_SPEAKING):
        return min(99, round(_PREPARED + (100 - _PREPARED) * part))
    return min(_PREPARED, round(_PREPARED * part))


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def _public(report: dict[str, Any]) -> dict[str, Any]:
    """A report as JSON, without what is of no concern to a caller."""
    kept = {name: value for name, value in report.items() if name not in ("output", "resident_bytes")}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain
