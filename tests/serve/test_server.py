"""The server over real sockets: slow heads and bodies are cut off, bodies of no known length
are counted, a port that is taken is told.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, Request, WebSocket
from websockets.sync.client import connect

from personare.errors import EngineError, InvalidOption
from personare.serve.doors import Doors
from personare.serve.limits import Bodies
from personare.serve.problems import MEDIA_TYPE, answer_with_problems
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
    with served(app, ServeSettings(limits=LIMITS)) as port:
        yield port


@contextmanager
def served(app: FastAPI, settings: ServeSettings) -> Iterator[int]:
    """An application that answers in a thread; its port."""
    with listening("127.0.0.1", 0) as own:
        runner = server(app, settings)
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


def test_bodies_that_trickle_are_cut_off(port):
    """Though no two bytes are as far apart as a body may rest."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head("Content-Length: 100000"))
        sent = 0
        try:
            while sent < 100:
                client.sendall(b"x")
                sent += 1
                time.sleep(0.05)
        except OSError:
            pass
    assert sent < 100


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


def test_one_connection_too_many_gets_a_problem():
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    limits = Limits(connections=8)
    with served(app, ServeSettings(limits=limits)) as port, ExitStack() as open_ones:
        for _ in range(limits.connections):
            one = open_ones.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=20)))
            one.request("GET", "/healthz")
            assert one.getresponse().read() == b'"ok"'
        refused = open_ones.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=20)))
        refused.request("GET", "/healthz")
        answer = refused.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (503, MEDIA_TYPE)
        assert int(answer.headers["retry-after"]) > 0
        problem = json.loads(answer.read())
        assert problem["error"]["code"] == "crowded"
        assert problem["hint"]


def test_a_port_that_is_taken_is_told(port):
    with pytest.raises(EngineError, match=f"cannot listen on 127.0.0.1:{port}"):
        listening("127.0.0.1", port)


# ---------------------------------------------------------------- TLS without a proxy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    certfile.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return certfile, keyfile


def test_https_and_secure_sockets_with_a_certificate_of_ones_own(certificate):
    certfile, keyfile = certificate
    settings = ServeSettings(limits=LIMITS, certfile=certfile, keyfile=keyfile)
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.websocket("/v1/sessions/x/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.url.scheme)
        await socket.close()

    app.add_middleware(Doors, settings=settings)
    trusting = ssl.create_default_context(cafile=certfile)
    with served(app, settings) as port:
        with closing(HTTPSConnection("localhost", port, context=trusting, timeout=20)) as connection:
            connection.request("GET", "/healthz", headers={"Origin": f"https://localhost:{port}"})
            assert connection.getresponse().read() == b'"ok"'
        there = f"wss://localhost:{port}/v1/sessions/x/ws"
        with connect(there, ssl=trusting, origin=f"https://localhost:{port}") as secure:
            assert secure.recv(timeout=20) == "wss"
        with pytest.raises(OSError):  # noqa: PT011  # reset, or no answer to plain HTTP
            urlopen(f"http://localhost:{port}/healthz", timeout=20)


def test_files_that_are_no_certificate_are_told_before_anything_starts(certificate, tmp_path):
    certfile, keyfile = certificate
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for cert, key in ((tmp_path / "none.pem", None), (wrong, keyfile), (certfile, None), (certfile, wrong)):
        with pytest.raises(InvalidOption, match="cannot be used") as caught:
            server(FastAPI(), ServeSettings(certfile=cert, keyfile=key))
        assert "--keyfile" in caught.value.hint
