"""Whatever ends a run of mimicmotion, the next one goes on and ends in the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import personare
from personare.engines.mimicmotion import checkpoints
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.errors import Cancelled, EngineError
from personare.media.guide import open_guide
from tests.e2e.mimicmotion_runs import SETTINGS, SMALL, five_pictures, followed

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return five_pictures(tmp_path_factory.mktemp("guide") / "guide.mp4")


@pytest.fixture(scope="module")
def whole(weights, portrait, guide, tmp_path_factory):
    """The frames of an uninterrupted run."""
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path_factory.mktemp("whole"))
    return followed(opened, portrait, guide)[0]


_DIES = """
import json, logging, os, signal, sys
from pathlib import Path
from contextlib import ExitStack
import torch
from personare.cache.checkpoint import Workspace
from personare.engines.engine import load_engine
from personare.engines.mimicmotion import checkpoints, performance
from personare.studio.order import Order
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.weights.finder import Weights

logging.basicConfig(level=logging.INFO, format="%(message)s")
Workspace.due = lambda self, seconds=0: True
given = json.loads(sys.argv[1])
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

def run(what, done):
    def progress(told, at, total):
        if told.startswith(what) and at >= done:
            die()
    if what == "decoding":
        performance.decoded = die
    settings = Settings(cache_dir=Path(given["cache"]), weights=Path(given["weights"]), keep_clips=False)
    Studio(settings).make(Order(**given["order"]), progress)

weights, order = Weights(Path(given["weights"])), given["order"]
with ExitStack() as held:
    options = load_engine("mimicmotion", weights).read_options(order["options"])
    on = torch.device("cpu"), torch.float32
    for lease in (checkpoints.lease_unet, checkpoints.lease_pose_net):
        held.enter_context(lease(options, weights, *on))
    for lease in (checkpoints.lease_encoder, checkpoints.lease_vae):
        held.enter_context(lease(weights, *on))

for what, done in given["deaths"]:
    logging.info("to be killed in %s", what)
    if not (child := os.fork()):
        run(what, done)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""
"""One process imports and loads; what it forks is killed at one place after the other."""
_DEATHS = ("watching", 3), ("sampling", 2), ("sampling", 6), ("sampling", 8), ("decoding", 0), ("speaking", 5)


@pytest.mark.nightly
def test_killed_anywhere_the_next_run_goes_on(cli, weights, portrait, guide, tmp_path):
    """In detection, within a step, between steps, after the last, before the first frame, while
    the mp4 is written.
    """
    killed, cache = tmp_path / "killed.mp4", tmp_path / "cache"
    killed.write_bytes(b"what was there before")
    order = {"portrait": str(portrait), "guide": str(guide), "output": str(killed)}
    order |= {"engine": "mimicmotion", "options": SMALL}
    given = {"cache": str(cache), "weights": str(weights), "order": order, "deaths": _DEATHS}
    ended = subprocess.run(
        [sys.executable, "-c", _DIES, json.dumps(given)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # a thread would not be there after the fork
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = ended.stderr.split("to be killed in ")[1:]
    assert "goes on at step" not in told[0]
    assert "mimicmotion.guide_points goes on at step" in told[1]
    assert "mimicmotion.sampled goes on at step 2 of 8" in told[2]
    assert "mimicmotion.sampled goes on at step 6 of 8" in told[3]
    assert "mimicmotion.sampled goes on at step 8 of 8" in told[4]
    assert "goes on at step" not in told[5]
    assert killed.read_bytes() == b"what was there before"
    assert list(tmp_path.glob(".killed.mp4.*.part"))

    again = ("follow", portrait, guide, "--engine", "mimicmotion", "--weights", weights, "--json", *SETTINGS)
    resumed = cli(*again, "--output", killed, "--cache-dir", cache)
    whole = cli(*again, "--output", tmp_path / "whole.mp4", "--cache-dir", tmp_path / "other")
    assert (resumed.code, whole.code) == (0, 0), (resumed, whole)
    assert set(resumed.json["cache"]["stages"].values()) == {"hit"}
    assert killed.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not list(tmp_path.glob(".killed.mp4.*"))
    assert not list((cache / "workspaces").rglob("checkpoint.safetensors"))


class Stopped:
    """A Progress that stops a run as soon as it is told something."""

    def __init__(self, what, done):
        self.what, self.done = what, done

    def __call__(self, what, done, total):
        if what.startswith(self.what) and done >= self.done:
            raise Cancelled("stopped")


def test_a_damaged_checkpoint_is_not_used(weights, portrait, guide, tmp_path, caplog, whole):
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path)
    avatar = opened.prepare(portrait, **SMALL)
    run = opened.engine.perform(
        avatar, opened.engine.read_options(SMALL), guide=open_guide(guide), store=opened.studio.store
    )
    run.progress = Stopped("sampling", 4)
    with pytest.raises(Cancelled):
        list(run.finish())
    (kept,) = tmp_path.rglob("checkpoint.safetensors")
    content = bytearray(kept.read_bytes())
    content[-40] ^= 1
    kept.write_bytes(content)
    frames, _ = followed(opened, portrait, guide)
    assert "is not used" in caplog.text
    assert np.array_equal(frames, whole)


def test_out_of_memory_takes_smaller_batches_then_says_what_there_is(
    weights, portrait, guide, tmp_path, monkeypatch, caplog
):
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path)
    true, most = checkpoints.unet_output, [1]

    def limited(unet, sample, *rest):
        if len(sample) > most[0]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return true(unet, sample, *rest)

    monkeypatch.setattr(checkpoints, "unet_output", limited)
    frames, _ = followed(opened, portrait, guide, steps=1)
    assert len(frames) == 5
    assert "going on with batches of 1" in caplog.text
    most[0] = 0
    with pytest.raises(EngineError, match=r"out of memory on cpu with a single frame: .* GB free of .* GB"):
        followed(opened, portrait, guide, seed=5)


def test_with_little_memory_branches_go_one_after_the_other():
    cpu, gigabytes = torch.device("cpu"), 10**9
    options = MimicMotionOptions(max_memory=8.0)
    assert checkpoints.runs_together(options, cpu, 6 * gigabytes, gigabytes) == 2
    assert checkpoints.runs_together(options, cpu, 6 * gigabytes, 2 * gigabytes) == 1
    assert checkpoints.runs_together(options, cpu, 9 * gigabytes, gigabytes) == 1
