"""Deterministic stand-in weights, so that two implementations of one network can be compared
number by number.

A manifest lists every tensor of a released checkpoint: its name, dtype and shape.
`seeded_state_dict` fills those tensors from their names alone, so anyone can rebuild the same
multi-gigabyte checkpoint from a few kilobytes of JSON, on any machine, with NumPy only.

Manifest layout (JSON):
    engine, component   what the checkpoint belongs to
    checkpoint          where the released file lives and how its keys are wrapped
    config              constructor values of the network this manifest describes
    tensors             {name: [dtype, [shape]]}
    overrides           [{"pattern": regex, "mean": m, "std": s}], first match wins (re.search)
    constants           [regex]: buffers that the architecture computes itself; never seeded

Values: x is standard normal float32 from Philox keyed with sha256("SEED:NAME").
    *num_batches_tracked        0
    *running_var                1 + 0.1 |x|
    *running_mean               0.1 x
    an override's match         mean + std x
    0-d, 1-d not ending 'bias'  1 + 0.1 x
    1-d ending 'bias'           0.05 x
    2-d and up                  x / sqrt(product of shape[1:])
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def seeded_array(
    name: str, shape: tuple[int, ...], seed: int = 0, mean: float | None = None, std: float | None = None
) -> np.ndarray:
    """One tensor's values, float32 (int64 for num_batches_tracked)."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype="<u8")
    x = np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)
    x = np.asarray(x, np.float32)
    if mean is not None or std is not None:
        return np.float32(mean or 0.0) + np.float32(1.0 if std is None else std) * x
    if name.endswith("running_var"):
        return 1 + np.float32(0.1) * np.abs(x)
    if name.endswith("running_mean"):
        return np.float32(0.1) * x
    if len(shape) < 2:
        return np.float32(0.05) * x if name.endswith("bias") else 1 + np.float32(0.1) * x
    return x * np.float32(1 / math.sqrt(math.prod(shape[1:])))


def seeded_state_dict(manifest: dict | str | Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor that the manifest lists and does not name a constant."""
    if not isinstance(manifest, dict):
        manifest = json.loads(Path(manifest).read_text())
    return dict(seeded_tensors(manifest, seed))


def seeded_tensors(manifest: dict, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """The same tensors one after another, so that a large checkpoint can be written without
    being held.
    """
    overrides = [
        (re.compile(o["pattern"]), o.get("mean", 0.0), o.get("std", 1.0))
        for o in manifest.get("overrides", [])
    ]
    constants = [re.compile(p) for p in manifest.get("constants", [])]
    for name, (_dtype, shape) in manifest["tensors"].items():
        if any(c.search(name) for c in constants):
            continue
        mean = std = None
        for pattern, m, s in overrides:
            if pattern.search(name):
                mean, std = m, s
                break
        yield name, seeded_array(name, tuple(shape), seed, mean, std)
