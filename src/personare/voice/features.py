"""What the articulation network hears: log-mel frames at 100 Hz, from speech in pieces of any
size.

All arithmetic is done frame by frame, whatever the caller feeds: the results are the same to
the bit.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.types import SAMPLE_RATE, Samples
from personare.voice.visemes import FRAME_SAMPLES

MELS = 40

_WINDOW_SAMPLES = 400
_FFT_SIZE = 512
_SAMPLES_BEFORE = 120
SAMPLES_AFTER = _WINDOW_SAMPLES - _SAMPLES_BEFORE
"""Frame t is heard through a window over the samples [160 t - 120, 160 t + 280)."""

_HIGH_PASS_HZ = 60.0
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7800.0
_SPEECH_POWER, _SPEECH_DBFS = 0.3, -26.0
"""Speech at -26 dBFS RMS has a mean mel power of about 0.3."""


def _mel_bank() -> NDArray[np.float32]:
    """Triangular filters [257 bins, 40 bands], mel(f) = 2595 log10(1 + f / 700), in float64
    before rounding.
    """
    lowest, highest = (2595 * np.log10(1 + hz / 700) for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    edges_hz = 700 * (10 ** (np.linspace(lowest, highest, MELS + 2) / 2595) - 1)
    bins = (np.arange(_FFT_SIZE // 2 + 1) * SAMPLE_RATE / _FFT_SIZE)[:, None]
    low, middle, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return np.maximum(triangles, 0).astype(np.float32)


def _product(matrix: NDArray[Any], vector: NDArray[Any]) -> NDArray[Any]:
    """matrix @ vector on one thread: for so little work BLAS would wake all cores, 100 times a
    second.
    """
    return np.asarray(np.einsum("ij,j->i", matrix, vector))


_BANK = np.ascontiguousarray(_mel_bank().T)
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW_SAMPLES) / _WINDOW_SAMPLES)).astype(np.float32)


class MelStream:
    """Speech in, mel power out.

    `push` returns float32 [n, 40]: every frame whose window is known. Before the first sample
    lies silence. Offset, hum and rumble below 60 Hz are filtered out first; the network
    mistakes them for a voice.
    """

    def __init__(self) -> None:
        # With 40 zeros in front, whole frames of samples end where windows end. The first of
        # them ends before frame 0.
        self._pending = np.zeros(FRAME_SAMPLES - _SAMPLES_BEFORE, np.float32)
        self._window = np.zeros(_WINDOW_SAMPLES, np.float32)
        self._high_pass = HighPass()
        self._frames_before_start = 1

    def push(self, samples: Samples) -> NDArray[np.float32]:
        self._pending = np.concatenate([self._pending, samples])
        n = len(self._pending) // FRAME_SAMPLES
        filtered = [
            self._high_pass.push(self._pending[t * FRAME_SAMPLES : (t + 1) * FRAME_SAMPLES]) for t in range(n)
        ]
        heard = np.concatenate([self._window, *filtered])
        self._window = heard[n * FRAME_SAMPLES :]
        windows = np.lib.stride_tricks.sliding_window_view(heard, _WINDOW_SAMPLES)[
            FRAME_SAMPLES::FRAME_SAMPLES
        ]
        spectrum = np.fft.rfft(windows * _HANN, _FFT_SIZE)
        power = np.empty((n, MELS), np.float32)
        for t, energy in enumerate(spectrum.real**2 + spectrum.imag**2):
            power[t] = _product(_BANK, energy)
        self._pending = self._pending[n * FRAME_SAMPLES :].copy()
        before_start = min(self._frames_before_start, n)
        self._frames_before_start -= before_start
        return power[before_start:]


class HighPass:
    """Second-order Butterworth high-pass at 60 Hz, frame by frame of 160 samples.

    A recursive filter is linear in its input and its state, so a frame is one product with a
    matrix found once.
    """

    def __init__(self) -> None:
        self._state = np.zeros(2)

    def push(self, block: Samples) -> Samples:
        """float32 [160] filtered."""
        after = _product(_high_pass_matrix(), np.concatenate([block, self._state]))
        self._state = after[FRAME_SAMPLES:]
        return after[:FRAME_SAMPLES].astype(np.float32)


@cache
def _high_pass_matrix() -> NDArray[np.float64]:
    """[n + 2, n + 2] from n inputs and two states to n outputs and two states: the transposed
    direct form II, unrolled.

    Coefficients by the bilinear transform with Q = 1 / sqrt(2).
    """
    omega = 2 * math.pi * _HIGH_PASS_HZ / SAMPLE_RATE
    alpha = math.sin(omega) / math.sqrt(2)
    b0 = (1 + math.cos(omega)) / 2 / (1 + alpha)
    b1, b2 = -2 * b0, b0
    a1, a2 = -2 * math.cos(omega) / (1 + alpha), (1 - alpha) / (1 + alpha)
    inputs = np.eye(FRAME_SAMPLES + 2)
    first, second = inputs[-2:]
    outputs = np.empty((FRAME_SAMPLES, FRAME_SAMPLES + 2))
    for n in range(FRAME_SAMPLES):
        outputs[n] = b0 * inputs[n] + first
        first = b1 * inputs[n] - a1 * outputs[n] + second
        second = b2 * inputs[n] - a2 * outputs[n]
    return np.vstack([outputs, first, second])


class RunningLevel:
    """The level of the speech so far, without look-ahead: a gated running mean of mel power.

    Starts at speech of -26 dBFS and adapts within seconds. Quiet frames only let it sink, 2 dB
    per second, so that pauses do not lift background noise to the level of speech.
    """

    _GATE = 0.03
    _LOWEST = 3e-4
    _SINKING_PER_FRAME = 0.9954
    _FRAMES_AT_START, _FRAMES_AT_MOST = 30, 400

    def __init__(self) -> None:
        self._level = _SPEECH_POWER
        self._frames = self._FRAMES_AT_START

    def push(self, power: float) -> float:
        """The level after one more frame of mean mel power `power`."""
        if power > self._GATE * self._level:
            self._frames = min(self._frames + 1, self._FRAMES_AT_MOST)
            self._level += (power - self._level) / self._frames
        else:
            self._level = max(self._level * self._SINKING_PER_FRAME, self._LOWEST)
        return self._level


def network_input(power: NDArray[np.float32], level: float | NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalised log mel [..., 40], from mel power [..., 40] and the level of the speech."""
    normalised: NDArray[np.float32] = ((np.log(power / level * 0.8 + 1e-6) + 5) / 4).astype(np.float32)
    return normalised


SILENT_INPUT = np.float32((np.log(1e-6) + 5) / 4)
"""`network_input` of digital silence."""


def level_dbfs(power: float) -> float:
    """Mean mel power as the level of speech that would have it, in dBFS; SILENT_DBFS for
    digital silence.
    """
    return 10 * math.log10(power / _SPEECH_POWER + 1e-6) + _SPEECH_DBFS


SILENT_DBFS = level_dbfs(0.0)
