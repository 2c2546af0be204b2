"""`personare follow`: a portrait does what a video shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personare.cli.speak import MovedBy, Output, make, order_of
from personare.cli.switches import Given, switches


@switches("engine", "options", "weights", "caching", "cache_dir", "cache_remote", "marks")
def follow(
    given: Given,
    portrait: Annotated[
        str, typer.Argument(help="A photo, a template video, or the name of an avatar.", show_default=False)
    ],
    guide: Annotated[
        Path,
        typer.Argument(
            help="A video, or a folder of pictures in natural order, that shows what to do.",
            show_default=False,
        ),
    ],
    output: Output,
    curves: Annotated[
        Path | None,
        typer.Option(
            "--curves", help="Write the ARKit curves that were seen here (.json or .csv).", show_default=False
        ),
    ] = None,
    motion: Annotated[
        Path | None,
        typer.Option("--motion", help="Write the engine's own motion here.", show_default=False),
    ] = None,
    moved_by: MovedBy = None,
) -> None:
    """Make a clip of PORTRAIT doing what GUIDE shows, with the guide's own sound."""
    fields = {"guide": guide, "output": output, "curves_out": curves, "motion_out": motion}
    make(given, order_of(given, portrait, **fields, moved_by=moved_by))
