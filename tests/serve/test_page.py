"""The page: a few files, a strict policy, and, in a real Chromium, what people do with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import personare
from personare.engines.engine import load_engine
from personare.errors import InputError
from personare.media.mix import QUIET_DBFS
from personare.perception import photo_report
from personare.perception.photo_report import PhotoReport
from personare.serve.labels import LABELS
from personare.serve.problems import coded
from personare.serve.routes.page import page_files
from personare.studio.remarks import Remarks, of_the_portrait
from personare.types import Feature
from tests.serve.conftest import PATIENCE_SECONDS, needs_children, until
from tests.serve.live_clients import children

MOST_BYTES = 60_000
BUILT_IN = ("artalk", "float", "mimicmotion", "musetalk", "nerffacespeech", "puppet")
SOURCE = Path(personare.__file__).parent
OWN = (".html", ".js", ".css", ".svg")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    "--no-sandbox",  # tests may run as root, in a container
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",  # a camera and a microphone that beeps
    "--allow-loopback-in-peer-connection",  # the service offers 127.0.0.1
]
LONG_TEXT = "Hello, I am talking to you live. Seven, six, five, four, three, two, one. " * 6


def own_files() -> dict[str, bytes]:
    """The page's, without the bundled portrait and the service's own sentences in Chinese."""
    return {name: file.content for name, file in page_files().items() if name.endswith(OWN)}


# ---------------------------------------------------------------- its files


LANGUAGES = {"en": {"words.en.js"}, "zh": {"words.zh.js", "sentences.zh.json"}}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_browser_loads_is_small(language):
    """All parts together, as the service sends them; each part with what it needs, unpacked."""
    files = page_files()
    mine = {"index.html", "style.css", "icon.svg", *LANGUAGES[language]}
    scripts = {name for name in files if name.endswith(".js") and not name.startswith("words.")}
    everything = mine | scripts | {"words.js"}
    assert everything | set().union(*LANGUAGES.values()) == set(files) - {"portrait.jpg"}
    assert sum(len(files[name].wire) for name in everything) < MOST_BYTES / 2
    for part in ("make", "talk", "shelf", "doctor"):
        loaded = mine | with_imports("app.js") | with_imports(f"{part}.js")
        loaded |= {"worklet.js"} if part == "talk" else set()
        assert sum(len(files[name].content) for name in loaded) < MOST_BYTES


def with_imports(name: str) -> set[str]:
    """A script of the page, and those that it loads before it runs."""
    found, wanted = set(), {name}
    while wanted:
        found |= wanted
        texts = [page_files()[one].content.decode() for one in wanted]
        wanted = set(re.findall(r"^import .*from \"\./([\w.]+)\"", "\n".join(texts), re.M)) - found
    return found


def test_what_can_be_packed_is_sent_packed(answering):
    client = answering()
    for name, file in page_files().items():
        packed = client.get(f"/page/{name}", headers={"accept-encoding": "br, gzip"})
        plain = client.get(f"/page/{name}", headers={"accept-encoding": "gzip;q=0, identity"})
        assert packed.content == plain.content == file.content
        assert (packed.headers.get("content-encoding") == "gzip") == bool(file.packed)
        assert int(packed.headers["content-length"]) == len(file.wire)
        assert "content-encoding" not in plain.headers
        assert (packed.headers["etag"] == plain.headers["etag"]) == (not file.packed)


def test_nothing_but_its_own_files_runs(answering):
    client = answering()
    answer = client.get("/")
    assert (answer.status_code, answer.url.path) == (200, "/page/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    html = answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", html), "a script in the page itself"
    assert not re.search(r"\s(on\w+|style)=", html), "a handler or a style in the page itself"
    for name, content in own_files().items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\beval\(|innerHTML", text), name
        assert client.get(f"/page/{name}").status_code == 200


def test_what_is_unchanged_is_not_sent_again(answering):
    client = answering()
    first = client.get("/page/app.js")
    again = client.get("/page/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["../app.py", "%2e%2e%2fapp.py", "nothing.js", "index.html%00", "__init__.py"]
)
def test_nothing_else_of_the_disk_is_served(answering, name):
    assert answering().get(f"/page/{name}").status_code in (404, 422)


def test_every_word_is_there_in_both_languages():
    """The English word of an element is the element's own text."""
    files = {name: content.decode() for name, content in own_files().items()}
    of_scripts, all_words = (
        set(re.findall(r"(?:^|[{,\s])(\w+): \"", files[f"words.{language}.js"])) for language in ("en", "zh")
    )
    of_elements = set(re.findall(r"data-t=\"(\w+)\"", files["index.html"]))
    used = set(stages_in_words(files["words.js"])) | {"preparing"}
    used |= set(re.findall(r"data-t(?:-label)?=\"(\w+)\"", files["index.html"]))
    for name, text in files.items():
        if name.endswith(".js"):
            used |= set(re.findall(r"\bt\(\"(\w+)\"", text))
    assert of_scripts | of_elements == all_words
    assert used <= all_words


