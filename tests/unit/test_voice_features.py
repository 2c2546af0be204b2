"""Mel power, the high-pass filter and the running level of a voice."""

import numpy as np
import pytest

from personare.types import SAMPLE_RATE, Samples
from personare.voice.features import (
    SAMPLES_AFTER,
    SILENT_DBFS,
    SILENT_INPUT,
    HighPass,
    MelStream,
    RunningLevel,
    level_dbfs,
    network_input,
)


def _noise(n: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).normal(0, 0.05, n).astype(np.float32)


def _tone(hz: float, seconds: float = 1.0) -> Samples:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.1 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 33, 160, 320, 5328])
def test_mel_is_the_same_to_the_bit_for_any_pieces(size: int) -> None:
    speech = _noise(8000)
    whole = MelStream().push(speech)
    stream = MelStream()
    pieces = np.concatenate([stream.push(speech[at : at + size]) for at in range(0, len(speech), size)])
    assert pieces.tobytes() == whole.tobytes()


def test_a_frame_comes_as_soon_as_its_window_is_known() -> None:
    stream = MelStream()
    assert len(stream.push(_noise(SAMPLES_AFTER - 1))) == 0
    assert len(stream.push(_noise(1))) == 1
    assert len(stream.push(_noise(159))) == 0
    assert len(stream.push(_noise(1))) == 1


def test_mel_power_is_that_of_the_plain_formula() -> None:
    """Window [160 t - 120, 160 t + 280), Hann, 512-point power spectrum, 40 triangles over 60
    .. 7800 Hz in mel.
    """
    tone = _tone(1000)
    power = MelStream().push(tone)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    mels = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 7800 / 700), 42)
    edges_hz = 700 * (10 ** (mels / 2595) - 1)
    bins_hz = np.arange(257) * 31.25
    bank = np.array(
        [np.interp(bins_hz, edges_hz[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(40)]
    )  # triangles
    for t in (20, 50):
        spectrum = np.abs(np.fft.rfft(tone[t * 160 - 120 : t * 160 + 280] * window, 512)) ** 2
        loud = bank @ spectrum
        assert power[t] == pytest.approx(loud, rel=0.02, abs=1e-3 * loud.max())


def test_the_high_pass_removes_offset_and_rumble_and_keeps_speech() -> None:
    def gain(samples: Samples) -> float:
        high_pass = HighPass()
        filtered = np.concatenate(
            [high_pass.push(samples[at : at + 160]) for at in range(0, len(samples), 160)]
        )
        return float(np.abs(filtered[8000:]).max() / np.abs(samples).max())

    assert gain(np.full(16000, 0.1, np.float32)) < 1e-6
    assert gain(_tone(20)) < 0.12
    assert gain(_tone(60)) == pytest.approx(0.5**0.5, rel=0.01)
    assert gain(_tone(200)) > 0.99


def test_the_running_level_finds_a_quiet_voice_and_ignores_pauses() -> None:
    level = RunningLevel()
    for _ in range(1500):
        found = level.push(0.02)
    assert found == pytest.approx(0.02, rel=0.1)
    for _ in range(100):
        found = level.push(1e-6)
    assert found == pytest.approx(level.push(1e-6), rel=0.01)
    assert found > 0.01


def test_digital_silence_is_what_the_network_is_primed_with() -> None:
    silent = network_input(MelStream().push(np.zeros(2000, np.float32))[0], 0.3)
    assert silent == pytest.approx(np.full(40, SILENT_INPUT))
    assert level_dbfs(0.0) == SILENT_DBFS
    assert level_dbfs(0.3) == pytest.approx(-26)
