"""An engine for benchmarks/live.py: puppet with a bar code in its pictures' first rows.

20 bits of milliseconds since 1970 when the picture was finished, 8 of its utterance's number, 2
of state (1: speaking), 1 of a flash (the sound of its time is loud), 1 of parity.
"""

from __future__ import annotations

import time

import numpy as np

from personare.engines.puppet.engine import Puppet
from personare.engines.puppet.performance import PuppetPerformance
from personare.types import SAMPLE_RATE

BITS = 32
LOUD = 0.6


class Stamped(PuppetPerformance):
    """Pictures that tell when they were finished."""

    def __init__(self, *given):
        super().__init__(*given)
        self._flashes: set[tuple[int, int]] = set()  # utterance, frame
        self._counted: tuple[int, int] = (0, 0)

    def _hear(self, said, samples, phones):
        loud = np.flatnonzero(np.abs(samples) > LOUD) + said.samples - len(samples)
        self._flashes |= {(said.number, int(at * self.fps / SAMPLE_RATE)) for at in loud}
        return super()._hear(said, samples, phones)

    def _piece(self, first, made, utterance):
        for image in made.images:
            last, count = self._counted
            self._counted = (utterance, count + 1 if last == utterance else 0)
            stamp(image, time.time() * 1e3, utterance, self._counted in self._flashes)
        return super()._piece(first, made, utterance)


class Barcode(Puppet):
    name = "barcode"

    def perform(self, avatar, options, *, guide=None, store=None):
        return Stamped(avatar, options, guide, store)


def stamp(image, milliseconds: float, utterance: int, flash: bool) -> None:
    """Write the code into uint8 [H, W, 3]."""
    value = (int(milliseconds) & 0xFFFFF) | (utterance & 0xFF) << 20 | bool(utterance) << 28 | flash << 30
    value |= (value.bit_count() & 1) << 31
    side = image.shape[1] // BITS
    row = np.repeat(np.array([255 * (value >> bit & 1) for bit in range(BITS)], np.uint8), side)
    image[:side, : len(row)] = row[None, :, None]
