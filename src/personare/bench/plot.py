"""The medians of a bench as a picture: what each step takes, cold and warm."""

from __future__ import annotations

import os
from pathlib import Path

from personare.bench.runs import STEPS, Bench
from personare.errors import UnwritableOutput, WeightsMissing
from personare.ground.durable import replaced_when_complete
from personare.shelf.home import home

_COLOURS = {
    "start": "#b8b8b8", "preprocess": "#8172b3", "drive": "#4c72b0", "motion": "#64b5cd", "render": "#55a868",
    "compose": "#ccb974", "perform (rest)": "#dd8452", "encode": "#c44e52", "other": "#e8e8e8",
}  # fmt: skip


def check_plot(target: Path) -> None:
    """Raises WeightsMissing without matplotlib, UnwritableOutput for a name that is no PNG or a
    missing folder: before any run.
    """
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise WeightsMissing(
            "matplotlib, which draws --plot, is not installed", hint="pip install 'personare[bench]'"
        )
    if target.suffix.lower() != ".png":
        raise UnwritableOutput(
            f"{target} does not end in .png", hint="plots are PNG files: end its name in .png"
        )
    if not target.parent.is_dir():
        raise UnwritableOutput(
            f"there is no folder {target.parent} for {target.name!r}", hint="make it first"
        )


def parts(medians: dict[str, float]) -> dict[str, float]:
    """Seconds that add up to the total: the steps, what the performance takes beside them, and
    what is in no row.

    Steps that work side by side add up to more than the performance took; they are then drawn
    as shares of it.
    """
    steps = {step: medians[step] for step in STEPS if step in medians}
    perform, told = medians["perform"], sum(steps.values())
    if told > perform:
        steps = {step: seconds * perform / told for step, seconds in steps.items()}
    drawn = {"start": medians["start"], "preprocess": medians["preprocess"], **steps}
    drawn["perform (rest)"] = max(0.0, perform - told)
    drawn["encode"] = medians["encode"]
    drawn["other"] = max(0.0, medians["total"] - sum(drawn.values()))
    return drawn


def plot(bench: Bench, target: Path) -> None:
    """Write the picture as PNG. Raises UnwritableOutput."""
    # Its list of fonts is kept with our own caches, not somewhere else below HOME.
    os.environ.setdefault("MPLCONFIGDIR", str(home().features.parent / "matplotlib"))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, temperature in enumerate(("warm", "cold")):
        left = 0.0
        for name, seconds in parts(bench.medians[temperature]).items():
            axes.barh(
                row, seconds, left=left, color=_COLOURS[name], label=name if row == 0 else None, height=0.6
            )
            if seconds > 0.07 * bench.medians["cold"]["total"]:
                axes.text(left + seconds / 2, row, f"{seconds:.2f}", ha="center", va="center", fontsize=8)
            left += seconds
        axes.text(left, row, f"  {bench.medians[temperature]['total']:.2f} s", va="center", fontsize=9)
    axes.axvline(bench.audio_seconds, color="black", linestyle=":", linewidth=1)
    axes.text(bench.audio_seconds, 1.45, "length of the clip ", ha="right", va="center", fontsize=8)
    axes.set_yticks([0, 1], ["warm", "cold"])
    axes.set_ylim(-0.5, 1.6)
    axes.set_xlim(0, 1.12 * max(bench.audio_seconds, bench.medians["cold"]["total"]))
    axes.set_xlabel("seconds (medians)")
    axes.spines[["top", "right"]].set_visible(False)
    here = bench.machine
    runs = len(bench.runs) // 2
    axes.set_title(
        f"{bench.engine}: {bench.audio_seconds:.1f} s at {bench.width}x{bench.height}, {bench.fps:g} fps, "
        f"{runs} runs each\n"
        f"{here.processor}, {here.cores} cores",
        fontsize=10,
        loc="left",
    )
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    try:
        with replaced_when_complete(target) as part:
            figure.savefig(part, format="png")
    except OSError as error:
        raise UnwritableOutput(
            f"{target} cannot be written: {error.strerror}", hint="check the folder and the disk"
        ) from None
