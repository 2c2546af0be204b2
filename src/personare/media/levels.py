"""How loud a voice is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SILENT_DBFS = -70.0
"""What is never louder is silence, whatever noise a recorder adds."""
_LOWEST_DBFS = -120.0


class LevelMeter:
    """The loudest tenth of a second of a voice that comes in pieces of any size.

    rate: Hz. The cut into pieces does not change the result.
    """

    def __init__(self, rate: int) -> None:
        self._block = max(1, rate // 10)
        self._power = 0.0
        self._counted = 0
        self._loudest = 0.0

    def push(self, voice: NDArray[np.float32]) -> None:
        """float32 [m, channels]; the loudest channel counts."""
        power = (voice.astype(np.float64) ** 2).max(axis=1, initial=0.0)
        while len(power):
            part = power[: self._block - self._counted]
            self._power += float(part.sum())
            self._counted += len(part)
            power = power[len(part) :]
            if self._counted == self._block:
                self._loudest = max(self._loudest, self._power / self._block)
                self._power, self._counted = 0.0, 0

    @property
    def loudest_dbfs(self) -> float:
        """Of whole tenths of a second; of a shorter voice, of all of it. At least -120."""
        power = self._loudest or (self._power / self._counted if self._counted else 0.0)
        return 10 * math.log10(max(power, 10 ** (_LOWEST_DBFS / 10)))
