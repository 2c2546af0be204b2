"""The page: a few static files of the package, and nothing else of the disk."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from blake3 import blake3
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from personare.serve.problems import Problem

router = APIRouter(tags=["page"], include_in_schema=False)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".json": "application/json",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""No script but the page's own files runs; a browser asks each time whether they changed."""


@dataclass(frozen=True, slots=True)
class _File:
    """content: as it is; packed: by gzip, where that is smaller."""

    content: bytes
    packed: bytes
    kind: str
    etag: str

    @property
    def wire(self) -> bytes:
        """What goes to browsers."""
        return self.packed or self.content


@cache
def page_files() -> dict[str, _File]:
    """Name -> file, all that can be asked for."""
    found = {entry.name: entry.read_bytes() for entry in (files("personare.serve") / "page").iterdir()}
    found["portrait.jpg"] = (files("personare") / "assets" / "portrait.jpg").read_bytes()
    return {
        name: _File(content, _packed(content), _TYPES[suffix], blake3(content).hexdigest()[:16])
        for name, content in found.items()
        if (suffix := name[name.rfind(".") :]) in _TYPES
    }


def _packed(content: bytes) -> bytes:
    packed = gzip.compress(content, 9, mtime=0)
    return packed if len(packed) < 0.9 * len(content) else b""


@router.get("/")
@router.get("/page")
async def root() -> RedirectResponse:
    """To the page."""
    return RedirectResponse("/page/")


@router.get("/page/")
async def index(request: Request) -> Response:
    """The page itself."""
    return _answer(request, "index.html")


@router.get("/page/{name}")
async def one(request: Request, name: str) -> Response:
    """One of its files."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    file = page_files().get(name)
    if file is None:
        raise Problem(404, "the page has no such file", "open /page/")
    pack = bool(file.packed) and _takes_gzip(request.headers.get("accept-encoding", ""))
    headers = {**HEADERS, "ETag": f'"{file.etag}{"-gzip" if pack else ""}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if pack:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if pack else file.content, headers=headers, media_type=file.kind)


def _takes_gzip(accepted: str) -> bool:
    """By an Accept-Encoding header; who names it with a weight of 0 does not want it."""
    asked = (one.replace(" ", "").lower() for one in accepted.split(","))
    return any(re.fullmatch(r"gzip(;q=(1(\.0*)?|0\.\d*[1-9]\d*))?", one) for one in asked)
