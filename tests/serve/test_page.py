"""What people do with the page, in a real Chromium: clips, the shelf, the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.browsing import clip_of, opened, small, wait


@pytest.fixture
def page(browser, running) -> Iterator:
    page = opened(browser, running.url)
    yield page
    assert page.faults == []
    page.context.close()


@pytest.mark.slow
def test_a_text_becomes_a_clip(page):
    small(page)
    page.fill("#text", "Hello.")
    page.select_option("#also", "curves")
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
def test_a_portrait_is_dropped_on_the_page(page, portrait: Path):
    small(page)
    box = page.locator("#drop").bounding_box()
    line = page.context.new_cdp_session(page)
    at = {"x": box["x"] + box["width"] - 30, "y": box["y"] + 20}
    data = {"items": [], "files": [str(portrait)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        line.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    wait(page, "document.querySelector('#drop').className === 'over'")
    line.send("Input.dispatchDragEvent", {"type": "drop", **at, "data": data})
    wait(page, "document.querySelector('#drop').className === ''")
    wait(page, "document.querySelector('#preview').src.startsWith('blob:')")
    assert portrait.name in page.inner_text("#portrait-note")
    wait(page, "document.querySelectorAll('#photo li').length > 0")  # and its job is gone
    page.click("#bundled")
    wait(page, "document.querySelector('#preview').src.endsWith('portrait.jpg')")


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


@pytest.mark.slow
def test_a_recording_becomes_a_clip(page):
    """Chromium's own microphone beeps each second."""
    small(page)
    page.check("[name=source][value=microphone]", force=True)
    page.click("#record")
    wait(page, "document.querySelector('#record').textContent === 'Stop recording'")
    page.wait_for_timeout(900)
    page.click("#record")
    page.wait_for_selector("#record-player:not([hidden])")
    page.click("#go")
    seconds, width = clip_of(page)
    assert 0.3 < seconds < 5
    assert width == 256


@pytest.mark.slow
def test_the_shelf_follows_a_job_and_plays_its_clip(browser, running):
    job = running.client.start(text="Hello.", options={"look": "mesh", "size": 256})["id"]
    page = opened(browser, running.url, "shelf")
    page.click("button:text-is('Play')")  # once it is there
    wait(page, "document.querySelector('#jobs video')?.readyState >= 1")
    assert page.evaluate("document.querySelector('#jobs video').videoWidth") == 256
    running.client.delete(job)
    assert page.faults == []
    page.context.close()


SDP = """Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', { configurable: true, get() {
    return { sdp: this.pendingLocalDescription.sdp.replace(%s, 'x') };
} }); 0"""


@pytest.mark.slow
def test_the_doctor_tries_webrtc_with_the_service_and_says_what_hinders_it(browser, running):
    page = opened(browser, running.url, "doctor")
    row = "[...document.querySelectorAll('#checks li')].find((one) => /^WebRTC/.test(one.textContent))"
    wait(page, f"{row}?.className === 'good'")
    for spoilt, said in (
        # as behind a firewall without UDP: the answer never leads to a connection
        ("RTCPeerConnection.prototype.setRemoteDescription = async () => {}; 0", "UDP does not come through"),
        (SDP % "/H264|VP8/g", "no codec in common"),
        (SDP % "/a=candidate/g", "a policy or an extension"),
    ):
        page.evaluate(spoilt)
        page.click("#again")
        wait(page, f"{row}?.className === 'bad'")
        words = page.evaluate(f"{row}.textContent")
        assert said in words
        assert "WebSocket is used" in words
    page.press(".skip", "Enter")
    wait(page, "location.hash === '#main'")
    assert page.is_visible("#doctor")
    assert page.faults == []
    page.context.close()


@pytest.mark.slow
def test_stages_voices_and_errors_are_said_in_words(page):
    said = """import('/page/common.js').then(({ standing }) =>
        ['finding the face', 'speaking'].map((doing) => standing({ doing, progress: 20 })))"""
    error = """import('/page/common.js').then(({ reason }) =>
        reason({ code: 'no-face-found', message: 'me.jpg: no face' }))"""
    assert page.evaluate(said) == ["finding the face · 20 %", "speaking · 20 %"]
    assert page.evaluate(error) == "me.jpg: no face"
    assert page.inner_text("#voice option:checked").startswith("English")
    page.click("#language")
    wait(page, "document.documentElement.lang === 'zh-CN'")
    assert page.evaluate(said) == ["寻找人脸 · 20 %", "生成画面 · 20 %"]
    assert page.evaluate(error) == "没有找到人脸：请用清晰、正面的单人照片 · me.jpg: no face"
    assert "英语" in page.inner_text("#voice option:checked")
