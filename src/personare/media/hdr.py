"""Pictures in high dynamic range or wide colours as sRGB: what phones film by default.

HLG and PQ are those of ITU-R BT.2100-2, tables 4 and 5. What becomes sRGB's white is the
brightest of what is shown, within 100 cd/m2, the white of ordinary video, and 203 cd/m2, the
white of HDR (ITU-R BT.2408-7, section 2). Brighter light is rolled off towards it; colours
outside sRGB's are cut at them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

PQ, HLG = 16, 18
"""Transfer characteristics of ITU-T H.273."""
_BT2020, _DCI_P3, _DISPLAY_P3 = 9, 11, 12
"""Primaries of ITU-T H.273 that are wider than sRGB's."""
WHITE_NITS = (100.0, 203.0)
KNEE = 0.8
"""Up to this share of white, light is kept as it is, where there is much brighter light."""
_MUCH_BRIGHTER = 1.5
_BRIGHTEST_PERCENT = 99.8
_PEAK_NITS = 1000.0
_HLG_GAMMA = 1.2

_D65, _DCI_WHITE = (0.3127, 0.3290), (0.314, 0.351)
_SRGB_CORNERS = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_P3_CORNERS = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_CORNERS = {
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _DCI_P3: _P3_CORNERS,
    _DISPLAY_P3: _P3_CORNERS,
}
_BT2020_LUMA = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
_BAND_ROWS = 64
_MAXIMUM = 65535


def is_wide(transfer: int, primaries: int) -> bool:
    """Whether pictures tagged so (ITU-T H.273) have to be converted."""
    return transfer in (PQ, HLG) or primaries in _CORNERS


@dataclass(frozen=True, slots=True)
class Grade:
    """How the pictures of one file become sRGB.

    transfer, primaries: ITU-T H.273. Other transfers than PQ and HLG are taken for sRGB's.
    white_nits: the light of sRGB's white; none for those others.
    knee: where in [0, 1] the roll-off begins; 1 for none.
    """

    transfer: int
    primaries: int
    white_nits: float = _PEAK_NITS
    knee: float = 1.0

    @classmethod
    def of(cls, transfer: int, primaries: int, samples: Iterable[NDArray[np.uint16]]) -> Grade:
        """For a file of which these are some pictures, uint16 [H, W, 3] as `srgb` takes them."""
        if transfer not in (PQ, HLG):
            return cls(transfer, primaries)
        plain = cls(transfer, primaries)
        peaks = [np.percentile(plain._light(picture).max(axis=2), _BRIGHTEST_PERCENT) for picture in samples]
        brightest = float(max(peaks, default=0.0)) * _PEAK_NITS
        white = min(max(brightest, WHITE_NITS[0]), WHITE_NITS[1])
        above = min(max((brightest / white - 1) / (_MUCH_BRIGHTER - 1), 0.0), 1.0)
        return cls(transfer, primaries, white, 1 - (1 - KNEE) * above)

    def srgb(self, picture: NDArray[np.uint16]) -> Image:
        """uint16 [H, W, 3] RGB, full range, as it is coded -> uint8 [H, W, 3] sRGB."""
        code = _code()
        gain = np.float32(_PEAK_NITS / self.white_nits)
        out = np.empty(picture.shape, np.uint8)
        for row in range(0, len(picture), _BAND_ROWS):
            band = self._light(picture[row : row + _BAND_ROWS])
            if gain != 1:
                band *= gain
            if self.knee < 1:
                brightest = band.max(axis=2, keepdims=True)
                if brightest.max() > self.knee:
                    band *= self._rolled_off(brightest)
            out[row : row + _BAND_ROWS] = code[(np.clip(band, 0, 1) * _MAXIMUM + 0.5).astype(np.uint16)]
        return out

    def _light(self, picture: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Light of sRGB's primaries, float32 [H, W, 3], 1 at _PEAK_NITS."""
        light = _light_of_codes(self.transfer)[picture]
        if self.transfer == HLG:
            light *= _hlg_gain(light)
        untagged = self.transfer in (PQ, HLG) and self.primaries not in _CORNERS
        matrix = _to_srgb(_BT2020 if untagged else self.primaries)
        return np.asarray(cv2.transform(light, matrix), np.float32)

    def _rolled_off(self, brightest: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gain [..., 1] that brings light above the knee below 1, with the slope of 1 at it."""
        above, room = np.maximum(brightest, self.knee), 1 - self.knee
        return np.asarray((1 - room * np.exp((self.knee - above) / room)) / above, np.float32)


def _hlg_gain(scene: NDArray[np.float32]) -> NDArray[np.float32]:
    """The opto-optical transfer function: what a display of 1000 cd/m2 shows of scene light."""
    luminance = np.maximum(cv2.transform(scene, _BT2020_LUMA), 1e-6).reshape(*scene.shape[:2], 1)
    return np.asarray(luminance ** (_HLG_GAMMA - 1), np.float32)


@cache
def _light_of_codes(transfer: int) -> NDArray[np.float32]:
    """Light for every code value, float32 [65536], 1 at _PEAK_NITS; for HLG, of the scene."""
    coded = np.arange(_MAXIMUM + 1) / _MAXIMUM
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = coded ** (1 / m2)
        nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        return (nits / _PEAK_NITS).astype(np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12).astype(np.float32)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _code() -> NDArray[np.uint8]:
    """sRGB's code for light in steps of 1/65535, uint8 [65536] (IEC 61966-2-1)."""
    light = np.arange(_MAXIMUM + 1) / _MAXIMUM
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(coded * 255), np.uint8)


@cache
def _to_srgb(primaries: int) -> NDArray[np.float32]:
    """Light of these primaries -> light of sRGB's, float32 [3, 3]."""
    if primaries not in _CORNERS:
        return np.eye(3, dtype=np.float32)
    white = _DCI_WHITE if primaries == _DCI_P3 else _D65
    wide, narrow = _to_xyz(_CORNERS[primaries], white), _to_xyz(_SRGB_CORNERS, _D65)
    # Each white becomes sRGB's: eyes adapt.
    matrix = np.linalg.inv(narrow) @ wide
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


def _to_xyz(corners: tuple[tuple[float, float], ...], white: tuple[float, float]) -> NDArray[np.float64]:
    """RGB -> XYZ [3, 3] for chromaticities of the primaries and of white, whose Y is 1."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
    x, y = white
    return np.asarray(columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y]))
