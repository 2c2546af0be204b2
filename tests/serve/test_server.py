"""The server over real sockets: slow heads and bodies are cut off, bodies of no known length
are counted, a port that is taken is told.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest
from fastapi import FastAPI, Request

from personare.errors import EngineError
from personare.serve.limits import Bodies
from personare.serve.problems import answer_with_problems
from personare.serve.server import listening, server
from personare.serve.settings import Limits, ServeSettings
from tests.serve.conftest import until

LIMITS = Limits(head_seconds=0.3, body_seconds=0.3, json_bytes=100_000)


@pytest.fixture(scope="module")
def port():
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    answer_with_problems(app)
    app.add_middleware(Bodies, limits=LIMITS)
    with listening("127.0.0.1", 0) as own:
        runner = server(app, ServeSettings(limits=LIMITS))
        runner.capture_signals = _nothing  # a thread may not
        thread = threading.Thread(target=runner.run, args=([own],))
        thread.start()
        until(lambda: runner.started)
        yield own.getsockname()[1]
        runner.should_exit = True
        thread.join()


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def until_closed(port: int, *pieces: bytes) -> bytes:
    """What a client gets that sends pieces, and then nothing more, until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for piece in pieces:
            client.sendall(piece)
        answer = b""
        while block := client.recv(65536):
            answer += block
    return answer


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /echo HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def test_slow_heads_are_cut_off(port):
    assert until_closed(port) == b""
    assert until_closed(port, b"POST /echo HTTP/1.1\r\nHost: local") == b""
    whole = head("Content-Length: 2") + b"{}"
    answer = until_closed(port, whole + b"POST /echo HT")
    assert answer.startswith(b"HTTP/1.1 200"), "the first request of a connection was whole"
    assert answer.count(b"HTTP/1.1") == 1


def test_slow_bodies_are_cut_off(port):
    answer = until_closed(port, head("Content-Length: 50") + b"only this")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()


def test_a_body_of_no_known_length_is_counted(port):
    chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    answer = until_closed(port, head("Transfer-Encoding: chunked") + chunk * 4)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_who_is_quick_is_served_while_others_are_slow(port):
    with ExitStack() as open_ones:
        for _ in range(20):
            slow = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"POST /echo HTTP/1.1\r\n")
        quick = open_ones.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=20)))
        for _ in range(2):
            quick.request("POST", "/echo", b"{}")
            assert quick.getresponse().read() == b"2"
            time.sleep(0.4)  # between two requests a connection may rest


def test_a_port_that_is_taken_is_told(port):
    with pytest.raises(EngineError, match=f"cannot listen on 127.0.0.1:{port}"):
        listening("127.0.0.1", port)
