"""Speech becomes mel windows, 25 a second, while it is heard.

Frame i hears 0.14 s beyond its own time at most. However the speech is cut into pieces, the
numbers are the same.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from personare.engines.nerffacespeech.networks.config import MODEL_FPS
from personare.types import SAMPLE_RATE, Samples

Floats = NDArray[np.float32]

FRAME_SAMPLES = SAMPLE_RATE // MODEL_FPS
HOP, WINDOW, BANDS, ROWS = 200, 800, 80, 16
"""Of the mel spectrogram: samples, samples, bands, rows a frame hears."""
_ROWS_PER_SECOND = 80.0
_PREEMPHASIS, _LOW_HZ, _HIGH_HZ = 0.97, 55.0, 7600.0
LOOKAHEAD_SECONDS = (ROWS * HOP + WINDOW // 2) / SAMPLE_RATE - 2 / MODEL_FPS
_BLOCK_ROWS = 400


@cache
def mel_bank() -> NDArray[np.float64]:
    """[bands, WINDOW / 2 + 1]: triangles on Slaney's scale, of equal area, rounded as librosa
    rounds them.
    """
    edges = _hz(np.linspace(_mel(_LOW_HZ), _mel(_HIGH_HZ), BANDS + 2))
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    ramps = edges[:, None] - bins
    widths = np.diff(edges)
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    areas = (2 / (edges[2:] - edges[:-2]))[:, None]
    return (triangles * areas.astype(np.float32)).astype(np.float64)


def _mel(hz: float) -> float:
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def mel_rows(emphasised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Windows [n, WINDOW] of emphasised sound -> [n, bands], -4 to 4."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    magnitude = np.abs(np.fft.rfft(emphasised * hann, axis=1))
    decibels = 20 * np.log10(np.maximum(1e-5, magnitude @ mel_bank().T)) - 20
    return np.asarray(np.clip(8 * (decibels + 100) / 100 - 4, -4, 4))


def first_row(frame: int) -> int:
    """Where a frame's window of mel begins; before the speech for the first frames."""
    return int(_ROWS_PER_SECOND * ((frame - 2) / float(MODEL_FPS)))


class MelWindows:
    """What each frame hears, as the sound comes in."""

    def __init__(self) -> None:
        self._before = 0.0
        self._sound = np.zeros(WINDOW // 2)  # emphasised, from sample `_from` on
        self._from = -(WINDOW // 2)
        self._samples = 0
        self._rows = np.zeros((0, BANDS))
        self._rows_from = 0
        self._frame = 0

    def push(self, samples: Samples) -> Floats:
        """The windows [n, 80, 16] of the frames that are settled by now."""
        if len(samples):
            sound = samples.astype(np.float64)
            previous = np.concatenate([[self._before], sound[:-1]])
            self._before = float(sound[-1])
            self._sound = np.concatenate([self._sound, sound - _PREEMPHASIS * previous])
            self._samples += len(samples)
        self._hear(until=(self._samples - WINDOW // 2) // HOP + 1)
        return self._windows(None)

    def finish(self) -> Floats:
        """The remaining ones: of ceil(samples / 640) frames in all. The last frame is filled up
        with silence, and so is what lies behind it.
        """
        frames = -(-self._samples // FRAME_SAMPLES)
        self.push(np.zeros(frames * FRAME_SAMPLES - self._samples, np.float32))
        self._sound = np.concatenate([self._sound, np.zeros(WINDOW)])
        last = 1 + self._samples // HOP
        self._hear(until=last)
        return self._windows(frames)

    def _hear(self, until: int) -> None:
        """Rows up to a number. In blocks of fixed rows, so that a row never depends on the cut."""
        done = self._rows_from + len(self._rows)
        while done < until:
            count = min(_BLOCK_ROWS, until - done)
            start = done * HOP - WINDOW // 2 - self._from
            windows = np.lib.stride_tricks.sliding_window_view(self._sound[start:], WINDOW)[::HOP][:count]
            made = np.concatenate([mel_rows(window[None]) for window in windows])
            self._rows = np.concatenate([self._rows, made])
            done += count
        spare = done * HOP - WINDOW // 2 - self._from
        if spare > 0:
            self._sound, self._from = self._sound[spare:], self._from + spare

    def _windows(self, frames: int | None) -> Floats:
        """frames: how many there are in all, once that is known."""
        made, end = [], self._rows_from + len(self._rows)
        while (self._frame < frames) if frames is not None else (first_row(self._frame) + ROWS <= end):
            wanted = np.arange(ROWS) + first_row(self._frame)
            made.append(self._rows[np.clip(wanted, 0, end - 1) - self._rows_from].T)
            self._frame += 1
        drop = min(first_row(self._frame), end - 1) - self._rows_from
        if drop > 0:
            self._rows, self._rows_from = self._rows[drop:], self._rows_from + drop
        return np.stack(made).astype(np.float32) if made else np.zeros((0, BANDS, ROWS), np.float32)


def silent_window() -> Floats:
    """What a frame hears where nothing sounds, [80, 16]."""
    return np.full((BANDS, ROWS), -4, np.float32)
