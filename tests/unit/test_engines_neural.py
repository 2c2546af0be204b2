"""Batches of networks: their sizes, and what happens when memory runs out."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from personare.engines import neural
from personare.engines.neural import (
    BatchSize,
    NeuralOptions,
    batch_by_memory,
    chosen_batch,
    grouped,
    in_batches,
    memory,
    out_of_memory,
    torch_missing,
)
from personare.errors import EngineError
from personare.weights import resident
from personare.weights.measured import PRECISION_VARIABLE, Choice

pytestmark = pytest.mark.neural
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def nothing_to_drop() -> None:
    """Out of memory first drops what other tests left in memory; here there is nothing."""
    resident.drop_unleased()


def squares(limit: int = 1000, seen: list[int] | None = None) -> Callable[[np.ndarray], np.ndarray]:
    def run(indices: np.ndarray) -> np.ndarray:
        if seen is not None:
            seen.append(len(indices))
        if len(indices) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return indices**2

    return run


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 30])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_every_row_once_and_in_order(count: int, device: "torch.device") -> None:
    made = [row for batch in in_batches(squares(), count, BatchSize(8, device)) for row in batch]
    assert made == [i * i for i in range(count)]


def test_a_gpu_meets_few_shapes_and_a_cpu_computes_no_filling() -> None:
    on_gpu: list[int] = []
    on_cpu: list[int] = []
    for count in range(1, 22):
        list(in_batches(squares(seen=on_gpu), count, BatchSize(8, CUDA)))
        list(in_batches(squares(seen=on_cpu), count, BatchSize(8, CPU)))
    assert set(on_gpu) == {1, 2, 4, 8}
    assert sum(on_cpu) == sum(range(1, 22))


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    seen: list[int] = []
    batch = BatchSize(16, CPU)
    made = np.concatenate(list(in_batches(squares(limit=5, seen=seen), 11, batch)))
    assert made.tolist() == [i * i for i in range(11)]
    assert batch.rows == 4
    assert seen == [11, 8, 4, 4, 3]


def test_out_of_memory_first_drops_the_networks_that_nobody_uses() -> None:
    networks = [
        resident.lease(resident.NetworkKey(("a" * 64,), part), lambda: torch.nn.Linear(8, 8))
        for part in ("kept", "dropped")
    ]
    networks[1].close()
    seen: list[int] = []

    def parts() -> set[str]:
        return {entry.part for entry in resident.report()}

    def run(indices: np.ndarray) -> np.ndarray:
        seen.append(len(indices))
        if "dropped" in parts():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return indices**2

    batch = BatchSize(16, CPU)
    assert len(next(in_batches(run, 11, batch))) == 11
    assert (seen, batch.rows) == ([11, 11], 16)
    assert "kept" in parts()
    networks[0].close()


def test_one_row_too_much_is_a_clear_error_with_numbers() -> None:
    with pytest.raises(
        EngineError, match=r"out of memory on cpu with a single frame: [\d.]+ GB free of [\d.]+ GB"
    ) as raised:
        list(in_batches(squares(limit=0), 3, BatchSize(4, CPU)))
    assert "--device cpu" in raised.value.hint


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def broken(indices: np.ndarray) -> np.ndarray:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(in_batches(broken, 3, BatchSize(4, CPU)))


def test_the_allocators_of_torch_are_understood() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(raised.value)
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"))
    assert not out_of_memory(ValueError("no"))


def test_batches_fit_the_memory() -> None:
    free, total = memory(CPU)
    assert 0 < free <= total
    assert batch_by_memory(CPU, bytes_each=1, at_most=12).rows == 8
    assert batch_by_memory(CPU, bytes_each=free, at_most=12).rows == 1
    assert batch_by_memory(CPU, bytes_each=free // 10, at_most=64).rows == 4


def test_the_batch_is_the_one_asked_for_or_fits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free, _ = memory(CPU)
    assert chosen_batch(5, CPU, bytes_each=free, at_most=12).rows == 5
    assert chosen_batch(0, CPU, bytes_each=1, at_most=12).rows == 8
    monkeypatch.setattr(neural, "choice_here", lambda: Choice("float32", 2))
    assert chosen_batch(0, CPU, bytes_each=1, at_most=12).rows == 2
    assert chosen_batch(5, CPU, bytes_each=1, at_most=12).rows == 5


def test_what_the_machine_makes_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of a finished clip's key, so another choice is another clip."""
    for name in ("float32", "bfloat16"):
        monkeypatch.setenv(PRECISION_VARIABLE, name)
        expected = {"device": "cpu", "precision": f"torch.{name}"}
        assert NeuralOptions(device="cpu").numerics() == expected
    assert NeuralOptions(device="cpu", precision="float16").numerics()["precision"] == "torch.float16"


def test_groups_follow_a_size_that_changes() -> None:
    sizes = iter([3, 3, 3, 2, 2, 2, 2])
    assert list(grouped(range(8), lambda: next(sizes, 2))) == [[0, 1, 2], [3, 4], [5, 6], [7]]
    assert list(grouped([], lambda: 3)) == []


def test_a_missing_extra_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_missing() == []
    monkeypatch.setattr(neural, "find_spec", lambda name: None if name == "diffusers" else object())
    assert torch_missing() == ["diffusers is not installed: pip install 'personare[neural]'"]
    monkeypatch.setattr(neural, "find_spec", lambda name: None)
    assert "torch, transformers, diffusers, huggingface_hub are not installed" in torch_missing()[0]


def test_options_have_ranges() -> None:
    assert NeuralOptions().batch_size == 0
    with pytest.raises(ValueError, match="precision"):
        NeuralOptions(precision="int3")
    with pytest.raises(ValueError, match="batch_size"):
        NeuralOptions(batch_size=-1)
