"""Checkpoints that are pickles, read without executing anything: plain pickles and all of
torch's own formats.

| format | what it is |
|---|---|
| pickle | one pickle of plain objects; tensors in it are torch files of their own |
| stream | torch < 1.6: magic number, version, system, the object, keys of storages, then their numbers |
| tar | torch < 0.1.10: members `storages`, `tensors` and `pickle` |
| zip | torch >= 1.6: `data.pkl` and one member for each storage |

The result consists of tensors, numpy arrays, plain containers and inert records
(`records.Record`); see `pickle_machine` and `pickle_limits` for what is refused. torch's own
safe reader sees none of it: it builds what a file of 300 bytes asks for. Numbers are
memory-mapped where they lie aligned in the file.
"""

from __future__ import annotations

import mmap
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from personare.errors import WeightsMismatch, WeightsMissing
from personare.weights.formats import FETCH_AGAIN, Format
from personare.weights.pickle_limits import Budget, Refused
from personare.weights.pickle_machine import PickleMachine
from personare.weights.pickle_values import Storage, cut_tensor, plain_builders, storage_dtype
from personare.weights.records import Global
from personare.weights.zip_directory import stored_members

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_STREAM_VERSION = 1001
_SHORT_LINE, _MAX_LINE = 1 << 8, 1 << 20
_MAX_ZIPPED_PICKLE = 64 << 20
_MAX_COUNT = 1_000_000


def read_pickled(path: Path, kind: Format) -> Any:
    """The object that a checkpoint of this kind holds. Raises WeightsMismatch if it is damaged
    or refused, in one sentence.
    """
    try:
        with path.open("rb") as file:
            # Private: what the program does with its tensors never reaches the file. Freed with
            # the last tensor.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            budget = Budget(len(mapped))
            if kind == "tar":
                return _read_tar(mapped, budget)
            if kind == "zip":
                return _read_zip(mapped, stored_members(file, path), budget)
            return _read_pickle(memoryview(mapped), budget)
    except Refused as refusal:
        hint = f"it may be hostile; nothing of it was executed; {FETCH_AGAIN}"
        raise WeightsMismatch(f"{path} is refused: it {refusal}", hint=hint) from None
    except (tarfile.TarError, struct.error, EOFError) as error:
        raise WeightsMismatch(f"{path} is damaged or truncated: {error}", hint=FETCH_AGAIN) from None
    except OSError as error:
        raise WeightsMissing(
            f"cannot read {path}: {error.strerror}", hint="check the path and its permissions"
        ) from None


class _Reader:
    """A place in some bytes: what pickletools reads pickles from, and we read numbers from."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.position = 0

    def read(self, n: int, /) -> bytes:
        start = self.position
        self.position = min(start + n, len(self.view))
        return bytes(self.view[start : self.position])

    def readline(self) -> bytes:
        length = _SHORT_LINE
        while True:
            line = bytes(self.view[self.position : self.position + length])
            if (end := line.find(b"\n") + 1) or len(line) < length or length >= _MAX_LINE:
                self.position += end
                return line[:end]
            length *= 4

    def tell(self) -> int:
        return self.position

    def number(self, layout: str) -> int:
        size = struct.calcsize(layout)
        (value,) = struct.unpack(layout, self.read(size))
        return int(value)

    def take(self, size: int) -> memoryview:
        """The next bytes, not copied. Raises Refused if there are not so many."""
        if not 0 <= size <= len(self.view) - self.position:
            raise Refused("is truncated")
        self.position += size
        return self.view[self.position - size : self.position]


def _builders(budget: Budget, depth: int = 0) -> dict[str, Callable[..., Any]]:
    """Builders whose nested torch files may hold no further ones."""

    def load_bytes(data: bytes) -> Any:
        if depth:
            raise Refused("nests files in files in files")
        return _read_pickle(memoryview(data), budget, depth + 1)

    return plain_builders(load_bytes)


def _read_pickle(view: memoryview, budget: Budget, depth: int = 0) -> Any:
    """A plain pickle, or torch's stream of pickles if it begins with the magic number."""
    reader = _Reader(view)
    first = PickleMachine(budget, _builders(budget, depth)).run(reader)
    return _read_stream(reader, budget, depth) if isinstance(first, int) and first == MAGIC_NUMBER else first


def _read_stream(reader: _Reader, budget: Budget, depth: int) -> Any:
    version = PickleMachine(budget, {}).run(reader)
    if version != _STREAM_VERSION:
        raise Refused(f"is of an unknown version ({version})")
    system = PickleMachine(budget, {}).run(reader)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise Refused("was written on a big-endian machine")
    start = reader.position
    # The numbers lie behind the object, in pieces whose kind only the object tells: it is read
    # twice.
    kinds: dict[str, tuple[Any, int]] = {}

    def note(identity: Any) -> None:
        kind, key, _, numel, _ = _storage_identity(identity, 5)
        kinds.setdefault(key, (storage_dtype(kind), numel))

    PickleMachine(budget, {}, note).run(reader)
    keys = PickleMachine(budget, {}).run(reader)
    if not isinstance(keys, list):
        raise Refused("does not say which storages it holds")
    storages: dict[str, Storage] = {}
    for key in keys:
        if not isinstance(key, str) or key not in kinds:
            raise Refused("holds a storage that nothing uses")
        dtype, numel = kinds[key]
        if reader.number("<q") != numel:
            raise Refused("holds a storage of another size than it says")
        storages[key] = Storage(dtype, reader.take(numel * dtype.itemsize))

    def resolve(identity: Any) -> Storage:
        _, key, _, _, view = _storage_identity(identity, 5)
        if key not in storages:
            raise Refused("refers to a storage that it does not hold")
        return storages[key] if view is None else _part(storages, storages[key], view)

    return PickleMachine(budget, _builders(budget, depth), resolve).run(_Reader(reader.view[start:]))


