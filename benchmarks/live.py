"""Live sessions against their bars, on this machine:

    python benchmarks/live.py [--size 512] [--only NAME ...] [--sessions 3] [--soak MINUTES]
        [--minutes 10] [--chromium /usr/bin/chromium]

process    interrupt to the first idle picture, encoded, in one process
websocket  in a real Chromium, by a bar code in the pictures: glass to glass (picture finished ->
           read back from the canvas), sound against picture, first speaking picture, interrupt
webrtc     the same
sessions   pictures a second of each of several sessions at once, all speaking
soak       several sessions for some minutes: memory, threads, processes; 0.5 by default

With --minutes, websocket and webrtc also tell whether sound and picture drift apart in so long.

Needs personare[serve], playwright (drives Debian's Chromium) and an idle machine: the table has
the machine's load, and figures at a high one are upper bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from live_service import Running, at_once, service, soak, wanted

import personare
from personare.serve.live.encoders import JpegEncoder
from personare.serve.live.pace import Pace, SystemClock
from personare.serve.live.player import Player
from personare.serve.live.session import Session
from personare.serve.live.wire import Kind, State
from personare.types import SAMPLE_RATE

HERE = Path(__file__).resolve().parent
TEXT = "My mother bought five purple shoes. Please put the big map beside them, Bob, and open it. "
PIECE_SECONDS = 10
WAITS = (
    "jitterBufferDelay",
    "jitterBufferTargetDelay",
    "jitterBufferMinimumDelay",
    "totalDecodeTime",
    "totalProcessingDelay",
)
COUNTS = (
    "jitterBufferEmittedCount",
    "framesDropped",
    "keyFramesDecoded",
    "concealedSamples",
    "insertedSamplesForDeceleration",
    "removedSamplesForAcceleration",
)
BAR = {
    "interrupt, process": "p95 <= 60 ms",
    "interrupt, websocket": "p95 <= 200 ms",
    "glass to glass, websocket": "p50 <= 100 ms",
    "glass to glass, webrtc": "p50 <= 120 ms",
    "sound after picture, websocket": "-45..125 ms",
    "sound after picture, webrtc": "-45..125 ms",
    "first speaking picture, websocket": "<= 350 ms",
    "first speaking picture, webrtc": "<= 350 ms",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--only", nargs="+", default=["process", "websocket", "webrtc", "sessions", "soak"])
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--soak", type=float, default=0.5, help="minutes; the bar asks for 30")
    parser.add_argument("--minutes", type=float, default=0, help="of sound against picture; the bar: 10")
    parser.add_argument("--firsts", type=int, default=5)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=12, help="of each measurement of glass to glass")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the service ends with it
    voice = spoken()
    print(f"{'what':34} {'5 / 50 / 95 % (n)':34} {'bar':20} load", flush=True)
    if "process" in chosen.only:
        tell("interrupt, process", interrupts_in_process(chosen.size, voice, chosen.interrupts))
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as running:
        for mode in ("websocket", "webrtc"):
            if mode in chosen.only:
                in_browser(running, mode, voice, chosen)
        if "sessions" in chosen.only:
            asyncio.run(at_once(running, voice, chosen))
        if "soak" in chosen.only:
            asyncio.run(soak(running, voice, chosen))


def spoken() -> np.ndarray:
    """int16, quieter than a flash's beep."""
    from personare.voice.tts import open_text

    samples = np.concatenate([chunk.samples for chunk in open_text(TEXT, "en-us").chunks()])
    return np.rint(samples / np.abs(samples).max() * 0.4 * 32767).astype("<i2")


def with_beeps(voice: np.ndarray, seconds: float) -> np.ndarray:
    """The voice for so long, with a loud tick's length of 1 kHz every second."""
    made = np.resize(voice, round(seconds * SAMPLE_RATE)).copy()
    beep = np.rint(0.8 * 32767 * np.sin(2 * np.pi * 1000 * np.arange(640) / SAMPLE_RATE)).astype("<i2")
    for start in range(SAMPLE_RATE, len(made) - 640, SAMPLE_RATE):
        made[start : start + 640] = beep
    return made


def tell(what: str, values: list[float], unit: str = "ms") -> None:
    shares = [f"{np.percentile(values, share):.0f}" for share in (5, 50, 95)] if values else ["none"]
    figures = f"{' / '.join(shares)} {unit} ({len(values)})"
    print(f"{what:34} {figures:34} {BAR.get(what, ''):20} {os.getloadavg()[0]:.1f}", flush=True)


# ---------------------------------------------------------------- in one process


