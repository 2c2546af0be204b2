"""What brows, cheeks, lids and the corners of the mouth do on their own: with phrases, with
stress, and never quite alike on both sides.

Brows of real talking people have a standard deviation of .026 eye distances and are raised 30
times a minute (medians of 11 clips); most raises come where a phrase begins or on a stressed
syllable (Ekman 1979, "About brows", calls them batons and underliners).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.move.glide import Glide
from personare.engines.puppet.move.noise import BandNoise
from personare.engines.puppet.move.rhythm import Beat
from personare.motion import UNIT

Floats = NDArray[np.float64]

RAISES_AT_START, RAISES_ON_STRESS, FROWNS_ON_STRESS = 0.55, 0.22, 0.14
RAISE, RAISE_ON_STRESS, FROWN = (0.53, 0.84), (0.44, 0.70), (0.16, 0.36)
"""How high, as weights of the units."""
UP_SECONDS, HOLD_SECONDS, DOWN_SECONDS = (0.18, 0.32), (0.10, 0.45), (0.5, 1.0)
INNER_ALONE, ONE_SIDE = 0.16, 0.16
"""How many raises are of the inner brows alone (and worried), or mostly of one side."""
OTHER_SIDE = 0.35
UNEVEN = 0.16
"""The weaker side stays behind by up to this share, as it does in this person."""
SQUINT_ON_STRESS = (0.06, 0.20)
LISTENS_EVERY, LISTENS = (5.0, 11.0), (0.10, 0.24)
"""Seconds between the raises of a listener, and how high."""
CHANNELS = 5
"""Raise of the person's left and right brow, of the inner ends, frown, squint."""

BANDS = ((0.1, 0.4), (0.4, 1.2))
RMS = ((0.055, 0.035), (0.025, 0.015), (0.030, 0.020))
"""Weights of the corners' slant, of both corners' lift, and of the brows."""
LIFT = 0.03
"""A speaker's corners are lifted by this much on average."""
SLANT_REST = 0.04

BOTH = ("Left", "Right")
BROWS = [UNIT["browOuterUp" + side] for side in BOTH]
INNER, FROWNS = UNIT["browInnerUp"], [UNIT["browDown" + side] for side in BOTH]
SQUINTS = [UNIT["eyeSquint" + side] for side in BOTH]
CHEEKS = [UNIT["cheekSquint" + side] for side in BOTH]
SMILES = [UNIT["mouthSmile" + side] for side in BOTH]
LOOKS = {way: [UNIT[f"eyeLook{way}{side}"] for side in BOTH] for way in ("Up", "Down")}
LOOK_PER_GAZE = 18.0
"""Weight of lids that follow the iris, per eye distance that it moves up or down."""


class Features:
    """One face over one timeline: what is added to the curves."""

    def __init__(self, source: np.random.Generator, listening: float) -> None:
        """listening: 0 .. 1, scale of what a face does that does not speak."""
        self._source = source
        self._listening = listening
        self._eager = float(np.clip(source.lognormal(0, 0.2), 0.7, 1.4))
        self._uneven = source.uniform(-UNEVEN, UNEVEN)
        self._slant = SLANT_REST * np.sign(self._uneven)
        self._noise = BandNoise(source, BANDS, RMS)
        self._brows = Glide(CHANNELS)
        self._next = source.uniform(*LISTENS_EVERY)

    def at(self, time: float, eased: float, beat: Beat, gaze_down: float) -> NDArray[np.float32]:
        """float32 [52]. gaze_down: of the irises, in eye distances. Time never goes back."""
        self._answer(time, beat)
        left, right, inner, frown, squint = self._brows.at(time)
        slant, lift, brow = self._noise.from_rest(time, eased).sum(axis=1) * beat.speaking
        slant += self._slant * beat.speaking
        lift += LIFT * beat.speaking
        weights = np.zeros(len(UNIT))
        stronger, weaker = 1 + self._uneven, 1 - self._uneven
        weights[BROWS] = (left + brow) * stronger, (right + brow) * weaker
        weights[INNER] = inner + brow
        weights[FROWNS] = frown * stronger, frown * weaker
        weights[SQUINTS] = squint * stronger, squint * weaker
        weights[CHEEKS] = 0.8 * weights[SQUINTS]
        weights[SMILES] = lift + slant, lift - slant
        look = gaze_down * LOOK_PER_GAZE
        weights[LOOKS["Down" if look > 0 else "Up"]] = abs(look)
        return np.maximum(weights, 0).astype(np.float32)

    def _answer(self, time: float, beat: Beat) -> None:
        chance, height, side, spread = 1.0, 0.0, 0.0, 0.0
        if beat.starts or beat.stress:
            chance, height, side, spread = self._source.uniform(size=4)
        if beat.starts:
            if chance < RAISES_AT_START * self._eager:
                self._raise(time, _between(RAISE, height), side, spread)
        elif beat.stress:
            raises = RAISES_ON_STRESS * self._eager
            if chance < raises:
                self._raise(time, _between(RAISE_ON_STRESS, height), side, spread)
            elif chance < raises + FROWNS_ON_STRESS:
                self._go(
                    time, (0.0, 0.0, 0.0, _between(FROWN, height), _between(SQUINT_ON_STRESS, side)), spread
                )
            elif chance < raises + 2 * FROWNS_ON_STRESS:
                self._go(time, (0.0, 0.0, 0.0, 0.0, _between(SQUINT_ON_STRESS, height)), spread)
        elif time >= self._next:
            height, spread, wait = self._source.uniform(size=3)
            self._next = time + _between(LISTENS_EVERY, wait)
            if beat.speaking < 0.1 and self._listening:
                self._raise(time, _between(LISTENS, height) * self._listening, 0.5, spread)

    def _raise(self, time: float, height: float, side: float, spread: float) -> None:
        if side < INNER_ALONE:
            self._go(time, (0.1 * height, 0.1 * height, height, 0.25 * height, 0.0), spread)
        elif side < INNER_ALONE + ONE_SIDE:
            left, right = (1, OTHER_SIDE) if self._uneven > 0 else (OTHER_SIDE, 1)
            self._go(time, (left * height, right * height, 0.5 * height, 0.0, 0.0), spread)
        else:
            self._go(time, (height, height, height, 0.0, 0.0), spread)

    def _go(self, time: float, there: tuple[float, ...], spread: float) -> None:
        up, hold, down = (_between(span, spread) for span in (UP_SECONDS, HOLD_SECONDS, DOWN_SECONDS))
        self._brows.go(time, (there, up), (there, hold), (np.zeros(CHANNELS), down))


def _between(span: tuple[float, float], share: float) -> float:
    return float(span[0] + (span[1] - span[0]) * share)
