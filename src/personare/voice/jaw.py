"""A jaw with mass and lips that are light: what both do so that the mouth opens as it is asked.

The opening follows the sounds at once; the jaw is heavy and comes after. Where it is still down
the lips close over it (mouthClose), where it is still up they open without it. So the chin of a
p does not jump to its place at rest, as no one's does: in people the opening and the chin
correlate by about .67, not by 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STEP_SECONDS = 0.01
OPENING_OMEGA, JAW_OMEGA = 80.0, 14.0
"""Critically damped, radians per second: of the opening behind its target, and of the jaw
behind the opening.
"""
HEAVY = 0.85
"""Share of the jaw's motion that its mass delays; the rest comes with the lips."""
LIFT = 2.96
"""Weight of mouthLowerDown and mouthUpperUp that opens as far as the jaw's own weight does."""
MOST_LIFT = 0.80
MOST_RISE = 0.06
"""By how much the opening grows in a step at most, so that a wide vowel takes a tenth of a
second to open: lips that part within a frame or two snap, most of all after a p.
"""
KEPT_SHUT = 0.50
"""Share of the jaw's opening that stays behind lips that are shut."""
BITE_OPENS = 0.05
"""Opening, as a weight of jawOpen, of a lip at the teeth."""


class Spring:
    """A value that follows another, critically damped: no overshoot, at any step."""

    def __init__(self, omega: float) -> None:
        self.value = self.speed = 0.0
        self._omega, self._decay = omega, math.exp(-omega * STEP_SECONDS)

    def push(self, target: float) -> float:
        """The value 10 ms later, solved exactly."""
        away = self.value - target
        change = self.speed + self._omega * away
        self.value = target + (away + change * STEP_SECONDS) * self._decay
        self.speed = (self.speed - change * self._omega * STEP_SECONDS) * self._decay
        return self.value


@dataclass(frozen=True, slots=True)
class Opened:
    """Weights: opening, of the mouth as if the jaw alone opened it; jaw, of jawOpen; close, of
    mouthClose; lift, of what the lips open more than their own.
    """

    opening: float
    jaw: float
    close: float
    lift: float


class Jaw:
    """The jaw of one utterance, 10 ms after 10 ms."""

    def __init__(self) -> None:
        self._opening, self._mass = Spring(OPENING_OMEGA), Spring(JAW_OMEGA)
        self._shown = 0.0

    def push(self, asked: float, shut: float, bitten: float) -> Opened:
        """asked: weight of jawOpen that the sounds ask for. shut, bitten: how far the lips, or
        lip and teeth, are together, 0..1; then the lips close over what the jaw leaves open.
        """
        opening = max(0.0, self._opening.push(asked))
        heavy = max(0.0, self._mass.push(opening))
        free = 1 - max(shut, bitten) * (1 - KEPT_SHUT)
        jaw = (HEAVY * heavy + (1 - HEAVY) * opening) * free
        wanted = (opening + bitten * (BITE_OPENS - opening)) * (1 - shut)
        wanted = self._shown = min(wanted, self._shown + MOST_RISE)
        if jaw >= wanted:
            return Opened(wanted, jaw, jaw - wanted, 0.0)
        return Opened(wanted, jaw, 0.0, min(MOST_LIFT, LIFT * (wanted - jaw)))
