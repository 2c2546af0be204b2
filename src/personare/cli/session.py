"""What every command shares: its switches, where output goes, progress, logs, and how errors
end the program.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personare.engines import DEFAULT_ENGINE
from personare.errors import InvalidOption, PersonareError

if TYPE_CHECKING:
    from personare.types import Progress

PROGRESS_AFTER_SECONDS = 0.7
PACE_SECONDS = 300.0
"""The time left follows from the pace of so long: a step of a network may take half a minute."""
_SETTING = re.compile(r"[a-z][a-z0-9_]*=")
_STAGE = re.compile(r"[a-z]\w*\.[a-z]\w*")


@dataclass
class Session:
    """The switches of the running command; one process runs one command."""

    as_json: bool = False
    debug: bool = False
    answered: bool = False
    """Whether the one JSON object was begun."""
    unsaid: str = ""
    """Why stdout took no more; "" if it took everything."""
    kept: str = ""
    """What an interruption left to go on from; "" if there is nothing."""


SESSION = Session()


def begin(*, as_json: bool) -> None:
    """A command begins; as_json: until it reads its own switches, which a wrong command line
    prevents.
    """
    SESSION.as_json, SESSION.debug, SESSION.answered = as_json, False, False
    SESSION.unsaid = SESSION.kept = ""
    write_any_letter()


def _set_json(value: bool) -> bool:
    SESSION.as_json = value
    return value


def _set_debug(value: bool) -> bool:
    SESSION.debug = value
    return value


def _set_verbose(count: int) -> int:
    start_logging(count)
    return count


AsJson = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on stdout.", callback=_set_json)
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show a traceback when something fails.", callback=_set_debug)
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Log what happens (-vv: everything).", callback=_set_verbose
    ),
]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Folder of cached features.", show_default=False)
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An engine option; may be repeated.", show_default=False),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="Folder of checkpoints, searched before the usual places.", show_default=False
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="auto, cpu, cuda, cuda:1 or mps, for engines that have it.", show_default=False
    ),
]
Fps = Annotated[
    str | None,
    typer.Option("--fps", help="Frames per second: the engine option fps.", show_default=False),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Neither read nor write cached features and clips.")
]
Refresh = Annotated[
    bool,
    typer.Option("--refresh", help="Make cached features and finished clips again, and keep the new ones."),
]
CacheRemote = Annotated[
    str | None,
    typer.Option(
        "--cache-remote",
        metavar="URL",
        envvar="PERSONARE_CACHE_REMOTE",
        help="Features that several machines share: any fsspec URL.",
        show_default=False,
        show_envvar=True,
    ),
]
NoClipCache = Annotated[
    bool, typer.Option("--no-clip-cache", help="Neither look for the finished clip nor keep it.")
]
EngineName = Annotated[
    str | None, typer.Option("--engine", help="Which engine animates.", show_default=DEFAULT_ENGINE)
]


def read_settings(settings: list[str] | None, **named: str | None) -> dict[str, str]:
    """{"size": "256"} from ["size=256"]. named: options that have a switch of their own. Raises
    InvalidOption.
    """
    read = {key: value for key, value in named.items() if value is not None}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise InvalidOption(f"--set {setting!r} is not KEY=VALUE", hint="for example --set size=256")
        read[key.strip()] = value.strip()
    return read


def several_settings(arguments: Sequence[str]) -> list[str]:
    """The command line with every KEY=VALUE that follows another one of --set given a --set of
    its own; likewise names of stages behind --no-cache-of.
    """
    read: list[str] = []
    for argument in arguments:
        before = read[-2] if len(read) > 1 else ""
        if (before == "--set" and _SETTING.match(argument)) or (
            before == "--no-cache-of" and _STAGE.fullmatch(argument)
        ):
            read.append(before)
        read.append(argument)
    return read


# ---------------------------------------------------------------- output


def print_json(value: Any) -> None:
    """One JSON object on stdout; dataclasses and paths are written plainly.

    It is composed first and written once, in ASCII where the stream's encoding lacks a letter.
    """
    plain = _plain(value)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain, allow_nan=False)
    SESSION.answered = True
    _write(text + "\n")


def _write(text: str) -> None:
    """The text on stdout. A stream that takes no more (a full disk, a reader that went away) is
    no reason to fail: what was made is made, and `Session.unsaid` keeps the reason.
    """
    if SESSION.unsaid:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout("its reader went away")
    except (OSError, ValueError) as error:  # ValueError: closed in this process
        _give_up_stdout(getattr(error, "strerror", None) or str(error))


def _give_up_stdout(reason: str) -> None:
    SESSION.unsaid = reason
    # what the buffer still holds would fail once more when Python ends
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def flush() -> None:
    """Before the program ends: what the streams hold is written, or dropped if they do not take
    it.
    """
    _write("")
    with suppress(OSError, ValueError):
        sys.stderr.flush()


def write_any_letter() -> None:
    """stdout writes what its encoding lacks as escapes instead of failing."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # a path may have bytes that are no letters, which only this handler gives back as they
        # were
        whole = stream.errors == "surrogateescape" and stream.encoding.lower() in ("utf-8", "utf8")
        stream.reconfigure(errors="surrogateescape" if whole else "backslashreplace")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def print_table(
    columns: list[str], rows: list[list[str]], *, title: str | None = None, empty: str = "nothing"
) -> None:
    """A table on stdout, or the line `empty` if there are no rows."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        say(empty)
        return
    page = io.StringIO()
    console = Console(file=page, highlight=False, force_terminal=sys.stdout.isatty() or None)
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    table.columns[0].no_wrap = True  # a name is of no use when it is cut
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    _write(page.getvalue())


def say(line: str) -> None:
    """A line for people on stdout."""
    _write(line + "\n")


def complain(line: str) -> None:
    """A line for people on stderr, if it takes one."""
    with suppress(OSError, ValueError):
        typer.echo(line, err=True)


def size_text(count: int) -> str:
    """1234567 -> "1.2 MB"."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def age_text(seconds: float) -> str:
    """93784 -> "1 d"."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


# ---------------------------------------------------------------- progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr, with the time left, for whatever takes longer than a moment; silent with
    --json or without a terminal. What an interruption says of itself is left in `Session.kept`:
    the parser of the command line forgets the exception.
    """
    with _bar() as show:
        try:
            yield show
        except BaseException as error:
            SESSION.kept = _kept(error)
            raise


