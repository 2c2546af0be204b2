"""Which device and number format are chosen, on machines that are not here."""

from __future__ import annotations

import pytest
import torch

from personare.errors import InvalidOption
from personare.weights.device import Devices, choose_device, choose_dtype, devices_here
from personare.weights.measured import Choice, Format

pytestmark = pytest.mark.neural

PLAIN = Devices()
GPUS = Devices(cuda=("NVIDIA A", "NVIDIA B"))
APPLE = Devices(mps=True)


@pytest.mark.parametrize(
    ("devices", "name", "expected"),
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
def test_devices(devices: Devices, name: str, expected: str) -> None:
    assert choose_device(name, devices) == torch.device(expected)


@pytest.mark.parametrize(
    ("devices", "name"),
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
def test_devices_that_are_not_there(devices: Devices, name: str) -> None:
    with pytest.raises(InvalidOption, match="is not available") as caught:
        choose_device(name, devices)
    for device in devices.names:
        assert device in caught.value.hint


def test_the_hint_names_the_cards() -> None:
    with pytest.raises(InvalidOption) as caught:
        choose_device("cuda:7", GPUS)
    assert "cuda:1 (NVIDIA B)" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "measured", "precision", "expected"),
    [
        ("cuda", None, "auto", "float16"),
        ("cuda:1", None, "auto", "float16"),
        ("mps", None, "auto", "float16"),
        ("cpu", "bfloat16", "auto", "bfloat16"),
        ("cpu", "float32", "auto", "float32"),
        ("cpu", "float16", "auto", "float16"),
        ("cpu", None, "float32", "float32"),
        ("cuda", None, "float32", "float32"),
        ("cpu", None, "float16", "float16"),
        ("cuda", None, "bfloat16", "bfloat16"),
    ],
)
def test_formats(device: str, measured: Format | None, precision: str, expected: str) -> None:
    """measured: None where nothing may be measured."""

    def choice() -> Choice:
        assert measured is not None
        return Choice(measured)

    assert choose_dtype(torch.device(device), precision, choice) == getattr(torch, expected)


def test_formats_that_do_not_exist() -> None:
    with pytest.raises(InvalidOption, match="'int8' does not exist") as caught:
        choose_dtype(torch.device("cpu"), "int8")
    assert "bfloat16" in caught.value.hint


def test_this_machine_is_consistent() -> None:
    devices = devices_here()
    assert str(choose_device("auto")) in devices.names
    assert len(devices.cuda) == torch.cuda.device_count()
