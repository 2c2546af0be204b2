"""In which frames nobody speaks, by the level of the voice alone: enough for a clean recording, fooled by loud noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.float.drive import FRAME_SAMPLES
from personare.types import Samples

Floats = NDArray[np.float32]

BELOW_SPEECH_DB = 32.0
"""A frame this much quieter than the voice's loud parts (95th percentile) is silent."""
SHORTEST_SECONDS = 0.20
"""Closures of plosives are shorter."""
EASE_FRAMES = 3
"""The mouth takes this many frames to rest, and is back when the voice is."""
_NOTHING_DBFS = -60.0


def silence_of_frames(samples: Samples, frames: int) -> Floats:
    """float32 [frames]: 0 where someone speaks, 1 in the middle of a silence, with slopes inside the silence."""
    filled = np.zeros(frames * FRAME_SAMPLES, np.float32)
    filled[: len(samples)] = samples[: len(filled)]
    power = np.square(filled.reshape(frames, FRAME_SAMPLES)).mean(axis=1)
    level = 10 * np.log10(power + 1e-12)
    quiet = level < max(np.percentile(level, 95) - BELOW_SPEECH_DB, _NOTHING_DBFS)
    rest = np.zeros(frames, np.float32)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= SHORTEST_SECONDS * 25:
            from_start = (np.arange(end - start) + 1) / EASE_FRAMES
            # There is nothing to ease from before the first frame, nor to after the last.
            into = np.ones(end - start) if start == 0 else from_start
            out = np.ones(end - start) if end == frames else from_start[::-1]
            rest[start:end] = np.minimum(1, np.minimum(into, out))
    return rest
