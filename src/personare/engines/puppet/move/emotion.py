"""Emotion: ARKit offsets that a face wears over what it says, and that give way where lips have
to meet.

Which units make which expression follows the action units of Ekman and Friesen's EMFACS
(happiness 6+12, sadness 1+4+15, surprise 1+2+5+26, anger 4+5+7+23); how much of each was set by
eye, on faces that smile, frown or do neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from personare.motion import UNIT

Floats = NDArray[np.float32]
Emotion = Literal["neutral", "happy", "sad", "surprised", "angry"]

EASE_IN_SECONDS = 0.8
"""A clip starts in the photo's own expression."""
MEETING = ("mouthPressLeft", "mouthPressRight", "mouthRollUpper", "mouthRollLower")
FULLY_MET = 0.12
"""Weight of any of these at which nothing worn parts or presses the lips: p, b, m and f, v."""
CORNERS, CORNERS_KEPT = ("mouthSmile", "mouthFrown", "mouthDimple"), 0.55
"""Shut lips stay shut wherever their corners are. They keep this share, or a smile would twitch
at every p.
"""
TALKING_JAW = 0.30
"""A jaw that the voice opens this far is the voice's alone: an open mouth worn is there
already.
"""

_JAW = UNIT["jawOpen"]
_BOTH = ("Left", "Right")
_WORN: Mapping[str, Mapping[str, float]] = {
    "happy": {
        "mouthSmile": 0.64,
        "cheekSquint": 0.65,
        "eyeSquint": 0.30,
        "mouthDimple": 0.15,
        "browOuterUp": 0.06,
    },
    "sad": {
        "browInnerUp": 0.85,
        "browDown": 0.30,
        "mouthFrown": 0.80,
        "mouthShrugLower": 0.30,
        "eyeBlink": 0.14,
        "eyeSquint": 0.10,
    },
    "surprised": {
        "browInnerUp": 0.75,
        "browOuterUp": 0.80,
        "eyeWide": 0.60,
        "jawOpen": 0.18,
        "mouthPucker": 0.40,
        "mouthFrown": 0.25,
    },
    "angry": {
        "browDown": 0.95,
        "eyeSquint": 0.38,
        "eyeWide": 0.20,
        "noseSneer": 0.45,
        "mouthFrown": 0.55,
        "mouthPress": 0.10,
        "mouthRollUpper": 0.20,
        "mouthRollLower": 0.20,
        "mouthShrugLower": 0.15,
    },
}


def offsets(emotion: Emotion) -> Floats:
    """float32 [52]: what is added to the curves of a face that says nothing."""
    worn = np.zeros(len(UNIT), np.float32)
    for name, weight in _WORN.get(emotion, {}).items():
        for unit in (name,) if name in UNIT else (name + side for side in _BOTH):
            worn[UNIT[unit]] = weight
    return worn


class Mood:
    """One face's emotion over one timeline: call `add` once per frame."""

    def __init__(self, emotion: Emotion, strength: float, fps: Fraction) -> None:
        """strength: 0 .. 1 of the full expression."""
        worn = offsets(emotion) * np.float32(strength)
        self.worn = bool(worn.any())
        mouth = np.array([name.startswith(("mouth", "jaw")) for name in UNIT])
        corners = np.array([name.startswith(CORNERS) for name in UNIT])
        self._kept = np.where(mouth, np.where(corners, CORNERS_KEPT, 0), 1).astype(np.float32)
        self._worn = worn
        self._step = float(1 / fps)
        self._frame = 0

    def add(self, curves: Floats) -> Floats:
        """The curves float32 [52] with the emotion on top; where lips meet nothing of it moves
        them but their corners.
        """
        if not self.worn:
            return curves
        t = min(self._frame * self._step / EASE_IN_SECONDS, 1.0)
        self._frame += 1
        eased = np.float32(t * t * (3 - 2 * t))
        met = min(float(max(curves[UNIT[name]] for name in MEETING)) / FULLY_MET, 1.0)
        worn = self._worn * (1 - np.float32(met) * (1 - self._kept))
        worn[_JAW] *= np.float32(1 - min(float(curves[_JAW]) / TALKING_JAW, 1))
        return np.minimum(curves + eased * worn, np.float32(1)).astype(np.float32)


EMOTIONS: tuple[str, ...] = get_args(Emotion)
