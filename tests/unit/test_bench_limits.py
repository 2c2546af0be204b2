"""What the machine can do at most."""

from __future__ import annotations

import pytest

from personare.bench import limits
from personare.engines.neural import torch_missing


def test_a_run_counts_at_its_best_after_one_that_warms_up(monkeypatch):
    clock, took = [0.0], iter([0.125, 0.5, 0.25, 0.5, 9.0])
    monkeypatch.setattr(limits.time, "perf_counter", lambda: clock[0])

    def run() -> None:
        clock[0] += next(took)

    assert limits.best(run, seconds=1.0) == 0.25
    assert next(took) == 9.0, "no more runs than fit"


@pytest.mark.parametrize(("channels", "side"), [(4, 2), (8, 4)])
def test_peaks_are_told_in_operations_and_bytes(monkeypatch, channels, side):
    """Of the matrices or of the convolution, where torch is, whichever is more."""
    monkeypatch.setattr(limits, "best", lambda _: 0.03125)
    monkeypatch.setattr(limits, "SIDES", (8, 16))
    monkeypatch.setattr(limits, "MAP", (channels, side))
    monkeypatch.setattr(limits, "COPIED_BYTES", 1 << 10)
    found = limits.peaks()
    matrices, convolution = 2 * 16**3, 2 * 9 * channels**2 * side**2
    operations = (matrices if torch_missing() else max(matrices, convolution)) / 0.03125 / 1e9
    formats = {"float32"} if torch_missing() else {"float32", "bfloat16"}
    assert found.products == dict.fromkeys(formats, operations)
    assert found.copy_gb == 2 * (1 << 10) / 0.03125 / 1e9
