"""What the names in a checkpoint's pickle stand for: plain containers, numpy arrays, torch
tensors.

Every value is made by our own code from checked numbers and bytes; nothing of numpy's or
torch's own unpickling is called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.weights.pickle_limits import Refused, checked_keys
from personare.weights.pickle_machine import Builder
from personare.weights.records import Global, Record, Unfinished

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_DTYPE = re.compile(r"[biufcSU]\d{1,5}|\?|b1")
_MAX_DIMENSIONS = 64

STORAGE_DTYPES: Mapping[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}


class Storage:
    """A run of numbers in a file, out of which tensors are cut. view: its bytes, memory-mapped
    or not.
    """

    def __init__(self, dtype: torch.dtype, view: memoryview) -> None:
        self.dtype = dtype
        self.numel = len(view) // dtype.itemsize
        self._view = view
        self._flat: Tensor | None = None

    def slice(self, offset: int, numel: int) -> Storage:
        """A part of it, which stays within it."""
        part = Storage(self.dtype, self._view[:0])
        part.numel, part._flat = numel, self.flat[offset : offset + numel]
        return part

    @property
    def flat(self) -> Tensor:
        """All numbers [numel]; mapped without a copy where they lie aligned in a file, and the
        same tensor at every call.
        """
        import torch

        if self._flat is None:
            if not self.numel:
                self._flat = torch.empty(0, dtype=self.dtype)
            elif self._view.readonly or _address(self._view) % self.dtype.itemsize:
                self._flat = torch.frombuffer(bytearray(self._view), dtype=self.dtype)
            else:
                self._flat = torch.frombuffer(self._view, dtype=self.dtype)
        return self._flat


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def storage_dtype(kind: Any) -> torch.dtype:
    """The dtype of a storage class that a checkpoint names, such as torch.FloatStorage. Raises
    Refused.
    """
    import torch

    is_torch = isinstance(kind, Global) and kind.module in ("torch", "torch.cuda", "torch.storage")
    if not is_torch or kind.name not in STORAGE_DTYPES:
        raise Refused(f"holds a storage of an unknown kind ({kind})")
    dtype: torch.dtype = getattr(torch, STORAGE_DTYPES[kind.name])
    return dtype


def cut_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor out of a storage. Raises Refused if it would reach outside, or claims more
    numbers than are there.
    """
    if not isinstance(storage, Storage):
        raise Refused("makes a tensor of what is no storage")
    size, stride = _numbers(size), _numbers(stride)
    (offset,) = _numbers((offset,))
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise Refused("holds a tensor of an impossible shape")
    count = math.prod(size)
    last = (
        offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if count
        else offset - 1
    )
    if count > storage.numel or last >= storage.numel:
        raise Refused(f"holds a tensor that claims {count} numbers of a storage of {storage.numel}")
    return storage.flat.as_strided(size, stride, offset)


def _parameter(data: Any, *_: Any) -> Any:
    import torch

    if not isinstance(data, torch.Tensor):
        raise Refused("makes a parameter of what is no tensor")
    return data


def _numbers(values: Any) -> tuple[int, ...]:
    values = (
        values.arguments[0]
        if isinstance(values, Record) and values.kind == "torch.Size" and values.arguments
        else values
    )
    if not isinstance(values, tuple | list) or not all(
        type(value) is int and 0 <= value < 1 << 62 for value in values
    ):
        raise Refused("holds a tensor of an impossible shape")
    return tuple(values)


# ---------------------------------------------------------------- numpy


class _Dtype(Unfinished):
    def __init__(self, code: Any, *_: Any) -> None:
        super().__init__()
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise Refused(
                f"holds an array of {'Python objects' if str(code).startswith('O') else f'type {code!r}'}"
            )
        self.code = code

    def finished(self, state: Any) -> np.dtype[Any]:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise Refused("holds an array of an unknown type")
        return np.dtype(self.code).newbyteorder("=" if order == "|" else order)


