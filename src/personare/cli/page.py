"""`personare page`: the service on this machine, and its page in the browser."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from personare.cli.serve import check_installed, run
from personare.cli.session import complain
from personare.cli.switches import Given, switches


@switches("weights", "cache_dir", "cache_remote")
def page(
    given: Given,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any that is free.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser, or only tell the address.")] = True,
) -> None:
    """Open the page: make clips and talk live, on this machine, until Ctrl-C."""
    check_installed()

    def ready(url: str) -> None:
        if browser and not webbrowser.open(f"{url}/page/"):
            complain(f"no browser was found: open {url}/page/")

    run({"port": port, "studio": given.settings()}, ready)
