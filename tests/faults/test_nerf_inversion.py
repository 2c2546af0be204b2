"""The hours of an inversion are not lost: killed, cancelled or damaged, it ends in the same
bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from personare.cache.checkpoint import Workspace
from personare.cache.store import FeatureStore
from personare.errors import Cancelled
from personare.studio.settings import Settings
from personare.studio.studio import Studio

pytestmark = pytest.mark.neural

ROOT = Path(__file__).parents[2]
PHOTO = Path(str(files("personare") / "assets" / "portrait.jpg"))
STEPS = {"projection_steps": 3, "tuning_steps": 6, "pose_steps": 3, "fit_steps": 2}

_PREPARE = """
import sys
from pathlib import Path
from personare.cache.checkpoint import Workspace
from tests.faults.test_nerf_inversion import prepare
Workspace.due = lambda self, seconds=0: self._folder is not None
def told(*what):
    print(*what, flush=True)
prepare(Path(sys.argv[1]), Path(sys.argv[2]), told, "latent")
"""


def prepare(store, weights, progress=lambda *told: None, mode="deform"):
    """The features of the bundled portrait, by name."""
    studio = Studio(Settings(cache_dir=store, weights=weights))
    cast = studio.cast(PHOTO, "nerffacespeech", {**STEPS, "device": "cpu", "mode": mode})
    try:
        return studio.prepare(cast, progress)[0].features
    finally:
        studio.store.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the undisturbed inversion is kept."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(weights, kept):
    """What an undisturbed inversion makes."""
    made = prepare(kept, weights)
    return {stage: {n: np.array(a) for n, a in f.arrays.items()} for stage, f in made.items()}


def copied_up_to_the_fit(kept, folder):
    """The undisturbed inversion, as far as it had come when the fit began."""
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    with closing(FeatureStore(folder)) as store:
        later = [entry for entry in store.entries() if entry.stage.endswith((".fit", ".anchor"))]
        assert len(later) == 2
        for entry in later:
            store.file(entry.key).unlink()


@pytest.fixture
def saved_at_every_step(monkeypatch):
    monkeypatch.setattr(Workspace, "due", lambda self, seconds=0: self._folder is not None)


def assert_same(made, whole):
    """Of what was made, which may be less: without a face model there is no torso."""
    assert "nerffacespeech.tuning" in made
    for stage, feature in made.items():
        for name, array in feature.arrays.items():
            assert np.array_equal(whole[stage][name], array), (stage, name)


@pytest.mark.nightly
def test_killed_at_two_thirds_of_the_tuning_it_goes_on_from_there(weights, tmp_path, whole):
    process = subprocess.Popen(
        [sys.executable, "-c", _PREPARE, tmp_path, weights],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("tuning") and line.rstrip().endswith("4 6"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    told = []
    made = prepare(
        tmp_path, weights, lambda what, done, total: told.append((what.split(",")[0], done)), "latent"
    )
    steps = [done for what, done in told if what == "tuning"]
    assert steps[0] >= 4
    assert ("projection", 0) not in told
    assert_same(made, whole)


@pytest.mark.parametrize(
    ("loop", "at", "damage"),
    [("projection", 2, False), ("tuning", 3, True), ("fit", 4, False)],
    ids=["projection", "tuning with a damaged checkpoint", "fit"],
)
def test_stopped_anywhere_it_ends_in_the_same_bytes(
    weights, tmp_path, whole, kept, saved_at_every_step, loop, at, damage, caplog
):
    def stop(what, done, total):
        if what.startswith(loop) and done == at:
            raise Cancelled("enough")

    mode = "deform" if loop == "fit" else "latent"
    if loop == "fit":
        copied_up_to_the_fit(kept, tmp_path)
    with pytest.raises(Cancelled) as stopped:
        prepare(tmp_path, weights, stop, mode)
    assert stopped.value.__notes__[0].startswith(f"step {at} of ")
    told = []
    if damage:
        (checkpoint,) = tmp_path.rglob("checkpoint.safetensors")
        data = bytearray(checkpoint.read_bytes())
        data[-5000] ^= 0xFF
        checkpoint.write_bytes(data)
    made = prepare(tmp_path, weights, lambda what, done, total: told.append((what.split(",")[0], done)), mode)
    assert next(done for what, done in told if what == loop) == (0 if damage else at)
    assert ("is not used" in caplog.text) == damage
    assert_same(made, whole)
    assert not list(tmp_path.rglob("checkpoint.safetensors"))


def test_two_processes_prepare_one_person_once(weights, tmp_path):
    """One tunes, the other waits, tells how far it is, and finds what it made."""
    few = (f"{name}={value}" for name, value in STEPS.items())
    given = (PHOTO, "-v", "--json", "--engine", "nerffacespeech", "--weights", weights)
    given = (*given, "--cache-dir", tmp_path / "features", "--set", "mode=latent", "device=cpu", *few)
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "personare", "avatar", "create", name, *map(str, given)],
            env={**os.environ, "PERSONARE_HOME": str(tmp_path / name)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("anna", "otto")
    ]
    told = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    stages = [json.loads(out)["stages"] for out, _ in told]
    for name in stages[0]:
        assert sorted(each[name] for each in stages) == ["hit", "miss"], (name, told)
    assert any("waiting for another process" in err for _, err in told), told
