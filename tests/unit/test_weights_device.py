"""Which device and number format are chosen, on machines that are not here."""

from __future__ import annotations

import pytest
import torch

from personare.errors import InvalidOption
from personare.weights.device import Machine, choose_device, choose_dtype, this_machine

pytestmark = pytest.mark.neural

PLAIN = Machine()
GPUS = Machine(cuda=("NVIDIA A", "NVIDIA B"))
APPLE = Machine(mps=True)
SERVER = Machine(cpu_bfloat16=True)


@pytest.mark.parametrize(
    ("machine", "name", "expected"),
    [
        (PLAIN, "auto", "cpu"),
        (PLAIN, "cpu", "cpu"),
        (GPUS, "auto", "cuda:0"),
        (GPUS, "cuda", "cuda:0"),
        (GPUS, "cuda:1", "cuda:1"),
        (GPUS, " CUDA:1 ", "cuda:1"),
        (GPUS, "cpu", "cpu"),
        (APPLE, "auto", "mps"),
        (APPLE, "mps", "mps"),
    ],
)
def test_devices(machine: Machine, name: str, expected: str) -> None:
    assert choose_device(name, machine) == torch.device(expected)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (PLAIN, "cuda"),
        (PLAIN, "mps"),
        (GPUS, "cuda:2"),
        (GPUS, "mps"),
        (APPLE, "cuda:0"),
        (GPUS, "tpu"),
        (PLAIN, ""),
    ],
)
def test_devices_that_are_not_there(machine: Machine, name: str) -> None:
    with pytest.raises(InvalidOption, match="is not available") as caught:
        choose_device(name, machine)
    for device in machine.devices:
        assert device in caught.value.hint


def test_the_hint_names_the_cards() -> None:
    with pytest.raises(InvalidOption) as caught:
        choose_device("cuda:7", GPUS)
    assert "cuda:1 (NVIDIA B)" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "machine", "precision", "expected"),
    [
        ("cuda", GPUS, "auto", "float16"),
        ("cuda:1", GPUS, "auto", "float16"),
        ("mps", APPLE, "auto", "float16"),
        ("cpu", SERVER, "auto", "bfloat16"),
        ("cpu", PLAIN, "auto", "float32"),
        ("cpu", GPUS, "auto", "float32"),
        ("cpu", SERVER, "float32", "float32"),
        ("cuda", GPUS, "float32", "float32"),
        ("cpu", PLAIN, "float16", "float16"),
        ("cuda", GPUS, "bfloat16", "bfloat16"),
    ],
)
def test_formats(device: str, machine: Machine, precision: str, expected: str) -> None:
    assert choose_dtype(torch.device(device), precision, machine) == getattr(torch, expected)


def test_formats_that_do_not_exist() -> None:
    with pytest.raises(InvalidOption, match="'int8' does not exist") as caught:
        choose_dtype(torch.device("cpu"), "int8", PLAIN)
    assert "bfloat16" in caught.value.hint


def test_this_machine_is_consistent() -> None:
    machine = this_machine()
    assert str(choose_device("auto")) in machine.devices
    assert len(machine.cuda) == torch.cuda.device_count()
