"""The service that benchmarks/live.py measures, with the bar code's engine, and Python clients."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import numpy as np

from personare.serve.live.wire import Kind
from personare.types import SAMPLE_RATE

HERE = Path(__file__).resolve().parent
BAR = "each >= 24 a second"


# ---------------------------------------------------------------- the service


class Running:
    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.process, self.url = process, url

    def processes(self) -> list[int]:
        """Its own number, then its children's."""
        pid = self.process.pid
        children = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        return [pid, *map(int, " ".join(children).split())]

    def memory_mb(self) -> list[float]:
        """Resident: the service, its workers together."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.processes()]
        return [count * os.sysconf("SC_PAGE_SIZE") / 1e6 for count in (pages[0], sum(pages[1:]))]

    def threads(self) -> list[int]:
        """The service's, its workers'."""
        counts = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.processes()]
        return [counts[0], sum(counts[1:])]


@contextmanager
def service(folder: Path) -> Iterator[Running]:
    """`personare serve` with the bar code's engine installed."""
    metadata = folder / "barcode-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: barcode\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[personare.engines]\nbarcode = barcode:Barcode\n")
    path = os.pathsep.join([str(folder), str(HERE), os.environ.get("PYTHONPATH", "")])
    log = folder / "log"
    process = subprocess.Popen(
        [sys.executable, "-m", "personare", "serve", "--port", "0", "--workers", "1"],
        env={**os.environ, "PYTHONPATH": path, "PERSONARE_HOME": str(folder / "home")},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        while not (found := re.search(r"serves (http://[\d.]+:[1-9]\d*)", log.read_text())):
            if process.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.1)
        yield Running(process, found[1])
    finally:
        process.terminate()
        process.wait(20)
    if "Traceback" in (text := log.read_text()):
        print(text)


def wanted(size: int) -> dict[str, object]:
    return {"engine": "barcode", "options": {"size": size}}


class Watched:
    """A session that a Python client watches; pictures by second."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        self.events: list[dict] = []
        self.index = 0


async def watch(running: Running, size: int, seen: Watched, ready: Callable[[], None]) -> None:
    from websockets.asyncio.client import connect

    async with httpx.AsyncClient(timeout=120) as http:
        made = await http.post(f"{running.url}/v1/sessions", json=wanted(size))
        if made.status_code != 201:
            seen.events.append(made.json())
            ready()
            return
    session = made.json()
    url = f"{running.url.replace('http', 'ws')}{session['ws']}?token={session['token']}"
    async with connect(url, max_size=None) as socket:
        seen.socket = socket
        ready()
        async for data in socket:
            if isinstance(data, str):
                seen.events.append(json.loads(data))
            elif data[0] == Kind.PICTURE:
                seen.arrived.append(time.perf_counter())
            elif data[0] == Kind.SOUND:
                seen.index = int.from_bytes(data[4:8], "little")
                await socket.send(json.dumps({"type": "shown", "index": seen.index}))


@contextmanager
def gone(tasks: list[asyncio.Task]) -> Iterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def opened(running: Running, count: int, size: int) -> tuple[list[Watched], list[asyncio.Task]]:
    """One after the other, as the cost of each is measured."""
    all_seen, tasks = [], []
    for _ in range(count):
        seen, ready = Watched(), asyncio.Event()
        tasks.append(asyncio.create_task(watch(running, size, seen, ready.set)))
        await ready.wait()
        if hasattr(seen, "socket"):
            all_seen.append(seen)
        else:
            print("    refused:", seen.events[-1]["detail"])
    return all_seen, tasks


async def feed_all(seen: list[Watched], voice: np.ndarray) -> None:
    for one in seen:
        await one.socket.send(bytes([Kind.VOICE]) + bytes(7) + voice.tobytes())


async def at_once(running: Running, voice: np.ndarray, chosen: argparse.Namespace) -> None:
    seen, tasks = await opened(running, chosen.sessions, chosen.size)
    with gone(tasks):
        seconds = min(chosen.seconds, 15)
        await feed_all(seen, np.resize(voice, round((seconds + 2) * SAMPLE_RATE)))
        await asyncio.sleep(1)
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        ended = time.perf_counter()
        for one in seen:
            count = sum(began <= at < ended for at in one.arrived)
            gaps = 1e3 * np.diff([at for at in one.arrived if began <= at < ended])
            rate, late = count / (ended - began), np.percentile(gaps, 95)
            figures = f"{rate:.1f} a second; 95 %: {late:.0f} ms apart"
            print(f"{'sessions':34} {figures:34} {BAR:20} {os.getloadavg()[0]:.1f}", flush=True)
        for event in [[e for e in one.events if e.get("type") == "stats"][-1:] for one in seen]:
            print("    stats:", event)
    await end_all(running)


async def soak(running: Running, voice: np.ndarray, chosen: argparse.Namespace) -> None:
    seen, tasks = await opened(running, chosen.sessions, chosen.size)
    with gone(tasks):
        for _ in range(2):  # what is made once is made
            await a_round(seen, voice)
        before, ends = (running.memory_mb(), running.threads()), time.perf_counter() + 60 * chosen.soak
        first = [(one.index, time.perf_counter()) for one in seen]
        while time.perf_counter() < ends:
            await a_round(seen, voice)
        behind = [
            40 * (index - one.index) + 1e3 * (time.perf_counter() - at)
            for one, (index, at) in zip(seen, first, strict=True)
        ]
        slips = [event["slips"] for one in seen for event in one.events if event.get("type") == "stats"]
        after = (running.memory_mb(), running.threads())
        print(f"soak, {len(seen)} sessions, {chosen.soak:g} min (load {os.getloadavg()[0]:.1f}):")
        for part, who in enumerate(("service", "workers")):
            memory, threads = (f"{a[part]:.0f} -> {b[part]:.0f}" for a, b in zip(before, after, strict=True))
            print(f"    {who}: memory {memory} MB (bar +-50), threads {threads}")
        told = ", ".join(f"{value:+.0f}" for value in behind)
        print(f"    later than at first by {told} ms (a tick is 40), slips {max(slips, default=0)}")
    await end_all(running)
    await asyncio.sleep(5)
    print(f"    afterwards: {len(running.processes())} processes, {sum(running.threads())} threads")


async def a_round(seen: list[Watched], voice: np.ndarray) -> None:
    """All speak 4 s, are silent, and are interrupted."""
    await feed_all(seen, np.resize(voice, 4 * SAMPLE_RATE))
    await asyncio.sleep(8)
    for one in seen:
        await one.socket.send(json.dumps({"type": "interrupt"}))


async def end_all(running: Running) -> None:
    async with httpx.AsyncClient() as http:
        for session in (await http.get(f"{running.url}/v1/sessions")).json()["data"]:
            await http.delete(f"{running.url}/v1/sessions/{session['id']}")
