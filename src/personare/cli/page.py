"""`personare page`: the service on this machine, and its page in the browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.serve import check_installed, run
from personare.cli.session import complain, say
from personare.cli.switches import Given, switches

if TYPE_CHECKING:
    from fastapi import FastAPI

    from personare.serve.settings import Limits


@switches("weights", "cache_dir", "cache_remote")
def page(
    given: Given,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any that is free.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser, or only tell the address.")] = True,
    gradio: Annotated[
        bool, typer.Option("--gradio", help="The page in Gradio (extra [page]), to be changed in Python.")
    ] = False,
) -> None:
    """Open the page: make clips and talk live, on this machine, until Ctrl-C."""
    check_installed()
    path = "/gradio/" if gradio else "/page/"

    def ready(url: str) -> None:
        if not browser:
            say(f"the page: {url}{path}")
        elif not webbrowser.open(f"{url}{path}"):
            complain(f"no browser was found: open {url}{path}")

    def extend(app: FastAPI, url: str, limits: Limits) -> None:
        from personare.serve.gradio.mounted import mount_gradio

        mount_gradio(app, url, limits)

    run({"port": port, "studio": given.settings()}, ready, extend if gradio else None)
