"""The HTTP server: uvicorn with what it lacks, a limit on slow heads, and an end that does not
wait for those who never leave.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from personare.errors import EngineError, InvalidOption
from personare.serve.problems import Problem
from personare.serve.settings import Limits, ServeSettings

END_SECONDS = 5
"""How long open requests may take when the service ends."""
_SOCKET_BYTES = 1 << 20
"""Of one message on a WebSocket."""
_BACKLOG = 128


def full() -> Problem:
    """What one connection more than may be gets."""
    headers = {"Retry-After": "5", "Connection": "close"}
    return Problem(503, "there are too many connections", "try again later", code="crowded", headers=headers)


def limited(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol, which ends a connection whose next head is not whole `head_seconds`
    after its first byte (or after the connection was made), and answers one connection too many
    with a problem.
    """
    seconds = limits.head_seconds

    class Impatient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            else:
                self._wait()

        def handle_events(self) -> None:
            self.app = self.config.loaded_app if len(self.connections) <= limits.connections else _full
            super().handle_events()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._wait()  # for the rest of what came with the last request

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(seconds, self._too_slow)

        def _too_slow(self) -> None:
            self._timer = None
            if self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Impatient


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    await full().response()(scope, receive, send)


class Sockets(WebSocketsSansIOProtocol):
    """uvicorn's WebSockets; one that is closing already does not keep the service from ending."""

    def shutdown(self) -> None:
        with suppress(InvalidState):
            super().shutdown()
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server; SIGTERM and Ctrl-C end it in peace, with exit code 0.

    ready: called when it answers.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = [signal.SIGINT, signal.SIGTERM]
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address; port 0 takes any. Raises EngineError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise EngineError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="choose another --port or --host",
        ) from None


def check_certificate(certfile: Path, keyfile: Path | None) -> None:
    """Raises InvalidOption for files that HTTPS cannot be spoken with."""
    try:
        # an empty password: else a key that has one would be asked for on the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or error.strerror if isinstance(error, OSError) else error
        raise InvalidOption(
            f"the certificate {certfile} cannot be used: {reason}",
            hint="--certfile: PEM with its chain; --keyfile: its key, without a password",
        ) from None


def server(app: FastAPI, settings: ServeSettings, ready: Callable[[], None] = lambda: None) -> Server:
    """The server of an application, not yet running: give `run` a socket of `listening`."""
    config: dict[str, Any] = {
        "http": limited(settings.limits),
        "ws": Sockets,
        "ws_per_message_deflate": False,  # pictures and sound do not become smaller by it
        "ws_max_size": _SOCKET_BYTES,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": END_SECONDS,
        "server_header": False,
        "access_log": False,  # it would tell queries, and with them the tokens of sessions
        "log_config": None,
    }
    if settings.certfile is not None:
        check_certificate(settings.certfile, settings.keyfile)
        config |= {"ssl_certfile": str(settings.certfile)}
        config |= {"ssl_keyfile": str(settings.keyfile)} if settings.keyfile else {}
    return Server(uvicorn.Config(app, **config), ready)
