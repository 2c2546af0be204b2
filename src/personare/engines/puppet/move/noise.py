"""Band-limited noise: what never rests in a living face, with the spectrum of people's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WAVES = 5
"""Sines per band and channel, at random places of the band: no period that one notices."""


class BandNoise:
    """Channels of noise over time, each with its own root mean square in each band.

    A function of time alone, so any frame rate sees the same. bands: edges in Hz, each (from,
    to). rms: [channels][bands].
    """

    def __init__(
        self,
        source: np.random.Generator,
        bands: Sequence[tuple[float, float]],
        rms: Sequence[Sequence[float]],
    ) -> None:
        shape = (len(rms), len(bands), WAVES)
        low, high = np.log(np.array(bands)).T[..., None]
        # One wave in each fifth of the band: the bands keep their width whatever is drawn.
        share = (np.arange(WAVES) + source.uniform(0, 1, shape)) / WAVES
        self._omega = 2 * np.pi * np.exp(low + (high - low) * share)
        self._phase = source.uniform(0, 2 * np.pi, shape)
        height = source.uniform(0.6, 1.4, shape)
        height *= np.array(rms)[..., None] * np.sqrt(2 / (height**2).sum(axis=2, keepdims=True))
        self._height = height
        self._rest = self.at(0.0)

    def at(self, time: float) -> Floats:
        """[channels, bands] at a time."""
        return np.asarray((self._height * np.sin(self._omega * time + self._phase)).sum(axis=2))

    def from_rest(self, time: float, eased: float) -> Floats:
        """The same, beginning at 0 and wholly itself once `eased` is 1."""
        return np.asarray((self.at(time) - (1 - eased) * self._rest) * eased)
