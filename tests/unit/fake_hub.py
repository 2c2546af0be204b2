"""A hub on this machine: as much of huggingface.co's behaviour as a download meets, and its
failures at will.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


@dataclass
class HubFile:
    """One file of a repository. breaks: after how many bytes each of the next answers ends.
    served: what really comes.
    """

    content: bytes
    is_large: bool = True
    breaks: list[int] = field(default_factory=list)
    served: bytes | None = None
    ignores_ranges: bool = False

    @property
    def etag(self) -> str:
        if self.is_large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(
            b"blob %d\0" % len(self.content) + self.content, usedforsecurity=False
        ).hexdigest()


@dataclass
class FakeHub:
    """files: "owner/repo/path" -> file. gated: repositories that want an accepted licence.
    requests: (method, path, Range).
    """

    files: dict[str, HubFile] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    status: int | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, name: str, content: bytes, *, is_large: bool = True) -> HubFile:
        self.files[name] = file = HubFile(content, is_large)
        return file

    @property
    def ranges(self) -> list[str | None]:
        """The Range of every request that was answered with a large file's content."""
        return [
            wanted for method, path, wanted in self.requests if method == "GET" and path.startswith("/cdn/")
        ]


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            if self.path.startswith("/api/"):  # the client asks things of its own
                self.refuse(404, "")
                return
            hub.requests.append((self.command, self.path, self.headers.get("Range")))
            if hub.status is not None:
                self.refuse(hub.status, "")
            elif self.path.startswith("/cdn/"):
                self.send_content(hub.files[self.path.removeprefix("/cdn/")])
            else:
                owner, repo, resolve, _, *rest = self.path.strip("/").split("/")
                name = f"{owner}/{repo}"
                if resolve != "resolve" or not any(path.startswith(f"{name}/") for path in hub.files):
                    self.refuse(401, "RepoNotFound")
                elif name in hub.gated:
                    self.refuse(403, "GatedRepo")
                elif (path := "/".join((name, *rest))) not in hub.files:
                    self.refuse(404, "EntryNotFound")
                else:
                    self.send_file(path, hub.files[path])

        def send_file(self, path: str, file: HubFile) -> None:
            if not file.is_large:
                self.send_content(file)
                return
            self.send_response(302)
            self.send_header("Location", f"{hub.url}/cdn/{path}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-ETag", f'"{file.etag}"')
            self.send_header("X-Linked-Size", str(len(file.content)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_content(self, file: HubFile) -> None:
            content = file.content if file.served is None else file.served
            start, wanted = 0, self.headers.get("Range")
            if wanted and not file.ignores_ranges:
                start = int(wanted.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{file.etag}"')
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if self.command == "GET":
                end = len(content)
                if file.breaks:
                    end = min(end, start + file.breaks.pop(0))
                    self.close_connection = True
                self.wfile.write(content[start:end])

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """A hub that answers on a free port of this machine until the block ends."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
