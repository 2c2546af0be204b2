"""Damaged files of every kind: a result or one clear line, never a crash, a hang or gigabytes.

PERSONARE_FUZZ_SECONDS: for all readers together (`make fuzz SECONDS=600`); cases then begin
behind those of every run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.readers import READERS

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("PERSONARE_FUZZ_SECONDS", "30"))
GRACE_SECONDS = 180
"""For imports and samples on a busy machine."""


def fuzz(name: str) -> None:
    share = SECONDS / len(READERS)
    first = "0" if "PERSONARE_FUZZ_SECONDS" not in os.environ else "1000"
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.worker", name, str(share), "--from", first],
            capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths},
            timeout=share + GRACE_SECONDS, check=False,
        )  # fmt: skip
        code, out, err = ended.returncode, ended.stdout, ended.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = -9, str(late.stdout), "no end"
    last = (out.split() or ["none"])[-1]
    assert code == 0, (
        f"case {last} of {name} ended with {code}:\n{err[-2000:]}\n"
        f"python -m tests.fuzz.worker {name} --case {last} --write FILE"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if not reader.neural])
def test_damaged_files(name: str) -> None:
    fuzz(name)


@pytest.mark.slow
@pytest.mark.neural
@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.neural])
def test_damaged_checkpoints(name: str) -> None:
    fuzz(name)


def test_a_case_is_the_same_at_every_run() -> None:
    sample = bytes(range(256)) * 4
    assert mutated(sample, random.Random("a 1")) == mutated(sample, random.Random("a 1"))
    made = {mutated(sample, random.Random(f"a {n}")) for n in range(200)}
    assert len(made) > 190
