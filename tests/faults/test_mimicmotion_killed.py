"""kill -9 while mimicmotion samples: the next run goes on and ends in the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.neural


@pytest.fixture
def guide(tmp_path, portrait):
    folder = tmp_path / "guide"
    folder.mkdir()
    photo = cv2.resize(cv2.imread(str(portrait)), (128, 128), interpolation=cv2.INTER_AREA)
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.roll(photo, 3 * number, axis=0))
    return folder


def test_killed_in_a_step_the_next_run_goes_on(cli, weights, portrait, guide, tmp_path):
    settings = ("resolution=64", "steps=6", "sample_stride=1", "tile_size=4", "tile_overlap=2", "device=cpu")

    def command(name, cache):
        return (
            *("follow", portrait, guide, "-o", tmp_path / name, "--engine", "mimicmotion"),
            *("--weights", weights, "--cache-dir", tmp_path / cache, "-v", "--set", *settings),
        )

    words = [sys.executable, "-m", "personare", *map(str, command("killed.mp4", "cache"))]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = tmp_path / "cache" / "workspaces"
    while process.poll() is None and not list(kept.rglob("checkpoint.safetensors")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.mp4").exists()

    resumed, whole = cli(*command("resumed.mp4", "cache")), cli(*command("whole.mp4", "other"))
    assert (resumed.code, whole.code) == (0, 0)
    assert "mimicmotion.sampled goes on at step" in resumed.err
    assert "goes on at step" not in whole.err
    assert (tmp_path / "resumed.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not list(kept.rglob("checkpoint.safetensors"))
