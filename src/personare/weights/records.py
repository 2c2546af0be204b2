"""What the restricted pickle reader makes of names and classes that it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names. It was neither imported nor called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Record:
    """An object of a class that was not called: what the file said about it, and no more.

    kind: "module.Class".
    arguments: what it would have been constructed from.
    state: what it would have been given.
    items: what was put into it, for classes derived from list or dict (of these as pairs).
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Record({self.kind})"


class Unfinished:
    """A value that a BUILD still has to give its content; wherever it was memoised, the
    finished one takes its place.
    """

    def __init__(self) -> None:
        self.memoised: list[int] = []

    def finished(self, state: Any) -> Any:
        raise NotImplementedError


def is_leaf(value: Any) -> bool:
    """Whether a value holds no others."""
    return isinstance(value, str | bytes | bytearray | int | float | complex | None | Global)


def module_tensors(record: Record) -> dict[str, Tensor]:
    """Parameters and buffers of a pickled torch module by dotted name, in the order of
    `Module.state_dict`; {} if it is none.
    """
    import torch

    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, Any]] = [("", record)]
    seen: set[int] = set()
    while waiting:
        prefix, node = waiting.pop()
        state = node.state if isinstance(node, Record) else None
        if not isinstance(state, Mapping) or id(node) in seen:
            continue
        seen.add(id(node))
        for group in ("_parameters", "_buffers"):
            own = state.get(group)
            for name, tensor in own.items() if isinstance(own, Mapping) else ():
                if isinstance(tensor, torch.Tensor):
                    found[f"{prefix}{name}"] = tensor
        children = state.get("_modules")
        if isinstance(children, Mapping):
            waiting += [(f"{prefix}{name}.", child) for name, child in reversed(list(children.items()))]
    return found
