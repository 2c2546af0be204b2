"""Services for tests: one that only answers (no worker is started), and one that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from personare import Client
from personare.errors import ServiceError
from personare.serve.app import create_app
from personare.serve.settings import ServeSettings

PATIENCE_SECONDS = 120.0
DEPLOYED = os.environ.get("PERSONARE_TESTED_SERVICE") == "deploy"
"""Whether the tests that only use a service use one on a Ray cluster."""
needs_children = pytest.mark.skipif(
    DEPLOYED, reason="actors are no children of the service; tests/cluster ends those"
)
BASE = "http://127.0.0.1:8765"


@pytest.fixture
def answering(tmp_path, home) -> Callable[..., TestClient]:
    """A service whose jobs wait for ever, by fields of ServeSettings."""

    def service(**fields) -> TestClient:
        settings = ServeSettings.model_validate({"data": tmp_path / "serve", "workers": 1, **fields})
        client = TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False)
        client.house = client.app.state.house
        return client

    return service


class Running:
    """`personare serve` as a process of its own.

    program: how Python runs the command line. command: and with what.
    """

    def __init__(
        self,
        folder: Path,
        *switches: object,
        program: tuple[str, str] = ("-m", "personare"),
        command: tuple[str, ...] = ("serve", "--workers", "1", "-v"),
    ) -> None:
        self.folder = folder
        self._program, self._command = program, command
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._switches = [str(switch) for switch in switches]

    def _arguments(self) -> list[str]:
        if not DEPLOYED or self._command[0] != "serve":
            return [*self._command, "--port", "0", *self._switches]
        assert not self._switches, "a deployment has a file, not switches"
        config = self.folder / "deploy.toml"
        config.write_text("cores = 2\n[service]\nport = 0\nworkers = 1\n")
        return ["deploy", "--config", str(config), "-v"]

    def start(self) -> Running:
        log = (self.folder / "log").open("a+")
        before = log.tell()
        self.process = subprocess.Popen(
            [sys.executable, *self._program, *self._arguments()],
            env={**os.environ, "PERSONARE_HOME": str(self.folder / "home"), "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()

        def ready() -> bool:
            assert self.process.poll() is None, self.log()[before:]
            found = re.findall(r"serves (https?://127\.0\.0\.1:[1-9]\d*)", self.log()[before:])
            self.url = found[-1] if found else ""
            return bool(self.url)

        until(ready)
        return self

    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def client(self) -> Client:
        return Client(self.url, "")

    def end(self, kill: bool = False) -> int:
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)


def until(happened: Callable[[], object]) -> None:
    """Wait until it happens, without taking the processor from what is waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.03)


@pytest.fixture(scope="session")
def running(tmp_path_factory) -> Iterator[Running]:
    """A service with one worker, for all tests that only use it."""
    service = Running(tmp_path_factory.mktemp("service")).start()
    yield service
    assert service.end() == 0, service.log()
    assert "Traceback" not in service.log()


def refusal(call: Callable[[], object]) -> ServiceError:
    """The error that a call of the client raises."""
    with pytest.raises(ServiceError) as caught:
        call()
    return caught.value


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    from tests.serve.browsing import CHROMIUM, SWITCHES

    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt install chromium")
    with sync.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()
