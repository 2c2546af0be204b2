"""What all tests share: a home of their own, the bundled portrait, a short voice, and the
command line in this process.
"""

from __future__ import annotations

import json
import signal
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from personare.cli.main import run

cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PERSONARE_HOME of this test alone."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("PERSONARE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def portrait() -> Path:
    """The bundled portrait: 512x512, one smiling face."""
    return Path(str(files("personare") / "assets" / "portrait.jpg"))


def write_wav(path: Path, samples: np.ndarray[Any, Any], rate: int = 16000) -> Path:
    """float [n] or [n, channels] as 16-bit wav."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def voice_samples() -> np.ndarray[Any, Any]:
    """ "My mother bought five purple shoes." as espeak-ng says it: float32 [n] at 16 kHz."""
    from personare.voice.tts import open_text

    return np.concatenate(
        [chunk.samples for chunk in open_text("My mother bought five purple shoes.", "en-us").chunks()]
    )


@pytest.fixture(scope="session")
def voice(voice_samples: np.ndarray[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a wav file of about two seconds."""
    return write_wav(tmp_path_factory.mktemp("voice") / "voice.wav", voice_samples)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """personare(*arguments) in this process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["personare", *map(str, arguments)])
        capsys.readouterr()
        handlers = [signal.getsignal(number) for number in numbers]
        try:
            run()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:  # its end ignores them, and this process goes on
            for number, handler in zip(numbers, handlers, strict=True):
                signal.signal(number, handler)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def error_lines(ended: Ended) -> tuple[str, str]:
    """The error and the hint of a failed command: one line each, nothing else."""
    lines = [line for line in ended.err.splitlines() if line]
    assert len(lines) == 2, ended.err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    return lines[0].removeprefix("error: "), lines[1].removeprefix("hint: ")
