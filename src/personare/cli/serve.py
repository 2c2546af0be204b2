"""`personare serve`: jobs and live sessions over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personare.cli.session import complain, say
from personare.cli.switches import Given, switches
from personare.errors import EngineError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from personare.serve.settings import Limits

_INSTALL = "pip install 'personare[serve]'"


@switches("weights", "cache_dir", "cache_remote")
def serve(
    given: Given,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = 8765,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of jobs and uploads.", show_default="below PERSONARE_HOME"),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="PERSONARE_API_KEY",
            help="What callers have to send; better in the variable, where no list of processes shows it.",
            show_default=False,
        ),
    ] = None,
    api_keys: Annotated[
        Path | None,
        typer.Option("--api-keys", help="TOML file of callers, keys and quotas.", show_default=False),
    ] = None,
    limits: Annotated[
        Path | None,
        typer.Option(
            "--limits", help="TOML file of limits on requests, callers and jobs.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=256, help="Processes that make clips; 0: one a core.")
    ] = 0,
    sessions: Annotated[
        int | None,
        typer.Option(
            "--sessions",
            min=0,
            help="Live sessions at a time.",
            show_default="as many as the cores can draw",
        ),
    ] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(
            "--ice-server",
            metavar="URL",
            help="A STUN or TURN server for WebRTC, as turn:host:443?transport=tcp; may be repeated.",
            show_default=False,
        ),
    ] = None,
    warm: Annotated[
        list[str] | None,
        typer.Option(
            "--warm",
            metavar="NAME",
            help="An avatar or engine to load before the first call, or all; may be repeated.",
            show_default=False,
        ),
    ] = None,
    keep_hours: Annotated[
        float, typer.Option("--keep-hours", help="How long uploads and finished jobs are kept.")
    ] = 24.0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name under which it is reached.", show_default=False),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", help="A site whose pages may call.", show_default=False),
    ] = None,
    badge: Annotated[
        bool, typer.Option(help="The sign on live pictures; without it, tell viewers in another way.")
    ] = True,
    certfile: Annotated[
        Path | None, typer.Option("--certfile", help="Certificate chain (PEM) for HTTPS.", show_default=False)
    ] = None,
    keyfile: Annotated[
        Path | None, typer.Option("--keyfile", help="Private key (PEM) of it.", show_default=False)
    ] = None,
) -> None:
    """Serve jobs, live sessions and a page over HTTP, until Ctrl-C."""
    check_installed()
    from personare.serve.keys import api_key as key_of
    from personare.serve.keys import read_keys
    from personare.serve.settings import Limits, read_limits

    keys = (key_of("default", api_key),) if api_key else ()
    fields: dict[str, Any] = {
        "host": host,
        "port": port,
        "data": data,
        "studio": given.settings(),
        "workers": workers,
        "sessions": sessions,
        "ice_servers": tuple(ice_server or ()),
        "warm": tuple(warm or ()),
        "keys": keys + (read_keys(api_keys) if api_keys else ()),
        "allow_hosts": tuple(allow_host or ()),
        "allow_origins": tuple(allow_origin or ()),
        "keep_hours": keep_hours,
        "badge": badge,
        "certfile": certfile,
        "keyfile": keyfile,
        "limits": read_limits(limits) if limits else Limits(),
    }
    run(fields)


def check_installed() -> None:
    """Raises EngineError where the extra is not installed."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise EngineError(f"the service needs {error.name}", hint=_INSTALL) from None


def run(
    fields: dict[str, Any],
    ready: Callable[[str], None] = lambda url: None,
    extend: Callable[[FastAPI, str, Limits], None] | None = None,
) -> None:
    """Serve until Ctrl-C. fields: of ServeSettings. ready: told the address when it answers.
    extend: adds to the application, before it answers.
    """
    from personare.serve.app import create_app
    from personare.serve.server import listening, server
    from personare.serve.settings import ServeSettings

    settings = ServeSettings.model_validate(fields)
    app = create_app(settings)
    app.state.house.claim()
    socket = listening(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{'https' if settings.certfile else 'http'}://{host}:{socket.getsockname()[1]}"

    def answers() -> None:
        say(f"personare serves {url} (Ctrl-C ends it)")
        if not settings.keys:
            complain("only this machine can reach it, and everybody on it may call (no API key)")
        ready(url)

    with socket:
        if extend is not None:
            extend(app, url, settings.limits)
        server(app, settings, answers).run([socket])
