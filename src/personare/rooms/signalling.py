"""WHIP's HTTP (RFC 9725): which ICE servers, an offer and its answer, the end. Calls block.

Redirections (307 and 308) are followed within the scheme. The token is for the server that was
named: another one that this leads to does not get it.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from personare.errors import InvalidOption, ServiceError

_PATIENCE_SECONDS = 10.0
_ASK_SECONDS = 3.0
_MOST_ANSWER = 64_000
_MOST_SERVERS = 8
_MOST_HOPS = 5
_ONWARD = (307, 308)
"""Redirections that keep the method and the body."""
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^",;\s]*))*)')
_FIELD = re.compile(r'([\w-]+)\s*=\s*(?:"([^"]*)"|([^",;\s]*))')
_SERVER = re.compile(r"stun:[\w.\-\[\]:]+|turns?:[\w.\-\[\]:]+(\?transport=(udp|tcp))?")
_SILENT = (OSError, HTTPException, ServiceError, ValueError)
"""Where a server need not answer."""


class IceServer(NamedTuple):
    """A STUN or TURN server. username, credential: of a TURN server."""

    url: str
    username: str | None = None
    credential: str | None = None


class _Stays(urllib.request.HTTPRedirectHandler):
    """urllib would make a GET of a POST, and send the token anywhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Signalling:
    """What one stream says to its server. Messages name the host alone: the rest of the address
    may be a secret.
    """

    def __init__(self, url: str, token: str = "") -> None:
        """url: http or https. token: of `Authorization: Bearer`. Raises InvalidOption."""
        try:
            self._scheme, host, _ = _origin(url)
        except ValueError:
            host = None
        if not host or self._scheme not in ("http", "https"):
            raise InvalidOption("that is no address of a WHIP stream", hint="https://host/path")
        self.host: str = host
        self._url, self._token = url, token
        self._session = ""
        self._opener = urllib.request.build_opener(_Stays)

    def ice_servers(self) -> list[IceServer]:
        """Those that the server offers; none if it offers none, or does not answer."""
        with suppress(*_SILENT), self._sent("OPTIONS", seconds=_ASK_SECONDS) as answer:
            return ice_servers_of(answer.headers.get_all("Link") or ())
        return []

    def answer(self, offer: str) -> str:
        """The answer to an offer, both SDP. Raises ServiceError."""
        try:
            with self._sent("POST", offer.encode()) as answer:
                sdp: bytes = answer.read(_MOST_ANSWER)
                if answer.status != 201:
                    raise ServiceError(f"{self.host} does not speak WHIP: {answer.status}")
                if location := answer.headers.get("Location"):
                    self._session = urljoin(answer.url, location)
        except urllib.error.HTTPError as error:
            hint = "is the token right?" if error.code in (401, 403) else ""
            raise ServiceError(f"{self.host} refuses: {error.code} {error.reason}", hint) from None
        except OSError as error:
            why = getattr(error, "reason", error)
            why = getattr(why, "strerror", None) or type(why).__name__
            raise ServiceError(f"{self.host} cannot be reached: {why}") from None
        return sdp.decode("utf-8", "replace")

    def end(self) -> None:
        """The session is over; twice does no harm."""
        session, self._session = self._session, ""
        if session:
            with suppress(*_SILENT):  # it notices by itself
                self._sent("DELETE", url=session).close()

    def _sent(
        self,
        method: str,
        body: bytes | None = None,
        *,
        url: str = "",
        seconds: float = _PATIENCE_SECONDS,
    ) -> Any:
        """The answer of whoever answers at last. Raises OSError, ServiceError."""
        url = url or self._url
        for _ in range(_MOST_HOPS):
            if urlsplit(url).scheme != self._scheme:
                raise ServiceError(f"{self.host} leads to an address that is not {self._scheme}")
            request = urllib.request.Request(url, body, method=method)
            if body is not None:
                request.add_header("Content-Type", "application/sdp")
            if self._token and _origin(url) == _origin(self._url):
                request.add_header("Authorization", f"Bearer {self._token}")
            try:
                return self._opener.open(request, timeout=seconds)
            except urllib.error.HTTPError as error:
                onward = error.headers.get("Location")
                if error.code not in _ONWARD or not onward:
                    raise
                error.close()
                url = urljoin(url, onward)
        raise ServiceError(f"{self.host} leads in circles")


def ice_server(url: str) -> IceServer:
    """A server that was named by its URL. Raises InvalidOption."""
    if not _SERVER.fullmatch(url):
        raise InvalidOption(f"{url[:80]!r} is no STUN or TURN server", hint="stun:host:port")
    return IceServer(url)


def ice_servers_of(links: Iterable[str]) -> list[IceServer]:
    """Those of `Link` headers: <turn:host?transport=udp>; rel="ice-server"; username="u";
    credential="p". What aiortc cannot use is left out.
    """
    found = []
    for url, rest in (match for link in links for match in _LINK.findall(link)):
        fields = {name.lower(): quoted or plain for name, quoted, plain in _FIELD.findall(rest)}
        by_password = fields.get("credential-type", "password") == "password"
        if fields.get("rel") == "ice-server" and by_password and _SERVER.fullmatch(url):
            found.append(IceServer(url, fields.get("username"), fields.get("credential")))
    return found[:_MOST_SERVERS]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
