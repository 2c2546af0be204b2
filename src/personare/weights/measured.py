"""What a processor computes fastest with: measured when networks first run on it, then kept.

Instruction sets tell what a processor can do, not how fast: bfloat16 is six times as fast as
float32 on one with AMX, twice with avx512_bf16, and forty times slower where it is emulated. So
a matrix product and a convolution are timed in each format, and the convolution with several
pictures at once. `measured_here` keeps that beside the caches, one file for each processor,
version of torch and number of threads.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from blake3 import blake3
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personare.errors import InvalidOption
from personare.ground.durable import replaced_when_complete
from personare.ground.machine import machine
from personare.weights.digests import memo_folder

log = logging.getLogger(__name__)

PRECISION_VARIABLE = "PERSONARE_CPU_PRECISION"
"""Names the format that `precision=auto` means on the processor; nothing is measured then."""

Format = Literal["float32", "bfloat16", "float16"]
What = Literal["product", "convolution"]
FORMATS: tuple[Format, ...] = ("float32", "bfloat16", "float16")
PROBE_SECONDS = 2.0
"""After so long no further piece of work begins."""
GAIN = 1.3
"""So many times as fast as the more exact format another one has to be."""
HOPELESS = 0.7
"""Of float32's rate in a piece of work: below it a format is given up."""
ENOUGH = 0.9
"""Of the best rate: the fewest pictures at once that reach it are taken."""
ROWS = (1, 2, 4, 8)

_TURNS = 3
"""Of each piece of work, of which the best counts: the first warms up."""
_PIECES: tuple[tuple[What, int], ...] = (
    ("product", 256),
    ("convolution", 1),
    ("product", 1024),
    ("convolution", 4),
)
"""In this order, so that what is hopeless is known early; see `Bench.work`."""
_MOST_BYTES = 1 << 14
_WAIT_SECONDS = 10.0

_Rate = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]


