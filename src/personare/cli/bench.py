"""`personare bench`: what an engine costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import print_json, print_table, progress_bar, say
from personare.cli.switches import Given, switches

if TYPE_CHECKING:
    from personare.bench.runs import Bench


@switches("options", "weights")
def bench(
    given: Given,
    engine: Annotated[str, typer.Argument(help="Which engine; see `personare engines`.")],
    portrait: Annotated[
        Path | None, typer.Argument(help="A photo or template video.", show_default="the bundled photo")
    ] = None,
    speech: Annotated[Path | None, typer.Argument(help="A voice.", show_default="a sentence")] = None,
    guide: Annotated[
        Path | None,
        typer.Option("--guide", help="A video to follow, instead of a voice.", show_default=False),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, max=100, help="Cold and warm runs, each.")] = 3,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="A PNG to draw (needs personare[bench]).", show_default=False),
    ] = None,
) -> None:
    """Measure ENGINE: cold runs (an empty cache) and warm ones, each in a process of its own;
    medians, step by step.
    """
    from personare.bench.plot import check_plot
    from personare.bench.plot import plot as draw
    from personare.bench.runs import run_bench
    from personare.ground.outputs import check_apart

    if guide is not None and speech is not None:
        raise typer.BadParameter("a voice and a guide exclude each other")
    given.studio().open(engine).read_options(given.options)
    if plot is not None:
        check_plot(plot)
        read = (("the portrait", portrait), ("the voice", speech), ("the guide", guide))
        check_apart([("the plot", plot)], [(what, path) for what, path in read if path is not None])
    with progress_bar() as progress:
        measured = run_bench(
            engine,
            portrait=portrait,
            speech=speech,
            guide=guide,
            runs=runs,
            options=given.options,
            weights=given.weights,
            progress=progress,
        )
    if plot is not None:
        draw(measured, plot)
    if given.as_json:
        print_json(measured)
    else:
        _tell(measured, runs, plot)


def _tell(measured: Bench, runs: int, plot: Path | None) -> None:
    from personare.bench.runs import STAGES

    here = measured.machine
    memory = f", {here.memory_gb:.0f} GB" if here.memory_gb else ""
    say(
        f"{measured.engine}: {measured.audio_seconds:.1f} s at {measured.width}x{measured.height}, "
        f"{measured.fps:g} fps, "
        f"{measured.frames} frames; {measured.speech}; {runs} runs each, medians"
    )
    say(
        f"{here.processor}, {here.cores} cores{memory}, {' '.join(here.flags)}; {here.system}, Python "
        f"{here.python}"
    )
    say(", ".join(f"{name} {version}" for name, version in here.versions.items()))
    columns = (measured.medians["cold"], measured.medians["warm"])
    rows = [
        [name, *(f"{column[name]:.3f}" if name in column else "-" for column in columns)] for name in STAGES
    ]
    rows.append(["x real time", *(f"{measured.realtime_factor[name]:.2f}" for name in ("cold", "warm"))])
    rows.append(["peak MB", *(f"{measured.peak_memory_mb[name]:.0f}" for name in ("cold", "warm"))])
    print_table(["seconds", "cold", "warm"], rows)
    if plot is not None:
        say(f"{plot.resolve()}")