def interrupts_in_process(size: int, voice: np.ndarray, count: int) -> list[float]:
    """Milliseconds from the call to the first encoded idle picture."""
    engine = personare.open_engine("puppet")
    portrait = Path(personare.__file__).parent / "assets" / "portrait.jpg"
    performance = engine.perform(engine.prepare(portrait, size=size))
    left: list[tuple[float, State, int]] = []
    arrived = threading.Event()

    def send(packets) -> None:
        left.extend((time.perf_counter(), p.state, p.generation) for p in packets if p.kind is Kind.PICTURE)
        arrived.set()

    clock = SystemClock()
    session = Session(performance, prime_seconds=0.2, tell=lambda _: None, now=clock.now)
    player = Player(session, Pace(session.fps, clock), send, lambda _: None, print)
    player.watch(JpegEncoder())
    taken = []
    for index in range(count):
        session.append(voice.astype(np.float32) / np.float32(32768))
        while not left or left[-1][1] is not State.SPEAKING:
            arrived.clear()
            arrived.wait(1)
        time.sleep(0.3 + 0.0137 * (index % 5))
        began = time.perf_counter()
        generation = player.interrupt().generation
        while not left or left[-1][2] != generation:
            arrived.clear()
            arrived.wait(1)
        taken.append(1e3 * (next(at for at, _, of in left if of == generation) - began))
        left.clear()
    player.close()
    return taken


# ---------------------------------------------------------------- in a browser


def in_browser(running: Running, mode: str, voice: np.ndarray, chosen: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection",
    ]
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chosen.chromium, headless=True, args=flags)
        page = browser.new_page()
        page.on("pageerror", lambda error: print("page:", error))
        files = page_files()
        for name in files:
            page.route(f"**/{name}", answer_with(files[name], "javascript"))
        # a page that we answered ourselves would not count as one of this machine
        page.goto(f"{running.url}/healthz")
        page.set_content(files["live.html"])
        page.wait_for_function("window.ready")
        page.evaluate("([mode, wanted]) => begin(mode, wanted)", [mode, wanted(chosen.size)])
        page.wait_for_function("seen.frames.length > 50")
        browser_round(page, mode, voice, chosen)
        if chosen.minutes:
            drift(page, mode, voice, chosen.minutes)
        page.evaluate("fetch(`/v1/sessions/${session.id}`, {method: 'DELETE'})")
        browser.close()


