"""Mouth cues of Rhubarb Lip Sync (its JSON export) as curves.

Rhubarb's shapes are Preston Blair's (its README, "Mouth shapes"): A lips shut (p, b, m), B
teeth together, C open, D wide open, E rounded, F puckered, G teeth on the lip (f, v), H tongue
raised (l), X at rest. Cues change at once, mouths do not: shapes blend into each other, and
what has to touch does so however short it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.motion import ARKIT_UNITS

DEFAULT_FPS = Fraction(25)
BLEND_SECONDS = 0.12
"""From one shape to the next: a raised cosine of this width."""
_TOUCHING = "AG"

_SHAPES: dict[str, dict[str, float]] = {
    "A": {"mouthPressLeft": 0.35, "mouthPressRight": 0.35, "mouthRollLower": 0.12, "mouthRollUpper": 0.12},
    "B": {"jawOpen": 0.06, "mouthStretchLeft": 0.15, "mouthStretchRight": 0.15, "mouthLowerDownLeft": 0.12,
          "mouthLowerDownRight": 0.12, "mouthUpperUpLeft": 0.1, "mouthUpperUpRight": 0.1},
    "C": {"jawOpen": 0.25, "mouthLowerDownLeft": 0.25, "mouthLowerDownRight": 0.25, "mouthUpperUpLeft": 0.15,
          "mouthUpperUpRight": 0.15},
    "D": {"jawOpen": 0.5, "mouthLowerDownLeft": 0.35, "mouthLowerDownRight": 0.35, "mouthUpperUpLeft": 0.2,
          "mouthUpperUpRight": 0.2},
    "E": {"jawOpen": 0.22, "mouthFunnel": 0.35, "mouthPucker": 0.15},
    "F": {"jawOpen": 0.08, "mouthPucker": 0.65, "mouthFunnel": 0.2},
    "G": {"jawOpen": 0.04, "mouthRollLower": 0.45, "mouthUpperUpLeft": 0.2, "mouthUpperUpRight": 0.2},
    "H": {"jawOpen": 0.28, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2},
    "X": {},
}  # fmt: skip
SHAPES = "".join(_SHAPES)
_TONGUE = {"H": 0.9}


@dataclass(frozen=True, slots=True)
class Cue:
    """A shape that the mouth has from `start` to `end`, in seconds."""

    start: float
    end: float
    shape: str


def curves_of(cues: Sequence[Cue], fps: Fraction) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Curves [n, 52] and tongue [n] of cues in order, one row per frame up to the last cue's
    end.
    """
    frames = max(1, round(cues[-1].end * fps))
    middles = np.asarray((np.arange(frames) + 0.5) / float(fps), np.float64)
    shares = np.zeros((frames, len(SHAPES)))
    for cue in cues:
        share = _reached(middles - cue.start) - _reached(middles - cue.end)
        if cue.shape in _TOUCHING:
            # lips that meet for less than the blend still meet, in the frame of the cue's
            # middle
            centre = np.abs(middles - (cue.start + cue.end) / 2).argmin()
            share = share / max(float(share[centre]), 1e-6) if share[centre] > 0.05 else share
            share = np.minimum(share, 1)
        shares[:, SHAPES.index(cue.shape)] += share
    touching = np.minimum(sum(shares[:, SHAPES.index(shape)] for shape in _TOUCHING), 1)
    others = np.array([shape not in _TOUCHING for shape in SHAPES])
    total = shares[:, others].sum(1)
    # shares add up to one; before the first cue and after the last one the mouth rests
    shares[:, others] *= (np.minimum(1 - touching, total) / np.maximum(total, 1e-9))[:, None]
    shapes = np.array([[_SHAPES[shape].get(name, 0.0) for name in ARKIT_UNITS] for shape in SHAPES])
    tongue = np.array([_TONGUE.get(shape, 0.0) for shape in SHAPES])
    return (shares @ shapes).astype(np.float32), (shares @ tongue).astype(np.float32)


def _reached(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 before a change, 1 after it, a raised cosine around it."""
    along = np.clip(seconds / BLEND_SECONDS, -0.5, 0.5)
    blended: NDArray[np.float64] = 0.5 + 0.5 * np.sin(np.pi * along)
    return blended
