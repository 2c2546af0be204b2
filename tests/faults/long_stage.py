"""A stage of minutes, small: descent with momentum and noise, kept after every step. As a
script it runs in a process of its own, to be killed, stopped or waited for.

    python -m tests.faults.long_stage FOLDER [--steps N] [--pause SECONDS] [--cost COST]

Prints "at STEP" when it begins, "step N" after each step, what its Progress was told, and in
the end whether the feature was there already.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np

from personare.cache import waiting
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.cache.run import run
from personare.cache.store import FeatureStore
from personare.ground.progress import Steps
from personare.types import Feature

NAME = "toy.tuned"


def say(*what: object) -> None:
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()


def tuning(steps: int, pause: float = 0.0, cost: str = "minutes") -> Recipe:
    """One stage whose state is two arrays and a generator. pause: seconds that a step takes."""

    def tune(inputs: StageInputs) -> Feature:
        generator = np.random.default_rng(7)
        weights, velocity, first = np.zeros(500), np.zeros(500), 0
        if (kept := inputs.workspace.load()) is not None:
            weights, velocity, first = kept.arrays["weights"], kept.arrays["velocity"], kept.step
            generator.bit_generator.state = kept.metadata["generator"]
        say("at", first)
        loop = Steps(inputs.progress, "tuning", steps, first)
        for step in loop:
            gradient = weights - np.linspace(-1, 1, 500) + generator.normal(0, 0.1, 500)
            velocity = 0.9 * velocity - 0.01 * gradient
            weights += velocity
            loop.note(loss=float(np.square(gradient).mean()))
            state = {"generator": generator.bit_generator.state}
            arrays = {"weights": weights, "velocity": velocity}
            inputs.workspace.save(arrays, state, step=step + 1, steps=steps)
            say("step", step + 1)
            time.sleep(pause)
        return Feature({"weights": weights}, {"steps": steps})

    return Recipe((Stage(NAME, 1, tune, {"steps": steps}, cost=cost),))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--cost", default="minutes")
    parser.add_argument("--silence", type=float, default=None)
    given = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    if given.silence is not None:  # a second for a minute: nobody wants to wait
        waiting.BEAT_SECONDS = given.silence / 10
        waiting.SILENT_AFTER_SECONDS = given.silence
        waiting.BESIDE_AFTER_SECONDS = 3 * given.silence
    store = FeatureStore(given.folder)
    told = run(
        tuning(given.steps, given.pause, given.cost),
        {},
        store,
        lambda *told: say("told", *told),
    )
    say("outcome", told.outcome[NAME])
    store.close()


if __name__ == "__main__":
    main()
