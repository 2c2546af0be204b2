"""Live sessions in the page, in a real Chromium, and the thread that plays their sound."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from personare.serve.routes.page import page_files
from tests.serve.browsing import opened, small, wait
from tests.serve.conftest import needs_children, until
from tests.serve.live_clients import children

LONG_TEXT = "Hello, I am talking to you live. Seven, six, five, four, three, two, one. " * 6
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
MIDDLE = """() => { const it = document.querySelector('#canvas');
return [...it.getContext('2d').getImageData(it.width / 2, it.height / 2, 1, 1).data]; }"""
"""The pixel in the middle of what is shown live: red, green, blue, and whether one was drawn."""


def talking(browser, running, transport: str = "auto"):
    """A page in which somebody speaks, as SEEN counts, and what came by its socket."""
    page, came = opened(browser, running.url, "talk"), []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: came.append(frame)))
    page.evaluate(SEEN)
    small(page)
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
    assert page.evaluate("document.querySelector('#canvas').width") == 256
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
    small(page)
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
def test_the_microphone_speaks(browser, running):
    """Chromium's own microphone beeps each second."""
    page = opened(browser, running.url, "talk")
    engines = page.evaluate("[...document.querySelector('#live-engine').options].map((one) => one.value)")
    assert "puppet" in engines
    assert "float" not in engines, "it hears the whole speech first"
    small(page)
    page.click("#start")
    wait(page, "!document.querySelector('#stop').hidden")
    page.click("#mic")
    wait(page, "document.querySelector('#live-state').textContent === 'speaking'")
    assert page.get_attribute("#mic", "aria-pressed") == "true"
    page.click("#mic")
    wait(page, "document.querySelector('#live-state').textContent === 'listening'")
    assert page.get_attribute("#mic", "aria-pressed") == "false"
    left(page)


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
    worklet = page_files()["worklet.js"].content.decode()
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
    worklet = page_files()["worklet.js"].content.decode()
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
    assert sample in page_files()["worklet.js"].content.decode()
