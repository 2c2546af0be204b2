"""What all wings with networks share: options of the machine, and batches that fit its memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from personare.engines.engine import EngineOptions
from personare.errors import EngineError, WeightsMissing
from personare.ground.machine import main_memory
from personare.weights import resident
from personare.weights.measured import choice_here

if TYPE_CHECKING:
    import torch

    from personare.weights.finder import Weights

log = logging.getLogger(__name__)

Rows = TypeVar("Rows", bound=Any)
Item = TypeVar("Item")

EXTRA = ("torch", "transformers", "diffusers", "huggingface_hub")


class DeviceOptions(EngineOptions):
    """The machine that an engine's networks run on; none of it enters what is cached, except
    the numeric format it leads to.
    """

    device: str = Field(
        "auto", description="where networks run: auto (cuda, then mps, then cpu), cpu, cuda, cuda:N or mps"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="numbers the networks compute with; auto: half on GPUs, on CPUs what is fastest there "
        "(personare doctor tells)",
    )

    def numerics(self) -> dict[str, object]:
        if torch_missing():
            return {}
        from personare.weights.device import choose_dtype

        device = device_of(self)
        return {"device": device.type, "precision": str(choose_dtype(device, self.precision))}


class NeuralOptions(DeviceOptions):
    """The same for engines that draw several frames together."""

    batch_size: int = Field(
        0,
        ge=0,
        le=256,
        description="frames that go through the networks together; 0 chooses by free memory, on CPUs also "
        "by what is fastest",
    )


def device_of(options: DeviceOptions) -> torch.device:
    """Where networks run. Raises InvalidOption."""
    from personare.weights.device import choose_device

    return choose_device(options.device)


def uses_gpu(devices: Iterable[str]) -> bool:
    """Whether one of these may be a GPU of CUDA's; `auto` is where there is one."""
    return any(name.strip().lower().partition(":")[0] in ("auto", "cuda") for name in devices)


def torch_missing() -> list[str]:
    """What of the extra [neural] is not installed, as one line with the command that installs
    it; empty if all is there.
    """
    absent = [name for name in EXTRA if find_spec(name) is None]
    if not absent:
        return []
    are = "is" if len(absent) == 1 else "are"
    return [f"{', '.join(absent)} {are} not installed: pip install 'personare[neural]'"]


def released_or_ours(
    asked: str,
    released: str,
    components: Sequence[str],
    there: Callable[[str], bool],
) -> str:
    """What an option means that chooses between a released network and our own "landmarks":
    "auto" is the released one if all its components are `there`, on this machine.
    """
    if asked != "auto":
        return asked
    return released if all(map(there, components)) else "landmarks"


def missing_weights(weights: Weights, names: Iterable[str]) -> list[str]:
    """Which of these checkpoints are not there, one line each with its size and the command
    that fetches it.
    """
    from personare.weights.finder import size_of

    wanted = weights.missing(*names)
    return [f"{entry.name} ({size_of(entry)}): personare weights pull {entry.name}" for entry in wanted]


def require_torch(engine: str) -> None:
    """Raises WeightsMissing with the command that installs what is not installed of the extra
    [neural].
    """
    for line in torch_missing():
        raise WeightsMissing(f"{engine} cannot run: {line}", hint="pip install 'personare[neural]'")


class BatchSize:
    """How many rows go through a network together: one per performance; halved whenever memory
    runs out.

    pad: fill a batch that is not full up to the next power of two, so that a GPU meets few
    shapes (each one is tuned or compiled once). A CPU gains nothing from it and would compute
    the filling.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        if rows < 1:
            raise EngineError(f"a batch of {rows} rows")
        self.rows = rows
        self.device = device
        self.pad = device.type != "cpu"

    def shape_for(self, rows: int) -> int:
        """Rows that a batch with `rows` rows of use is filled up to."""
        return min(self.rows, 1 << (rows - 1).bit_length()) if self.pad else rows

    def halve(self, error: BaseException) -> None:
        """Go on with half as many rows. Raises EngineError with what memory there is if one row
        was too much already.
        """
        if self.rows == 1:
            free, total = memory(self.device)
            raise EngineError(
                f"out of memory on {self.device} with a single frame: {free / 1e9:.1f} GB free of "
                f"{total / 1e9:.1f} GB",
                hint="end other programs that use this memory, or try --device cpu or --set "
                "precision=bfloat16",
            ) from error
        self.rows //= 2
        log.warning("out of memory on %s: going on with batches of %d", self.device, self.rows)
        self.free_cached()

    def free_cached(self) -> None:
        """Give back what torch keeps of memory that is free."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()


def in_batches(run: Callable[[NDArray[np.intp]], Rows], count: int, batch: BatchSize) -> Iterator[Rows]:
    """The rows 0 .. count - 1 through `run`, in order, as one result per batch with just its
    own rows.

    run: gets the indices of the rows of a batch, int [m], the last one repeated as filling.
    gives an array or tensor [m, ...]. Out of memory drops the resident networks that nobody
    leases, then halves the batch, and goes on with the same rows; raises EngineError with
    numbers if one row is too much.
    """
    first = 0
    while first < count:
        rows = min(batch.rows, count - first)
        indices = np.minimum(np.arange(first, first + batch.shape_for(rows), dtype=np.intp), first + rows - 1)
        try:
            made = run(indices)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            short_of = error.with_traceback(None)  # the traceback holds the tensors of the failed batch
        else:
            yield made[:rows]
            first += rows
            continue
        if resident.drop_unleased(str(batch.device)):
            batch.free_cached()
        else:
            batch.halve(short_of)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch (CUDA, MPS, CPU) or Python says that memory ran out."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "MPS backend out of memory" in text
        or "DefaultCPUAllocator" in text
    )


def chosen_batch(asked: int, device: torch.device, bytes_each: int, at_most: int) -> BatchSize:
    """The batch of an option batch_size: as many rows as are `asked` for, or with 0 as many as
    `batch_by_memory` finds; on a CPU no more than are fastest there.
    """
    if asked:
        return BatchSize(asked, device)
    if device.type == "cpu" and at_most > 1:
        at_most = min(at_most, choice_here().batch or at_most)
    return batch_by_memory(device, bytes_each, at_most)


def grouped(items: Iterable[Item], size: Callable[[], int]) -> Iterator[list[Item]]:
    """The items in order, `size()` at a time, which may change from group to group; the last
    group may be smaller.
    """
    group: list[Item] = []
    for item in items:
        group.append(item)
        if len(group) >= size():
            yield group
            group = []
    if group:
        yield group


def batch_by_memory(device: torch.device, bytes_each: int, at_most: int, share: float = 0.5) -> BatchSize:
    """A batch whose rows, at `bytes_each` of working memory, take at most that share of what is
    free; a power of two.
    """
    free, _ = memory(device)
    fits = max(1, min(at_most, int(free * share) // bytes_each))
    return BatchSize(1 << (fits.bit_length() - 1), device)


def memory(device: torch.device) -> tuple[int, int]:
    """Free and total bytes of a device's memory; on a CPU within the limits of its control
    group.
    """
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    if device.type == "mps":
        total = int(torch.mps.recommended_max_memory())
        return max(0, total - int(torch.mps.driver_allocated_memory())), total
    return main_memory()
