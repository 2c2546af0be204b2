"""Hubs, mirrors and proxies that answer anything: one line each, no end that does not come, and
nothing in the place of the file.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

from personare.errors import WeightsError, WeightsMismatch, WeightsMissing
from personare.weights import client, download
from personare.weights.catalogue import Component, read_catalogue
from personare.weights.hub import pull

BODY = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()
COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """Says the right thing unless its server's `says` or `sends` say another."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def headers_of(self, status: int = 200, **more: str) -> None:
        self.send_response(status)
        told = {"X-Repo-Commit": COMMIT, "ETag": f'"{DIGEST}"', "Connection": "close"}
        for name, value in {
            **told,
            **{name.replace("_", "-"): value for name, value in more.items()},
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    def drip(self, data: bytes, seconds: float = 0.1) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.over.wait(seconds):
                return

    @property
    def start(self) -> int:
        return int(self.headers.get("Range", "bytes=0-")[6:-1])

    def do_HEAD(self) -> None:
        self.server.asked += 1
        self.server.says(self)

    def do_GET(self) -> None:
        self.server.asked += 1
        with suppress(OSError):  # whoever asked has gone
            self.server.sends(self)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    says: Callable[[Hub], None]
    sends: Callable[[Hub], None]
    over: threading.Event
    asked: int = 0


def says_well(hub: Hub) -> None:
    hub.headers_of(Content_Length=str(len(BODY)))


def sends_well(hub: Hub) -> None:
    hub.headers_of(206 if hub.start else 200, Content_Length=str(len(BODY) - hub.start))
    hub.wfile.write(BODY[hub.start :])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A hub on this machine; the client is in a hurry."""
    import huggingface_hub

    server = Server(("127.0.0.1", 0), Hub)
    server.says, server.sends, server.over = says_well, sends_well, threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PERSONARE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("personare.weights.finder.component", lambda name: {"net": entry()}[name])
    monkeypatch.setattr(client, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(client, "LONGEST_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(client, "_TICK_SECONDS", 0.1)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(download, "WINDOW_SECONDS", 1.0)
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()
    huggingface_hub.close_session()


def entry() -> Component:
    return read_catalogue("""
        [net]
        summary = "a network"
        kind = "file"
        licence = "MIT"
        places = ["."]
        sources = [{ repo = "someone/net" }]
        files = [{ role = "weights", name = "net.pth" }]
        needed_by = { musetalk = "always" }
    """)["net"]


def refused(tmp_path: Path, kind: type[WeightsError] = WeightsError) -> str:
    """What is said of a pull, into the hub cache and into a folder: one line, and no file."""
    for to in (None, tmp_path / "models"):
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            pull(entry(), to)
        message = caught.value.message
        assert message.isprintable()
        assert len(message) < 400
        assert caught.value.hint
        assert time.monotonic() - began < 60
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.suffix == ".part" and path.stat().st_size for path in left), left
    return message


def headers(status: int = 200, **more: str) -> Callable[[Hub], None]:
    return lambda hub: hub.headers_of(status, **more)


def drips_headers(hub: Hub) -> None:
    hub.drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000)


def is_no_hub(hub: Hub) -> None:
    hub.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    hub.close_connection = True


def says_nothing(hub: Hub) -> None:
    hub.server.over.wait(20)
    hub.close_connection = True


def goes_on_to(location: str, status: int = 302) -> Callable[[Hub], None]:
    return headers(status, Location=location, Content_Length="0")


ANSWERS: dict[str, Callable[[Hub], None]] = {
    "redirects for ever": lambda hub: hub.headers_of(302, Location=hub.path, Content_Length="0"),
    "redirects to a growing path": lambda hub: hub.headers_of(302, Location=hub.path + "/x"),
    "redirects to half an address": goes_on_to("http://[::1"),
    "redirects to an impossible port": goes_on_to("http://127.0.0.1:99999/x"),
    "redirects to nowhere": goes_on_to(""),
    "redirects to a file": goes_on_to("file:///etc/passwd"),
    "not found in other words": headers(418),
    "service unavailable": headers(503, Retry_After="3600"),
    "a long etag": headers(ETag='"' + "x" * 3000 + '"', Content_Length="3"),
    "an etag that is a path": headers(ETag='"../../../evil"', Content_Length="3"),
    "an etag of other letters": headers(ETag='"ÿþ"', Content_Length="3"),
    "a commit that is a path": headers(X_Repo_Commit="../../../evil", Content_Length="3"),
    "no commit": headers(X_Repo_Commit="", Content_Length="3"),
    "a negative size": headers(X_Linked_Size="-5"),
    "a size that is no number": headers(X_Linked_Size="much"),
    "a size of 10^30": headers(X_Linked_Size=str(10**30)),
    "a header by the byte": drips_headers,
    "another protocol": is_no_hub,
    "silence": says_nothing,
}


@pytest.mark.parametrize("way", ANSWERS)
def test_an_answer_that_makes_no_sense(hub: Server, tmp_path: Path, way: str) -> None:
    hub.says = ANSWERS[way]
    refused(tmp_path, WeightsMissing)
    assert hub.asked < 100


def is_longer(by: int | None) -> Callable[[Hub], None]:
    def send(hub: Hub) -> None:
        hub.headers_of(**({} if by is None else {"Content_Length": str(len(BODY) + by)}))
        hub.wfile.write(BODY)
        for _ in count() if by is None else range(1):
            hub.wfile.write(bytes(by or 1 << 16))

    return send


def sends_a_byte_and_ends(hub: Hub) -> None:
    hub.headers_of(206, Content_Length=str(len(BODY) - hub.start))
    hub.wfile.write(BODY[hub.start : hub.start + 1])


def sends_by_the_byte(hub: Hub) -> None:
    hub.headers_of(206, Content_Length=str(len(BODY) - hub.start))
    hub.drip(BODY[hub.start :])


def sends_half_a_chunk_by_the_byte(hub: Hub) -> None:
    hub.headers_of(Transfer_Encoding="chunked")
    hub.drip(b"5;" + b"x" * 100_000)


def sends_a_page_for_a_file(hub: Hub) -> None:
    page = b"<html>please log in</html>"
    hub.headers_of(Content_Length=str(len(page)))
    hub.wfile.write(page)


def packs(hub: Hub) -> None:
    hub.headers_of(Content_Encoding="gzip", Content_Length="502")
    hub.wfile.write(b"\x1f\x8b" + b"x" * 500)


BODIES: dict[str, tuple[Callable[[Hub], None], type[WeightsError], str]] = {
    "a byte more": (is_longer(1), WeightsMismatch, "longer than"),
    "without end": (is_longer(None), WeightsMismatch, "longer than"),
    "one byte, again and again": (sends_a_byte_and_ends, WeightsMissing, "cannot be reached"),
    "by the byte": (sends_by_the_byte, WeightsMissing, "less than 1 kB"),
    "half a chunk by the byte": (sends_half_a_chunk_by_the_byte, WeightsMissing, "less than 1 kB"),
    "a header by the byte": (drips_headers, WeightsMissing, "less than 1 kB"),
    "nothing": (says_nothing, WeightsMissing, ""),
    "a page": (sends_a_page_for_a_file, WeightsMissing, "cannot be reached"),
    "packed": (packs, WeightsMissing, "packed"),
    "416": (headers(416, Content_Length="0"), WeightsMissing, "answered 416"),
    "503": (headers(503, Content_Length="0"), WeightsMissing, "answered 503"),
    "redirects for ever": (ANSWERS["redirects for ever"], WeightsMissing, "cannot be fetched"),
    "redirects to half an address": (goes_on_to("http://[::1"), WeightsMissing, "cannot be"),
    "redirects to a file": (goes_on_to("file:///etc/passwd"), WeightsMissing, "cannot be"),
}


@pytest.mark.parametrize("way", BODIES)
def test_a_body_that_is_not_what_was_promised(hub: Server, tmp_path: Path, way: str) -> None:
    hub.sends, kind, said = BODIES[way]
    assert said in refused(tmp_path, kind)
    assert hub.asked <= 2 * (2 + download.ATTEMPTS) + 50


def test_a_connection_that_breaks_for_ever_is_given_up(
    hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each brings enough not to be counted as a failure; nobody should sit through 10^5 of
    them.
    """

    def sends_a_little(hub: Hub) -> None:
        hub.headers_of(206, Content_Length=str(len(BODY) - hub.start))
        hub.wfile.write(BODY[hub.start : hub.start + 1000])

    hub.sends = sends_a_little
    monkeypatch.setattr(download, "LEAST_BYTES", 1000)
    monkeypatch.setattr(download, "MOST_BREAKS", 10)
    with pytest.raises(WeightsMissing, match="cannot be reached"):
        pull(entry(), tmp_path / "models")
    assert hub.asked == 11
    hub.sends = sends_well
    assert pull(entry(), tmp_path / "models").path.read_bytes() == BODY


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://[::1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://\x01",
        "http://\udcff",
        "ftp://h",
        "x",
    ],
)
def test_an_address_that_is_none(
    hub: Server, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    refused(tmp_path)


def test_an_honest_hub_is_still_served(hub: Server, tmp_path: Path) -> None:
    assert pull(entry()).path.read_bytes() == BODY
    assert pull(entry(), tmp_path / "models").path.read_bytes() == BODY


def test_a_folder_of_nobody_is_a_usage_error(cli) -> None:  # type: ignore[no-untyped-def]
    ended = cli("weights", "pull", "float", "--to", "~nosuchuser/weights")
    assert ended.code == 3
    assert "~nosuchuser" in ended.err
    assert "unexpected" not in ended.err
