"""Writes checkpoints in the released layout with stand-in weights, so that a whole engine runs
from files:

    python -m tests.conformance.seeded_checkpoint --engine musetalk --size tiny|full [--seed S]
    [--only COMPONENT]... DIR

ENGINE_layout.py says which files. Tensors are written one after another: the full size needs
disk (twice its own), not memory.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.case import HERE, Replay
from tests.conformance.seeded_weights import seeded_tensors


@dataclass(frozen=True, slots=True)
class Released:
    """One released file.

    component: its catalogue name.
    manifest: of its tensors.
    file, config: where below the weights folder.
    wrapped_in: the key under which the file holds its tensors.
    constants: gives the tensors by name that are not weights, such as the mean of what it was
        trained on.
    writer: writes the file where it has no manifest.
    prefix: before the names of the manifest's tensors.
    also: (manifest, prefix) of further networks in the same file.
    saver: writes tensors and configuration in a layout of its own.
    """

    component: str
    manifest: str
    file: str
    config: str | None = None
    wrapped_in: str | None = None
    constants: Callable[[], Mapping[str, np.ndarray]] = dict
    writer: Callable[[Path], object] | None = None
    prefix: str = ""
    also: tuple[tuple[str, str], ...] = ()
    saver: Callable[[Mapping[str, Any], Mapping[str, Any], Path], object] | None = None


def write_checkpoints(
    engine: str, size: str, folder: Path, seed: int = 0, only: Collection[str] | None = None
) -> list[Path]:
    """Every released file of an engine (or of the components named), tiny or at full size; the
    files that were written.

    Raises LookupError for an engine without a layout or a component that it does not have.
    """
    if not (HERE / f"{engine}_layout.py").is_file():
        raise LookupError(f"no checkpoint layout for engine {engine!r}")
    layout: tuple[Released, ...] = importlib.import_module(f"tests.conformance.{engine}_layout").LAYOUT
    if unknown := set(only or ()) - {entry.component for entry in layout}:
        raise LookupError(
            f"{engine} has no {', '.join(sorted(unknown))}; it has: {', '.join(e.component for e in layout)}"
        )
    manifests = Replay(engine, HERE / engine, {}, seed, full=size == "full")
    written = []
    for entry in layout:
        if only is None or entry.component in only:
            path = folder / entry.file
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.config:
                (folder / entry.config).write_text(
                    json.dumps(manifests.config(entry.manifest), indent=2), encoding="utf-8"
                )
            if entry.writer is not None:
                entry.writer(path)
                written.append(path)
                continue
            parts = ((entry.manifest, entry.prefix), *entry.also)
            _write(path, [(manifests.manifest_path(part), prefix) for part, prefix in parts], seed, entry)
            written.append(path)
    return written


def _write(path: Path, parts: Sequence[tuple[Path, str]], seed: int, entry: Released) -> None:
    """parts: (manifest, prefix) of the networks in the file."""
    import torch

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        state: dict[str, Any] = {}
        described = [json.loads(manifest.read_text(encoding="utf-8")) for manifest, _ in parts]
        for manifest, (_, prefix) in zip(described, parts, strict=True):
            for name, array in seeded_tensors(manifest, seed):
                state[prefix + name] = _on_disk(array, Path(scratch) / str(len(state)))
        state |= {name: torch.from_numpy(np.array(array)) for name, array in entry.constants().items()}
        if entry.saver is not None:
            entry.saver(state, described[0]["config"], path)
        elif path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(state, path)
        else:
            torch.save({entry.wrapped_in: state, "meta": {}} if entry.wrapped_in else state, path)


def _on_disk(array: np.ndarray, scratch: Path) -> Any:
    """The array as a tensor that is mapped from a file; small ones stay in memory."""
    import torch

    if array.nbytes < 1 << 20:
        return torch.from_numpy(np.array(array))
    np.ascontiguousarray(array).tofile(scratch)
    return torch.from_file(str(scratch), shared=False, size=array.size, dtype=torch.float32).reshape(
        array.shape
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.seeded_checkpoint", description="Writes stand-in checkpoints."
    )
    parser.add_argument("--engine", required=True)
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only",
        action="append",
        metavar="COMPONENT",
        help="catalogue name; may be repeated; without it all of the engine's",
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    chosen = parser.parse_args(arguments)
    try:
        written = write_checkpoints(chosen.engine, chosen.size, chosen.folder, chosen.seed, chosen.only)
    except LookupError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for path in written:
        sys.stdout.write(f"{path} {path.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
