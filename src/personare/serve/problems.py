"""Every error as problem+json (RFC 9457), with the `error` object inside that OpenAI's clients
read. Neither paths of this machine nor tracebacks leave it.
"""

from __future__ import annotations

import errno
import logging
import re
import sqlite3
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from personare.errors import (
    Busy,
    Cancelled,
    InputError,
    PersonareError,
    PictureTooLarge,
    UnknownName,
    UnwritableOutput,
    WeightsError,
    one_line,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_PATH = re.compile(r"(?<![\w/])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'\"]+)+[\\/]([^\s\\/:'\",;]+)")
"""An absolute path of two names or more: its last one stays."""
_CODES = {
    400: "bad-request",
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    411: "length-required",
    413: "too-large",
    415: "unsupported-media-type",
    422: "bad-input",
    429: "busy",
    503: "unavailable",
}

_HINTS = {
    400: "is the body what its Content-Type says? See /openapi.json",
    408: "send it again, over a faster line",
    413: "send less at a time",
}
"""For what starlette and FastAPI refuse."""


class Problem(Exception):
    """What a request gets instead of an answer.

    code: a word that programs read, as "not-found".
    detail, hint: a sentence for people each.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        hint: str = "",
        *,
        code: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.detail, self.hint = status, one_line(detail), one_line(hint)
        self.code = code or _CODES.get(status, "error")
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    def body(self) -> dict[str, Any]:
        """The problem as JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        message = f"{self.detail} ({self.hint})" if self.hint else self.detail
        return {
            "type": f"urn:personare:problem:{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            "error": {"message": message, "type": kind, "param": None, "code": self.code},
        }

    def response(self) -> JSONResponse:
        """The problem as an answer. OpenAI's clients try 409, 429 and 5xx again, unless told
        that it is of no use.
        """
        headers = dict(self.headers)
        if self.status in (409, 429) or self.status >= 500:
            headers.setdefault("x-should-retry", "true" if "Retry-After" in headers else "false")
        return JSONResponse(self.body(), self.status, headers, media_type=MEDIA_TYPE)


def without_paths(text: str) -> str:
    """A sentence in which every absolute path is only its last name."""
    return _PATH.sub(r"\1", text)


def coded(kind: str) -> str:
    """The class of an error as a word: NoFaceFound is no-face-found."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind or "error").lower()


def problem_of(error: PersonareError) -> Problem:
    """What an error of ours means to a caller."""
    status, headers = 500, {}
    if isinstance(error, UnknownName):
        status = 404
    elif isinstance(error, PictureTooLarge):
        status = 413
    elif isinstance(error, UnwritableOutput):  # of this machine: no fault of the caller's
        status = 500
    elif isinstance(error, InputError | Cancelled):
        status = 422
    elif isinstance(error, WeightsError):
        status = 503
    elif isinstance(error, Busy):
        status, headers = 503, {"Retry-After": "5"}
    return Problem(
        status,
        without_paths(error.message),
        without_paths(error.hint),
        code=coded(type(error).__name__),
        headers=headers,
    )


def disk_is_full() -> Problem:
    """What a request gets that would have to be written."""
    return Problem(507, "the disk of the service is full", "try again later", code="full")


def _is_full(error: OSError | sqlite3.OperationalError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def answer_with_problems(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(PersonareError)
    async def ours(_: Request, error: PersonareError) -> JSONResponse:
        return problem_of(error).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        hint = _HINTS.get(error.status_code, "see /openapi.json")
        return Problem(error.status_code, str(error.detail), hint, headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        wrong = str(first["msg"]).removeprefix("Value error, ")
        return Problem(422, f"{where}: {wrong}" if where else wrong, "see /openapi.json").response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> JSONResponse:  # noqa: ARG001
        return Problem(400, "the body did not come whole", "send it again").response()

    @app.exception_handler(OSError)
    @app.exception_handler(sqlite3.OperationalError)
    async def full(_: Request, error: OSError | sqlite3.OperationalError) -> JSONResponse:
        if not _is_full(error):
            raise error
        log.warning("the disk is full")
        return disk_is_full().response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        return Problem(
            500, f"unexpected {type(error).__name__}", "please report it", code="unexpected"
        ).response()
