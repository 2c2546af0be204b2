"""The doors: Host, Origin and API key are looked at before anything else of a request is.

Host     a name that is not ours means that somebody's DNS led a browser here (DNS rebinding)
Origin   a page of another site may not call (CORS alone protects no WebSocket and no POST)
key      Authorization: Bearer KEY; who has none of ours gets 401
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personare.serve.keys import EVERYBODY, caller_of
from personare.serve.problems import Problem
from personare.serve.settings import ServeSettings

OPEN = re.compile(r"/|/healthz|/readyz|/page(/.*)?|/v1/sessions/[\w-]{1,64}/(ws|whep(/.*)?)")
"""Paths without an API key: the page itself, and the media of a session, whose own token its
routes compare.
"""
_SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Doors:
    """Lets in what may come in; the caller's name is then in `request.state.caller`."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self.app = app
        self._settings = settings
        self._hosts = {"localhost", settings.host.lower(), *map(str.lower, settings.allow_hosts)}
        self._origins = {origin.rstrip("/").lower() for origin in settings.allow_origins}
        self._keys = {key.name: key for key in settings.keys}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in _SAFE.items():
                    sent.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    sent.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        if not self._is_ours(headers.get("host", "")):
            return Problem(
                403,
                "the Host of this request is not one of this service's",
                "personare serve --allow-host NAME",
            )
        if not self._may_come_from(headers):
            return Problem(
                403,
                "a page of another site may not call this service",
                "personare serve --allow-origin https://...",
            )
        scope.setdefault("state", {})["caller"] = EVERYBODY
        if not self._keys or OPEN.fullmatch(scope["path"]) or _is_preflight(scope, headers):
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        caller = caller_of(given.strip() if kind.lower() == "bearer" else "", self._keys.values())
        if caller is None:
            return Problem(
                401,
                "no API key, or a wrong one",
                "send Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        scope["state"]["caller"] = caller.name
        return None

    def _is_ours(self, host: str) -> bool:
        """Addresses are ours as they are: no DNS led to them."""
        parts = _url(f"//{host}") if _is_host(host) else None
        name = parts.hostname if parts else None
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self._hosts
        return True

    def _may_come_from(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            site = headers.get("sec-fetch-site", "none")
            return site != "cross-site" or headers.get("sec-fetch-mode") == "navigate"
        if origin.rstrip("/").lower() in self._origins:
            return True
        parts = _url(origin)
        return parts is not None and parts.netloc.lower() == headers.get("host", "").lower() != ""


def _url(text: str) -> SplitResult | None:
    """None for what is no URL: brackets without an IPv6 address in them."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _is_host(host: str) -> bool:
    return re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?", host) is not None


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope.get("method") == "OPTIONS" and "access-control-request-method" in headers


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4000 + problem.status, "reason": problem.code})
        return
    # what is left of the body is not read
    problem.headers["Connection"] = "close"
    await problem.response()(scope, receive, send)
