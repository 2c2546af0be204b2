"""The page in a real Chromium."""

from __future__ import annotations

import shutil
import time

from tests.serve.conftest import PATIENCE_SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    "--no-sandbox",  # tests may run as root, in a container
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",  # a camera and a microphone that beeps
    "--allow-loopback-in-peer-connection",  # the service offers 127.0.0.1
]


def opened(browser, url: str, part: str = "make"):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB").new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: "Content Security Policy" in line.text and page.faults.append(line.text))
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    page.goto(f"{url}/#{part}")
    for filled in {"make": ["#voice", "#engine"], "talk": ["#say-voice", "#live-engine"]}.get(part, []):
        wait(
            page, f"document.querySelector('{filled}').value && document.querySelector('[data-option=size]')"
        )
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


def small(page) -> None:
    """The smallest picture, so that it goes fast."""
    page.evaluate("const size = document.querySelector('[data-option=size]'); size.value = 256")
