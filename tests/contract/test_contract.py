"""Every engine keeps the contract: puppet, the wings with networks at tiny size, and the
skeleton of docs/add-an-engine.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from personare.cache.store import FeatureStore
from personare.contract.cases import Case
from personare.contract.checks import CHECKS, EVERY, Broken, Check
from personare.contract.guided import GUIDED
from personare.engines.engine import Engine, load_engine
from personare.engines.performance import Performance
from personare.media.guide import open_guide
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.types import Guide

SKELETON = Path(__file__).parents[2] / "examples" / "engine"
SOUGHT = {
    "puppet": {"size": 256},
    "musetalk": {"audio": "streaming", "fps": 5, "batch_size": 2, "device": "cpu"},
    "musetalk-exact": {"audio": "exact", "fps": 5, "batch_size": 2, "device": "cpu"},
    "float": {"emotion": "neutral", "device": "cpu"},
    "artalk": {"device": "cpu", "size": 64},
    "mimicmotion": {"resolution": 64, "steps": 1, "sample_stride": 1, "device": "cpu"},
    "nerffacespeech": {"device": "cpu", "mode": "latent", "projection_steps": 2, "tuning_steps": 1},
}
EXACT = {"counts", "cuts", "interruptions", "latency", "resumption"}
SECONDS = {
    "puppet": 1.2,
    "musetalk": 1.2,
    "musetalk-exact": 0.8,
    "float": 1.2,
    "artalk": 1.2,
    "mimicmotion": 0,
    "nerffacespeech": 0.5,
}
CHECKS_OF = {"puppet": CHECKS + GUIDED, "mimicmotion": EVERY + GUIDED}
MARKS_OF = {
    "puppet": [],
    "musetalk-exact": [pytest.mark.neural, pytest.mark.slow, pytest.mark.nightly],
}
PAIRS = [
    pytest.param(
        name,
        check,
        marks=MARKS_OF.get(name, [pytest.mark.neural, pytest.mark.slow]),
        id=f"{name}-{check.__name__}",
    )
    for name in SOUGHT
    for check in CHECKS_OF.get(name, CHECKS)
    # With audio=exact just the way of hearing is another.
    if name != "musetalk-exact" or check.__name__ in EXACT
]
PHOTO = Path(str(files("personare") / "assets" / "portrait.jpg"))


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    name: str = request.param
    engine = name.partition("-")[0]
    weights = None if engine == "puppet" else request.getfixturevalue("weights")
    studio = Studio(Settings(cache_dir=tmp_path_factory.mktemp(name), weights=weights))
    own = studio.brings_portrait(engine, SOUGHT[name])
    cast = studio.cast(None if own else PHOTO, engine, SOUGHT[name])
    avatar, _ = studio.prepare(cast)
    yield Case(cast.engine, avatar, cast.options, studio.store, SECONDS[name])
    studio.store.close()


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Guide:
    """Three pictures of somebody who does nothing, at five a second."""
    folder = tmp_path_factory.mktemp("guide")
    for number in range(3):
        shutil.copy(PHOTO, folder / f"{number}.jpg")
    return open_guide(folder, Fraction(5))


@pytest.mark.parametrize(("case", "check"), PAIRS, indirect=["case"])
def test_the_contract_is_kept(case: Case, check: Check, guide: Guide) -> None:
    case.guide = guide if check in GUIDED or "speech" not in case.engine.drives(case.options) else None
    try:
        check(case)
    finally:
        case.close()


@pytest.mark.slow
def test_the_skeleton_keeps_it_as_others_run_it(tmp_path: Path) -> None:
    """Its package is found by its entry point, and put to every check by one command."""
    package = tomllib.loads((SKELETON / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = package["entry-points"]["personare.engines"]
    info = tmp_path / "personare_lamp-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package['name']}\nVersion: 0.1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("[personare.engines]\n" + "\n".join(lines) + "\n")
    paths = os.pathsep.join(
        filter(None, [str(tmp_path), str(SKELETON / "src"), os.environ.get("PYTHONPATH")])
    )
    ended = subprocess.run(
        [sys.executable, "-m", "personare.contract", "lamp"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "PERSONARE_HOME": str(tmp_path / "home")},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(" kept ") == len(CHECKS)
    assert "BROKEN" not in ended.stdout


class _Forgetful(Performance):
    """Wraps a good performance, and breaks one promise at a time."""

    def __init__(self, good: Performance, fault: str) -> None:
        super().__init__()
        self._good, self._fault = good, fault
        self.fps, self.size = good.fps, good.size

    def __getattribute__(self, name: str) -> Any:
        if name in ("feed", "finish", "idle", "interrupt", "close", "show"):
            return object.__getattribute__(self, f"_do_{name}")
        return object.__getattribute__(self, name)

    def _hear(self, *_: Any) -> Any:
        raise AssertionError

    _end = _hear

    def _do_feed(self, samples: Any, phones: Any = None) -> Any:
        made = self._good.feed(samples, phones)
        return iter([]) if self._fault == "late" else made

    def _do_finish(self) -> Any:
        made = list(self._good.finish())
        return iter(made[:-1] if self._fault == "short" else made)

    def _do_idle(self, n: int) -> Any:
        return self._good.idle(n + 1 if self._fault == "idle" else n)

    def _do_interrupt(self) -> None:
        if self._fault == "raises":
            raise ValueError("generator already executing")
        if self._fault != "deaf":
            self._good.interrupt()

    def _do_close(self) -> None:
        self._good.close()

    def _do_show(self, motion: Any) -> Any:
        return self._good.show(motion)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("late", "latency"),
        ("short", "counts"),
        ("idle", "idles"),
        ("raises", "interruptions"),
        ("deaf", "resumption"),
    ],
)
def test_a_broken_promise_is_found(tmp_path: Path, fault: str, check: str) -> None:
    studio = Studio(Settings(cache_dir=tmp_path / "features"))
    cast = studio.cast(PHOTO, "puppet", {"size": 256})
    avatar, _ = studio.prepare(cast)
    engine: Engine = load_engine("puppet")
    broken = type("Broken", (type(engine),), {})()
    broken.perform = lambda *given, **named: _Forgetful(engine.perform(*given, **named), fault)
    case = Case(broken, avatar, cast.options, FeatureStore(tmp_path / "features"))
    (wanted,) = [one for one in CHECKS if one.__name__ == check]
    with pytest.raises(Broken):
        wanted(case)
    case.close()
    studio.store.close()
