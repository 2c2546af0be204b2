"""Replays a folder of goldens through the product:

    python -m tests.conformance.replay --engine musetalk [--seed S] DIR

DIR holds golden_NAME.npz (or NAME.npz) with the array names that `ENGINE_cases.py` knows; other
inputs, sizes and seeds than ours are welcome. A manifest_COMPONENT.json in DIR counts instead
of ours. golden_full_NAME.npz runs case NAME at the released size. Ends with 1 if any output is
missing, of another shape or beyond its tolerance, if DIR has no goldens or the engine is
unknown.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.conformance.case import HERE, Case, Replay, golden_files, read_golden


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output beside its golden. largest and relative: max abs difference, and that over the
    golden's largest value.
    """

    array: str
    largest: float
    relative: float
    allowed: float
    fault: str = ""

    @property
    def passes(self) -> bool:
        return not self.fault


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one golden went. fault: why it could not be compared at all."""

    case: str
    comparisons: tuple[Comparison, ...]
    seconds: float
    fault: str = ""

    @property
    def passes(self) -> bool:
        return not self.fault and bool(self.comparisons) and all(c.passes for c in self.comparisons)

    def lines(self) -> Iterator[str]:
        """The case's line, and one more for each array that fails."""
        state = "pass" if self.passes else "FAIL"
        if self.fault:
            yield f"{state}  {self.case:<20} {self.fault}"
            return
        worst = max(
            self.comparisons, key=lambda c: (not c.passes, c.largest / c.allowed if c.allowed else c.largest)
        )
        yield (
            f"{state}  {self.case:<20} max abs {worst.largest:.3g}  max rel {worst.relative:.3g}  tolerance "
            f"{worst.allowed:.3g}"
            f"  ({worst.array}; {len(self.comparisons)} arrays, {self.seconds:.1f} s)"
        )
        for comparison in self.comparisons:
            if not comparison.passes:
                yield f"        {comparison.array}: {comparison.fault}"


def known_engines() -> list[str]:
    """Engines that have cases."""
    return sorted(path.stem.removesuffix("_cases") for path in HERE.glob("*_cases.py"))


def engine_cases(engine: str) -> Mapping[str, Case]:
    """The cases of an engine by golden name; raises LookupError if it has none."""
    if engine not in known_engines():
        raise LookupError(
            f"no cases for engine {engine!r}; there are cases for: {', '.join(known_engines())}"
        )
    cases: Mapping[str, Case] = importlib.import_module(f"tests.conformance.{engine}_cases").CASES
    return cases


def replay(engine: str, folder: Path, seed: int = 0, only: str | None = None) -> Iterator[Verdict]:
    """Every golden of a folder (or just the one named) through its case."""
    cases = engine_cases(engine)
    context = Replay(engine, folder, {}, seed)
    for name, path in golden_files(folder).items():
        if only is None or only == name:
            case = cases.get(name.removeprefix("full_"))
            yield _judge(name, case, replace(context, full=name.startswith("full_")), path)


def _judge(name: str, case: Case | None, context: Replay, path: Path) -> Verdict:
    began = time.perf_counter()
    if case is None:
        return Verdict(name, (), 0.0, "no case of this name")
    try:
        context = replace(context, arrays=read_golden(path))
        for component in case.components:
            context.manifest_path(component)
        outputs = case.run(context)
    except Exception as error:  # a case that breaks is a case that fails; the others still run
        return Verdict(name, (), time.perf_counter() - began, f"{type(error).__name__}: {error}")
    expected = [array for array in context.arrays if case.expects(array)]
    comparisons = tuple(
        _compare(case, array, context.arrays[array], outputs.get(array)) for array in expected
    )
    return Verdict(
        name, comparisons, time.perf_counter() - began, "" if expected else "the golden has no outputs"
    )


def _compare(case: Case, name: str, golden: np.ndarray, made: np.ndarray | None) -> Comparison:
    nothing = Comparison(name, float("inf"), float("inf"), 0.0)
    try:
        tolerance = case.tolerance(name)
    except KeyError as error:
        return replace(nothing, fault=str(error.args[0]))
    if made is None:
        return replace(nothing, fault="the case does not produce it")
    made = np.asarray(made)
    if made.shape != golden.shape:
        return replace(nothing, fault=f"shape {made.shape}, golden {golden.shape}")
    if golden.size == 0:
        return Comparison(name, 0.0, 0.0, tolerance.largest)
    difference = np.abs(made.astype(np.float64) - golden.astype(np.float64))
    allowed = tolerance.bound(golden.astype(np.float64))
    largest, mean = float(np.quantile(difference, tolerance.share)), float(difference.mean())
    if np.isnan(difference).any():
        largest = float("nan")
    relative = largest / max(float(np.abs(golden.astype(np.float64)).max()), 1e-12)
    fault = ""
    if not largest <= allowed:  # NaN fails too
        what = "max abs" if tolerance.share == 1 else f"abs of {tolerance.share:.4%}"
        fault = f"{what} {largest:.4g} > {allowed:.4g}"
    elif tolerance.mean is not None and mean > tolerance.mean:
        fault = f"mean abs {mean:.4g} > {tolerance.mean:.4g}"
    return Comparison(name, largest, relative, allowed, fault)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.replay", description="Replays goldens through the product."
    )
    parser.add_argument("--engine", required=True, help="whose cases")
    parser.add_argument("--seed", type=int, default=0, help="of the stand-in weights")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with golden_NAME.npz")
    chosen = parser.parse_args(arguments)
    try:
        engine_cases(chosen.engine)
    except LookupError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    passed = failed = 0
    for verdict in replay(chosen.engine, chosen.folder, chosen.seed):
        sys.stdout.write("\n".join(verdict.lines()) + "\n")
        sys.stdout.flush()
        passed, failed = passed + verdict.passes, failed + (not verdict.passes)
    if passed + failed == 0:
        sys.stderr.write(f"error: no goldens in {chosen.folder}\n")
        return 1
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
