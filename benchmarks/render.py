"""Milliseconds per frame of the puppet's renderer, which works in two threads: of the
processor, and by the clock.

python benchmarks/render.py [PORTRAIT]
"""

from __future__ import annotations

import statistics
import sys
import time
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from personare.cache.recipe import StageInputs
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.prepare import recipe
from personare.motion import UNIT, FaceState
from personare.types import Feature

SIZES = (256, 512, 1024)
FRAMES = 100
WARM_UP = 5


def prepare(portrait: Path, size: int) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for stage in recipe(PuppetOptions(size=size)).stages:
        needed = {name: features[name] for name in stage.needs}
        features[stage.name] = stage.compute(StageInputs(stage.parameters, needed, {"portrait": portrait}))
    return features


def talking(frame: int) -> FaceState:
    """Speech-like motion at 25 frames per second: the mouth opens and shuts four times a
    second, and a blink.
    """
    seconds = frame / 25
    curves = np.zeros(len(UNIT), np.float32)
    curves[UNIT["jawOpen"]] = 0.2 - 0.2 * np.cos(2 * np.pi * 4 * seconds)
    curves[UNIT["mouthFunnel"]] = 0.2 + 0.2 * np.sin(2 * np.pi * seconds)
    blink = max(0.0, 1 - abs(seconds % 2 - 1) / 0.15)
    curves[[UNIT["eyeBlinkLeft"], UNIT["eyeBlinkRight"]]] = blink
    sway = float(np.sin(2 * np.pi * 0.3 * seconds))
    return FaceState(curves, 0.3, (2 * sway, sway, sway), (0.01 * sway, 0.0), (0.01, 0.0))


def milliseconds(renderer: FaceRenderer) -> list[tuple[float, float]]:
    """(of the processor, by the clock) of the frames after the warm-up."""
    times = []
    for frame in range(WARM_UP + FRAMES):
        state = talking(frame)
        worked, start = time.process_time(), time.perf_counter()
        renderer.render(state)
        times.append((1e3 * (time.process_time() - worked), 1e3 * (time.perf_counter() - start)))
    return times[WARM_UP:]


def main() -> None:
    cv2.setNumThreads(1)
    portrait = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(str(files("personare") / "assets" / "portrait.jpg"))
    )
    sys.stdout.write(f"{portrait.name}, {FRAMES} frames, medians\n")
    sys.stdout.write(f"{'size':>6} {'prepare ms':>11} {'processor ms':>13} {'clock ms':>9}\n")
    for size in SIZES:
        start = time.perf_counter()
        features = prepare(portrait, size)
        prepared = 1e3 * (time.perf_counter() - start)
        worked, passed = (
            statistics.median(column) for column in zip(*milliseconds(FaceRenderer(features)), strict=True)
        )
        sys.stdout.write(f"{size:>6} {prepared:>11.0f} {worked:>13.1f} {passed:>9.1f}\n")


if __name__ == "__main__":
    main()
