"""The bench: real runs at a tiny size, rows that add up, a picture."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from personare.bench.plot import check_plot, parts
from personare.bench.runs import STAGES, read_run, run_bench
from personare.errors import UnreadableMedia, UnwritableOutput, WeightsMissing
from personare.voice.syllables import syllables
from tests.conftest import write_wav

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory, portrait, voice_samples):
    """One cold and one warm run."""
    speech = write_wav(tmp_path_factory.mktemp("bench") / "v.wav", voice_samples[:8000])
    return run_bench("puppet", portrait=portrait, speech=speech, runs=1, options={"size": "256"})


def test_cold_computes_warm_reads_and_rows_add_up(measured):
    cold, warm = measured.runs
    assert (cold.temperature, warm.temperature) == ("cold", "warm")
    assert set(cold.stages) == set(warm.stages) != set()
    assert warm.seconds["preprocess"] < cold.seconds["preprocess"]
    assert (measured.width, measured.frames, measured.audio_seconds) == (256, 13, 0.5)
    for run in measured.runs:
        assert {"drive", "motion", "render"} <= set(run.seconds) <= set(STAGES)
        steps = sum(
            run.seconds[step] for step in ("drive", "motion", "render", "compose") if step in run.seconds
        )
        assert 0 < steps <= run.seconds["perform"] * 1.001
        assert (
            run.seconds["start"] + run.seconds["preprocess"] + run.seconds["perform"] <= run.seconds["total"]
        )
        assert measured.medians[run.temperature] == run.seconds
    assert measured.machine.cores >= 1
    assert "numpy" in measured.machine.versions


def test_the_command_prints_table_and_json_and_draws(cli, measured, monkeypatch, tmp_path):
    monkeypatch.setattr("personare.bench.runs.run_bench", lambda engine, **_: measured)
    table = cli("bench", "puppet").out
    assert all(f"\n{stage}" in table for stage in STAGES)
    found = cli("bench", "puppet", "--json").json
    assert found["medians"]["cold"]["total"] > 0
    assert found["runs"][1]["temperature"] == "warm"
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("the extra personare[bench] is not installed")
    target = tmp_path / "bench.png"
    assert cli("bench", "puppet", "--plot", target).code == 0
    assert target.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_parts_of_the_picture_add_up_to_the_total():
    medians = {
        "start": 1.0,
        "preprocess": 0.5,
        "drive": 1.0,
        "render": 3.0,
        "perform": 2.0,
        "encode": 0.25,
        "total": 4.0,
    }
    drawn = parts(medians)
    assert math.isclose(sum(drawn.values()), 4.0)
    assert (drawn["drive"], drawn["render"], drawn["perform (rest)"]) == (0.5, 1.5, 0.0)


def test_a_report_becomes_a_run():
    report = {
        "timings": {"puppet.face": 0.5, "perform": 2.0, "render": 1.5, "write": 0.1, "total": 3.0},
        "cache": {"stages": {"puppet.face": "miss"}},
        "realtime_factor": 2.0,
        "peak_memory_mb": None,
    }
    run = read_run("cold", report, 3.5)
    assert run.seconds == {
        "start": 0.5,
        "preprocess": 0.5,
        "render": 1.5,
        "perform": 2.0,
        "encode": 0.1,
        "total": 3.5,
    }


def test_what_a_guide_needs_is_no_preparation():
    report = {
        "timings": {"a.face": 0.5, "a.poses": 1.0, "drive": 1.0, "perform": 2.0, "write": 0.1, "total": 3.0},
        "cache": {"stages": {"a.face": "miss", "a.poses": "miss"}, "performed": ["a.poses"]},
        "realtime_factor": 2.0,
        "peak_memory_mb": None,
    }
    run = read_run("cold", report, 3.5)
    assert (run.seconds["preprocess"], run.seconds["drive"]) == (0.5, 1.0)
    assert run.stages == {"a.face": 0.5, "a.poses": 1.0}


def test_what_cannot_be_done_is_said_before_any_run(cli, monkeypatch, tmp_path):
    with pytest.raises(UnwritableOutput):
        check_plot(tmp_path / "a.jpg")
    with pytest.raises(UnwritableOutput):
        check_plot(tmp_path / "no" / "a.png")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsMissing) as caught:
        check_plot(tmp_path / "a.png")
    assert "personare[bench]" in caught.value.hint

    assert cli("bench", "puppet", "--set", "size=3").code == 3
    assert cli("bench", "nobody").code == 3


def test_a_failing_run_says_what_speak_says(tmp_path, portrait):
    (tmp_path / "v.wav").write_bytes(b"no sound")
    with pytest.raises(UnreadableMedia, match=r"v\.wav"):
        run_bench("puppet", portrait=portrait, speech=tmp_path / "v.wav", runs=1)


def test_syllables_are_speech_like_and_always_the_same():
    samples = syllables(2)
    assert samples.dtype == np.float32
    assert len(samples) == 32000
    assert 0.4 < np.abs(samples).max() <= 0.5
    assert np.array_equal(samples, syllables(2))
