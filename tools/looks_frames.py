"""What one checkout of personare makes of portraits, for `looks.py`; run with that checkout on
PYTHONPATH. Knows engine versions from 6 on.

python tools/looks_frames.py SHOTS.json OUT.npz
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import personare

try:  # since version 7
    from personare.motion import ARKIT_UNITS, FaceState, motion_of
except ImportError:
    from personare.types import ARKIT_UNITS, FaceState

    motion_of = None


def face_state(shape: Mapping[str, Any]) -> FaceState:
    """From {"units": {name without or with its side: weight}, "head": ..., "gaze": ...}."""
    curves = np.zeros(len(ARKIT_UNITS), np.float32)
    for name, weight in shape.get("units", {}).items():
        for full in (name,) if name in ARKIT_UNITS else (f"{name}Left", f"{name}Right"):
            curves[ARKIT_UNITS.index(full)] = weight
    head, gaze = tuple(shape.get("head", (0, 0, 0))), tuple(shape.get("gaze", (0, 0)))
    return FaceState(curves, 0.0, head, (0.0, 0.0), gaze)


class Told:
    """The head and curves of every frame, as earlier versions tell them."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def write(self, state: FaceState) -> None:
        self.rows.append(np.concatenate([state.curves, state.head]))


def shown(performance: Any, states: list[FaceState]) -> Iterator[np.ndarray]:
    made = (
        performance.follow(states)
        if motion_of is None
        else performance.show(motion_of(states, performance.fps))
    )
    for frames in made:
        yield from frames.images


def spoken(performance: Any, voice: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames, and float32 [n, 55] of their curves and head angles."""
    told = Told()
    if motion_of is None:
        performance.curves = told
    images = []
    rows = []
    for frames in (*performance.feed(voice), *performance.finish()):
        images += list(frames.images)
        if motion_of is not None:
            rows += [np.concatenate([row[:52], row[53:56]]) for row in frames.motion]
    return images, np.float32(rows or told.rows)


def main() -> None:
    shots, output = Path(sys.argv[1]), Path(sys.argv[2])
    engine = personare.open_engine("puppet")
    results: dict[str, np.ndarray] = {}
    for name, shot in json.loads(shots.read_text()).items():
        cast = engine.studio.cast(Path(shot["portrait"]), "puppet", {"size": shot.get("size", 512)})
        avatar = engine.studio.prepare(cast)[0]
        performance = engine.perform(avatar, **shot.get("options", {}))
        if "voice" in shot:
            images, results[f"{name}.motion"] = spoken(performance, np.load(shot["voice"]))
        else:
            images = list(shown(performance, [face_state(shape) for shape in shot["shapes"]]))
        performance.close()
        results[f"{name}.frames"] = np.stack(images)
        results[f"{name}.landmarks"] = avatar.features["puppet.crop"].arrays["landmarks"]
    np.savez(output, **results)


if __name__ == "__main__":
    main()
