"""A batch: which jobs are finished already, who makes the others, what came of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from personare.cache.keys import canonical_json, guide_digest
from personare.engines.neural import uses_gpu
from personare.errors import PersonareError
from personare.media.guide import open_guide
from personare.provenance.settings import read_marks_settings
from personare.studio.finished import clip_key
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.studio.voices import order_text
from personare.types import Progress, no_progress
from personare.work.jobs import Job
from personare.work.journal import Journal, alone
from personare.work.queue import Ended, MemoryQueue
from personare.work.workers import Capacity, Start, Terms, here, in_a_process, shares_in, work_off

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
    """A whole batch; results in the order of the jobs. workers: that there were at most."""

    output_dir: str
    jobs: int
    made: int
    kept: int
    failed: int
    workers: int
    seconds: float
    audio_seconds: float
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Staff:
    """Who makes the clips.

    there: what there is for workers now; engines with networks fill a machine each.
    tries: how often a job is begun whose worker dies.
    start: of a worker.
    gpu: share of a GPU that a worker of such an engine takes; 0: whatever it finds.
    """

    there: Callable[[], Capacity] = here
    tries: int = 1
    start: Start = in_a_process
    gpu: float = 0.0


def run_batch(
    jobs: Sequence[Job],
    output_dir: Path,
    settings: Settings,
    *,
    workers: int = 0,
    progress: Progress = no_progress,
    staff: Staff | None = None,
) -> Summary:
    """Make all jobs that are not finished yet. workers: processes, 0 for as many as the
    machines and the engines allow. staff: None for this machine.

    Raises Busy if another batch writes into the folder, UnwritableOutput if it cannot be
    written; never for a failing job.
    """
    began = time.perf_counter()
    with alone(output_dir):
        studio = Studio(settings)
        journal = Journal(output_dir, studio.store.file_digest)
        results: dict[str, Result] = {}
        keys: dict[str, str] = {}
        for job in jobs:
            try:
                keys[job.name] = job_key(job, studio)
            except PersonareError as error:
                results[job.name] = _failed(job, error.message, error.hint)
                continue
            if settings.cache != "refresh" and journal.has(keys[job.name], job.order.output):
                results[job.name] = Result(job.where, job.name, "kept", 0.0, 0.0, {})
        waiting = [job for job in jobs if job.name not in results]
        staff = staff or Staff()
        devices = devices_of(waiting, studio)
        allowed, terms = default_workers(devices, staff), Terms(graphics=uses_gpu(devices))
        count = 0

        def most() -> int:
            nonlocal count
            now = workers or allowed()
            count = max(count, min(now, len(waiting)))
            return now

        studio.store.flush()
        progress("clips", len(results), len(jobs))
        queue = MemoryQueue(waiting, staff.tries)
        with closing(work_off(queue, most, settings, staff.start, terms)) as ended:  # type: ignore[type-var]
            for end in ended:
                results[end.job.name] = _result(end, journal, keys[end.job.name])
                progress("clips", len(results), len(jobs))
    in_order = tuple(results[job.name] for job in jobs)
    states = [result.state for result in in_order]
    return Summary(
        output_dir=str(output_dir),
        jobs=len(jobs),
        made=states.count("made"),
        kept=states.count("kept"),
        failed=states.count("failed"),
        workers=count,
        seconds=round(time.perf_counter() - began, 3),
        audio_seconds=round(sum(result.audio_seconds for result in in_order), 3),
        results=in_order,
    )


def job_key(job: Job, studio: Studio) -> str:
    """64 hex digits over everything that enters a job's clip; files count by their bytes.
    Raises PersonareError.
    """
    order = job.order
    cast = studio.cast_for(order)
    portrait = studio.store.file_digest(cast.portrait)
    if order.speech:
        led: dict[str, Any] = {"file": studio.store.file_digest(order.speech)}
        led |= {"track": order.track} if order.track is not None else {}
    elif order.guide:
        led = {"guide": guide_digest(open_guide(order.guide), studio.store.file_digest)}
    else:
        led = {"text": order_text(order), "voice": order.voice}
    clip = clip_key(cast.engine, cast.options, portrait, order.output.suffix)
    marks = order.model_dump(mode="json", include={"marks", "marks_reason", "label", "cue"})
    marks["by"] = read_marks_settings().model_dump(mode="json")
    marks["consent"] = cast.consent
    whole = {"clip": clip, "spoken": led, "marks": marks}
    return blake3(canonical_json(whole).encode("ascii")).hexdigest()


def devices_of(jobs: Sequence[Job], studio: Studio) -> set[str]:
    """Where the networks of their engines run; empty if none has networks that fill a machine
    by themselves.
    """
    named = (getattr(studio.cast_for(job.order).options, "device", None) for job in jobs)
    return {device for device in named if device is not None}


def default_workers(devices: set[str], staff: Staff) -> Callable[[], int]:
    """How many now: one process for every core; with networks one for every machine, or as many
    as its GPUs have shares for.
    """

    def now() -> int:
        there = staff.there()
        if staff.gpu and there.gpus and uses_gpu(devices):
            return max(1, sum(shares_in(gpus, staff.gpu) for gpus in there.gpus))
        return there.machines if devices else there.cores

    return now


def _result(ended: Ended, journal: Journal, key: str) -> Result:
    if ended.error:
        return _failed(ended.job, ended.error, ended.hint)
    journal.add(key, ended.job.order.output)
    report = ended.report
    return Result(
        ended.job.where, ended.job.name, "made", report["timings"]["total"], report["audio_seconds"], report
    )


def _failed(job: Job, error: str, hint: str) -> Result:
    return Result(job.where, job.name, "failed", 0.0, 0.0, {}, error, hint)
