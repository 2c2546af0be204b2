"""What a network holds of a device's memory, and how much memory a device has. torch is asked
only where something else has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING

from personare.ground.machine import main_memory

if TYPE_CHECKING:
    import torch

Footprint = Mapping[Hashable, int]
"""Identity of a piece of memory -> its bytes."""

_DEPTH = 4
"""How many objects deep tensors are looked for."""


def footprint(network: object) -> Footprint:
    """The memory of the tensors in a network. Tensors over the same memory are one piece: the
    parts of a file that is mapped, and the parameters that are made of them.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    held: dict[Hashable, int] = {}
    for tensor in _tensors(network, set(), _DEPTH):
        # oneDNN's own layouts tell no address.
        opaque = tensor.layout is not torch.strided
        place: Hashable = ("tensor", id(tensor)) if opaque else (str(tensor.device), tensor.data_ptr())
        held[place] = max(held.get(place, 0), tensor.numel() * tensor.element_size())
    return held


def _tensors(thing: object, seen: set[int], depth: int) -> Iterator[torch.Tensor]:
    """All tensors in modules, containers and objects up to `depth` objects deep."""
    if id(thing) in seen or depth < 0:
        return
    seen.add(id(thing))
    torch = sys.modules["torch"]
    inside: list[object] = []
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, torch.nn.Module):
        # Beside parameters and buffers: tensors that a module holds as plain attributes.
        for module in thing.modules():
            plain = [value for value in vars(module).values() if isinstance(value, torch.Tensor)]
            inside += [*module._parameters.values(), *module._buffers.values(), *plain]
    elif isinstance(thing, Mapping):
        inside = list(thing.values())
    elif isinstance(thing, tuple | list):
        inside = list(thing)
    elif not isinstance(thing, type) and not callable(thing):
        inside, depth = list(getattr(thing, "__dict__", {}).values()), depth - 1
    for part in inside:
        yield from _tensors(part, seen, depth)


def total_memory(device: str) -> int:
    """Bytes of the memory that "cpu", "cuda:0" or "mps" computes in."""
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None:
        return main_memory()[1]
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    return main_memory()[1]
