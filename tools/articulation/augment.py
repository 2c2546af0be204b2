"""Rooms, noises, microphones and codecs, applied to mel power: far cheaper than to waveforms,
and close enough for training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from shards import Labels, Power

from personare.voice.features import MELS
from personare.voice.visemes import VISEME

_BANDS = np.arange(MELS)
_FRAMES_PER_SECOND = 100


def vocal_tract(power: Power, rng: np.random.Generator) -> Power:
    """Another speaker: the frequency axis stretched by 12 % at most."""
    position = np.clip(_BANDS * rng.uniform(0.88, 1.13), 0, MELS - 1)
    below = position.astype(int)
    share = (position - below).astype(np.float32)
    return power[:, below] * (1 - share) + power[:, np.minimum(below + 1, MELS - 1)] * share


def breathe(power: Power, label: Labels, rng: np.random.Generator) -> None:
    """In place: breaths (noise with broad resonances, 120 to 600 ms, 11 to 32 dB under speech)
    in half of the silences.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], label == VISEME["sil"], [0]]).astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first < 14 or rng.random() < 0.5:
            continue
        frames = min(last - first - 4, int(rng.integers(12, 60)))
        room = last - first - 3 - frames
        at = first + 2 + (int(rng.integers(0, room)) if room > 0 else 0)
        resonances = [
            np.exp(-0.5 * ((_BANDS - centre) / rng.uniform(1.5, 5)) ** 2) for centre in rng.uniform(8, 38, 3)
        ]
        shape = 0.15 + sum(rng.uniform(0.2, 1) * resonance for resonance in resonances)
        shape[:6] *= 0.1
        swell = np.sin(np.pi * np.linspace(0.05, 0.95, frames)) ** rng.uniform(0.5, 2)
        hiss = swell[:, None] * _hiss(frames, rng) * shape / shape.mean()
        power[at : at + frames] += (hiss * 10 ** rng.uniform(-3.2, -1.1)).astype(np.float32)


def augment(power: Power, rng: np.random.Generator) -> NDArray[np.float32]:
    """Network inputs [B, T, 40] from speech at level 1 [B, T, 40]."""
    slope, ripple = (
        rng.normal(0, 0.9, (len(power), 1, 1)),
        np.repeat(rng.normal(0, 0.4, (len(power), 1, 8)), 5, axis=2),
    )
    power = (power * np.exp(slope * np.linspace(-1, 1, MELS) + ripple)).astype(np.float32)
    for one in power:
        if rng.random() < 0.35:
            _reverberate(one, rng)
    clean = power / (power.mean(axis=(1, 2), keepdims=True) + 1e-9)
    for b, one in enumerate(power):
        if rng.random() < 0.75:
            one += one.mean() * _noise(clean, b, rng)
    power *= (10 ** (rng.uniform(-16, 12, (len(power), 1, 1)) / 10)).astype(np.float32)
    for one in power:
        if rng.random() < 0.12:  # a perceptual codec drops what lies far under the loudest band
            one *= one > one.max(axis=1, keepdims=True) * 10 ** rng.uniform(-4.5, -2.5)
    mel = (np.log(power * 0.8 + 1e-6) + 5) / 4
    for one in mel:
        _limit_bands(one, rng)
    return mel.astype(np.float32)


def _reverberate(power: Power, rng: np.random.Generator) -> None:
    """In place: one or two exponential tails, shorter for high bands; T60 of .1 to .9 s."""
    for _ in range(2 if rng.random() < 0.4 else 1):
        decays = 10 ** (-6 / (_FRAMES_PER_SECOND * rng.uniform(0.12, 0.8) * np.linspace(1.15, 0.75, 8)))
        wet = 10 ** rng.uniform(-1.8, -0.4)
        for k, decay in enumerate(decays):
            bands = power[:, 5 * k : 5 * k + 5]
            tail = lfilter([0, decay * (1 - decay)], [1, -decay], bands, axis=0)
            bands += (wet * rng.uniform(0.6, 1.4) * tail).astype(np.float32)


def _noise(clean: Power, b: int, rng: np.random.Generator) -> Power:
    """Noise for utterance b relative to its level: bright, dark, coloured, rumble, or the
    babble of four others of the batch.
    """
    ratio, kind = 10 ** (-rng.uniform(2, 42) / 10), rng.random()
    frames = clean.shape[1]
    if kind >= 0.80:
        return np.asarray(sum(clean[(b + j) % len(clean)] for j in (1, 2, 3, 5)) * ratio / 4, np.float32)
    if kind < 0.28:
        shape = np.linspace(0.3, 1.7, MELS)
    elif kind < 0.55:
        shape = 1 / (1 + _BANDS) ** rng.uniform(0.6, 2)
    elif kind < 0.70:
        shape = np.exp(rng.normal(0, 1, MELS))
    else:
        shape, ratio = np.exp(-_BANDS / rng.uniform(0.5, 2.5)), 10 * ratio
    noise = _hiss(frames, rng) * shape / shape.mean()
    if rng.random() < 0.35:
        noise *= np.exp(np.repeat(rng.normal(0, 0.8, frames // 8 + 1), 8)[:frames, None])
    return (noise * ratio).astype(np.float32)


def _hiss(frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Power of white noise in bands a few FFT bins wide: mean 1."""
    return rng.gamma(5, 1 / 5, (frames, MELS))


def _limit_bands(mel: NDArray[np.float32], rng: np.random.Generator) -> None:
    """In place: telephone-like cuts above and below, and one band range that says nothing."""
    lowest = mel.min()
    if rng.random() < 0.3:
        mel[:, rng.integers(27, 38) :] = lowest
    if rng.random() < 0.15:
        mel[:, : rng.integers(1, 6)] = lowest
    if rng.random() < 0.3:
        first, width = rng.integers(0, 36), rng.integers(1, 5)
        mel[:, first : first + width] = mel[:, first : first + width].mean()