def _kept(error: BaseException) -> str:
    """The note of a stage of minutes on the interruption that this error is, or came of; "" if
    there is none.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt) and (notes := getattr(cause, "__notes__", None)):
            return str(notes[0])
        cause = cause.__cause__ or cause.__context__
    return ""


@contextmanager
def _bar() -> Iterator[Progress]:
    if SESSION.as_json or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    began = time.monotonic()
    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        speed_estimate_period=PACE_SECONDS,
    )
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, total: int | None) -> None:
        if time.monotonic() - began < PROGRESS_AFTER_SECONDS:
            return
        if not tasks:
            bar.start()
        name = what.partition(",")[0]
        if name not in tasks:
            tasks[name] = bar.add_task(what, total=total, completed=done)
        bar.update(tasks[name], description=what, completed=done, total=total)

    try:
        yield show
    finally:
        bar.stop()


# ---------------------------------------------------------------- logs and errors


class _LogLine(logging.Formatter):
    """logfmt: time=... level=... module=... msg="..." """

    def format(self, record: logging.LogRecord) -> str:
        module = record.name.removeprefix("personare.")
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        message = json.dumps(record.getMessage(), ensure_ascii=False)
        when = f"{stamp}.{int(record.msecs):03d}"
        return f"time={when} level={record.levelname.lower()} module={module} msg={message}"


class _Warning(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"warning: {record.getMessage()}"


def start_logging(verbosity: int) -> None:
    """Warnings as `warning: ...` on stderr; with -v structured lines of level info, with -vv
    debug.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogLine() if verbosity else _Warning())
    logger = logging.getLogger("personare")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbosity, 2)])


def report_error(error: PersonareError) -> int:
    """Print `error:` and `hint:` lines (and one JSON object with --json, unless one was begun);
    the exit code.
    """
    if SESSION.debug:
        traceback.print_exception(error)
    complain(f"error: {error.message}")
    if error.hint:
        complain(f"hint: {error.hint}")
    if SESSION.as_json and not SESSION.answered:
        print_json({"error": error.message, "hint": error.hint, "kind": type(error).__name__})
    return error.exit_code
