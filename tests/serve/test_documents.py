"""The samples of docs/service.md and docs/live.md run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.serve.test_page import MIDDLE, browser, opened, wait  # noqa: F401  # browser: a fixture

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"


def samples(document: str, language: str) -> list[tuple[str, str]]:
    """(file name or "", code) of every sample in a language."""
    found = re.findall(rf"^```{language}(?: (\S+))?\n(.*?)^```$", (DOCS / document).read_text(), re.M | re.S)
    return [(name, code) for name, code in found]


@pytest.fixture
def empty(running):
    """The service without avatars and jobs, as samples expect it and other files leave it."""

    def clear() -> None:
        for job in running.client._json("GET", "/v1/jobs")["data"]:  # first: they hold avatars
            running.client.delete(job["id"])
        for avatar in running.client.avatars():
            running.client.delete_avatar(avatar["name"])

    clear()
    yield running
    clear()


@pytest.mark.parametrize("module", ["personare", "httpx", "openai"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_python_of_the_service(empty, portrait, voice, tmp_path, monkeypatch, module):
    if module == "httpx":
        monkeypatch.setitem(sys.modules, "httpx", httpx2)
    pytest.importorskip(module)
    (code,) = [
        code
        for _, code in samples("service.md", "python")
        if f"import {module}" in code.replace("time, ", "")
    ]
    monkeypatch.chdir(tmp_path)
    shutil.copy(portrait, "me.jpg")
    shutil.copy(voice, "hello.wav")
    if module == "openai":
        empty.client.create_avatar("anna", "me.jpg")
    exec(code.replace("http://127.0.0.1:8765", empty.url), {})
    assert Path("out.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.fixture
def documented(browser, empty):  # noqa: F811
    """A plain page of the service, where the samples are files of its root."""
    page = opened(browser, empty.url)
    files = {name: code for name, code in samples("live.md", "js") if name}
    assert set(files) == {"player.js", "live.js", "whep.js"}
    # Playwright answers for no worklet: it gets its file from the page
    assert files["live.js"].count('"/player.js"') == 1
    files["live.js"] = files["live.js"].replace('"/player.js"', "globalThis.player")
    playing = f"new Blob([{json.dumps(files['player.js'])}], {{ type: 'text/javascript' }})"
    for name, code in files.items():
        page.route(f"**/{name}", partial(answered, body=code, content_type="text/javascript"))
    page.goto(f"{empty.url}/healthz")  # which the service answers, with no policy for scripts
    page.evaluate(f"globalThis.player = URL.createObjectURL({playing})")
    yield page
    assert page.faults == []
    page.context.close()


def answered(route, **given) -> None:
    route.fulfill(**given)


def run(page, code: str) -> None:
    page.add_script_tag(content=code, type="module")


def test_javascript_of_live_sessions(documented):
    (code,) = [code for name, code in samples("live.md", "js") if not name]
    code = code.replace("console.log", "(message) => told.push(message.type)")
    run(
        documented,
        "import { watch } from '/live.js'; import { watchByWebrtc } from '/whep.js';\n"
        "globalThis.told = [];\n"
        "document.body.append(document.createElement('canvas'), document.createElement('video'));\n"
        f"{code}\nglobalThis.session = session; globalThis.live = live; globalThis.byRtc = watchByWebrtc;",
    )
    wait(documented, "globalThis.told?.includes('utterance.finished')")
    assert documented.evaluate(MIDDLE.replace("#canvas", "canvas"))[3] == 255
    run(
        documented,
        "const video = document.querySelector('video'); video.muted = true;\n"
        "globalThis.watched = await byRtc(video, session);",
    )
    wait(documented, "document.querySelector('video').videoWidth === 512")
    documented.evaluate("fetch(`/v1/sessions/${session.id}`, { method: 'DELETE' })")


def test_javascript_of_jobs(documented):
    (code,) = [code for _, code in samples("service.md", "js")]
    run(
        documented,
        "const file = new File([await (await fetch('/page/portrait.jpg')).blob()], 'me.jpg');\n"
        "const [bar, video] = ['progress', 'video'].map((tag) => document.createElement(tag));\n"
        "globalThis.alert = (words) => { globalThis.failed = words; };\n"
        f"globalThis.shown = [bar, video]; bar.max = 100;\n{code}",
    )
    wait(documented, "globalThis.failed ?? globalThis.shown?.[1].src")
    assert documented.evaluate("globalThis.failed") is None
    assert documented.evaluate("shown[1].src").endswith("variant=video")
