"""Checkpoints into networks: strict, safe, and without a second copy in memory.

Build the network inside `unallocated()` (its parameters have shapes but no memory), read the
file with `read_state` (its tensors are mapped, not read), then `load_strictly`: every tensor of
the file becomes the parameter itself, converted one by one if another format or device is
wanted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personare.errors import EngineError, WeightsMismatch, WeightsMissing
from personare.weights.formats import FETCH_AGAIN, sniff

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger(__name__)

Rename = Mapping[str, str] | Callable[[str], str | None]
"""File's name of a tensor -> network's name. A mapping holds whole names, or beginnings that
end with "." ("" is allowed as the new beginning, and as the old one to put something before
every name); a function returns None for what is not wanted.
"""

WRAPPERS = ("state_dict", "model_state_dict", "state_dict_ema", "model")
"""Under which names training programs put the network among other things."""

_NAMES_SHOWN = 5


def read_checkpoint(path: Path) -> Any:
    """What a checkpoint holds: tensors in plain containers. Nothing in the file is executed.

    Numbers are memory-mapped. All but safetensors goes through the restricted reader of
    `pickled`, which makes inert records of unknown classes. Raises WeightsMismatch
    (another kind of file, truncated, hostile), WeightsMissing (not there, or torch is not
    installed).
    """
    require_torch()
    kind = sniff(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    from personare.weights.pickled import read_pickled

    return read_pickled(path, kind)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of one network by name, held plainly or under one of WRAPPERS. Raises as
    `read_checkpoint`.
    """
    from personare.weights.records import Record, module_tensors

    held = read_checkpoint(path)
    if isinstance(held, Mapping):
        wrapped = [held[name] for name in WRAPPERS if isinstance(held.get(name), Mapping | Record)]
        held = wrapped[0] if wrapped else held
    state = module_tensors(held) if isinstance(held, Record) else _tensors(held)
    if not state:
        inside = (
            f"it holds {_listed(held)}"
            if isinstance(held, Mapping) and held
            else f"it holds a {type(held).__name__}"
        )
        raise WeightsMismatch(f"{path} is not the checkpoint of one network: {inside}", hint=FETCH_AGAIN)
    return state


def weights_file(folder: Path, stem: str = "model") -> Path:
    """The file of weights in a folder of transformers or diffusers: STEM.safetensors, else the
    .bin of the same network.

    Where there is none, the first of them, whose absence `read_state` reports.
    """
    names = (f"{stem}.safetensors", "pytorch_model.bin" if stem == "model" else f"{stem}.bin")
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _tensors(held: Any) -> dict[str, Tensor]:
    """The tensors of a flat dictionary; arrays become tensors, what is neither is left out."""
    import numpy as np
    import torch

    state = {}
    for name, value in held.items() if isinstance(held, Mapping) else ():
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            value = torch.from_numpy(value)
        if isinstance(value, torch.Tensor):
            state[str(name)] = value.detach()
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsMismatch(
            f"{path} is damaged or truncated: {_first_line(error)}", hint=FETCH_AGAIN
        ) from None


