"""`personare`: the commands in one place, and how the program ends."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from personare.cli import (
    about,
    avatar,
    batch,
    bench,
    cache,
    demo,
    follow,
    move,
    schema,
    score,
    speak,
    styles,
    weights,
)
from personare.cli.session import SESSION, report_error, several_settings, start_logging
from personare.errors import EngineError, PersonareError

app = typer.Typer(
    name="personare",
    help="Turn a portrait and a voice into a talking person.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("speak")(speak.speak)
app.command("follow")(follow.follow)
app.command("move")(move.move)
app.add_typer(avatar.app, name="avatar")
app.add_typer(styles.app, name="styles")
app.add_typer(cache.app, name="cache")
app.add_typer(weights.app, name="weights")
app.command("score")(score.score)
app.command("batch")(batch.batch)
app.command("bench")(bench.bench)
app.command("demo")(demo.demo)
app.command("engines")(about.engines)
app.command("voices")(about.voices)
app.command("schema")(schema.schema)
app.command("doctor")(about.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"personare {version('personare')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run() -> None:
    """The program: runs the command and exits with the code that `personare.errors` gives."""
    # Our rooms work side by side. OpenCV's own threads would spin between its many small calls:
    # a seventh of all processor time.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    start_logging(0)
    signal.signal(signal.SIGTERM, _terminated)
    code = _run_command()
    # The error is forgotten by now, and with it the decoders and networks that its traceback
    # held: they end before Python does.
    gc.collect()
    if code == 130:
        # Every block has ended by now. What an interrupted call still holds, Python would
        # complain about.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run_command() -> int:
    try:
        app(several_settings(sys.argv[1:]))
    except PersonareError as error:
        return report_error(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except SystemExit as end:
        if end.code == 130:
            typer.echo("error: interrupted; nothing half-written is left", err=True)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if SESSION.debug:
            raise
        wrapped = EngineError(
            f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            hint="run again with --debug and report what it prints",
        )
        return report_error(wrapped)
    return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
