"""`personare deploy`: the service on a Ray cluster."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from personare.cli.serve import check_installed
from personare.cli.session import complain, progress_bar, say
from personare.cli.switches import Given, switches
from personare.errors import InvalidOption


@switches()
def deploy(
    given: Given,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file of the deployment: docs/scale.md.", show_default=False),
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option(
            "--drain",
            metavar="NODE",
            help="Keep new sessions from a node of the deployment that runs, and end.",
            show_default=False,
        ),
    ] = None,
    undrain: Annotated[
        str | None,
        typer.Option(
            "--undrain", metavar="NODE", help="Let sessions go there again, and end.", show_default=False
        ),
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="With --drain: its sessions begin anew on other nodes.")
    ] = False,
) -> None:
    """Serve jobs, live sessions and a page on a Ray cluster, until Ctrl-C."""
    check_installed()
    from personare.cluster.deployment import drain as drain_node
    from personare.cluster.deployment import read_deployment, run

    deployment = read_deployment(config)
    if undrain is not None and (drain is not None or move):
        raise InvalidOption("--undrain goes without --drain and --move", hint="one node at a time")
    if move and drain is None:
        raise InvalidOption("--move goes with --drain NODE", hint="personare deploy --help")
    if undrain is not None:
        drain_node(deployment.on, undrain, drains=False)
        say(f"{undrain}: sessions go there again")
        return
    if drain is not None:
        left = drain_node(deployment.on, drain, move=move)
        say(f"{drain}: no new sessions; {left} {'begin anew elsewhere' if move else 'are still there'}")
        return
    over = threading.Event()

    def end(number: int, frame: object) -> None:
        over.set()

    def wait() -> None:
        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not over.wait(0.2):
                pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    with progress_bar() as progress:

        def ready(url: str) -> None:
            say(f"personare serves {url} (Ctrl-C ends it)")
            if not deployment.service.keys:
                complain("everybody who reaches it may call (no API key)")

        run(deployment, ready, wait, progress)
