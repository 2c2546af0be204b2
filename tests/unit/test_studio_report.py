"""What a run cost, as it tells it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from personare.studio.report import peak_memory_mb


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_peak_is_this_programs_own_and_not_that_of_its_parent() -> None:
    held = np.ones(150 * 2**17)
    ours = peak_memory_mb()
    assert ours is not None
    assert ours > held.nbytes / 1e6
    asked = [
        sys.executable,
        "-c",
        "from personare.studio.report import peak_memory_mb; print(peak_memory_mb())",
    ]
    assert float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout) < held.nbytes / 1e6
