"""Cold and warm runs of one engine, and their medians.

Every run is a process of its own, as `personare speak` is. Cold: an empty cache. Warm: the
cache that a run before it filled, with finished clips left aside, since they would leave
nothing to measure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from personare import errors
from personare.engines.engine import load_engine
from personare.errors import EngineError, WeightsError
from personare.ground.machine import Machine, machine
from personare.media.image import read_image
from personare.studio.order import Order
from personare.studio.settings import Settings
from personare.types import SAMPLE_RATE, Progress, no_progress
from personare.voice.syllables import syllables
from personare.weights.finder import Weights

Temperature = Literal["cold", "warm"]

STAGES = ("start", "preprocess", "drive", "motion", "render", "compose", "perform", "encode", "total")
"""Rows of the table. start: Python, imports and everything outside the run. preprocess: all
stages of the portrait. drive ... compose: the steps of the performance, as the engine tells
them; what it does with a guide is in them. perform: all of the performance, steps included.
encode: waiting for encoder and file.
total: of the process, from its start to its end.
"""

STEPS = ("drive", "motion", "render", "compose")
SENTENCE = (
    "Every picture of this film is made while you wait, and the clock on the wall tells how long it took."
)
_SYLLABLES_SECONDS = 6


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One process. seconds: by row of the table; steps that the engine does not tell are left
    out.
    """

    temperature: Temperature
    seconds: dict[str, float]
    realtime_factor: float
    peak_memory_mb: float | None
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class Bench:
    """All runs of one engine. medians: temperature -> row -> seconds, over the runs. speech:
    what was spoken.
    """

    engine: str
    options: dict[str, Any]
    portrait: str
    speech: str
    audio_seconds: float
    frames: int
    width: int
    height: int
    fps: float
    runs: tuple[ProcessRun, ...]
    medians: dict[str, dict[str, float]]
    realtime_factor: dict[str, float]
    peak_memory_mb: dict[str, float]
    machine: Machine


def run_bench(
    engine: str,
    *,
    portrait: Path | None = None,
    speech: Path | None = None,
    guide: Path | None = None,
    runs: int = 3,
    options: Mapping[str, str] | None = None,
    weights: Path | None = None,
    progress: Progress = no_progress,
) -> Bench:
    """Measure an engine: `runs` cold and `runs` warm runs.

    portrait, speech, guide: the bundled photo and a sentence by default; for an engine that no
    voice moves, a guide of two seconds made of the photo.

    Raises what making the clip raises.
    """
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="personare-bench-")))
        picture = portrait or held.enter_context(as_file(files("personare") / "assets" / "portrait.jpg"))
        made = load_engine(engine, Weights(weights))
        moved = made.drives(made.read_options(options or {}))
        if guide is None and speech is None and "speech" not in moved:
            guide = _nodding(picture, folder / "guide")
        if guide is not None:
            led, spoken = {"guide": guide.absolute()}, f"after {guide.name}"
        else:
            voice, spoken = (speech, speech.name) if speech else _sentence(folder / "sentence.wav")
            led = {"speech": voice.absolute()}
        order = Order(
            portrait=picture.absolute(),
            **led,
            engine=engine,
            options=dict(options or {}),
            output=folder / "clip.mp4",
        )
        done: list[tuple[ProcessRun, dict[str, Any]]] = []
        for number in range(runs):
            for temperature in get_args(Temperature):
                progress("runs", len(done), 2 * runs)
                settings = Settings(cache_dir=folder / f"cache-{number}", weights=weights, keep_clips=False)
                done.append(_run(temperature, command(order, settings)))
        progress("runs", 2 * runs, 2 * runs)
        reports = [report for _, report in done]
        measured = tuple(run for run, _ in done)
        by_temperature = {
            name: [run for run in measured if run.temperature == name] for name in ("cold", "warm")
        }
        return Bench(
            engine=engine,
            options=dict(options or {}),
            portrait=str(portrait or "bundled photo"),
            speech=spoken,
            audio_seconds=reports[0]["audio_seconds"],
            frames=reports[0]["frames"],
            width=reports[0]["width"],
            height=reports[0]["height"],
            fps=reports[0]["fps"],
            runs=measured,
            medians={
                name: _medians([run.seconds for run in these]) for name, these in by_temperature.items()
            },
            realtime_factor={
                name: round(median(run.realtime_factor for run in these), 3)
                for name, these in by_temperature.items()
            },
            peak_memory_mb={
                name: max(run.peak_memory_mb or 0.0 for run in these)
                for name, these in by_temperature.items()
            },
            machine=machine(),
        )