def browser_round(page, mode: str, voice: np.ndarray, chosen: argparse.Namespace) -> None:
    firsts = []
    for _ in range(chosen.firsts):
        page.evaluate("(seen.frames = [], seen.messages = [])")
        begun = page.evaluate("(voice) => speak(voice)", encoded(voice[: SAMPLE_RATE * 3 // 2]))
        page.wait_for_function("seen.messages.some((told) => told.type === 'utterance.finished')")
        page.wait_for_timeout(1000)
        first = page.evaluate("seen.frames.find((frame) => frame.state === 1)?.t")
        firsts += [first - begun] if first else []
    tell(f"first speaking picture, {mode}", firsts)

    page.evaluate("(seen.frames = [], seen.beeps = [])")
    before = page.evaluate("held()") if mode == "webrtc" else None
    page.evaluate("(voice) => feed(voice)", encoded(with_beeps(voice, chosen.seconds)))
    page.wait_for_timeout(1000 * chosen.seconds + 1500)
    if before is not None:
        held_back(before, page.evaluate("held()"))
    seen = page.evaluate("({frames: seen.frames, beeps: seen.beeps, bad: seen.bad})")
    speaking = [frame for frame in seen["frames"] if frame["state"] == 1]
    tell(f"glass to glass, {mode}", [frame["late"] for frame in speaking])
    tell(f"pictures apart, {mode}", list(np.diff([frame["t"] for frame in speaking])))
    for name, clock in (("sound after picture", "t"), ("the same by the card's clock", "card")):
        tell(f"{name}, {mode}", apart(speaking, seen["beeps"], clock))

    taken, missed = [], 0
    for index in range(chosen.interrupts):
        page.evaluate("(voice) => feed(voice)", encoded(voice))
        page.wait_for_timeout(1200 + 37 * (index % 7))
        milliseconds, state = page.evaluate("stop()")
        if milliseconds is None or state != 1:
            missed += 1
        else:
            taken.append(milliseconds)
    tell(f"interrupt, {mode}", taken)
    if missed or seen["bad"]:
        print(f"    {missed} interrupts were not seen, {seen['bad']} bar codes could not be read")


def apart(frames: list[dict], beeps: list[dict], clock: str = "t") -> list[float]:
    """Milliseconds from each flash to its beep."""
    flashes = [b["t"] for a, b in pairwise(frames) if b["flash"] and not a["flash"]]
    heard = [beep[clock] for beep in beeps]
    found = [min((at - flash for at in heard), key=abs) for flash in flashes if heard]
    return [value for value in found if abs(value) < 500]


def drift(page, mode: str, voice: np.ndarray, minutes: float) -> None:
    """One utterance for so long; pictures and sound are told apart every 10 s."""
    page.evaluate("(seen.frames = [], seen.beeps = [])")
    piece, offsets = encoded(with_beeps(voice, PIECE_SECONDS)), []
    page.evaluate("(voice) => push(voice)", piece)
    page.wait_for_timeout(2000)
    before, told = page.evaluate("held()") if mode == "webrtc" else None, []
    for turn in range(max(3, round(60 * minutes / PIECE_SECONDS))):
        page.evaluate("(voice) => push(voice)", piece)  # the next, while 8 s are left
        page.wait_for_timeout(1000 * PIECE_SECONDS)
        seen = page.evaluate("({frames: seen.frames.splice(0), beeps: seen.beeps.splice(0)})")
        offsets.append(apart(seen["frames"], seen["beeps"]))
        if before is not None:
            after = page.evaluate("held()")
            told += ahead(after)
            if turn % 6 == 5:
                held_back(before, after)
                before = after
        if turn % 6 == 5:
            drawn(page.evaluate("seen.messages.splice(0)"))
    page.evaluate("live.interrupt()")
    whole = [value for some in offsets[1:] for value in some]
    tell(f"sound after picture, {minutes:g} min, {mode}", whole)
    if told:
        tell("the same by the browser's account", told)
    by_minute = [
        [value for some in offsets[at : at + 6] for value in some] for at in range(1, len(offsets), 6)
    ]
    shares = [np.percentile(some, (5, 50, 95)) for some in by_minute if some]
    print("    by minute: " + ", ".join(" / ".join(f"{value:.0f}" for value in some) for some in shares))
    drifted = f"{shares[-1][1] - shares[0][1]:+.0f} ms, {whole[0]:.0f} at first, {whole[-1]:.0f} at last"
    print(f"{'drift, ' + mode:34} {drifted:34} {'0 in 10 min':20} {os.getloadavg()[0]:.1f}", flush=True)


def drawn(messages: list[dict]) -> None:
    """What the session says of itself: how long its ticks took, and how often it was late."""
    stats = [message for message in messages if message["type"] == "stats"]
    if stats:
        slowest = max(stats, key=lambda one: one["tick_ms"][1])["tick_ms"][1]
        print(
            f"    session: 95 % of ticks within {slowest:.0f} ms, clock set back {stats[-1]['slips']} times"
        )


def ahead(held: dict) -> list[float]:
    """Milliseconds of sound after picture by the browser's own account: the sender's time of
    what each receiver plays, as it knows it from RTCP sender reports.
    """
    playing = [held[kind].get("estimatedPlayoutTimestamp") for kind in ("video", "audio")]
    return [playing[0] - playing[1]] if all(playing) else []


def held_back(before: dict, after: dict) -> None:
    """What each receiver waited, on the average of a measurement: milliseconds."""
    for kind in ("video", "audio"):
        grown = {name: after[kind].get(name, 0) - before[kind].get(name, 0) for name in WAITS + COUNTS}
        count = max(1, grown["jitterBufferEmittedCount"])
        waits = [f"{name} {1e3 * grown[name] / count:.0f}" for name in WAITS if name in after[kind]]
        counts = [f"{name} {grown[name]}" for name in COUNTS if name in after[kind]]
        print(f"    {after[kind].get('codec', kind)}: {', '.join(waits)} ms; {', '.join(counts)}", flush=True)


def answer_with(body: str, kind: str) -> Callable[..., None]:
    return lambda route: route.fulfill(body=body, content_type=f"text/{kind}; charset=utf-8")


def page_files() -> dict[str, str]:
    """The bench's page, and the client as docs/live.md has it."""
    text = (HERE.parent / "docs" / "live.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```js (\S+)\n(.*?)```", text, re.DOTALL))
    return {**blocks, "live.html": (HERE / "live.html").read_text(encoding="utf-8")}


def encoded(samples: np.ndarray) -> str:
    return base64.b64encode(samples.tobytes()).decode()


if __name__ == "__main__":
    main()