class Rates(BaseModel):
    """10^9 operations a second in one format (a multiplication and an addition are two)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: _Rate
    convolution: _Rate

    @property
    def both(self) -> float:
        """The rate of work that is half the one and half the other."""
        return 2 / (1 / self.product + 1 / self.convolution)


class Measured(BaseModel):
    """What was found of one machine. identity: processor, instruction sets, torch, threads.
    rates: of the formats that were not given up. rows: pictures at once -> 10^9 operations a
    second, in the format that is chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: tuple[str, str, str, int]
    rates: dict[Format, Rates] = Field(max_length=len(FORMATS))
    rows: dict[int, _Rate] = Field(default_factory=dict, max_length=len(ROWS))

    @property
    def precision(self) -> Format:
        """float32, unless another format is GAIN times as fast; of the two halves bfloat16,
        which has float32's range, unless float16 is GAIN times as fast as it.
        """
        chosen = FORMATS[0]
        for other in FORMATS[1:]:
            if other in self.rates and self.rates[other].both >= GAIN * self.rates[chosen].both:
                chosen = other
        return chosen

    @property
    def batch(self) -> int | None:
        """Pictures that go together; None if that was not measured."""
        if not self.rows:
            return None
        most = max(self.rows.values())
        return min(rows for rows, rate in self.rows.items() if rate >= ENOUGH * most)

    @property
    def reason(self) -> str:
        """One line for people: what was chosen, and the figures behind it."""
        plain = self.rates.get("float32")
        told = [
            f"{name} {rates.product:.0f} and {rates.convolution:.0f} GFLOP/s"
            + (f" ({rates.both / plain.both:.1f}x)" if plain and name != "float32" else "")
            for name, rates in self.rates.items()
        ]
        told += [f"{name} given up, too slow" for name in FORMATS if name not in self.rates]
        batch = f", {self.batch} pictures at once" if self.batch else ""
        return (
            f"auto is {self.precision}{batch}, with {self.identity[3]} threads: products and "
            f"convolutions in {', '.join(told)}"
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What auto means on the processor. batch: None leaves it to the memory there is."""

    precision: Format
    batch: int | None = None


class Bench(Protocol):
    """What is timed: `work` prepares a piece and gives (its operations in 10^9, what runs it).
    RuntimeError, there or from the run: the machine cannot do that.
    """

    def work(self, what: What, name: Format, size: int) -> tuple[float, Callable[[], object]]:
        """size: the side of the matrices; pictures of the convolution at once."""


class _TorchBench:
    """Matrices of `size`, and 3x3 convolutions as they are in the middle of a UNet: 512
    channels, 8x8, channels last.
    """

    def work(self, what: What, name: Format, size: int) -> tuple[float, Callable[[], object]]:
        import torch

        dtype = getattr(torch, name)
        with torch.inference_mode():
            if what == "product":
                matrix = torch.full((size, size), 0.01).to(dtype)
                return 2 * size**3 / 1e9, lambda: torch.mm(matrix, matrix)
            channels, side = 512, 8
            order = torch.channels_last
            x = torch.full((size, channels, side, side), 0.01).to(dtype).contiguous(memory_format=order)
            kernel = torch.full((channels, channels, 3, 3), 0.01).to(dtype).contiguous(memory_format=order)
            operations = 2 * 9 * size * (channels * side) ** 2 / 1e9
            return operations, lambda: torch.conv2d(x, kernel, padding=1)


def choice_here() -> Choice:
    """What auto means on this processor: as PRECISION_VARIABLE says, else as it was measured.
    Raises InvalidOption for a variable that names no format.
    """
    named = os.environ.get(PRECISION_VARIABLE, "").strip().lower()
    if named in FORMATS:
        return Choice(named)
    if named and named != "auto":
        raise InvalidOption(
            f"{PRECISION_VARIABLE}={named} is no number format", hint=f"one of {', '.join(FORMATS)}, auto"
        )
    measured = measured_here()
    return Choice(measured.precision, measured.batch)


_known: dict[tuple[str, str, str, int], Measured] = {}
_lock = threading.Lock()


def measured_here(*, anew: bool = False) -> Measured:
    """What this processor was found to do, with torch's threads as they are now set: from this
    process, from disk, or measured now. anew: measured in any case.
    """
    import torch

    here = identity(torch.get_num_threads())
    with _lock:
        if here not in _known or anew:
            _known[here] = kept(here, lambda: measure(here, _TorchBench()), anew=anew)
        return _known[here]


def identity(threads: int) -> tuple[str, str, str, int]:
    """What figures depend on: processor, its instruction sets, version of torch, threads."""
    here = machine()
    return here.processor, " ".join(here.flags), here.versions.get("torch", ""), threads


def kept(
    who: tuple[str, str, str, int],
    make: Callable[[], Measured],
    *,
    anew: bool = False,
    wait_seconds: float = _WAIT_SECONDS,
) -> Measured:
    """What is on disk of this machine; `make` and keep it if there is nothing sound. One
    process measures, others wait for it: two at once would measure each other.
    """
    path = place(who)
    if not anew and (found := read(path, who)):
        return found
    lock = FileLock(f"{path}.lock", timeout=wait_seconds)
    held = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        held = True
        if not anew and (found := read(path, who)):
            return found
    except (OSError, Timeout) as error:
        log.info("nobody can be waited for in %s: %s", path.parent, error)
    try:
        made = make()
        try:
            with replaced_when_complete(path) as part:
                part.write_text(made.model_dump_json(indent=1), encoding="utf-8")
        except OSError as error:
            log.info("what was measured cannot be kept in %s: %s", path, error)
        return made
    finally:
        if held:
            lock.release()


def place(who: tuple[str, str, str, int]) -> Path:
    """The file of a machine; it may be deleted at any time."""
    return _folder() / f"{blake3(json.dumps(who).encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    return memo_folder() / "measured"


def read(path: Path, who: tuple[str, str, str, int] | None = None) -> Measured | None:
    """A kept file; None if there is none, if it is damaged, or of another machine."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            return None
        found = Measured.model_validate_json(content)
    except (OSError, ValidationError, ValueError):
        return None
    sound = "float32" in found.rates and all(rows in ROWS for rows in found.rows)
    return found if sound and who in (None, found.identity) else None


def kept_here() -> list[Measured]:
    """What is on disk of this processor and this torch, for any number of threads. Nothing is
    measured, and torch is not imported.
    """
    try:
        found = [read(path) for path in sorted(_folder().glob("*.json"))]
    except OSError:
        return []
    ours = identity(0)[:3]
    return [measured for measured in found if measured and measured.identity[:3] == ours]


def measure(
    who: tuple[str, str, str, int], bench: Bench, clock: Callable[[], float] = time.perf_counter
) -> Measured:
    """Time every format, turn by turn, so that other work on the machine meets all alike. One
    that is hopeless in a piece of work, or that the machine does not have, takes no part in the
    next. After PROBE_SECONDS nothing new begins; what is known by then decides.
    """
    ends = clock() + PROBE_SECONDS
    alive = list(FORMATS)
    found: dict[tuple[str, Format], float] = {}
    for what, size in _PIECES:
        if clock() >= ends and ("convolution", "float32") in found:
            break
        rates = _turns(bench, what, size, alive, ends, clock)
        alive = [name for name in alive if rates.get(name, 0.0) >= HOPELESS * rates["float32"]]
        for name in alive:
            found[what, name] = max(found.get((what, name), 0.0), rates[name])
    both = {
        name: Rates(product=found["product", name], convolution=found["convolution", name]) for name in alive
    }
    chosen = Measured(identity=who, rates=both).precision
    rows: dict[int, float] = {}
    for count in ROWS:
        if clock() < ends:
            rows |= {count: _turns(bench, "convolution", count, [chosen], ends, clock)[chosen]}
    return Measured(identity=who, rates=both, rows=rows)


def _turns(
    bench: Bench, what: What, size: int, names: Sequence[Format], ends: float, clock: Callable[[], float]
) -> dict[Format, float]:
    """10^9 operations a second of one piece of work in these formats, the first of them in any
    case; none for what cannot be done or was not reached.
    """
    runs: dict[Format, tuple[float, Callable[[], object]]] = {}
    best: dict[Format, float] = {}
    for turn in range(_TURNS):
        for name in names:
            if (clock() >= ends and best) or (turn and name not in runs):
                continue
            try:
                operations, run = runs[name] = runs.get(name) or bench.work(what, name, size)
                began = clock()
                run()
                rate = operations / max(clock() - began, 1e-9)
            except RuntimeError as error:
                log.debug("%s in %s: %s", what, name, error)
                runs.pop(name, None)
            else:
                best[name] = max(best.get(name, 0.0), rate)
    return best
