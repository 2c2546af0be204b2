"""Every write, sync, rename, lock, removal and SQL statement of the store, its workspaces and
index, and of the shelf goes wrong once; see injection.py. A random part of all cases each time;
PERSONARE_INJECT_EVERY=1 tries all (three minutes of processor time).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def test_whatever_call_fails_or_is_the_last_nothing_wrong_is_kept():
    every = os.environ.get("PERSONARE_INJECT_EVERY", "16")
    seed = os.environ.get("PERSONARE_INJECT_SEED", "1")
    # A process of its own: forking wants no threads but one.
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.injection", "--every", every, "--seed", seed],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    sys.stdout.write(ended.stdout)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    points, cases, problems = map(int, re.findall(r"\d+", ended.stdout.splitlines()[-1]))
    assert points > 1000
    assert cases > 2 * points / int(every)
    assert problems == 0