def require_torch() -> None:
    """Raises WeightsMissing with the command that installs torch, if it is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise WeightsMissing(
            "reading checkpoints needs torch", hint="pip install 'personare[neural]'"
        ) from None


# ---------------------------------------------------------------- into a network


@contextmanager
def unallocated() -> Iterator[None]:
    """Networks that are built inside have parameters without memory or random values.

    Only what is to be overwritten has none: torch.empty, torch.rand and torch.randn give
    tensors on the meta device, whereas tables and constants (torch.arange, torch.zeros,
    torch.tensor ...) are real, so that buffers which no file holds are right.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    overwritten = {torch.empty, torch.rand, torch.randn}

    class Unallocated(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if function in overwritten:
                kwargs["device"] = "meta"
                kwargs.pop("generator", None)
            return function(*args, **kwargs)

    with Unallocated():
        yield


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    rename: Rename | None = None,
    ignore: Sequence[str] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    source: str = "the checkpoint",
) -> None:
    """Put a checkpoint into a network that was built for it, for inference: in evaluation mode,
    without gradients.

    rename: see Rename; every entry of a mapping must be used.
    ignore: regular expressions (re.search, on the file's names and the network's) of tensors
        that are neither loaded nor demanded.
    dtype: of all floating-point tensors; None keeps the network's own.
    source: what messages call the file. A tensor that has the right format already becomes the
        parameter itself, without a copy.

    Raises WeightsMismatch with the tensors that are missing, unknown or of another shape.
    """
    import torch
    from torch import nn

    renamed = _renamed(state, rename, [re.compile(pattern) for pattern in ignore], source)
    expected = {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not any(re.search(p, name) for p in ignore)
    }
    _compare(renamed, expected, source, state)
    converted = {}
    for name, tensor in renamed.items():
        floating = tensor.is_floating_point() and expected[name].is_floating_point()
        wanted = dtype if dtype is not None and floating else expected[name].dtype
        converted[name] = tensor.to(device=device, dtype=wanted)
    module.load_state_dict(converted, strict=False, assign=True)
    lost = [name for name, tensor in _named_tensors(module) if tensor.is_meta]
    if lost:
        raise EngineError(
            f"{source}: no values for {_some(lost)}",
            hint="build the network inside weights.loading.unallocated()",
        )
    # Not the network's own `to`, which libraries replace by ones that warn; by now this moves
    # only what no file holds.
    nn.Module.to(module, device=torch.device(device), dtype=dtype)
    module.eval().requires_grad_(False)


def _renamed(
    state: Mapping[str, Tensor], rename: Rename | None, ignore: list[re.Pattern[str]], source: str
) -> dict[str, Tensor]:
    used: set[str] = set()
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if any(pattern.search(name) for pattern in ignore):
            continue
        new = _new_name(name, rename, used)
        if new is None or any(pattern.search(new) for pattern in ignore):
            continue
        if new in renamed:
            raise WeightsMismatch(f"{source} holds {new} twice", hint=FETCH_AGAIN)
        renamed[new] = tensor
    if isinstance(rename, Mapping) and (idle := [name for name in rename if name not in used]):
        raise WeightsMismatch(
            f"{source} is not the network that was expected: it has no {_some(idle)}", hint=FETCH_AGAIN
        )
    return renamed


def _new_name(name: str, rename: Rename | None, used: set[str]) -> str | None:
    if rename is None:
        return name
    if not isinstance(rename, Mapping):
        return rename(name)
    if name in rename:
        used.add(name)
        return rename[name]
    beginnings = [old for old in rename if (old == "" or old.endswith(".")) and name.startswith(old)]
    if not beginnings:
        return name
    longest = max(beginnings, key=len)
    used.add(longest)
    return rename[longest] + name[len(longest) :]


def _compare(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str, state: Mapping[str, Tensor]
) -> None:
    """Raises WeightsMismatch unless names and shapes are the same."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    other = [
        f"{name} {_shape(found[name])} instead of {_shape(expected[name])}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    if not (missing or unknown or other):
        return
    for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", other)):
        if names:
            log.info("%s: tensors %s: %s", source, what, ", ".join(names))
    if expected and len(missing) == len(expected):
        raise WeightsMismatch(
            f"{source} holds another network: of {len(expected)} tensors that were expected "
            f"({_some(missing)}) none is in it;"
            f" it has {_some(list(state))}",
            hint="the wrong file, or a file under the wrong name; personare weights verify checks those of "
            "the catalogue",
        )
    parts = [
        (len(missing), "missing", missing),
        (len(unknown), "unknown", unknown),
        (len(other), "of another shape", other),
    ]
    told = "; ".join(f"{count} {what} ({_some(names)})" for count, what, names in parts if count)
    raise WeightsMismatch(
        f"{source} is not the network that was expected: tensors {told}",
        hint="another version of the model, or a configuration that does not belong to it; -v lists all "
        "names",
    )


def _named_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _some(names: Collection[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(list(names)[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _listed(held: Mapping[Any, Any]) -> str:
    return _some([str(name) for name in held])


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
