"""From viseme posteriors to mouth shapes: each sound pulls the lips, the jaw and the rounding its own way and for its own time.

Dominance functions after Cohen and Massaro (Modeling coarticulation in synthetic visual speech, 1993), applied to posteriors:
for a group of channels, shape(t) = sum_v D_v(t) target_v / sum_v D_v(t), where D_v is viseme v's posterior convolved with its
kernel. Kernels are cut 80 ms behind and 40 ms ahead, so that the shapes can follow live speech.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personare.types import ARKIT_UNITS
from personare.voice.visemes import VISEME, VISEMES

Floats = NDArray[np.float32]

AHEAD_FRAMES, BEHIND_FRAMES = 4, 8
"""Reach of the kernels in frames of 10 ms."""

_TARGETS: dict[str, dict[str, float]] = {
    "sil": {},
    "PP": {"mouthPress": 0.25, "mouthRollLower": 0.15, "mouthRollUpper": 0.10},
    "FF": {"jawOpen": 0.05, "mouthRollLower": 0.45, "mouthUpperUp": 0.22},
    "TH": {"jawOpen": 0.15, "mouthLowerDown": 0.24, "mouthUpperUp": 0.10},
    "DD": {"jawOpen": 0.13, "mouthLowerDown": 0.24, "mouthUpperUp": 0.12, "mouthStretch": 0.12},
    "kk": {"jawOpen": 0.19, "mouthLowerDown": 0.18, "mouthUpperUp": 0.10},
    "CH": {"jawOpen": 0.11, "mouthFunnel": 0.50, "mouthPucker": 0.18, "mouthLowerDown": 0.22, "mouthUpperUp": 0.16},
    "SS": {"jawOpen": 0.07, "mouthStretch": 0.30, "mouthSmile": 0.12, "mouthLowerDown": 0.34, "mouthUpperUp": 0.20},
    "nn": {"jawOpen": 0.15, "mouthLowerDown": 0.18, "mouthStretch": 0.12, "mouthUpperUp": 0.06},
    "RR": {"jawOpen": 0.13, "mouthFunnel": 0.38, "mouthPucker": 0.18, "mouthLowerDown": 0.12},
    "aa": {"jawOpen": 0.47, "mouthLowerDown": 0.22, "mouthUpperUp": 0.16, "mouthStretch": 0.06},
    "E": {"jawOpen": 0.28, "mouthStretch": 0.24, "mouthSmile": 0.14, "mouthLowerDown": 0.26, "mouthUpperUp": 0.15},
    "ih": {"jawOpen": 0.16, "mouthStretch": 0.34, "mouthSmile": 0.17, "mouthLowerDown": 0.28, "mouthUpperUp": 0.17},
    "oh": {"jawOpen": 0.31, "mouthFunnel": 0.50, "mouthPucker": 0.34},
    "ou": {"jawOpen": 0.11, "mouthPucker": 0.76, "mouthFunnel": 0.32},
}
"""ARKit weights of each viseme held alone; a name without side means both sides. jawOpen stays below .5: at 1 the jaw is
dislocated."""
_TONGUE = {"TH": 0.8, "DD": 0.9, "kk": 0.1, "CH": 0.5, "SS": 0.5, "nn": 1.0, "RR": 0.4, "E": 0.1, "ih": 0.3}

# Strength and half-life (ms) of each viseme's pull, in the order of VISEMES, for three groups of channels.
_JAW = (
    (0.6, 0.7, 0.7, 0.5, 0.5, 0.35, 0.6, 0.8, 0.5, 0.5, 1.2, 1.0, 0.8, 1.0, 0.9),
    (90, 45, 50, 50, 50, 60, 60, 55, 50, 60, 80, 75, 65, 75, 70),
)
_ROUNDING = (
    (0.4, 0.25, 0.25, 0.2, 0.2, 0.15, 1.1, 0.5, 0.2, 0.8, 0.5, 0.6, 0.7, 1.3, 1.6),
    (110, 60, 60, 60, 60, 60, 90, 70, 60, 90, 80, 80, 80, 110, 130),
)
_LIPS = (
    (0.5, 3.5, 2.5, 0.8, 0.7, 0.4, 0.9, 0.9, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8, 0.9),
    (70, 30, 32, 40, 40, 45, 45, 45, 40, 45, 55, 55, 50, 55, 55),
)
_ROUNDING_UNITS = {
    "mouthFunnel",
    "mouthPucker",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthSmileLeft",
    "mouthSmileRight",
}

_RAMP = np.array([0.25, 0.6, 1.0, 0.6, 0.25], np.float32)
"""How lips come together and part around a closure, in steps of 10 ms."""


def _target_rows() -> Floats:
    rows = np.zeros((len(VISEMES), len(ARKIT_UNITS)), np.float32)
    for viseme, weights in _TARGETS.items():
        for name, weight in weights.items():
            for unit in (name, f"{name}Left", f"{name}Right"):
                if unit in ARKIT_UNITS:
                    rows[VISEME[viseme], ARKIT_UNITS.index(unit)] = weight
    return rows


def _kernels(strengths: tuple[float, ...], half_lives_ms: tuple[float, ...]) -> Floats:
    """float32 [BEHIND + 1 + AHEAD, 15]: half Gaussian, half exponential, area falling with the square root of the width."""
    times_ms = 10.0 * np.arange(-BEHIND_FRAMES, AHEAD_FRAMES + 1)[:, None]
    half = np.array(half_lives_ms)
    shape = 0.5 * np.exp(-0.5 * (times_ms / (0.85 * half)) ** 2) + 0.5 * 2.0 ** (-np.abs(times_ms) / half)
    return np.asarray(np.array(strengths) * shape / np.sqrt(half), np.float32)


TARGETS = _target_rows()
"""float32 [15, 52]: the mouth of each viseme held alone."""
_TONGUES = np.array([_TONGUE.get(name, 0.0) for name in VISEMES], np.float32)
_LIP_UNITS = {unit for unit in ARKIT_UNITS if unit.startswith("mouth")} - _ROUNDING_UNITS
_GROUPS = tuple(
    (np.array([i for i, unit in enumerate(ARKIT_UNITS) if unit in units]), _kernels(*pull))
    for units, pull in (({"jawOpen"}, _JAW), (_ROUNDING_UNITS, _ROUNDING), (_LIP_UNITS, _LIPS))
)
_SILENCE = np.eye(len(VISEMES), dtype=np.float32)[VISEME["sil"]]


@dataclass(frozen=True, slots=True)
class MouthShape:
    """The mouth in one frame of 10 ms, before closures are put in.

    curves: float32 [52] ARKit weights. tongue: 0..1. closed, labiodental: 0..1, how far the lips have to meet, or the lower lip
    the upper teeth, ramps included.
    """

    curves: Floats
    tongue: float
    closed: float
    labiodental: float


class Coarticulation:
    """Posteriors in, shapes out, AHEAD_FRAMES later. One frame at a time, so the cut of the speech cannot matter."""

    def __init__(self) -> None:
        length = BEHIND_FRAMES + 1 + AHEAD_FRAMES
        self._visemes = np.tile(_SILENCE, (length, 1))
        self._closed = np.zeros(length, np.float32)
        self._labiodental = np.zeros(length, np.float32)
        self._waiting = AHEAD_FRAMES

    def push(self, visemes: Floats, closed: float, labiodental: float) -> MouthShape | None:
        """The shape of the frame AHEAD_FRAMES before this one (None at first). visemes: float32 [15]; flags in 0..1."""
        for history, value in ((self._visemes, visemes), (self._closed, closed), (self._labiodental, labiodental)):
            history[:-1] = history[1:]
            history[-1] = value
        if self._waiting:
            self._waiting -= 1
            return None
        curves = np.zeros(len(ARKIT_UNITS), np.float32)
        tongue = 0.0
        for units, kernels in _GROUPS:
            dominance = (kernels * self._visemes).sum(axis=0)
            dominance /= dominance.sum() + np.float32(1e-9)
            curves[units] = (dominance[:, None] * TARGETS[:, units]).sum(axis=0)
            tongue = float((dominance * _TONGUES).sum())
        window = slice(BEHIND_FRAMES - 2, BEHIND_FRAMES + 3)
        return MouthShape(
            curves,
            tongue,
            float((self._closed[window] * _RAMP).max()),
            float((self._labiodental[window] * _RAMP).max()),
        )


def shut(curves: Floats, closed: float, labiodental: float) -> Floats:
    """Curves [52] with the closures put in: at 1 the lips meet (pucker stays), or the lower lip is at the upper teeth."""
    pucker = curves[_PUCKER]
    curves = curves + (TARGETS[VISEME["FF"]] - curves) * np.float32(labiodental)
    curves = curves + (TARGETS[VISEME["PP"]] - curves) * np.float32(closed)
    curves[_PUCKER] = pucker
    return curves.astype(np.float32)


_PUCKER = ARKIT_UNITS.index("mouthPucker")
