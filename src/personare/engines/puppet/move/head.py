"""How a head moves: never at rest, anew at each phrase, with a nod on what is stressed.

Real talking people served as the measure: root mean square of yaw 2.2, 1.3, 1.1 and .4 degrees
in the bands .2-.5, .5-1, 1-2 and 2-4 Hz, standard deviations of 3.8, 3.7 and 3.2 degrees,
shifts of .08 eye distances (medians of 11 clips, most of trained speakers). What is here is
about two thirds of that, as people do who sit before a camera. Of the three angles pitch is
nearest to people's, because a picture shows least of it: .75 of what is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.move.glide import Glide
from personare.engines.puppet.move.noise import BandNoise
from personare.engines.puppet.move.rhythm import Beat

Floats = NDArray[np.float64]

BANDS = ((0.07, 0.2), (0.2, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0))
QUICK = np.array([False, False, True, True, True])
"""Bands that come and go with the voice's energy."""
RMS = (
    (2.20, 2.55, 0.80, 0.36, 0.06),
    (1.38, 1.70, 0.63, 0.25, 0.05),
    (0.72, 1.02, 0.42, 0.17, 0.03),
    (0.012, 0.014, 0.007, 0.003, 0.0),
    (0.012, 0.014, 0.009, 0.004, 0.0),
)
"""Degrees of yaw, pitch and roll; eye distances of the shift right and down."""
IDLE_SLOW, IDLE_QUICK, QUIET_QUICK = 0.55, 0.22, 0.45
"""Shares of a speaker's slow and quick bands in a listener's; of the quick ones in a pause."""

POSTURE = np.array([4.3, 2.95, 1.4, 0.018, 0.014])
"""Standard deviation of the postures, as the rows of RMS."""
POSTURE_LIMIT = 1.8
POSTURE_SECONDS = (0.45, 0.85)
IDLE_POSTURE, IDLE_POSTURE_SECONDS = 0.55, (0.9, 1.6)
IDLE_POSTURE_EVERY = (3.0, 7.5)
LONG_PHRASE_SECONDS = (3.0, 5.0)
"""Someone who does not pause takes a new posture with a stress after so long."""
SINGS_SECONDS = (1.0, 1.7)
SIDEWAYS, SWAYS = [0, 2, 3], 0.7
"""A held vowel takes a new posture too, slowly, and leans to the other side than the last one,
by at least this share of a posture: who sings sways from note to note.
"""
SETTLES, SETTLE_SECONDS = 0.3, 0.9
"""At the end of speech this share of the posture is left."""

NOD_DEGREES, NOD_SPREAD, NOD_LIMITS = 2.3, 0.35, (1.0, 4.2)
NOD_PREPARES, NOD_STROKES = 0.24, (0.15, 0.24, 0.48)
"""A nod first goes the other way by this share; seconds of the counter-move, of the stroke and
of the way back.
"""
NODS = (
    (0.62, (0.1, -1.0, 0.12, 0.0, 0.008)),
    (0.20, (0.35, -0.65, 0.6, 0.006, 0.006)),
    (0.18, (1.0, -0.2, 0.25, 0.008, 0.0)),
)
"""How often each, and its share in yaw, pitch, roll, right and down per degree: down, down and
aside, a turn.
"""
BREATH_SECONDS, BREATH = 3.9, np.array([0.0, 0.22, 0.0, 0.0, -0.006])
LEAN = np.array([0.005, -0.004])
"""The head does not turn on a pin: shift right per degree of yaw, down per degree of pitch,
beyond what the turn about the neck gives; eye distances.
"""
LIMITS = np.array([10.0, 6.0, 5.5, 0.085, 0.075])
"""Nothing goes further; a head that is told to move more goes further by the root of that."""
EASE_IN_SECONDS = 1.0
"""A clip starts in the photo's own pose."""


