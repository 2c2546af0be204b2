"""On which processor, and in which number format, networks run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from personare.errors import InvalidOption
from personare.weights.measured import Choice, choice_here

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Devices:
    """What this machine can compute on. cuda: names of its CUDA (or ROCm) devices."""

    cuda: tuple[str, ...] = ()
    mps: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names that `choose_device` accepts, besides auto and cuda."""
        return ("cpu", *(f"cuda:{index}" for index in range(len(self.cuda))), *(("mps",) if self.mps else ()))


def devices_here() -> Devices:
    """What torch sees here."""
    import torch

    cuda = (
        tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        if torch.cuda.is_available()
        else ()
    )
    return Devices(cuda, torch.backends.mps.is_available())


def choose_device(name: str = "auto", devices: Devices | None = None) -> torch.device:
    """The device of that name: auto (the first CUDA device, else MPS, else the CPU), cpu, cuda,
    cuda:1, mps.

    Raises InvalidOption with what this machine has.
    """
    import torch

    devices = devices or devices_here()
    wanted = name.strip().lower()
    if wanted == "auto":
        wanted = "cuda" if devices.cuda else "mps" if devices.mps else "cpu"
    if wanted == "cuda":
        wanted = "cuda:0"
    if wanted not in devices.names:
        names = [
            f"{device} ({devices.cuda[int(device[5:])]})" if ":" in device else device
            for device in devices.names
        ]
        raise InvalidOption(
            f"device {name!r} is not available", hint=f"this machine has: {', '.join(names)}; auto chooses"
        )
    return torch.device(wanted)


def choose_dtype(
    device: torch.device, precision: str = "auto", measured: Callable[[], Choice] = choice_here
) -> torch.dtype:
    """The format that networks compute in. auto: float16 on CUDA and MPS, on the CPU what is
    fastest there, as `measured`.

    A precision that is named is taken as it is. Raises InvalidOption for one that does not
    exist.
    """
    import torch

    if precision not in PRECISIONS:
        raise InvalidOption(f"precision {precision!r} does not exist", hint=f"one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        precision = "float16" if device.type in ("cuda", "mps") else measured().precision
    named: torch.dtype = getattr(torch, precision)
    return named
