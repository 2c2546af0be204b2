"""Windows per frame and the forms of hearing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from personare.cache.recipe import StageInputs
from personare.cache.store import FeatureStore
from personare.engines.musetalk import hearing
from personare.engines.musetalk.drive import (
    SpeechDrive,
    WindowRule,
    Windows,
    open_drive,
    positional_encoding,
)
from personare.engines.musetalk.engine import MuseTalk
from personare.engines.musetalk.hearing import HEAR, PIECE_SAMPLES, Ears, Hearing, Pieces, Whole, Windowed
from personare.engines.musetalk.options import MuseTalkOptions
from personare.types import Feature, frame_count
from personare.voice.whisper import EncoderConfig, SpeechEncoder, log_mel, mirrored, normalised, piece_mel
from personare.weights.resident import Lease

pytestmark = pytest.mark.neural

RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 48, 50, Fraction(60000, 1001), 60, 12]


class Places(Hearing):
    """Rows whose values tell their place, 320 samples each, settled at once."""

    def __init__(self) -> None:
        super().__init__(Ears(lambda: Lease(_no_encoder()), ()))
        self._heard = 0

    def push(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        before, self._heard = self._heard // 320, self._heard + len(samples)
        rows = 1 + np.arange(before, self._heard // 320, dtype=np.float32)
        yield np.repeat(rows, 2).reshape(-1, 1, 2)

    def finish(self) -> Iterator[np.ndarray]:
        return iter(())


def _no_encoder() -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder(EncoderConfig(width=64, layers=1, heads=1, feed_forward=32)).eval()


def _places(
    samples: int, fps: Fraction, cuts: int = 1, edge: str = "zeros", published: bool = False
) -> np.ndarray:
    drive = SpeechDrive(Places(), WindowRule(fps, edge=edge, published=published))
    windows = [w for piece in np.array_split(np.zeros(samples, np.float32), cuts) for w in drive.push(piece)]
    return np.stack([*windows, *drive.finish()])[:, :, 0]


def _published(samples: int, fps: int) -> np.ndarray:
    """The published rule, written from the specification (c.3): padded rows and slices of them."""
    rows = math.floor(samples / 16000 * 50)
    mul, frames = 50 / fps, math.floor(samples / 16000 * fps)
    p = math.ceil(mul)
    padded = np.concatenate([np.zeros(min(2 * p, rows)), 1 + np.arange(rows), np.zeros(min(6 * p, rows))])
    return np.stack([padded[math.floor(i * mul) : math.floor(i * mul) + 10] for i in range(frames)])


@pytest.mark.parametrize("fps", [25, 28, 30, 32, 40, 47, 49])
def test_at_whole_rates_from_25_to_49_ours_are_the_published_windows(fps: int) -> None:
    samples = 16000 * 41 + 123
    theirs = _published(samples, fps)
    for published in (False, True):
        np.testing.assert_array_equal(
            _places(samples, Fraction(fps), published=published)[: len(theirs)], theirs
        )


@pytest.mark.parametrize("fps", [12, 24])
def test_published_windows_are_late_below_25(fps: int) -> None:
    samples = 48000
    theirs = _published(samples, fps)
    np.testing.assert_array_equal(_places(samples, Fraction(fps), published=True)[: len(theirs)], theirs)
    assert not np.array_equal(_places(samples, Fraction(fps))[: len(theirs)], theirs)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_no_rate_drifts_and_no_cut_matters(fps: Fraction) -> None:
    fps, samples = Fraction(fps), 16000 * 13 + 77
    windows = _places(samples, fps)
    assert len(windows) == frame_count(samples, fps)
    np.testing.assert_array_equal(windows, _places(samples, fps, cuts=97))
    rows = samples // 320
    for i in (0, 1, len(windows) // 2, len(windows) - 1):
        wanted = np.arange(10) + math.floor(Fraction(50 * i) / fps) - 4
        expected = np.where((wanted >= 0) & (wanted < rows), wanted + 1, 0)
        np.testing.assert_array_equal(windows[i], expected)


def test_an_hour_at_ntsc_rate_ends_where_the_voice_ends() -> None:
    fps = Fraction(30000, 1001)
    last = frame_count(16000 * 3600, fps) - 1
    row = WindowRule(fps).first_row(last) + 4
    assert 0 <= 3600 * 50 - row <= 2
    assert WindowRule(fps, published=True).first_row(last) > 3600 * 50  # the published count is minutes ahead


def test_the_published_rows_of_18560_samples() -> None:
    rule = WindowRule(Fraction(25), published=True)
    assert rule.row_count(18560) == 57
    assert WindowRule(Fraction(25)).row_count(18560) == 58
    np.testing.assert_array_equal(_places(18560, Fraction(25), published=True)[:28], _published(18560, 25))


def test_speech_shorter_than_a_row_is_heard_as_silence() -> None:
    assert _places(319, Fraction(25)).tolist() == [[0] * 10]
    drive = SpeechDrive(Pieces(Ears(lambda: Lease(_no_encoder()), ()), None), WindowRule(Fraction(25)))
    assert [*drive.push(np.zeros(10, np.float32))] == []
    (window,) = drive.finish()
    assert window.shape == (20, 64)
    assert not window.any()


def test_the_original_front_end_repeats_the_edges() -> None:
    windows = _places(16000, Fraction(25), edge="repeat")
    np.testing.assert_array_equal(windows[0], [1, 1, 1, 1, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(windows[-1], [45, 46, 47, 48, 49, 50, 50, 50, 50, 50])


def test_a_window_is_row_by_row_state_fastest() -> None:
    windows = Windows(WindowRule(Fraction(25)))
    rows = np.arange(12 * 5 * 3, dtype=np.float32).reshape(12, 5, 3)
    made = list(windows.push(rows))
    assert len(made) == 4  # the frame that ends with row 11 is the last
    np.testing.assert_array_equal(made[2], rows[:10].reshape(50, 3))


def test_positions_are_interleaved_sines() -> None:
    table = positional_encoding(50, 384)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table[0, :4], [0, 1, 0, 1])
    np.testing.assert_allclose(
        table[7, [2, 3]], [np.sin(7 * 10000 ** (-2 / 384)), np.cos(7 * 10000 ** (-2 / 384))], rtol=1e-6
    )


@pytest.mark.parametrize("version", ["v15", "v1"])
@pytest.mark.parametrize("audio", ["exact", "streaming"])
def test_options_choose_how_speech_is_heard(version: str, audio: str, ears: Ears) -> None:
    options = MuseTalkOptions(version=version, audio=audio).concrete(lambda name: False)
    fps, samples = Fraction(25), _voice(16000 * 3)
    drive = open_drive(options, ears, fps)
    forms = {("v15", "exact"): Pieces, ("v1", "exact"): Whole}
    assert type(drive.hearing) is forms.get((version, audio), Windowed)
    at_once = list(drive.push(samples))
    floor = MuseTalk().latency(options).floor_seconds
    settled = len(samples) - int(floor * 16000) if audio == "streaming" else 0
    assert len(at_once) >= settled * 25 // 16000
    assert len(at_once) + len(list(drive.finish())) == 75


# ---------------------------------------------------------------- hearing with a network


@pytest.fixture(scope="module")
def ears() -> Ears:
    encoder = _no_encoder()
    torch.nn.init.normal_(encoder.encoder.embed_positions.weight, std=0.05)
    return Ears(lambda: Lease(encoder), ("0" * 64,))


def _voice(samples: int) -> np.ndarray:
    t = np.arange(samples) / 16000
    return (0.3 * np.sin(2 * np.pi * (200 + 100 * np.sin(t)) * t) * (1 + np.sin(3 * t)) / 2).astype(
        np.float32
    )


def _rows(hearing: Hearing, samples: np.ndarray, cuts: int = 1) -> np.ndarray:
    parts = [rows for piece in np.array_split(samples, cuts) for rows in hearing.push(piece)]
    return np.concatenate([*parts, *hearing.finish()])


def test_what_is_heard_has_the_form_that_its_stage_declares(ears: Ears) -> None:
    """Whole pieces, beginnings, and slices of the original front end with their context."""
    for samples in (PIECE_SAMPLES, 16000, 5001):
        (stage,) = hearing.recipe(ears, "current").stages
        inputs = StageInputs(stage.parameters, {}, {"speech": _voice(samples)})
        assert stage.misfit(inputs, stage.compute(inputs)) == ""
        assert "shape" in stage.misfit(inputs, Feature({"rows": np.zeros((3, 2, 64), np.float32)}))
    (stage,) = hearing.recipe(ears, "original", 1.0).stages
    inputs = StageInputs(stage.parameters, {}, {"speech": _voice(16000 + 400 - 160)})
    assert stage.misfit(inputs, stage.compute(inputs)) == ""


def test_beyond_30_seconds_each_piece_is_heard_alone(ears: Ears) -> None:
    samples = _voice(PIECE_SAMPLES + 16000)
    rows = _rows(Pieces(ears, None), samples, cuts=7)
    assert rows.shape == (1550, 2, 64)
    np.testing.assert_array_equal(rows[:1500], ears.encoder.hear(piece_mel(samples[:PIECE_SAMPLES]), True))
    np.testing.assert_array_equal(
        rows[1500:], ears.encoder.hear(piece_mel(samples[PIECE_SAMPLES:]), True)[:50]
    )


def test_the_original_front_end_knows_the_loudest_of_all(ears: Ears) -> None:
    samples = _voice(PIECE_SAMPLES + 16000)
    samples[-8000:] *= 3
    rows = _rows(Whole(ears, None), samples, cuts=5)
    mel = log_mel(mirrored(samples))[:, :-1]
    mel = normalised(mel, float(mel.max()))
    second = np.zeros((80, 3000), np.float32)
    second[:, :100] = mel[:, 3000:]
    np.testing.assert_array_equal(rows[:1500], ears.encoder.hear(mel[:, :3000], False))
    np.testing.assert_array_equal(rows[1500:], ears.encoder.hear(second, False)[:50])


@pytest.mark.parametrize("form", [Pieces, Whole])
def test_what_was_heard_is_found_again(form: type[Pieces] | type[Whole], ears: Ears, tmp_path: Path) -> None:
    store, samples = FeatureStore(tmp_path), _voice(20000)
    first, second = form(ears, store), form(ears, store)
    rows = _rows(first, samples)
    np.testing.assert_array_equal(_rows(second, samples, cuts=3), rows)
    assert (first.heard, second.heard) == ({HEAR: "miss"}, {HEAR: "hit"})
    store.close()


def test_windowed_hearing_does_not_depend_on_the_cut_and_looks_no_further_than_it_says(ears: Ears) -> None:
    samples = _voice(16000 * 9 + 500)
    rows = _rows(Windowed(ears, "current"), samples)
    assert len(rows) == len(samples) // 320
    np.testing.assert_array_equal(_rows(Windowed(ears, "current"), samples, cuts=211), rows)
    listener = Windowed(ears, "current")
    early = np.concatenate(list(listener.push(samples[: 40 * 320])))
    assert len(early) == 24  # 0.48 s are out once 0.8 s are in
    np.testing.assert_array_equal(early, rows[:24])


def test_windowed_rows_of_a_short_voice_are_close_to_the_exact_ones(ears: Ears) -> None:
    """With the context that a short speech has, only what follows and the silence of the piece
    are not heard.
    """
    samples = _voice(16000 * 2)
    exact, windowed = _rows(Pieces(ears, None), samples), _rows(Windowed(ears, "current"), samples)
    np.testing.assert_allclose(windowed[4:-4, 0], exact[4:-4, 0], atol=2e-2)
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(exact, windowed, strict=True)]
    assert np.median(likeness) > 0.9
