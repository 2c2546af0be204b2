"""When a face blinks: the published system never does. The network that hears takes how far the
lids are shut, and was always told 0.
"""

from __future__ import annotations

import numpy as np

from personare.engines.nerffacespeech.networks.config import MODEL_FPS

CURVE = (0.25, 0.7, 1.0, 0.9, 0.55, 0.25, 0.1)
"""How far the lids are shut, 25 times a second: they shut faster than they open."""
_SHAPE = 4.0
"""Of the gamma distribution of the pauses: people neither blink by the clock nor at random."""
SHORTEST_SECONDS = 0.6


class Blinks:
    """How far the lids are shut in each frame of the model's, 0 to 1; the same for a seed."""

    def __init__(self, rate: float, seed: int) -> None:
        """rate: blinks a minute; 0 for none."""
        self._rng = np.random.Generator(np.random.PCG64([seed, 0xB117]))
        self._mean = 60 / rate if rate else 0.0
        self._begins = self._pause() if rate else None

    def __call__(self, frame: int) -> float:
        """Asked for frame after frame, never back."""
        if self._begins is None:
            return 0.0
        while frame >= self._begins + len(CURVE):
            self._begins += len(CURVE) + self._pause()
        return CURVE[frame - self._begins] if frame >= self._begins else 0.0

    def _pause(self) -> int:
        longer = max(0.0, self._mean - SHORTEST_SECONDS - len(CURVE) / MODEL_FPS)
        return round(MODEL_FPS * (SHORTEST_SECONDS + longer * self._rng.gamma(_SHAPE, 1 / _SHAPE)))