class _Array(Unfinished):
    def __init__(self, *_: Any) -> None:
        super().__init__()

    def finished(self, state: Any) -> NDArray[Any]:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Refused("holds an array without its content")
        shape, dtype, is_fortran, raw = state[-4:]
        return _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    if not isinstance(dtype, np.dtype):
        raise Refused("holds an array of an unknown type")
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    shape = _numbers(shape)
    if (
        not isinstance(raw, bytes | bytearray)
        or len(shape) > _MAX_DIMENSIONS
        or len(raw) != math.prod(shape) * dtype.itemsize
    ):
        raise Refused("holds an array whose size does not fit its content")
    return np.frombuffer(bytearray(raw), dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    return _array(raw, dtype, (1,))[0].item()


# ---------------------------------------------------------------- plain containers


def _dict(items: Any = (), *_: Any) -> dict[Any, Any]:
    pairs = list(items.items()) if isinstance(items, Mapping) else _listed(items)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise Refused("makes a dictionary of what are no pairs")
    return dict(zip(checked_keys(key for key, _ in pairs), (value for _, value in pairs), strict=True))


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list | tuple | set | frozenset):
        raise Refused(f"makes a container of a {type(items).__name__}")
    return list(items)


def _of_keys(make: Callable[[Iterable[Any]], Any]) -> Builder:
    return lambda items=(), *_: make(checked_keys(_listed(items)))


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("holds bytes in an unknown spelling")
    return text.encode("latin-1")


def _bytes(value: Any = b"", *_: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise Refused(f"makes bytes of a {type(value).__name__}")
    return bytes(value)


def _reconstructed(kind: Any, _base: Any = None, state: Any = None, *_: Any) -> Record:
    if not isinstance(kind, Global):
        raise Refused("makes an object of what is no class")
    return Record(str(kind), () if state is None else (state,))


def _persistent_object(meta: Any, *_: Any) -> Record:
    """An object of NVIDIA's torch_utils.persistence, whose pickle contains the source of its
    class: only its state is taken.
    """
    if not isinstance(meta, dict):
        raise Refused("holds a persistent object without its description")
    return Record(f"persistent.{meta.get('class_name')}", (), meta.get("state"))


def plain_builders(load_bytes: Callable[[bytes], Any]) -> dict[str, Builder]:
    """Builders for everything above. load_bytes: reads a torch file that is nested in the
    pickle.
    """

    def nested(data: Any, *_: Any) -> Any:
        return load_bytes(_bytes(data))

    builders: dict[str, Builder] = {
        "builtins.set": _of_keys(set),
        "builtins.frozenset": _of_keys(frozenset),
        "builtins.list": lambda items=(), *_: _listed(items),
        "builtins.tuple": lambda items=(), *_: tuple(_listed(items)),
        "builtins.dict": _dict,
        "builtins.bytes": _bytes,
        "builtins.bytearray": lambda value=b"", *_: bytearray(_bytes(value)),
        "collections.OrderedDict": _dict,
        "collections.Counter": _dict,
        "collections.defaultdict": lambda _factory=None, items=(), *_: _dict(items),
        "collections.deque": lambda items=(), *_: _listed(items),
        "dnnlib.util.EasyDict": lambda *_: {},
        "_codecs.encode": _encoded,
        "copyreg._reconstructor": _reconstructed,
        "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
        "torch.Size": lambda items=(), *_: _numbers(items),
        "torch._utils._rebuild_tensor": cut_tensor,
        "torch._utils._rebuild_tensor_v2": cut_tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch.storage._load_from_bytes": nested,
        "numpy.dtype": _Dtype,
    }
    for core in ("numpy.core", "numpy._core"):
        builders[f"{core}.multiarray._reconstruct"] = _Array
        builders[f"{core}.multiarray.scalar"] = _scalar
        builders[f"{core}.numeric._frombuffer"] = _array
    return builders