def _storage_identity(identity: Any, length: int) -> tuple[Any, str, Any, int, Any]:
    """(class, key, location, numel, view) of a persistent id ("storage", ...) of `length` parts
    besides. Raises Refused.
    """
    if not isinstance(identity, tuple) or len(identity) != 1 + length or identity[0] != "storage":
        raise Refused("refers to data in an unknown way")
    kind, key, location, numel, *view = identity[1:]
    if not isinstance(key, str) or type(numel) is not int or not 0 <= numel < 1 << 48:
        raise Refused("refers to a storage in an unknown way")
    return kind, key, location, numel, view[0] if view else None


def _part(storages: dict[str, Storage], root: Storage, view: Any) -> Storage:
    """A part of a storage that the file gives a name of its own: (key, offset, numel)."""
    if not isinstance(view, tuple) or len(view) != 3 or not all(type(n) is int and n >= 0 for n in view[1:]):
        raise Refused("refers to a part of a storage in an unknown way")
    key, offset, numel = view
    return storages.setdefault(f"part {key}", _slice(root, offset, numel))


def _slice(root: Storage, offset: int, numel: int) -> Storage:
    if offset + numel > root.numel:
        raise Refused("refers to a part outside of its storage")
    return root.slice(offset, numel)


# ---------------------------------------------------------------- zip


def _read_zip(mapped: mmap.mmap, members: Mapping[str, tuple[int, int]], budget: Budget) -> Any:
    view = memoryview(mapped)

    def member(name: str) -> memoryview:
        if name not in members:
            raise Refused("refers to a storage that it does not hold")
        start, size = members[name]
        return view[start : start + size]

    if "byteorder" in members and bytes(member("byteorder")[:16]) != b"little":
        raise Refused("was written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def resolve(identity: Any) -> Storage:
        kind, key, _, numel, _ = _storage_identity(identity, 4)
        if key not in storages:
            dtype, raw = storage_dtype(kind), member(f"data/{key}")
            if len(raw) != numel * dtype.itemsize:
                raise Refused("holds a storage of another size than it says")
            storages[key] = Storage(dtype, raw)
        return storages[key]

    program = member("data.pkl")
    if len(program) > _MAX_ZIPPED_PICKLE:
        raise Refused(f"describes itself in more than {_MAX_ZIPPED_PICKLE} bytes")
    return PickleMachine(budget, _builders(budget), resolve).run(_Reader(program))


# ---------------------------------------------------------------- tar


def _read_tar(mapped: mmap.mmap, budget: Budget) -> Any:
    view = memoryview(mapped)
    with tarfile.open(fileobj=mapped, mode="r:") as archive:
        members = {}
        for name in ("storages", "tensors", "pickle"):
            try:
                member = archive.getmember(name)
            except KeyError:
                raise Refused("is a tar archive without a checkpoint in it") from None
            if not member.isreg():
                raise Refused("is a tar archive with a link in it")
            members[name] = _Reader(view[member.offset_data : member.offset_data + member.size])
    storages = _tar_storages(members["storages"], budget)
    objects: dict[int, Any] = {**storages, **_tar_tensors(members["tensors"], storages, budget)}

    def resolve(identity: Any) -> Any:
        if isinstance(identity, tuple) and identity and isinstance(identity[0], Global):
            return identity[0]  # a class with its source, which is left out
        try:
            return objects[int(identity)]
        except (KeyError, ValueError, TypeError):
            raise Refused("refers to data that it does not hold") from None

    return PickleMachine(budget, _builders(budget), resolve).run(members["pickle"])


def _tar_storages(reader: _Reader, budget: Budget) -> dict[int, Storage]:
    storages: dict[int, Storage] = {}
    for _ in range(_count(reader, budget)):
        entry = PickleMachine(budget, {}).run(reader)
        if not isinstance(entry, tuple) or len(entry) != 3:
            raise Refused("describes its storages in an unknown way")
        key, _, kind = entry
        dtype, numel = storage_dtype(kind), reader.number("<q")
        storages[key] = Storage(dtype, reader.take(numel * dtype.itemsize))
    parts = PickleMachine(budget, {}).run(reader)
    for part in parts if isinstance(parts, list) else ():
        if (
            not isinstance(part, tuple)
            or len(part) != 4
            or not all(type(n) is int and n >= 0 for n in part)
            or part[1] not in storages
        ):
            raise Refused("refers to a part of a storage in an unknown way")
        key, root, offset, numel = part
        storages[key] = _slice(storages[root], offset, numel)
    return storages


def _tar_tensors(reader: _Reader, storages: Mapping[int, Storage], budget: Budget) -> dict[int, Any]:
    tensors: dict[int, Any] = {}
    for _ in range(_count(reader, budget)):
        entry = PickleMachine(budget, {}).run(reader)
        if not isinstance(entry, tuple) or len(entry) != 3 or entry[1] not in storages:
            raise Refused("describes its tensors in an unknown way")
        dimensions = reader.number("<i")
        reader.take(4)  # once part of the number of dimensions
        if not 0 <= dimensions <= 64:
            raise Refused("holds a tensor of an impossible shape")
        size = tuple(reader.number("<q") for _ in range(dimensions))
        stride = tuple(reader.number("<q") for _ in range(dimensions))
        tensors[entry[0]] = cut_tensor(storages[entry[1]], reader.number("<q"), size, stride)
    return tensors


def _count(reader: _Reader, budget: Budget) -> int:
    count = PickleMachine(budget, {}).run(reader)
    if type(count) is not int or not 0 <= count <= _MAX_COUNT:
        raise Refused("does not say how much it holds")
    return count
