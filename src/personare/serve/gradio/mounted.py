"""The Gradio page as a part of a service on this machine: its uploads go through the service's
doors and limits, its clips through the service's workers, and nothing leaves the machine.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any, NoReturn

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personare.client import Client
from personare.errors import EngineError
from personare.serve.settings import Limits

PATH = "/gradio"
_INSTALL = "pip install 'personare[page]'"
_SILENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Read when Gradio is imported, or when its pages are made."""
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""Gradio has scripts in its page, so that this is weaker than the policy of our own; but no
other machine is named in it.
"""


def mount_gradio(app: FastAPI, url: str, limits: Limits) -> None:
    """Add the page to a service that answers at `url`. Raises EngineError where the extra is
    not installed.
    """
    temporary = tempfile.mkdtemp(prefix="personare-gradio-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    os.environ.update({**_SILENT, "GRADIO_TEMP_DIR": temporary})
    try:
        import gradio as gr
    except ImportError as error:
        raise EngineError(f"the Gradio page needs {error.name}", hint=_INSTALL) from None
    from gradio import processing_utils

    from personare.serve.gradio.blocks import blocks

    # a URL in place of an upload would be fetched (Gradio has no setting against it)
    processing_utils.async_ssrf_protected_download = _fetch_nothing
    gr.mount_gradio_app(
        app,
        blocks(Client(url, "")),
        path=PATH,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        show_error=False,
        max_file_size=max(limits.video_bytes, limits.portrait_bytes, limits.speech_bytes),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
    )
    app.add_middleware(Policy)


async def _fetch_nothing(*_: Any, **__: Any) -> NoReturn:
    raise PermissionError("nothing is fetched from elsewhere")


class Policy:
    """Says with every answer of the page that its scripts reach this service alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("content-security-policy", POLICY)
            await send(message)

        here = scope["type"] == "http" and scope["path"].startswith(PATH)
        await self.app(scope, receive, with_policy if here else send)
