"""A batch: which jobs are finished already, who makes the others, what came of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from personare.cache.keys import canonical_json
from personare.errors import PersonareError
from personare.ground.machine import machine
from personare.studio.finished import clip_key
from personare.studio.studio import DEFAULT_ENGINE, Studio
from personare.types import Progress, no_progress
from personare.work.jobs import Job
from personare.work.journal import Journal, alone
from personare.work.workers import Made, Workplace, job_text, make_all

State = Literal["made", "kept", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one job. state: "made" now, "kept" from an earlier run, or "failed".
    seconds: that making it took. report: that of `speak` ({} unless made).
    """

    where: str
    output: str
    state: State
    seconds: float
    audio_seconds: float
    report: dict[str, Any]
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole batch; results in the order of the jobs."""

    output_dir: str
    jobs: int
    made: int
    kept: int
    failed: int
    workers: int
    seconds: float
    audio_seconds: float
    results: tuple[Result, ...]


def run_batch(
    jobs: Sequence[Job],
    output_dir: Path,
    workplace: Workplace,
    *,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Summary:
    """Make all jobs that are not finished yet. workers: processes, 0 for as many as this
    machine and the engines allow.

    Raises Busy if another batch writes into the folder, UnwritableOutput if it cannot be
    written; never for a failing job.
    """
    began = time.perf_counter()
    with alone(output_dir):
        studio = workplace.studio()
        journal = Journal(output_dir, studio.store.portrait_digest)
        results: dict[str, Result] = {}
        keys: dict[str, str] = {}
        for job in jobs:
            try:
                keys[job.name] = job_key(job, studio)
            except PersonareError as error:
                results[job.name] = _failed(job, error.message, error.hint)
                continue
            if workplace.cache != "refresh" and journal.has(keys[job.name], job.output):
                results[job.name] = Result(job.where, job.name, "kept", 0.0, 0.0, {})
        waiting = [job for job in jobs if job.name not in results]
        count = workers or default_workers(waiting, studio)
        studio.store.flush()
        progress("clips", len(results), len(jobs))
        with closing(make_all(waiting, count, workplace)) as ended:  # type: ignore[type-var]
            for made in ended:
                results[made.job.name] = _result(made, journal, keys[made.job.name])
                progress("clips", len(results), len(jobs))
    in_order = tuple(results[job.name] for job in jobs)
    states = [result.state for result in in_order]
    return Summary(
        output_dir=str(output_dir),
        jobs=len(jobs),
        made=states.count("made"),
        kept=states.count("kept"),
        failed=states.count("failed"),
        workers=min(count, len(waiting)),
        seconds=round(time.perf_counter() - began, 3),
        audio_seconds=round(sum(result.audio_seconds for result in in_order), 3),
        results=in_order,
    )


def job_key(job: Job, studio: Studio) -> str:
    """64 hex digits over everything that enters a job's clip; files count by their bytes.
    Raises PersonareError.
    """
    cast = studio.cast(job.portrait, job.engine, job.options)
    portrait = studio.store.portrait_digest(cast.portrait)
    spoken = (
        {"file": studio.store.portrait_digest(job.speech)}
        if job.speech
        else {"text": job_text(job), "voice": job.voice}
    )
    identity = {"clip": clip_key(cast.engine, cast.options, portrait, job.output.suffix), "spoken": spoken}
    return blake3(canonical_json(identity).encode("ascii")).hexdigest()


def default_workers(jobs: Sequence[Job], studio: Studio) -> int:
    """One process for every core; a single one if an engine of theirs has networks that fill
    the machine by themselves.
    """
    engines = {job.engine or DEFAULT_ENGINE for job in jobs}
    if any("device" in studio.open(name).Options.model_fields for name in engines):
        return 1
    return machine().cores


def _result(made: Made, journal: Journal, key: str) -> Result:
    if made.error:
        return _failed(made.job, made.error, made.hint)
    journal.add(key, made.job.output)
    report = made.report
    return Result(
        made.job.where, made.job.name, "made", report["timings"]["total"], report["audio_seconds"], report
    )


def _failed(job: Job, error: str, hint: str) -> Result:
    return Result(job.where, job.name, "failed", 0.0, 0.0, {}, error, hint)
