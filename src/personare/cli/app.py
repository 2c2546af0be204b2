"""The commands in one place, and what their ends mean: the exit code and the lines that are
said.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from personare.cli import interrupts
from personare.cli.session import (
    SESSION,
    begin,
    complain,
    print_json,
    report_error,
    several_settings,
    start_logging,
)
from personare.errors import EngineError, PersonareError, one_line

USAGE_CODE = 2
UNSAID_CODE = 1
"""Of a command whose result is what it prints, when stdout took no more."""
_ANSWERING = ("engines", "voices", "doctor", "score", "verify", "marks show", "schema", "avatar list",
              "avatar show", "avatar status", "cache stats", "cache list", "styles list", "weights list",
              "weights where", "weights verify")  # fmt: skip
"""Commands that make nothing but their answer."""
# typer brings a click of its own or uses the installed one: this is the base class of either
_UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

_COMMANDS = {
    "speak": "speak.speak",
    "follow": "follow.follow",
    "move": "move.move",
    "avatar": "avatar.app",
    "styles": "styles.app",
    "cache": "cache.app",
    "weights": "weights.app",
    "verify": "verify.verify",
    "marks": "marks.app",
    "score": "score.score",
    "batch": "batch.batch",
    "serve": "serve.serve",
    "deploy": "deploy.deploy",
    "page": "page.page",
    "bench": "bench.bench",
    "demo": "demo.demo",
    "engines": "about.engines",
    "voices": "about.voices",
    "schema": "schema.schema",
    "doctor": "about.doctor",
}
"""Module and name, in this package, of each command or group of commands."""


def program(arguments: Sequence[str] = ()) -> typer.Typer:
    """What understands this command line: the command that it begins with alone, for to load
    all takes longer than many a command; all of them where it begins with anything else.
    """
    app = typer.Typer(
        name="personare",
        help="Turn a portrait and a voice into a talking person.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    asked = arguments[0] if arguments else ""
    for name in [asked] if asked in _COMMANDS else _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(".")
        command = getattr(import_module(f"personare.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"personare {version('personare')}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; its error has been said, but that it was
    interrupted.
    """
    begin(as_json="--json" in arguments)
    start_logging(0)
    return _run(arguments)


def last_words(arguments: Sequence[str], code: int) -> int:
    """What remains to be said when nothing disturbs it any more. Returns the exit code."""
    if interrupts.interrupted():
        if code == 0:  # it was done before the signal was heard
            return 0
        return _say_interrupted()
    if SESSION.unsaid and code == 0:
        complain(f"warning: stdout took no more: {SESSION.unsaid}")
        return UNSAID_CODE if " ".join(arguments).startswith(_ANSWERING) else 0
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        ended = program(arguments)(several_settings(arguments), prog_name="personare", standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        if interrupts.interrupted() or isinstance(error, KeyboardInterrupt):
            return interrupts.EXIT_CODE
        if isinstance(error, PersonareError):
            return report_error(error)
        if isinstance(error, _UsageError):
            return _usage(error)
        return _unexpected(error)
    return ended if isinstance(ended, int) else 0


def _say_interrupted() -> int:
    kept = f"interrupted; {SESSION.kept}: the same command goes on from there"
    message = kept if SESSION.kept else interrupts.MESSAGE
    complain(f"error: {message}")
    if SESSION.as_json and not SESSION.answered:
        print_json({"error": message, "hint": "", "kind": "Cancelled"})
    return interrupts.EXIT_CODE


def _usage(error: BaseException) -> int:
    """A command line that cannot be understood, or the help of one that names no command."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        complain(context.get_help())
        return USAGE_CODE
    message = one_line(error.format_message() if hasattr(error, "format_message") else str(error))
    hint = f"{context.command_path if context else 'personare'} --help lists what it takes"
    complain(f"error: {message}")
    complain(f"hint: {hint}")
    if SESSION.as_json and not SESSION.answered:
        print_json({"error": message, "hint": hint, "kind": "UsageError"})
    return USAGE_CODE


def _unexpected(error: BaseException) -> int:
    if SESSION.debug:
        raise error
    return report_error(
        EngineError(
            f"unexpected {type(error).__name__}: {str(error)[:300]}",
            hint="run again with --debug and report what it prints",
        )
    )
