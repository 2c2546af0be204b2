"""`personare speak`: a portrait and a voice, or a text, become a clip."""

from __future__ import annotations

import sys
from fractions import Fraction
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
    progress_bar,
    read_settings,
    say,
)
from personare.errors import UnreadableMedia
from personare.media.local import expanded
from personare.media.text_file import MAX_BYTES, decode_text, read_text_file

if TYPE_CHECKING:
    from personare.studio.report import Report
    from personare.studio.studio import CacheMode
    from personare.types import Speech


def speak(
    portrait: Annotated[
        str | None,
        typer.Argument(
            help="A photo, a template video, or the name of an avatar; none with --set look=mesh.",
            show_default=False,
        ),
    ] = None,
    speech: Annotated[
        Path | None, typer.Argument(help="A voice: any audio file.", show_default=False)
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The clip to write (.mp4).", show_default=False)
    ] = ...,  # type: ignore[assignment]
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
            "here (.json).",
            show_default=False,
        ),
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(
            "--sound",
            help="With curves that are read: the clip's sound. It moves nothing.",
            show_default=False,
        ),
    ] = None,
    engine: EngineName = None,
    settings: Setting = None,
    fps: Annotated[
        str | None,
        typer.Option("--fps", help="Frames per second: the engine option fps.", show_default=False),
    ] = None,
    device: Device = None,
    weights: WeightsDir = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither read nor write cached features and clips.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Recompute cached features and clips and overwrite them.")
    ] = False,
    no_clip_cache: NoClipCache = False,
    cache_dir: CacheDir = None,
    cache_remote: CacheRemote = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Make a clip of PORTRAIT speaking SPEECH (or a text), or doing what curves say."""
    voiceless = speech is None and text is None and text_file is None
    if portrait is not None and voiceless and "look=mesh" in (settings or ()):
        speech, portrait = Path(portrait), None
    voices = sum(given is not None for given in (speech, text, text_file))
    if voices > 1 or (voices == 0 and curves is None):
        raise typer.BadParameter("give exactly one of SPEECH, --text and --text-file (or just --curves)")
    if sound is not None and voices:
        raise typer.BadParameter("--sound is for curves that are read: give --curves and no voice")
    if voice is not None and speech is not None:
        raise typer.BadParameter("--voice is for --text and --text-file")
    if timing not in (None, "cues", "flow"):
        raise typer.BadParameter("--timing is cues or flow")
    if no_cache and refresh:
        raise typer.BadParameter("--no-cache and --refresh exclude each other")
    mode: CacheMode = "off" if no_cache else "refresh" if refresh else "use"

    from personare.studio.studio import Studio

    studio = Studio(cache_dir, mode, weights, keep_clips=not no_clip_cache, cache_remote=cache_remote)
    chosen = read_settings(settings, fps=fps, device=device)
    with progress_bar() as progress:
        if voices:
            cast = studio.cast(portrait, engine, chosen)
            report = studio.speak(
                cast, open_voice(speech, text, text_file, voice, timing), output, progress, curves=curves
            )
        else:
            from personare.media.audio import open_speech
            from personare.media.motion_files import read_curves

            assert curves is not None
            track = read_curves(curves, _rate(chosen.get("fps")))
            heard = open_speech(sound) if sound else None
            cast = studio.cast(portrait, engine, {"fps": str(track.fps), **chosen})
            report = studio.follow(cast, track, output, progress, sound=heard)
    if as_json:
        print_json(report)
    else:
        say(summary(report))


def _rate(fps: str | None) -> Fraction | None:
    """The frame rate that was asked for, as far as it is one: the engine says what is wrong."""
    from personare.types import frame_rate

    try:
        return frame_rate(fps) if fps else None
    except ValueError:
        return None


def open_voice(
    speech: Path | None,
    text: str | None,
    text_file: Path | None,
    voice: str | None,
    timing: str | None = None,
) -> Speech:
    """The speech that the command line names. Raises PersonareError."""
    if speech is not None:
        from personare.media.audio import open_speech

        return open_speech(speech)
    from personare.voice.tts import open_text

    said = text if text is not None else read_text(text_file or Path("-"))
    return open_text(said, voice, timing="flow" if timing == "flow" else "cues")


def read_text(path: Path) -> str:
    """The text of a file, or of stdin for "-". Raises UnreadableMedia."""
    if str(path) != "-":
        return read_text_file(expanded(path))
    raw = sys.stdin.buffer.read(MAX_BYTES + 1)
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
