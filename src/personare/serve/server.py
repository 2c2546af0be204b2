"""The HTTP server: uvicorn with what it lacks, a limit on slow heads, and an end that does not
wait for those who never leave.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from personare.serve.settings import ServeSettings

END_SECONDS = 5
"""How long open requests may take when the service ends."""
_SOCKET_BYTES = 1 << 20
"""Of one message on a WebSocket."""


def slow_heads_cut_off(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which ends a connection whose next head is not whole so long after
    its first byte (or after the connection was made).
    """

    class Impatient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._too_slow)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:
                self._timer = self.loop.call_later(seconds, self._too_slow)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _too_slow(self) -> None:
            self._timer = None
            if self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Impatient


class Server(uvicorn.Server):
    """uvicorn's server; SIGTERM and Ctrl-C end it in peace, with exit code 0."""

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


def server(app: FastAPI, settings: ServeSettings) -> Server:
    """The server of an application, not yet running."""
    config: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "http": slow_heads_cut_off(settings.limits.head_seconds),
        "ws": "websockets-sansio",
        "ws_max_size": _SOCKET_BYTES,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "limit_concurrency": settings.limits.connections,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": END_SECONDS,
        "server_header": False,
        "access_log": False,  # it would tell queries, and with them the tokens of sessions
        "log_config": None,
    }
    if settings.certfile is not None:
        config |= {"ssl_certfile": str(settings.certfile)}
        config |= {"ssl_keyfile": str(settings.keyfile)} if settings.keyfile else {}
    return Server(uvicorn.Config(app, **config))
