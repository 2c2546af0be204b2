"""`personare move`: a voice becomes a file of motion, for other programs, styles and later
clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personare.cli.session import print_json, progress_bar, say
from personare.cli.switches import Given, switches


@switches("engine", "options", "weights", "caching", "cache_dir", "cache_remote")
def move(
    given: Given,
    speech: Annotated[Path, typer.Argument(help="A voice: any audio file.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The motion to write: .npz, .pt (FLAME), .json or .csv (ARKit curves).",
            show_default=False,
        ),
    ] = ...,  # type: ignore[assignment]
) -> None:
    """Write the motion that an engine makes of SPEECH; no portrait takes part."""
    from personare.engines import DEFAULT_ENGINE
    from personare.ground.outputs import check_apart
    from personare.media.audio import open_speech
    from personare.studio.motion_alone import write_motion

    studio = given.studio()
    engine = studio.open(given.engine or DEFAULT_ENGINE)
    options = engine.read_options(given.options)
    check_apart([("the motion", output)], [("the voice", speech)])
    with progress_bar() as progress:
        report = write_motion(engine, options, open_speech(speech), output, studio.store, progress)
    if given.as_json:
        print_json(report)
    else:
        say(
            f"{report.output}: {report.frames} frames of {report.space} at {report.fps:g} fps; made in "
            f"{report.timings['total']:.1f} s"
        )