class Head:
    """One head over one timeline."""

    def __init__(self, source: np.random.Generator, scale: float = 1.0) -> None:
        """scale: of all motion, 0 .. 2."""
        self._source = source
        self._scale = scale
        temper = np.clip(source.lognormal(0, 0.16), 0.75, 1.3)
        self._temper = temper * np.clip(source.lognormal(0, 0.12, 5), 0.8, 1.25)
        self._nods = source.uniform(0.6, 0.95)
        self._breath = BREATH_SECONDS * source.uniform(0.85, 1.2)
        self._noise = BandNoise(source, BANDS, RMS)
        self._posture, self._nod = Glide(5), Glide(5)
        self._held, self._side = np.zeros(5), 1.0
        self._next_posture = source.uniform(*IDLE_POSTURE_EVERY) / 2

    def at(self, time: float, eased: float, beat: Beat) -> Floats:
        """[5]: yaw, pitch, roll in degrees, shift right and down in eye distances. Time never
        goes back. eased: 0 at the start of the timeline .. 1.
        """
        self._answer(time, beat)
        slow = IDLE_SLOW + (1 - IDLE_SLOW) * beat.speaking
        lively = min(1.0, QUIET_QUICK + (1 - QUIET_QUICK) * 1.5 * beat.energy)
        quick = IDLE_QUICK + (lively - IDLE_QUICK) * beat.speaking
        place = self._noise.from_rest(time, eased) @ np.where(QUICK, quick, slow)
        place += self._posture.at(time) + eased * np.sin(2 * np.pi * time / self._breath) * BREATH
        place = place * self._temper + self._nod.at(time)
        place[3:] += place[:2] * LEAN
        if not self._scale:
            return np.zeros(5)
        limits = LIMITS * min(self._scale, np.sqrt(self._scale))
        return np.asarray(limits * np.tanh(place * self._scale / limits))

    def _answer(self, time: float, beat: Beat) -> None:
        if beat.starts:
            self._take_posture(time, 1.0, POSTURE_SECONDS)
        elif beat.sings:
            self._side = -self._side
            self._take_posture(time, 1.0, SINGS_SECONDS, self._side)
        elif beat.stops:
            self._held = SETTLES * self._held
            self._posture.go(time, (self._held, SETTLE_SECONDS))
            self._nod.go(time, ((0.0, -0.8, 0.0, 0.0, 0.004), 0.35), (np.zeros(5), 0.8))
            self._next_posture = time + self._source.uniform(*IDLE_POSTURE_EVERY)
        elif beat.stress:
            if time >= self._next_posture:
                self._take_posture(time, 1.0, POSTURE_SECONDS)
            self._nod_at(time, beat.stress)
        elif time >= self._next_posture and beat.speaking < 0.1:
            self._take_posture(time, IDLE_POSTURE, IDLE_POSTURE_SECONDS)
            self._next_posture = time + self._source.uniform(*IDLE_POSTURE_EVERY)

    def _take_posture(
        self, time: float, scale: float, seconds: tuple[float, float], side: float = 0.0
    ) -> None:
        """side: -1 or 1, where it leans to; 0 to either."""
        drawn = np.clip(self._source.normal(size=5), -POSTURE_LIMIT, POSTURE_LIMIT)
        if side:
            drawn[SIDEWAYS] = side * np.maximum(np.abs(drawn[SIDEWAYS]), SWAYS)
        self._held = scale * POSTURE * drawn
        self._posture.go(time, (self._held, self._source.uniform(*seconds)))
        self._next_posture = time + self._source.uniform(*LONG_PHRASE_SECONDS)

    def _nod_at(self, time: float, stress: float) -> None:
        answers, which, spread, side = self._source.uniform(size=4)
        if answers > self._nods:
            return
        kinds = np.cumsum([share for share, _ in NODS])
        _, way = NODS[min(int(np.searchsorted(kinds, which * kinds[-1])), len(NODS) - 1)]
        deep = NOD_DEGREES * np.exp(NOD_SPREAD * 2 * (spread - 0.5) * 1.7) * (0.6 + 0.6 * stress)
        stroke = np.clip(deep, *NOD_LIMITS) * np.array(way)
        stroke[[0, 2, 3]] *= 1 if side < 0.5 else -1
        there, back = -NOD_PREPARES * stroke, np.zeros(5)
        self._nod.go(time, *zip((there, stroke, back), NOD_STROKES, strict=True))
