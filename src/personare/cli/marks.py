"""`personare marks`: how this machine marks its clips, and with what it signs them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import complain, print_json, say
from personare.cli.switches import Given, switches
from personare.errors import InvalidOption

if TYPE_CHECKING:
    from personare.provenance.settings import MarksSettings

app = typer.Typer(help="How clips say what they are.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
@switches()
def setup(
    given: Given,
    producer: Annotated[
        str | None,
        typer.Option("--producer", help="Who answers for the clips: a name, or a provider's code."),
    ] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Make a certificate for trials; it proves nothing.")
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate", help="PEM of your certificate, its issuers behind it.", show_default=False
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="PEM of its private key, which stays where it is.", show_default=False),
    ] = None,
    signer_command: Annotated[
        str | None,
        typer.Option(
            "--signer-command",
            help="A program that signs instead of a key: bytes on stdin, the signature on stdout.",
            show_default=False,
        ),
    ] = None,
    time_stamps: Annotated[
        str | None,
        typer.Option("--time-stamps", metavar="URL", help="A time-stamping authority.", show_default=False),
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option("--trust", help="PEM of a root that verify takes for known.", show_default=False),
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Sign no more.")] = False,
) -> None:
    """Say who answers for the clips of this machine, and sign them from now on. What is not
    given stays as it was; a trial signature is made before anything is kept.
    """
    from personare.provenance.marks import checked_producer
    from personare.provenance.settings import marks_folder, read_marks_settings, write_marks_settings

    if development + unsigned + (certificate is not None) > 1:
        raise typer.BadParameter("--development, --certificate and --unsigned exclude each other")
    if certificate is not None and (key is None) == (signer_command is None):
        raise typer.BadParameter("a certificate goes with exactly one of --key and --signer-command")
    if certificate is None and not (key is None and signer_command is None):
        raise typer.BadParameter("--key and --signer-command go with --certificate")
    settings = read_marks_settings()
    if producer is not None:
        settings = settings.model_copy(update={"producer": checked_producer(producer)})
    if trust:
        roots = tuple(str(path.absolute()) for path in trust)
        settings = settings.model_copy(update={"trust": roots})
    if time_stamps is not None:
        if not time_stamps.startswith(("http://", "https://")):
            raise InvalidOption(f"{time_stamps!r} is no URL of time stamps", hint="http://...")
        settings = settings.model_copy(update={"time_stamps": time_stamps})
    if development or unsigned or certificate is not None:
        settings = _with_signer(settings, development, certificate, key, signer_command)
    where = write_marks_settings(settings)
    if given.as_json:
        print_json({"file": where, **_told(settings)})
        return
    say(f"{where}: {_line(settings)}")
    if settings.development:
        complain(f"warning: signed for trials only; nobody but this machine knows {marks_folder()}")


@app.command()
@switches()
def show(given: Given) -> None:
    """Who answers for the clips of this machine, and what signs them."""
    from personare.provenance.settings import read_marks_settings

    settings = read_marks_settings()
    if given.as_json:
        print_json(_told(settings))
    else:
        say(_line(settings))


def _with_signer(
    settings: MarksSettings,
    development: bool,
    certificate: Path | None,
    key: Path | None,
    signer_command: str | None,
) -> MarksSettings:
    from personare.provenance import chain
    from personare.provenance.settings import marks_folder
    from personare.provenance.trial import check_signs

    signer: dict[str, object] = {
        "certificate": None,
        "key": None,
        "signer_command": (),
        "development": development,
    }
    if development:
        chain.make_development_chain(marks_folder())
        signer |= {"certificate": chain.CERTIFICATE, "key": chain.KEY}
    elif certificate is not None:
        signer |= {"certificate": str(certificate.absolute())}
        signer |= {"key": str(key.absolute())} if key else {"signer_command": _split(signer_command or "")}
    changed = settings.model_copy(update=signer)
    if changed.signs:
        check_signs(changed)
    return changed


def _split(command: str) -> tuple[str, ...]:
    try:
        parts = tuple(shlex.split(command))
    except ValueError as error:
        raise InvalidOption(f"the signer command cannot be read: {error}", hint="check its quotes") from None
    if not parts:
        raise InvalidOption("the signer command is empty", hint="name a program")
    return parts


def _told(settings: MarksSettings) -> dict[str, object]:
    """What may be printed: names of files, never what is in them; of a command its program."""
    kept = settings.model_dump(mode="json")
    kept["signer_command"] = list(settings.signer_command[:1])
    return {**kept, "signs": settings.signs}


def _line(settings: MarksSettings) -> str:
    if not settings.signs:
        return f"marked by {settings.producer!r}, not signed"
    by = settings.key or f"the program {settings.signer_command[0]}"
    kind = "a DEVELOPMENT certificate, which proves nothing" if settings.development else settings.certificate
    return f"marked by {settings.producer!r}, signed with {kind} and {by}"