def command(order: Order, settings: Settings) -> list[str]:
    """The command line that makes an order of a portrait and a speech or a guide, as a user
    runs it.
    """
    verb = "speak" if order.guide is None else "follow"
    words = [sys.executable, "-m", "personare", verb, "--json", f"--output={order.output}"]
    words += [f"--cache-dir={settings.cache_dir}"] if settings.cache_dir else []
    words += [f"--weights={settings.weights}"] if settings.weights else []
    words += [] if settings.keep_clips else ["--no-clip-cache"]
    words += ["--engine", order.engine] if order.engine else []
    for name, value in order.options.items():
        words += ["--set", f"{name}={value}"]
    return [*words, "--", str(order.portrait), str(order.speech or order.guide)]


def _run(temperature: Temperature, command: Sequence[str]) -> tuple[ProcessRun, dict[str, Any]]:
    began = time.perf_counter()
    with _ended(command) as (out, code):
        total = time.perf_counter() - began
    try:
        report = json.loads(out)
    except ValueError:
        raise EngineError(
            f"a run ended with code {code} and no report", hint="run it with `personare speak`"
        ) from None
    if "error" in report:
        raise getattr(errors, report["kind"], EngineError)(report["error"], hint=report["hint"])
    return read_run(temperature, report, total), report


def read_run(temperature: Temperature, report: Mapping[str, Any], total: float) -> ProcessRun:
    """What the report of one `speak` or `follow` says in rows of the table. total: seconds of
    the process.
    """
    timings, performed = report["timings"], report["cache"].get("performed", ())
    stages = {name: timings[name] for name in report["cache"]["stages"] if name in timings}
    seconds = {
        "start": max(0.0, total - timings["total"]),
        "preprocess": sum(took for name, took in stages.items() if name not in performed),
        **{step: timings[step] for step in STEPS if step in timings},
        "perform": timings["perform"],
        "encode": timings["write"],
        "total": total,
    }
    return ProcessRun(
        temperature,
        {name: round(value, 4) for name, value in seconds.items()},
        report["realtime_factor"],
        report["peak_memory_mb"],
        stages,
    )


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        name: round(median(run[name] for run in runs), 4)
        for name in STAGES
        if all(name in run for run in runs)
    }


@contextmanager
def _ended(command: Sequence[str]) -> Iterator[tuple[str, int]]:
    """stdout and exit code of a command; interrupted, it is interrupted as well and has cleaned
    up.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        out, _ = process.communicate()
        yield out, process.returncode
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _nodding(picture: Path, folder: Path) -> Path:
    """A guide of 50 pictures in which the photo moves up and down by a twentieth."""
    photo = read_image(picture)
    height, width = (side // 2 * 2 for side in photo.shape[:2])
    folder.mkdir()
    for number in range(50):
        down = round(height / 20 * np.sin(2 * np.pi * number / 25))
        Pillow.fromarray(np.roll(photo[:height, :width], down, axis=0)).save(folder / f"{number}.png")
    return folder


def _sentence(target: Path) -> tuple[Path, str]:
    """A wav of the sentence where this machine has a voice to say it, else of syllables that
    are computed.
    """
    from personare.voice.tts import open_text

    try:
        speech = open_text(SENTENCE, "en-us")
        samples = np.concatenate([chunk.samples for chunk in speech.chunks()])
        spoken = "a sentence (espeak-ng)"
    except WeightsError:
        samples, spoken = syllables(_SYLLABLES_SECONDS), "syllables (synthesised, no voice is installed)"
    _write_wav(target, samples)
    return target, spoken


def _write_wav(target: Path, samples: NDArray[np.float32]) -> None:
    import wave

    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
