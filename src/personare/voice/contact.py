"""Lips that meet, and lip and teeth: no contact is too short to be seen."""

from __future__ import annotations

import numpy as np

AHEAD_FRAMES, _RELEASE_FRAMES = 3, 3
"""Frames over which a contact comes, which have to be known before it, and goes."""


class Contact:
    """Where lips meet, or lip and teeth: how likely that is, held for `reach` frames more and
    eased on both sides.

    Holding it makes sure that the shortest closure shows in a video frame. It is not widened
    to the front as well: a mouth that opens wide and shuts at once snaps.
    `push` takes the probability of frame t and returns the contact, 0 .. 1, of frame t -
    AHEAD_FRAMES. A single likely frame does not count.
    """

    def __init__(self, begins: float, complete: float, reach: int) -> None:
        self._begins, self._complete = begins, complete
        offsets = np.arange(-reach - _RELEASE_FRAMES, AHEAD_FRAMES)
        held = np.maximum(-offsets - reach, 0) / _RELEASE_FRAMES
        self._ease = np.clip(1 - np.where(offsets < 0, held, offsets / AHEAD_FRAMES), 0, 1)
        self._recent = np.zeros(len(offsets) + 2)

    def push(self, probability: float) -> float:
        self._recent[:-1] = self._recent[1:]
        self._recent[-1] = min(1.0, max(0.0, (probability - self._begins) / (self._complete - self._begins)))
        lasting = np.minimum(self._recent[1:-1], np.maximum(self._recent[:-2], self._recent[2:]))
        return float((self._ease * lasting).max())
