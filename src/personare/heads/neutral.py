"""A person's face at rest, found in what the person does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.heads.expression import SHUT_SHARE, SHUT_USUAL, Neutral, moves
from personare.heads.head468 import head468
from personare.heads.signals import CORNERS, MOUTH_POINTS, PLACES
from personare.motion import UNIT

Floats = NDArray[np.float32]

START_SECONDS = 0.2
STEADY = 0.022
"""A clip whose brows and corners of the mouth move by no more than this in its first moments,
in eye distances, starts at rest.
"""
MOST_PARTED = 0.06
"""Lips of a face at rest are no further apart; the network parts those of every smile."""
PARTED_DIFFERS = 0.02
"""Lips that are at the start this little further apart than at their nearest are together."""
SHUT_QUANTILE, OPEN_QUANTILE, BLINK_QUANTILE = 0.05, 0.60, 0.004
LEVEL, LEVEL_DIFFERS = 0.010, 0.050
"""Height of the corners of a mouth at rest above the middle of its lips, and how much people
differ: what is more is a smile or a frown, however long it lasts.
"""
SCALE_LIMITS = (0.80, 1.25)


def neutral(signals: Floats, fps: float) -> Neutral:
    """The rest that these signals, [n >= 1, SIGNALS], tell of.

    Brows and mouth: those of the start, if it is steady and its lips are together; otherwise
    the medians of brows, and of the mouth where its lips are nearest. Lids: the usual opening,
    and that of the deepest blinks.
    """
    gaps = signals[:, PLACES["gaps"]]
    gap = np.maximum(gaps.mean(axis=1), 0)  # pressed lips are no nearer than those that meet
    least = np.quantile(gap, SHUT_QUANTILE)
    start = signals[: max(1, round(START_SECONDS * fps))]
    near = signals[gap <= np.quantile(gap, 0.30)]
    rest = np.median(signals, axis=0)
    rest[PLACES["mouth"]] = np.median(near[:, PLACES["mouth"]], axis=0)
    steady = np.ptp(start[:, PLACES["brows"]][:, 1::2], axis=0).max() < STEADY
    if steady:
        rest[PLACES["brows"]] = np.median(start[:, PLACES["brows"]], axis=0)
    mouth = start[:, PLACES["mouth"]]
    together = float(np.median(start[:, PLACES["gaps"]])) < least + PARTED_DIFFERS
    if together and np.ptp(mouth[:, : 2 * len(CORNERS)], axis=0).max() < STEADY:
        rest[PLACES["mouth"]] = np.median(mouth, axis=0)
    rest[PLACES["gaps"]] = np.clip(np.quantile(gaps, SHUT_QUANTILE, axis=0), 0, MOST_PARTED)
    openness = signals[:, PLACES["openness"]]
    usual = np.quantile(openness, OPEN_QUANTILE, axis=0)
    shut = np.quantile(openness, BLINK_QUANTILE, axis=0) / np.maximum(usual, 1e-3)
    shut = np.where(shut < SHUT_SHARE[1], np.maximum(shut, SHUT_SHARE[0]), SHUT_USUAL)
    rest[PLACES["openness"]] = usual
    _level_corners(rest)
    corners = rest[PLACES["mouth"]][: 2 * len(CORNERS)].reshape(-1, 2)
    left, right = head468().neutral[list(CORNERS)]
    scale = float(np.linalg.norm(corners[0] - corners[1]) / np.linalg.norm(left - right))
    return Neutral(rest.astype(np.float32), shut.astype(np.float32), float(np.clip(scale, *SCALE_LIMITS)))


def _level_corners(rest: Floats) -> None:
    """Take from the mouth, in place, the smile or frown by which its corners are off the height
    that faces at rest have.
    """
    mouth = rest[PLACES["mouth"]].reshape(-1, 2)
    middle = mouth[[MOUTH_POINTS.index(13), MOUTH_POINTS.index(14)], 1].mean()
    for corner, side in enumerate(("Right", "Left")):
        height = mouth[corner, 1] - middle - LEVEL
        off = height - np.clip(height, -LEVEL_DIFFERS, LEVEL_DIFFERS)
        worn = moves()[UNIT[("mouthSmile" if off > 0 else "mouthFrown") + side], PLACES["mouth"]]
        rest[PLACES["mouth"]] -= off / worn[2 * corner + 1] * worn
