"""`personare demo`: the bundled portrait speaks a sentence. `make demo` calls it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from personare.cli.session import print_json, progress_bar, say
from personare.cli.switches import Given, switches

SENTENCE = (
    "Hello! A moment ago I was only a photograph. Now I have a voice, and every picture that you see "
    "was made by your own computer."
)


@switches()
def demo(
    given: Given,
    output: Annotated[Path, typer.Argument(help="The clip to write (.mp4).")] = Path("demo.mp4"),
) -> None:
    """Let the bundled portrait speak a sentence."""
    from importlib.resources import as_file, files

    from personare.studio.order import Order

    began = time.perf_counter()
    with as_file(files("personare") / "assets" / "portrait.jpg") as portrait, progress_bar() as progress:
        order = Order(portrait=portrait, text=SENTENCE, voice="en-us", output=output)
        report = given.studio().make(order, progress)
    if given.as_json:
        print_json(report)
        return
    say(f"{output.resolve()}")
    took = f"{report.audio_seconds:.1f} s of video in {time.perf_counter() - began:.1f} s"
    if report.cache["clip"] == "hit":
        say(f"{took}: made before, and kept")
    else:
        say(f"{took}; speaking ran at {report.realtime_factor:.2f}x real time")