def stages_in_words(script: str) -> dict[str, str]:
    """The page's words for a job's stages -> the stages' last names."""
    (table,) = re.findall(r"const STAGES = \{(.*?)\};", script, re.S)
    return dict(re.findall(r"(\w+): \"([\w ]+)\"", table))


def test_every_stage_has_words():
    """By the names in the engines' sources: no engine needs its weights for it."""
    table = stages_in_words(page_files()["words.js"].content.decode())
    known = [name for names in table.values() for name in names.split()]
    assert len(known) == len(set(known))
    named = set()
    for source in (SOURCE / "engines").rglob("*.py"):
        named |= set(
            re.findall(rf"^[A-Z].*\"(?:{'|'.join(BUILT_IN)})\.([a-z_]+)\"", source.read_text(), re.M)
        )
        for line in re.findall(r"^[A-Z].* = (\"[a-z]+\.[a-z_]+\",.*)$", source.read_text(), re.M):
            named |= set(re.findall(r"\"[a-z]+\.([a-z_]+)\"", line))
    assert len(named) > 25
    assert named == set(known)


def test_what_the_service_says_is_there_in_chinese():
    """Sentences have {} in place of numbers, as the page looks them up."""
    sentences = json.loads(page_files()["sentences.zh.json"].content)
    assert all(english.count("{}") == other.count("{}") for english, other in sentences.items())
    options = options_of("puppet")
    said = {option["description"] for name, option in options.items() if name in LABELS["zh"]}
    said |= {value for option in options.values() for value in option.get("enum", [])}
    advice = set()
    plain = PhotoReport(100, 100, 40.0, 30.0, 40.0, 40.0, 40.0, 0.0, 9.0, True, True, 1.0, 2, False, ())
    for report in (plain, replace(plain, pitch=-40.0, dark_lenses=False)):
        advice |= set(photo_report._with_advice(report, False).advice)
    assert len(said | advice) > 20
    told = (
        said | advice | remarks() | works() | {coded(error.__name__) for error in InputError.__subclasses__()}
    )
    assert without_numbers(told) <= set(sentences)
    others = {load_engine(name).summary for name in BUILT_IN}
    for name in BUILT_IN:
        others |= {option["description"] for option in options_of(name).values()}
    others |= set(re.findall(r"detail = \"(.*?)\"", (SOURCE / "serve" / "live" / "place.py").read_text()))
    kept = {one for one in sentences if " " in one}
    assert kept <= without_numbers(others | told), "no sentence is left of what nobody says any more"


def remarks() -> set[str]:
    """What may be said of a clip of puppet."""
    found = set(
        of_the_portrait({"": Feature({}, {"faces": 2, "doubtful": True})}, load_engine("puppet").Options())
    )
    for loudest, opened in ((-90.0, 0.0), (QUIET_DBFS - 1, 0.0)):
        heard = SimpleNamespace(_meter=SimpleNamespace(loudest_dbfs=loudest), _opened=opened, _spoken=True)
        found |= set(Remarks._of_the_voice(heard))
    return found


def works() -> set[str]:
    """What engines and the studio call their work where it is no stage."""
    sources = [
        source.read_text()
        for room in ("engines", "studio", "perception")
        for source in (SOURCE / room).rglob("*.py")
    ]
    return set(re.findall(r"progress\(\"([a-z ]+)\",", "".join(sources)))


def options_of(engine: str) -> dict[str, dict]:
    return load_engine(engine).Options.model_json_schema()["properties"]


def without_numbers(sentences: set[str]) -> set[str]:
    return {re.sub(r"\d+(\.\d+)?", "{}", one) for one in sentences}


