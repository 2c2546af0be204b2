"""HEAD is GET without the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ENDLESS = "/events"
"""Streams, whose head says nothing: HEAD stays 405 there."""


class Heads:
    """Answers HEAD wherever GET is answered; files are not read for it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].endswith(_ENDLESS):
            await self.app(scope, receive, send)
            return
        extensions = {**scope.get("extensions", {}), "http.response.pathsend": {}}
        as_get = {**scope, "method": "GET", "extensions": extensions}

        async def without_body(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                await send(message)
            elif kind == "http.response.pathsend" or not message.get("more_body", False):
                await send({"type": "http.response.body", "body": b""})

        await self.app(as_get, receive, without_body)
