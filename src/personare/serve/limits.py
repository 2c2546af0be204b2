"""Bodies are measured before anything parses them, and slow clients are cut off."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personare.serve.problems import Problem
from personare.serve.settings import Limits

UPLOADS = re.compile(r"/v1/(files|avatars|photos|jobs|videos(/characters)?)|/gradio/gradio_api/upload")
"""Where a POST brings files."""
_CLOSE = {"Connection": "close"}


class Bodies:
    """Counts every body as it arrives. One that is too large, by what its head says or by what
    comes, gets 413; one that stops coming, or comes in drops, gets 408. Either ends the
    connection.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = self._most(scope, headers)
        try:
            declared = int(headers.get("content-length", "0"))
        except ValueError:
            declared = most + 1
        if declared > most:
            await _too_large(most).response()(scope, receive, send)
            return
        seen, waited, complete = 0, 0.0, False

        async def counted() -> Message:
            nonlocal seen, waited, complete
            if complete:
                return await receive()
            began = asyncio.get_running_loop().time()
            # what the application does meanwhile is not the client's fault: only waiting counts
            rest = seen / self._limits.body_bytes_a_second + self._limits.body_seconds - waited
            try:
                message = await asyncio.wait_for(receive(), min(self._limits.body_seconds, rest))
            except TimeoutError:
                raise HTTPException(408, "the body stopped coming, or comes too slowly", _CLOSE) from None
            waited += asyncio.get_running_loop().time() - began
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > most:
                raise HTTPException(413, _too_large(most).detail, _CLOSE)
            return message

        await self.app(scope, counted, send)

    def _most(self, scope: Scope, headers: Headers) -> int:
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        if is_form and scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"].rstrip("/")):
            return self._limits.upload_bytes
        return self._limits.json_bytes


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body is larger than {most:,} bytes", "send less at a time", headers=_CLOSE)
