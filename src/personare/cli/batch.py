"""`personare batch`: many clips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import complain, print_json, print_table, progress_bar, say
from personare.cli.switches import Given, switches

if TYPE_CHECKING:
    from personare.studio.settings import Settings
    from personare.types import Progress
    from personare.work.batch import Staff, Summary


@switches("engine", "options", "weights", "caching", "cache_dir", "cache_remote")
def batch(
    given: Given,
    jobs: Annotated[Path, typer.Argument(help="A file of jobs (JSONL), or a folder of voices or of guides.")],
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", help="Where all clips go.", show_default="beside the jobs file; FOLDER/clips"
        ),
    ] = None,
    portrait: Annotated[
        str | None,
        typer.Option(
            "--portrait",
            help="Who speaks the voices of a folder, or follows its videos; else pairs by name.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=256, help="Processes; 0 for what the machine allows.")
    ] = 0,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="CLUSTER",
            help="Make them on a Ray cluster: ray (RAY_ADDRESS, or one started here) or ray://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
    gpu: Annotated[
        float,
        typer.Option(
            "--gpu",
            min=0.0,
            max=1.0,
            help="With --on: the share of a GPU that a worker reserves whose engine runs on one.",
        ),
    ] = 0.0,
    voice: Annotated[
        str | None, typer.Option("--voice", help="Voice or language for texts: see `personare voices`.")
    ] = None,
) -> None:
    """Make many clips. Run it again after whatever stopped it: what is finished is not made
    again.

    A job is one JSON object on a line: portrait, speech or text or guide, output, and if wanted
    engine, voice, options. Paths are relative to the file. In a folder, every voice (and every
    .txt) becomes a clip of --portrait, or of the picture of the same name; in a folder without
    voices, every video does, as a guide. Exit code 3 if any job failed.
    """
    if gpu and on is None:
        raise typer.BadParameter("--gpu goes with --on: here an engine takes the GPU that it finds")
    from personare.ground.paths import expanded
    from personare.work.batch import run_batch
    from personare.work.jobs import Defaults, folder_jobs, read_jobs

    defaults = Defaults(engine=given.engine, voice=voice, options=given.options)
    is_folder = jobs.is_dir()
    target = expanded(output_dir or (jobs / "clips" if is_folder else jobs.parent)).resolve()
    if is_folder:
        wanted = folder_jobs(jobs.absolute(), target, defaults, portrait)
    elif portrait is not None:
        raise typer.BadParameter("--portrait is for folders; a jobs file names its portraits")
    else:
        wanted = read_jobs(jobs.absolute(), target, defaults)
    with progress_bar() as progress, _staff(on, gpu, given.settings(), progress) as staff:
        summary = run_batch(wanted, target, given.settings(), workers=workers, progress=progress, staff=staff)
    if given.as_json:
        print_json(summary)
    else:
        _tell(summary)
    if summary.failed:
        raise typer.Exit(3)


@contextmanager
def _staff(on: str | None, gpu: float, settings: Settings, progress: Progress) -> Iterator[Staff | None]:
    """Who makes the clips, while the block runs."""
    if on is None:
        yield None
        return
    from personare.cluster.joined import joined

    with joined(on, progress):
        from personare.cluster.hired import staff

        yield staff(settings, gpu)


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
    for r in summary.results:
        for line in r.report["warnings"] if r.report else ():
            complain(f"warning: {r.output}: {line}")
    ratio = f", {summary.audio_seconds / summary.seconds:.2f}x real time in all" if summary.made else ""
    say(
        f"{summary.output_dir}: {summary.made} made, {summary.kept} kept, {summary.failed} failed; "
        f"{summary.workers} workers, {summary.seconds:.1f} s{ratio}"
    )
