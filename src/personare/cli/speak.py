"""`personare speak`: a portrait and a voice, a text or a motion become a clip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personare.cli.session import complain, print_json, progress_bar, say
from personare.cli.switches import Given, switches
from personare.errors import UnreadableMedia

if TYPE_CHECKING:
    from personare.studio.order import Order
    from personare.studio.report import Report

Output = Annotated[Path, typer.Option("-o", "--output", help="The clip to write (.mp4).", show_default=False)]
MovedBy = Annotated[
    str | None,
    typer.Option(
        "--moved-by",
        metavar="ENGINE",
        help="Another engine, whose motion is shown on this portrait.",
        show_default=False,
    ),
]


@switches("engine", "options", "weights", "caching", "cache_dir", "cache_remote", "marks")
def speak(
    given: Given,
    portrait: Annotated[
        str | None,
        typer.Argument(
            help="A photo, a template video, or the name of an avatar; none where the engine brings its own.",
            show_default=False,
        ),
    ] = None,
    speech: Annotated[
        Path | None, typer.Argument(help="A voice: any audio file.", show_default=False)
    ] = None,
    output: Output = ...,  # type: ignore[assignment]
    track: Annotated[
        int | None,
        typer.Option(
            "--track",
            min=1,
            help="Which sound track of SPEECH is the voice, from 1; by default the one that speaks.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Speak this text instead of a voice.")] = None,
    text_file: Annotated[
        Path | None, typer.Option("--text-file", help="Speak the text in this file; - is stdin.")
    ] = None,
    voice: Annotated[
        str | None, typer.Option("--voice", help="Voice or language for text: see `personare voices`.")
    ] = None,
    timing: Annotated[
        str | None,
        typer.Option(
            "--timing",
            help="Of a text that is subtitles: cues (each at its time) or flow (without their times).",
            show_default="cues",
        ),
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(
            "--curves",
            help="With a voice or text: write its ARKit curves here (.json or .csv). Without: read them from "
            "here (.json or .csv, of other programs too: see docs/voices.md).",
            show_default=False,
        ),
    ] = None,
    motion: Annotated[
        Path | None,
        typer.Option(
            "--motion",
            help="With a voice or text: write the engine's own motion here. Without: read it from here.",
            show_default=False,
        ),
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(
            "--sound",
            help="With curves or motion that are read: the clip's sound. It moves nothing.",
            show_default=False,
        ),
    ] = None,
    moved_by: MovedBy = None,
) -> None:
    """Make a clip of PORTRAIT speaking SPEECH (or a text), or doing what curves say."""
    if portrait is not None and speech is None and text is None and text_file is None:
        portrait, speech = _sole(given, portrait)
    voices = sum(value is not None for value in (speech, text, text_file))
    read = [path for path in (curves, motion) if path is not None and not voices]
    if voices > 1 or voices + len(read) != 1:
        raise typer.BadParameter(
            "give exactly one of SPEECH, --text and --text-file (or just --curves, or just --motion)"
        )
    if sound is not None and voices:
        raise typer.BadParameter("--sound is for curves that are read: give --curves and no voice")
    if track is not None and speech is None:
        raise typer.BadParameter("--track is for SPEECH")
    if voice is not None and speech is not None:
        raise typer.BadParameter("--voice is for --text and --text-file")
    if timing not in (None, "cues", "flow"):
        raise typer.BadParameter("--timing is cues or flow")
    if timing is not None and text is None and text_file is None:
        raise typer.BadParameter("--timing is for --text and --text-file")
    if str(text_file) == "-":
        text, text_file = stdin_text(), None
    moved: dict[str, Any] = {"speech": speech, "text": text, "text_file": text_file, "voice": voice}
    moved |= {"timing": timing, "track": track}
    if voices:
        moved |= {"curves_out": curves, "motion_out": motion}
    else:
        moved |= {"motion": read[0], "sound": sound}
    make(given, order_of(given, portrait, output=output, moved_by=moved_by, **moved))


def order_of(given: Given, portrait: str | None, **fields: Any) -> Order:
    """The order that a command line describes. Raises InvalidOption."""
    from personare.studio.order import Order, who

    return Order.model_validate(
        {**who(portrait), **fields, **given.marks, "engine": given.engine, "options": dict(given.options)}
    )


def make(given: Given, order: Order) -> None:
    """Make a clip, and tell about it."""
    studio = given.studio()
    with progress_bar() as progress:
        report = studio.make(order, progress)
    if given.as_json:
        print_json(report)
    else:
        say(summary(report))
    for line in report.warnings:
        complain(f"warning: {line}")


def _sole(given: Given, argument: str) -> tuple[str | None, Path | None]:
    """A single argument as (portrait, speech): the engine is asked whether it needs a portrait."""
    needs_none = given.studio().brings_portrait(given.engine, given.options)
    return (None, Path(argument)) if needs_none else (argument, None)


def stdin_text() -> str:
    """The text on stdin. Raises UnreadableMedia."""
    from personare.media.text_file import MAX_BYTES, decode_text

    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableMedia(f"-: {error.strerror or error}", hint="check what is piped in") from None
    if len(raw) > MAX_BYTES:
        raise UnreadableMedia(f"stdin holds more than {MAX_BYTES:,} bytes", hint="split the text")
    return decode_text(raw, "stdin")


def summary(report: Report) -> str:
    """What was made, for people, in one line."""
    if report.cache["clip"] == "hit":
        return (
            f"{report.output}: {report.audio_seconds:.1f} s, {report.width}x{report.height} at "
            f"{report.fps:g} fps, "
            f"{report.frames} frames; made before, copied in {report.timings['total']:.1f} s (--refresh "
            f"makes it again)"
        )
    prepared = "prepared" if report.cache["misses"] else "already prepared"
    return (
        f"{report.output}: {report.audio_seconds:.1f} s, {report.width}x{report.height} at {report.fps:g} "
        f"fps, "
        f"{report.frames} frames; made in {report.timings['total']:.1f} s, {report.realtime_factor:.2f}x "
        f"real time ({prepared})"
    )
