"""The page in Gradio: what it makes, what it takes, and that it asks no other machine."""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

from personare.serve.gradio.examples import EXAMPLES, LANGUAGES
from personare.voice.tts import japanese, open_text
from tests.conftest import error_lines
from tests.serve.conftest import Running
from tests.serve.live_clients import ask

PHOTO = "your photo, or the example"


def test_without_the_extra_it_says_what_to_install(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    ended = cli("page", "--gradio", "--no-browser")
    assert ended.code == 5
    assert error_lines(ended) == ("the Gradio page needs gradio", "pip install 'personare[page]'")


@pytest.mark.slow
def test_every_example_can_be_read_without_further_extras(monkeypatch):
    monkeypatch.setattr(japanese, "is_installed", lambda: False)
    assert {language for _, language in EXAMPLES} == set(LANGUAGES)
    for text, language in EXAMPLES:
        spoken = open_text(text, voice=LANGUAGES[language])
        assert any(np.abs(chunk.voice).max() > 0.05 for chunk in spoken.chunks() if len(chunk.voice)), text


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("gradio", reason="pip install 'personare[page]'")
    folder = tmp_path_factory.mktemp("gradio")
    service = Running(folder, command=("page", "--gradio", "--no-browser")).start()
    yield service
    assert service.end() == 0, service.log()


@pytest.fixture(scope="module")
def client(page):
    from gradio_client import Client

    return Client(f"{page.url}/gradio/", verbose=False, analytics_enabled=False)


@pytest.mark.slow
def test_a_text_and_a_sound_become_clips(page, client, voice, portrait):
    from gradio_client import handle_file

    clip, motion, words = client.predict(
        "Hi.", "Deutsch", None, "the 3-D head", None, "happy", api_name="/make"
    )
    assert clip.endswith(".mp4")
    assert motion.endswith(".json")
    assert "frames" in words
    sound, photo = handle_file(str(voice)), handle_file(str(portrait))
    clip, _, words = client.predict("", "English", sound, PHOTO, photo, "neutral", api_name="/make")
    assert "1.8 s of speech, 46 frames" in words
    assert page.client._json("GET", "/v1/jobs")["data"] == [], "nothing is left with the service"


@pytest.mark.slow
def test_what_is_wrong_is_said_in_the_words_of_the_service(client, tmp_path):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    broken = tmp_path / "me.jpg"
    broken.write_bytes(b"no picture")
    for given, words in (
        ([" ", "English", None, PHOTO, None, ""], "Write something to be said"),
        (["Hi.", "English", None, "nobody", None, ""], "no avatar named 'nobody'"),
        (["Hi.", "English", None, PHOTO, handle_file(str(broken)), "neutral"], "me.jpg|portrait.jpg"),
    ):
        with pytest.raises(AppError, match=words):
            client.predict(*given, api_name="/make")


@pytest.mark.slow
def test_no_file_of_the_machine_and_no_url_is_taken_for_an_upload(page, client):
    from gradio_client.exceptions import AppError

    for path in ("/etc/passwd", "https://example.org/me.jpg"):
        photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(AppError):
            client.predict("Hi.", "English", None, PHOTO, photo, "neutral", api_name="/make")
    assert "PermissionError: nothing is fetched from elsewhere" in page.log()
    for name in ("file=/etc/passwd", "file=https://example.org/x"):
        answer = ask("get", f"{page.url}/gradio/gradio_api/{name}")
        assert answer.status_code in (403, 404)
        assert "location" not in answer.headers


@pytest.mark.slow
def test_uploads_go_through_our_doors_and_limits(page):
    upload = f"{page.url}/gradio/gradio_api/upload"
    file = {"files": ("me.jpg", b"x")}
    assert ask("post", upload, files=file, headers={"host": "evil.example"}).status_code == 403
    assert ask("post", upload, files=file, headers={"origin": "https://evil.example"}).status_code == 403
    assert ask("post", upload, files=file).status_code == 200
    address = urlsplit(page.url)
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    head = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(4 << 30)}
    connection.request("POST", urlsplit(upload).path, headers=head)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.slow
def test_it_names_no_other_machine_to_the_browser(page):
    answer = ask("get", f"{page.url}/gradio/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    config = ask("get", f"{page.url}/gradio/config").json()
    assert not config["analytics_enabled"]
    assert not config.get("is_space")
