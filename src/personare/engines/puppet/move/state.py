"""What passes between the steps of this wing: drive -> MouthFrame -> motion (+ life) ->
FaceState -> render.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MouthFrame:
    """What the voice asks of one video frame.

    curves: float32 [52] ARKit weights, only jaw and mouth units non-zero.
    tongue: 0 (down) .. 1 (tip at the upper teeth).
    loudness: 0 (silence) .. 1 (this voice's loud syllables).
    emphasis: 0 .. 1, high on stressed syllables.
    """

    curves: NDArray[np.float32]
    tongue: float
    loudness: float
    emphasis: float


@dataclass(frozen=True, slots=True)
class LifeFrame:
    """What a living face does on its own in one video frame.

    head: (yaw, pitch, roll) in degrees, yaw > 0 turns the nose to image right, pitch > 0 lifts
        it, roll > 0 tilts clockwise in the image.
    shift: (x, y) of the head in eye distances.
    gaze: (x, y) of both irises in eye distances, image right and down.
    blink: 0 open .. 1 shut.
    curves: float32 [52], what brows, cheeks, lids and the mouth's corners add.
    """

    head: tuple[float, float, float]
    shift: tuple[float, float]
    gaze: tuple[float, float]
    blink: float
    curves: NDArray[np.float32]
