"""What this machine can do at most: products a second, and bytes moved a second.

Every figure of a network's speed is read against these: a step that reaches a tenth of them
loses its time elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from personare.engines.neural import torch_missing

SIDES = (512, 1024, 2048)
"""Of the matrices that are multiplied; the best of them counts."""
MAP = (512, 64)
"""Channels and side of a map, for a 3x3 convolution: where there are matrix units it comes
nearer to what they can do than a product of matrices.
"""
COPIED_BYTES = 1 << 28
_SECONDS = 0.3
"""For each figure, after one run that warms up."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Best of some runs by the clock.

    products: numeric format -> 10^9 operations a second (a multiplication and an addition are
        two); bfloat16 only where torch is installed.
    copy_gb: 10^9 bytes a second, read and write together, of arrays that fit in no cache.
    """

    products: dict[str, float]
    copy_gb: float


def peaks() -> Peaks:
    """Takes three to four seconds."""
    products = {"float32": _best_of_sides(_of_numpy)}
    if not torch_missing():
        for name in ("float32", "bfloat16"):
            products[name] = max(products.get(name, 0.0), _best_of_sides(partial(_of_torch, name)))
            if products[name] >= products["float32"]:  # elsewhere it could take minutes
                products[name] = max(products[name], _of_convolution(name))
    source = np.ones(COPIED_BYTES // 8)
    target = np.empty_like(source)
    seconds = best(lambda: np.copyto(target, source))
    return Peaks(products, 2 * COPIED_BYTES / seconds / 1e9)


def best(run: Callable[[], object], seconds: float = _SECONDS) -> float:
    """Shortest of the runs that fit in so many seconds, at least two, after one that warms up."""
    run()
    taken: list[float] = []
    while len(taken) < 2 or sum(taken) < seconds:
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _best_of_sides(measure: Callable[[int], float]) -> float:
    """measure: a side -> seconds of one product. What is slow is not measured at a larger size."""
    found = 0.0
    for side in SIDES:
        seconds = measure(side)
        found = max(found, 2 * side**3 / seconds / 1e9)
        if seconds > _SECONDS / 8:
            break
    return found


def _of_numpy(side: int) -> float:
    matrix = np.ones((side, side), np.float32)
    into = np.empty_like(matrix)
    return best(lambda: np.matmul(matrix, matrix, out=into))


def _of_torch(name: str, side: int) -> float:
    import torch

    matrix = torch.ones(side, side, dtype=getattr(torch, name))
    with torch.inference_mode():
        return best(lambda: torch.mm(matrix, matrix))


def _of_convolution(name: str) -> float:
    """10^9 operations a second."""
    import torch
    from torch.nn import functional

    channels, side = MAP
    dtype, last = getattr(torch, name), torch.channels_last
    seen = torch.ones(1, channels, side, side, dtype=dtype).to(memory_format=last)
    weight = torch.ones(channels, channels, 3, 3, dtype=dtype).to(memory_format=last)
    with torch.inference_mode():
        seconds = best(lambda: functional.conv2d(seen, weight, padding=1))
    return 2 * 9 * channels**2 * side**2 / seconds / 1e9
