"""personare.Client: whatever goes wrong, at either end, is a ServiceError with a hint."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from personare import Client
from tests.serve.conftest import refusal

JOB = {"id": "job_x", "status": "completed", "progress": 100, "report": {"frames": 1}, "error": None}


class Answers(BaseHTTPRequestHandler):
    """A service of few words; `clip` is its raw answer to a download."""

    clip = b""
    asked: list[bytes]

    def log_message(self, *_) -> None:
        """Quiet."""

    def _json(self) -> None:
        data = json.dumps(JOB).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._json()

    def do_DELETE(self) -> None:
        self._json()

    def do_GET(self) -> None:
        if "content" not in self.path:
            self._json()
            return
        self.wfile.write(self.clip)
        self.close_connection = True


@pytest.fixture
def service():
    Answers.asked = []
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Client(f"http://127.0.0.1:{server.server_port}", "")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("given", ["missing.wav", "folder"])
def test_a_file_that_cannot_be_read_is_told_before_anything_is_sent(service, tmp_path, given):
    (tmp_path / "folder").mkdir()
    error = refusal(lambda: service.speak("anna", tmp_path / given, output=tmp_path / "out.mp4"))
    assert given in error.message
    assert "cannot be read" in error.message
    assert error.hint
    assert refusal(lambda: service.create_avatar("anna", tmp_path / given)).hint
    assert refusal(lambda: service.speak(tmp_path / given, text="Hi.", output=tmp_path / "out.mp4")).hint
    assert Answers.asked == []


def test_a_folder_called_like_an_avatar_is_no_portrait(service, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anna").mkdir()
    Answers.clip = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert service.speak("anna", text="Hi.", output="out.mp4") == JOB["report"]
    assert json.loads(Answers.asked[0]) == {"text": "Hi.", "avatar": "anna"}


def test_a_download_of_no_known_length_is_whole_when_it_ends(service, tmp_path):
    Answers.clip = b"HTTP/1.0 200 OK\r\n\r\nall of it"
    assert service.download("job_x", tmp_path / "out.mp4").read_bytes() == b"all of it"


@pytest.mark.parametrize(
    "clip", [b"Content-Length: 9\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"]
)
def test_a_download_that_breaks_off_leaves_nothing(service, tmp_path, clip):
    Answers.clip = b"HTTP/1.1 200 OK\r\n" + clip
    assert "broke off" in refusal(lambda: service.download("job_x", tmp_path / "out.mp4")).message
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_told(service, tmp_path):
    Answers.clip = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    (tmp_path / "file").write_bytes(b"")
    error = refusal(lambda: service.download("job_x", tmp_path / "file" / "out.mp4"))
    assert "cannot be written" in error.message
    assert error.hint