def test_the_page_needs_no_key_and_its_calls_do(answering):
    from personare.serve.keys import api_key

    client = answering(keys=(api_key("anna", "a-key-that-is-long-enough"),))
    assert client.get("/page/").status_code == 200
    assert client.get("/v1/engines").status_code == 401


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt install chromium")
    with sync.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, running) -> Iterator:
    page = opened(browser, running.url)
    yield page
    assert page.faults == []
    page.context.close()


def opened(browser, url: str, part: str = "make"):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB").new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: "Content Security Policy" in line.text and page.faults.append(line.text))
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    page.goto(f"{url}/#{part}")
    for filled in {"make": ["#engine"], "talk": ["#say-voice", "#live-engine"]}.get(part, []):
        wait(page, f"document.querySelector('{filled}').value !== ''")
    return page


def wait(page, condition: str) -> None:
    """Until it holds; the page's policy forbids what Playwright's own waiting does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def clip_of(page) -> tuple[float, int]:
    """Seconds and width of the clip that is shown."""
    page.wait_for_selector("#clip:not([hidden])")
    wait(page, "document.querySelector('#clip').readyState >= 1")
    return tuple(
        page.evaluate(
            "[document.querySelector('#clip').duration, document.querySelector('#clip').videoWidth]"
        )
    )


MIDDLE = """() => { const it = document.querySelector('#canvas');
return [...it.getContext('2d').getImageData(it.width / 2, it.height / 2, 1, 1).data]; }"""
"""The pixel in the middle of what is shown live: red, green, blue, and whether one was drawn."""


SEEN = """() => {
window.drawn = window.given = 0; window.held = null;
const draw = CanvasRenderingContext2D.prototype.drawImage, post = MessagePort.prototype.postMessage,
  send = WebSocket.prototype.send;
CanvasRenderingContext2D.prototype.drawImage = function (...all) { drawn++; draw.apply(this, all); };
MessagePort.prototype.postMessage = function (piece, ...rest) {
  if (piece?.sound) given++;
  post.call(this, piece, ...rest);
};
WebSocket.prototype.send = function (message) {
  if (held && /"interrupt"/.test(message)) held.push(() => send.call(this, message));
  else send.call(this, message);
}; }"""
"""Counts pictures that are drawn and pieces of sound that are given to the sound's thread;
where `held` is a list, a word to interrupt waits in it, as on a slow line.
"""


def small(page) -> None:
    """The smallest picture, so that it goes fast."""
    page.evaluate("const size = document.querySelector('[data-option=size]'); size.value = 256")


@pytest.mark.slow
def test_a_text_becomes_a_clip(page):
    small(page)
    page.fill("#text", "Hello.")
    page.check("#motion")
    page.check("#curves")
    assert not page.is_checked("#motion")  # a run writes one of them
    page.click("#go")
    seconds, width = clip_of(page)
    assert 0.3 < seconds < 3
    assert width == 256
    assert page.locator("#downloads button").count() == 2
    with page.expect_download() as download:
        page.click("#downloads button >> nth=1")
    assert download.value.suggested_filename.endswith(".curves.json")


@pytest.mark.slow
def test_a_file_becomes_a_clip_and_a_reload_loses_nothing(page, portrait: Path, voice: Path):
    small(page)
    page.set_input_files("#portrait", portrait)
    page.check("[name=source][value=file]", force=True)
    page.set_input_files("#sound", voice)
    page.click("#go")
    wait(page, "sessionStorage.getItem('job')")
    page.reload()
    assert clip_of(page)[1] == 256


@pytest.mark.slow
def test_options_have_chinese_names_and_keep_their_values(page):
    page.select_option("[data-option=emotion]", "happy")
    named = "document.querySelector('[data-option=emotion]').labels[0].firstChild.textContent"
    assert page.evaluate(named) == "emotion"
    page.click("#language")
    wait(page, f"{named} === '情绪'")
    assert page.input_value("[data-option=emotion]") == "happy"
    assert page.inner_text("[data-option=emotion] option:checked") == "高兴"
    hint = page.evaluate("document.querySelector('[data-option=size]').parentNode.lastChild.textContent")
    assert hint == "方形画面的边长，256 到 1024 像素，偶数"


@pytest.mark.slow
def test_a_broken_upload_is_told_and_the_page_goes_on(page, portrait: Path, tmp_path: Path):
    broken = tmp_path / "me.jpg"
    broken.write_bytes(b"\xff\xd8\xff" + bytes(300))
    page.set_input_files("#portrait", portrait)
    wait(page, "document.querySelectorAll('#photo li').length > 0")
    assert "the face is small" in page.inner_text("#photo")
    page.set_input_files("#portrait", broken)
    wait(page, "/portrait.jpg/.test(document.querySelector('#photo').textContent)")
    assert "small" not in page.inner_text("#photo"), "what was said of the photo before is gone"
    page.fill("#text", "Hello.")
    page.click("#go")
    wait(
        page,
        "/failed|cannot/i.test(document.querySelector('#stage').textContent"
        " + document.querySelector('#notice').textContent)",
    )
    wait(page, "!document.querySelector('#go').disabled")


def talking(browser, running, transport: str = "auto"):
    """A page in which somebody speaks, as SEEN counts, and what came by its socket."""
    page, came = opened(browser, running.url, "talk"), []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: came.append(frame)))
    page.evaluate(SEEN)
    page.select_option("#transport", transport)
    page.fill("#say-text", LONG_TEXT)
    page.click("#say")
    wait(page, "document.querySelector('#live-state').textContent === 'speaking'")
    return page, came


def left(page) -> None:
    page.click("#stop")
    page.wait_for_selector("#start:not([hidden])")
    assert page.faults == []
    page.context.close()


@pytest.mark.slow
def test_it_talks_and_interrupted_is_silent_before_the_service_has_heard_of_it(browser, running):
    page, came = talking(browser, running)
    wait(page, "given > 5")
    page.evaluate("held = []")
    page.keyboard.press("Escape")
    wait(page, "held.length === 1")
    given, so_far = page.evaluate("given"), len(came)
    while len(came) < so_far + 20:
        page.wait_for_timeout(50)
    assert page.evaluate("given") == given, "the old voice went on coming, and nobody heard it"
    page.evaluate("held.pop()()")
    wait(page, "document.querySelector('#live-state').textContent === 'listening'")
    wait(page, f"given > {given} + 5")
    assert page.evaluate("document.querySelector('#canvas').width") == 512
    left(page)


@pytest.mark.slow
def test_over_webrtc_an_interrupt_mutes_until_the_new_generation(browser, running):
    page, _ = talking(browser, running, "webrtc")
    assert "webrtc" in page.inner_text("#figures")
    page.evaluate("held = []")
    page.keyboard.press("Escape")
    wait(page, "held.length === 1")
    assert page.evaluate("document.querySelector('#live').muted")
    page.evaluate("held.pop()()")
    wait(page, "!document.querySelector('#live').muted")
    left(page)


@needs_children
@pytest.mark.slow
def test_pictures_go_on_when_the_worker_of_a_session_was_lost(browser, running):
    page, before = opened(browser, running.url, "talk"), children(running)
    page.evaluate(SEEN)
    page.click("#start")
    wait(page, "drawn > 2")
    (worker,) = children(running) - before
    os.kill(worker, signal.SIGKILL)
    wait(page, "/was lost/.test(document.querySelector('#notice').textContent)")
    drawn = page.evaluate("drawn")
    wait(page, f"drawn > {drawn} + 5")
    page.fill("#say-text", "One.")
    page.click("#say")
    wait(page, "document.querySelector('#live-state').textContent === 'speaking'")
    left(page)
    until(lambda: children(running) <= before)


@pytest.mark.slow
def test_complaint_07_two_tabs_talk_with_different_faces(browser, running, portrait: Path):
    running.client.create_avatar("far", portrait, options={"size": 256, "face_height": 0.3})
    tabs = [opened(browser, running.url, "talk") for _ in range(2)]
    wait(tabs[1], "document.querySelector('#live-avatar').options.length === 2")
    tabs[1].select_option("#live-avatar", "far")
    wait(tabs[1], "document.querySelector('#still').src.startsWith('blob:')")
    assert [tab.is_visible("#still") for tab in tabs] == [True, True]
    for tab in tabs:
        tab.click("#start")
        wait(tab, "!document.querySelector('#stop').hidden")
        wait(tab, f"({MIDDLE})()[3] === 255")
    assert [tab.is_visible("#still") for tab in tabs] == [False, False]
    assert tabs[0].evaluate("document.querySelector('#canvas').width") == 512
    assert tabs[1].evaluate("document.querySelector('#canvas').width") == 256
    assert tabs[0].evaluate(MIDDLE) != tabs[1].evaluate(MIDDLE)
    for tab in tabs:
        tab.click("#stop")
        assert tab.faults == []
        tab.context.close()
    running.client.delete_avatar("far")


@pytest.mark.slow
def test_complaint_18_where_webrtc_cannot_connect_it_is_websocket_and_says_why(browser, running):
    page = opened(browser, running.url, "talk")
    # as behind a firewall without UDP: the answer never leads to a connection
    page.evaluate("RTCPeerConnection.prototype.setRemoteDescription = async () => {}")
    page.select_option("#transport", "webrtc")
    page.click("#start")
    wait(page, "!document.querySelector('#stop').hidden")
    said = page.inner_text("#figures")
    assert "websocket" in said
    assert "UDP may be blocked" in said
    wait(page, "document.querySelector('#live-state').textContent === 'listening'")
    assert page.is_visible("#canvas")
    page.click("#stop")
    assert page.faults == []
    page.context.close()


PLAYED = """
const told = [], kinds = {};
globalThis.sampleRate = 16000;
globalThis.registerProcessor = (name, kind) => { kinds[name] = kind; };
globalThis.AudioWorkletProcessor = class {
  constructor() { this.port = { postMessage: (index) => told.push(index) }; }
};
globalThis.played = (rest, seconds, piled, late) => { // pieces of 40 ms, each 5 quanta after the last
  const player = new kinds.player(), left = [];
  let sent = 0, holes = 0;
  const sound = new Float32Array(640).fill(1);
  const push = () => player.port.onmessage({ data: { index: sent++, rest, sound } });
  for (let i = 0; i < piled; i++) push();
  for (let quantum = 0; quantum < seconds * 125; quantum++) {
    if (quantum % 5 === 0) left.push(player.have / 16);
    const isLate = late.some(([from, to]) => quantum >= from && quantum < to);
    while (sent - piled < Math.floor((quantum - (isLate ? 25 : 0)) / 5)) push();
    const out = new Float32Array(128);
    player.process([], [[out]]);
    if (quantum > 20) holes += out.filter((value) => value === 0).length;
  }
  return { left: left.slice(-50), holes, target: player.target / 16,
    ordered: told.splice(0).every((index, i, all) => !i || index > all[i - 1]) };
};
"""


@pytest.mark.slow
def test_the_sound_s_thread_gets_rid_of_what_piled_up(browser):
    """Surplus goes at rest at once, in speech a few per cent faster; a gap makes it careful."""
    worklet = own_files()["worklet.js"].decode()
    page = browser.new_page()
    page.add_script_tag(content=f"{{{PLAYED}{worklet}}}")
    for rest, seconds in ((True, 4), (False, 9)):
        seen = page.evaluate("given => played(...given)", [rest, seconds, 6, []])
        assert seen["ordered"]
        assert seen["holes"] == 0
        assert all(5 <= left <= 30 for left in seen["left"]), seen["left"]
    page.close()


@pytest.mark.slow
def test_after_a_gap_more_is_kept_in_hand(browser):
    worklet = own_files()["worklet.js"].decode()
    page = browser.new_page()
    page.add_script_tag(content=f"{{{PLAYED}{worklet}}}")
    once, again = ([[at, at + 30] for at in ats] for ats in ((500,), (500, 800, 1100)))
    first, second = (
        page.evaluate("given => played(...given)", [False, 12, 2, late]) for late in (once, again)
    )
    assert first["holes"] > 0
    assert second["holes"] < 3 * first["holes"]
    assert second["target"] > first["target"] >= 20
    silent = page.evaluate("given => played(...given)", [True, 12, 2, again])
    assert silent["target"] == 20  # nobody hears a gap in silence
    page.close()


def test_the_documented_client_plays_as_the_page_does():
    document = (Path(__file__).parents[2] / "docs" / "live.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```js player.js\n(.*?)\nregisterProcessor", document, re.S)
    assert sample in own_files()["worklet.js"].decode()
