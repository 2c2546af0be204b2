"""`personare styles`: ways of moving, two seconds of motion each, that engines can resemble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personare.cli.session import print_json, print_table, say
from personare.cli.switches import Given, switches

app = typer.Typer(
    help="Ways of moving that engines can resemble: two seconds of motion each.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
@switches("weights")
def list_styles(given: Given) -> None:
    """List every style on this machine, and the engines that know it."""
    from personare.studio.installed import installed_engines
    from personare.weights.finder import Weights

    rows = [
        [name, engine.name, str(path)]
        for engine in installed_engines(Weights(given.weights))
        for name, path in engine.styles().items()
    ]
    if given.as_json:
        columns = ("style", "engine", "file")
        print_json({"styles": [dict(zip(columns, row, strict=True)) for row in rows]})
    else:
        empty = "no styles yet; personare styles add NAME MOTION cuts one from a motion"
        print_table(["style", "engine", "file"], rows, empty=empty)


@app.command()
@switches()
def add(
    given: Given,
    name: Annotated[str, typer.Argument(help="The style's name.")],
    motion: Annotated[
        Path, typer.Argument(help="A motion of a FLAME head, as --motion writes it (.npz or .pt).")
    ],
    start: Annotated[
        float, typer.Option("--from", metavar="SECONDS", help="Where in the motion the style begins.")
    ] = 0.0,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a style of the same name.")] = False,
) -> None:
    """Cut two seconds of MOTION and keep them as NAME."""
    from personare.shelf.home import home
    from personare.shelf.styles import StyleShelf
    from personare.studio.motions import read_motion

    path = StyleShelf(home().styles).add(name, read_motion(motion), start, replace_it=replace)
    if given.as_json:
        print_json({"style": name, "file": str(path)})
    else:
        say(f"{name}: kept; try: personare speak VOICE.wav --engine artalk --set style={name} -o out.mp4")
