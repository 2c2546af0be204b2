"""The replayer itself: everything that is not proven equal fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.case import HERE, Replay, Tolerance, read_golden
from tests.conformance.replay import known_engines, main, replay

pytestmark = pytest.mark.neural

MUSETALK = HERE / "musetalk"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one golden of our own name style."""
    shutil.copy(MUSETALK / "golden_pe.npz", tmp_path / "pe.npz")
    return tmp_path


def _change(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, **{**read_golden(path), **arrays})


def test_plain_names_and_folders_without_manifests_are_replayed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(MUSETALK / "golden_dwpose_net.npz", folder)
    assert main(["--engine", "musetalk", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "pass  pe" in out
    assert "pass  dwpose_net" in out
    assert "tolerance" in out


def test_an_unknown_engine_and_an_empty_folder_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--engine", "nobody", str(MUSETALK)]) == 1
    assert "musetalk" in capsys.readouterr().err
    assert main(["--engine", "musetalk", str(tmp_path)]) == 1
    assert "no goldens" in capsys.readouterr().err
    assert "musetalk" in known_engines()


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"unheard_of": np.zeros(3)}, "does not produce"),
        ({"y": np.zeros((1, 49, 48), np.float32)}, "shape"),
        ({"y": np.zeros((1, 50, 48), np.float32)}, "max abs"),
        ({"y": np.full((1, 50, 48), np.nan, np.float32)}, "max abs"),
    ],
)
def test_nothing_is_skipped(
    folder: Path, arrays: dict[str, np.ndarray], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(folder / "pe.npz", **arrays)
    assert main(["--engine", "musetalk", str(folder)]) == 1
    assert fault in capsys.readouterr().out


def test_a_golden_without_a_case_and_a_case_that_breaks_fail(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "pe.npz", folder / "golden_unheard_of.npz")
    np.savez(
        folder / "golden_cycle.npz",
        n_frames=np.array(0),
        n_audio=np.array(3),
        batch_size=np.array(2),
        source_index=np.zeros(3),
    )
    assert main(["--engine", "musetalk", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "no case of this name" in out
    assert "ZeroDivisionError" in out
    assert "1 passed, 2 failed" in out


def test_another_seed_gives_other_numbers(tmp_path: Path) -> None:
    shutil.copy(MUSETALK / "golden_dwpose_net.npz", tmp_path)
    assert [verdict.passes for verdict in replay("musetalk", tmp_path, seed=0)] == [True]
    assert [verdict.passes for verdict in replay("musetalk", tmp_path, seed=1)] == [False]


def test_a_manifest_in_the_folder_counts_instead_of_ours(tmp_path: Path) -> None:
    shutil.copy(MUSETALK / "golden_dwpose_net.npz", tmp_path)
    manifest = json.loads((MUSETALK / "manifest_dwpose.json").read_text())
    manifest["overrides"].append({"pattern": "cls_x", "mean": 0.0, "std": 0.5})
    (tmp_path / "manifest_dwpose.json").write_text(json.dumps(manifest))
    verdict = next(replay("musetalk", tmp_path))
    failed = {comparison.array for comparison in verdict.comparisons if not comparison.passes}
    assert failed == {"simcc_x", "flip_simcc_x"}


def test_full_cases_take_the_released_configuration(tmp_path: Path) -> None:
    tiny, full = Replay("musetalk", tmp_path, {}), Replay("musetalk", tmp_path, {}, full=True)
    assert tiny.config("unet")["block_out_channels"] == [32, 64, 96, 96]
    assert full.config("unet")["block_out_channels"] == [320, 640, 1280, 1280]
    released = json.loads((MUSETALK / "released" / "manifest_unet.json").read_text())
    below = tmp_path / "tiny"
    below.mkdir()
    (below / "manifest_unet.json").write_text((MUSETALK / "manifest_unet.json").read_text())
    (tmp_path / "manifest_unet.json").write_text(
        json.dumps(released | {"config": {"from": "the folder above"}})
    )
    assert Replay("musetalk", below, {}, full=True).config("unet") == {"from": "the folder above"}
    assert Replay("musetalk", below, {}).config("unet")["block_out_channels"] == [32, 64, 96, 96]


@pytest.mark.parametrize("engine", ["musetalk", "float", "mimicmotion"])
def test_every_released_manifest_is_found_at_full_size(engine: str) -> None:
    released = sorted((HERE / engine / "released").glob("manifest_*.json"))
    assert len(released) > 3
    for path in released:
        component = path.stem.removeprefix("manifest_")
        assert Replay(engine, HERE / engine, {}, full=True).manifest_path(component) == path


def test_tolerances_count_in_standard_deviations_where_told() -> None:
    golden = np.array([0.0, 2.0])
    assert Tolerance(0.1).bound(golden) == 0.1
    assert Tolerance(0.1, of_std=True).bound(golden) == pytest.approx(0.1)
    assert Tolerance(0.1, of_std=True).bound(10 * golden) == pytest.approx(1.0)
