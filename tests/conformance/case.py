"""What a conformance case is: a function from a golden's named inputs to its named outputs,
through the product's own classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.seeded_weights import seeded_tensors

HERE = Path(__file__).parent
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an output may be from its golden: the largest absolute difference, in standard
    deviations of the golden if `of_std`; `mean` bounds the mean absolute difference as well.
    share: of the values that must be so near; where a step decides, a few may fall on its other
    side.
    """

    largest: float
    of_std: bool = False
    mean: float | None = None
    share: float = 1.0

    def bound(self, golden: np.ndarray) -> float:
        """The largest absolute difference allowed for this golden."""
        return self.largest * (float(golden.std()) or 1.0) if self.of_std else self.largest


EXACT = Tolerance(0)


@dataclass(frozen=True)
class Replay:
    """All that a case sees: a golden's arrays, the other goldens of its folder, and seeded
    weights after the folder's manifests.

    full: the released configuration instead of the tiny one.
    """

    engine: str
    folder: Path
    arrays: Arrays
    seed: int = 0
    full: bool = False
    _states: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def golden(self, name: str) -> Arrays:
        """Another golden of the same folder (of the same size, if there is one)."""
        for stem in (f"full_{name}", name) if self.full else (name,):
            if path := golden_files(self.folder).get(stem):
                return read_golden(path)
        raise FileNotFoundError(f"this case needs golden_{name}.npz beside it")

    def manifest_path(self, component: str) -> Path:
        """The manifest that decides the component's names and sizes.

        Tiny: the folder's own, else ours, else (a network of one size) the released one beside
        the folder or ours. Released: in the folder, `released/` in it, the folder above it,
        then ours.
        """
        name, ours, folder = f"manifest_{component}.json", HERE / self.engine, self.folder
        released = [folder / "released" / name, folder.parent / name, ours / "released" / name]
        candidates = [folder / name, *released] if self.full else [folder / name, ours / name, *released]
        for path in candidates:
            if path.is_file() and not (self.full and _is_tiny(path)):
                return path
        raise FileNotFoundError(f"no {name} for {self.engine}{' at full size' if self.full else ''}")

    def config(self, component: str) -> dict[str, Any]:
        """Constructor values of the component's network."""
        return dict(_read_manifest(self.manifest_path(component))["config"])

    def state(self, component: str) -> dict[str, Any]:
        """The component's seeded checkpoint, names as in the released file: name -> torch
        tensor. Built once per replay.
        """
        import torch

        key = (str(self.manifest_path(component)), self.seed)
        if key not in self._states:
            tensors = seeded_tensors(_read_manifest(self.manifest_path(component)), self.seed)
            self._states[key] = {name: torch.from_numpy(np.array(array)) for name, array in tensors}
        return dict(self._states[key])


@dataclass(frozen=True)
class Case:
    """One golden's replay.

    run: from a Replay to the outputs by name.
    inputs: patterns (whole names) of arrays that the golden gives rather than expects; every
        other array must be among the outputs.
    tolerances: pattern of an output's name -> Tolerance, first match counts.
    components: networks whose seeded weights the case needs.
    """

    run: Callable[[Replay], Arrays]
    tolerances: Mapping[str, Tolerance]
    inputs: tuple[str, ...] = ()
    components: tuple[str, ...] = ()

    @cached_property
    def _input_names(self) -> list[re.Pattern[str]]:
        return [re.compile(pattern) for pattern in self.inputs]

    def expects(self, name: str) -> bool:
        """Whether the array of this name is an output."""
        return not any(pattern.fullmatch(name) for pattern in self._input_names)

    def tolerance(self, name: str) -> Tolerance:
        """That of an output; raises KeyError if the case names none."""
        for pattern, tolerance in self.tolerances.items():
            if re.fullmatch(pattern, name):
                return tolerance
        raise KeyError(f"the case has no tolerance for {name}")


def golden_files(folder: Path) -> dict[str, Path]:
    """Golden name -> file, for golden_NAME.npz and NAME.npz alike."""
    return {path.stem.removeprefix("golden_"): path for path in sorted(folder.glob("*.npz"))}


def read_golden(path: Path) -> dict[str, np.ndarray]:
    """Its arrays by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(manifest, dict)
    return manifest


def _is_tiny(path: Path) -> bool:
    """Manifests of small configurations say so; "whisper-tiny" is the name of a released
    network.
    """
    return (
        re.search(r"\btiny( stand-in| configuration|[',])", str(_read_manifest(path).get("checkpoint", "")))
        is not None
    )
