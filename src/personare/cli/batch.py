"""`personare batch`: many clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import (
    AsJson,
    CacheDir,
    CacheRemote,
    Debug,
    Device,
    EngineName,
    NoClipCache,
    Setting,
    Verbose,
    WeightsDir,
    print_json,
    print_table,
    progress_bar,
    read_settings,
    say,
)

if TYPE_CHECKING:
    from personare.work.batch import Summary


def batch(
    jobs: Annotated[Path, typer.Argument(help="A file of jobs (JSONL), or a folder of voices.")],
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", help="Where all clips go.", show_default="beside the jobs file; FOLDER/clips"
        ),
    ] = None,
    portrait: Annotated[
        str | None,
        typer.Option(
            "--portrait", help="Who speaks the voices of a folder; else pairs by name.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=256, help="Processes; 0 for what the machine allows.")
    ] = 0,
    engine: EngineName = None,
    settings: Setting = None,
    fps: Annotated[
        str | None,
        typer.Option("--fps", help="Frames per second: the engine option fps.", show_default=False),
    ] = None,
    voice: Annotated[
        str | None, typer.Option("--voice", help="Voice or language for texts: see `personare voices`.")
    ] = None,
    device: Device = None,
    weights: WeightsDir = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Make every clip again, finished or not.")
    ] = False,
    no_clip_cache: NoClipCache = False,
    cache_dir: CacheDir = None,
    cache_remote: CacheRemote = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Make many clips. Run it again after whatever stopped it: what is finished is not made
    again.

    A job is one JSON object on a line: portrait, speech or text, output, and if wanted engine,
    voice, options. Paths are relative to the file. In a folder, every voice (and every .txt)
    becomes a clip of --portrait, or of the picture of the same name. Exit code 3 if any job
    failed.
    """
    from personare.work.batch import run_batch
    from personare.work.jobs import Job, folder_jobs, read_jobs
    from personare.work.workers import Workplace

    options = read_settings(settings, fps=fps, device=device)
    defaults = Job("", "", Path(), "", engine=engine, voice=voice, options=options)
    is_folder = jobs.is_dir()
    target = (output_dir or (jobs / "clips" if is_folder else jobs.parent)).expanduser().resolve()
    if is_folder:
        who = None if portrait is None else Path(portrait) if Path(portrait).is_file() else portrait
        wanted = folder_jobs(jobs.absolute(), target, defaults, who)
    elif portrait is not None:
        raise typer.BadParameter("--portrait is for folders; a jobs file names its portraits")
    else:
        wanted = read_jobs(jobs.absolute(), target, defaults)
    workplace = Workplace(
        cache_dir,
        "refresh" if refresh else "use",
        weights,
        keep_clips=not no_clip_cache,
        cache_remote=cache_remote,
    )
    with progress_bar() as progress:
        summary = run_batch(wanted, target, workplace, workers=workers, progress=progress)
    if as_json:
        print_json(summary)
    else:
        _tell(summary)
    if summary.failed:
        raise typer.Exit(3)


def _tell(summary: Summary) -> None:
    rows = [
        [
            r.output,
            r.state,
            f"{r.audio_seconds:.1f} s" if r.state == "made" else "",
            f"{r.seconds:.1f} s" if r.state == "made" else "",
            f"{r.report['realtime_factor']:.2f}x"
            if r.state == "made" and r.report["cache"]["clip"] != "hit"
            else "",
            f"{r.where}: {r.error}" if r.error else "",
        ]
        for r in summary.results
    ]
    print_table(["clip", "state", "length", "took", "real time", "error"], rows)
    ratio = f", {summary.audio_seconds / summary.seconds:.2f}x real time in all" if summary.made else ""
    say(
        f"{summary.output_dir}: {summary.made} made, {summary.kept} kept, {summary.failed} failed; "
        f"{summary.workers} workers, {summary.seconds:.1f} s{ratio}"
    )
