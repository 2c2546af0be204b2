"""What all tests share: a home of their own, the bundled portrait, a short voice, the command
line in this process; and what the marks mean (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import wave
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from personare.cli.main import run

cv2.setNumThreads(1)

MADE_AT = os.environ["SOURCE_DATE_EPOCH"] = "1790000000"
"""When all clips of tests say that they were made, so that runs can be compared: 2026-09-21."""
os.environ.setdefault("PERSONARE_CPU_PRECISION", "float32")  # not measured: other numbers, 2 s

NEURAL = ("torch", "transformers", "diffusers")
"""What tests marked `neural` may import. All others run as if it were not installed, so that a
mark cannot be forgotten.
"""
SEEDED = {
    "float": ("float", "wav2vec2-base-960h", "wav2vec2-emotion"),
    "musetalk": ("musetalk-unet-v15", "musetalk-unet-v1", "sd-vae-ft-mse", "whisper-tiny"),
    "artalk": ("artalk", "flame"),
    "mimicmotion": ("mimicmotion-1-1", "svd-vae", "svd-image-encoder", "yolox", "dwpose-onnx"),
    "nerffacespeech": (
        *("stylenerf-ffhq-1024", "lipaintnet", "sadtalker", "deep3d-recon", "nerffacespeech-seg"),
        *("vgg16-imagenet", "alexnet-imagenet", "lpips-vgg", "lpips-alex", "bfm"),
    ),
}
"""Components that tests share, by engine."""
SLOW_FOLDERS = ("cluster", "conformance", "e2e", "faults")
"""Every test there is marked `slow`."""
NEURAL_MODULE = re.compile(r"^pytestmark = .*\bmark\.neural\b", re.MULTILINE)


@contextmanager
def without_torch() -> Iterator[None]:
    """Importing torch and what stands on it fails, as where it is not installed."""
    hidden = {name: sys.modules.get(name) for name in NEURAL}
    sys.modules.update(dict.fromkeys(NEURAL))  # type: ignore[arg-type]  # None: import fails
    try:
        yield
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def is_neural(path: Path) -> bool:
    """Whether all tests of a file are marked so: then the file itself may import torch."""
    return NEURAL_MODULE.search(path.read_text(encoding="utf-8")) is not None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where no neural test is wanted, such files are not even imported."""
    unwanted = "not neural" in config.getoption("markexpr")
    return True if unwanted and collection_path.suffix == ".py" and is_neural(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes, synthesise, or run whole engines live in folders of their
    own.
    """
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    if isinstance(collector, pytest.Module) and not is_neural(collector.path):
        with without_torch():
            return (yield)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Around fixtures too: what they import, an unmarked test imports."""
    if item.get_closest_marker("neural"):
        return (yield)
    with without_torch():
        return (yield)


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


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of seeded checkpoints of float and musetalk, tiny, in the released layout: all
    that runs need but the released detectors and parsers. To be read only.

    The files are an hour old, so their digests are remembered.
    """
    from tests.conformance.seeded_checkpoint import write_checkpoints

    folder = tmp_path_factory.mktemp("weights")
    for engine, components in SEEDED.items():
        for path in write_checkpoints(engine, "tiny", folder, only=components):
            os.utime(path, (time.time() - 3600,) * 2)
    return folder


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
