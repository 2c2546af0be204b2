"""Checkpoints that are pickles, read without executing anything: plain pickles, torch's old
formats, zips with classes in them.

| format | what it is |
|---|---|
| pickle | one pickle of plain objects; tensors in it are torch files of their own |
| stream | torch < 1.6: magic number, version, system, the object, keys of storages, then their numbers |
| tar | torch < 0.1.10: members `storages`, `tensors` and `pickle` |
| zip | torch >= 1.6: `data.pkl` and one member for each storage |

The result consists of tensors, numpy arrays, plain containers and inert records
(`records.Record`); see `pickle_machine` for what is refused. Numbers are memory-mapped where
they lie aligned in the file.
"""

from __future__ import annotations

import mmap
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from personare.errors import WeightsMismatch, WeightsMissing
from personare.weights.formats import FETCH_AGAIN, Format
from personare.weights.pickle_machine import PickleMachine, Refused
from personare.weights.pickle_values import Storage, cut_tensor, plain_builders, storage_dtype
from personare.weights.records import Global

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_STREAM_VERSION = 1001
_MAX_LINE = 1 << 20
_MAX_COUNT = 1_000_000


def read_legacy(path: Path, kind: Format) -> Any:
    """The object that a checkpoint holds. Raises WeightsMismatch if it is damaged or refused,
    in one sentence.
    """
    try:
        with path.open("rb") as file:
            # Private: what the program does with its tensors never reaches the file. Freed with
            # the last tensor.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            if kind == "tar":
                return _read_tar(mapped)
            if kind == "zip":
                return _read_zip(mapped, path)
            return _read_pickle(memoryview(mapped))
    except Refused as refusal:
        hint = f"it may be hostile; nothing of it was executed; {FETCH_AGAIN}"
        raise WeightsMismatch(f"{path} is refused: it {refusal}", hint=hint) from None
    except (tarfile.TarError, zipfile.BadZipFile, struct.error, EOFError) as error:
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
        line = bytes(self.view[self.position : self.position + _MAX_LINE])
        line = line[: line.find(b"\n") + 1]
        self.position += len(line)
        return line

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


def _builders(depth: int = 0) -> dict[str, Callable[..., Any]]:
    """Builders whose nested torch files may hold no further ones."""

    def load_bytes(data: bytes) -> Any:
        if depth:
            raise Refused("nests files in files in files")
        return _read_pickle(memoryview(data), depth + 1)

    return plain_builders(load_bytes)


def _read_pickle(view: memoryview, depth: int = 0) -> Any:
    """A plain pickle, or torch's stream of pickles if it begins with the magic number."""
    reader = _Reader(view)
    first = PickleMachine(_builders(depth)).run(reader)
    return _read_stream(reader, depth) if first == MAGIC_NUMBER and isinstance(first, int) else first


def _read_stream(reader: _Reader, depth: int) -> Any:
    version = PickleMachine({}).run(reader)
    if version != _STREAM_VERSION:
        raise Refused(f"is of an unknown version ({version})")
    system = PickleMachine({}).run(reader)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise Refused("was written on a big-endian machine")
    start = reader.position
    # The numbers lie behind the object, in pieces whose kind only the object tells: it is read
    # twice.
    kinds: dict[str, tuple[Any, int]] = {}

    def note(identity: Any) -> None:
        kind, key, _, numel, _ = _storage_identity(identity, 5)
        kinds.setdefault(key, (storage_dtype(kind), numel))

    PickleMachine({}, note).run(reader)
    keys = PickleMachine({}).run(reader)
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

    return PickleMachine(_builders(depth), resolve).run(_Reader(reader.view[start:]))


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


def zip_root(path: Path) -> str:
    """The folder inside a torch zip file in which `data.pkl` lies. Raises WeightsMismatch for
    other zip files and damaged ones.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _root(archive, path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsMismatch(f"{path} is damaged or truncated: {error}", hint=FETCH_AGAIN) from None


def _root(archive: zipfile.ZipFile, path: Path) -> str:
    names = archive.namelist()
    root = next(
        (
            name.removesuffix("data.pkl")
            for name in names
            if name.endswith("/data.pkl") and name.count("/") == 1
        ),
        None,
    )
    if root is not None and f"{root}constants.pkl" not in names:
        return root
    what = (
        "a TorchScript program, not a checkpoint"
        if root is not None
        else "a zip archive without a checkpoint in it"
    )
    raise WeightsMismatch(f"{path} is {what}", hint=FETCH_AGAIN)


def _read_zip(mapped: mmap.mmap, path: Path) -> Any:
    view = memoryview(mapped)
    with zipfile.ZipFile(path) as archive:
        root = _root(archive, path)
        members = {info.filename: info for info in archive.infolist()}
    order = members.get(f"{root}byteorder")
    if order and bytes(_member(view, order)) != b"little":
        raise Refused("was written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def resolve(identity: Any) -> Storage:
        kind, key, _, numel, _ = _storage_identity(identity, 4)
        if key not in storages:
            info = members.get(f"{root}data/{key}")
            if info is None:
                raise Refused("refers to a storage that it does not hold")
            dtype, raw = storage_dtype(kind), _member(view, info)
            if len(raw) != numel * dtype.itemsize:
                raise Refused("holds a storage of another size than it says")
            storages[key] = Storage(dtype, raw)
        return storages[key]

    return PickleMachine(_builders(), resolve).run(_Reader(_member(view, members[f"{root}data.pkl"])))


def _member(view: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member that is stored as it is. Raises Refused."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise Refused("is compressed or encrypted")
    reader = _Reader(view[info.header_offset :])
    header = reader.take(30)
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    reader.take(name_length + extra_length)
    return reader.take(info.file_size)


# ---------------------------------------------------------------- tar


def _read_tar(mapped: mmap.mmap) -> Any:
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
    storages = _tar_storages(members["storages"])
    objects: dict[int, Any] = {**storages, **_tar_tensors(members["tensors"], storages)}

    def resolve(identity: Any) -> Any:
        if isinstance(identity, tuple) and identity and isinstance(identity[0], Global):
            return identity[0]  # a class with its source, which is left out
        try:
            return objects[int(identity)]
        except (KeyError, ValueError, TypeError):
            raise Refused("refers to data that it does not hold") from None

    return PickleMachine(_builders(), resolve).run(members["pickle"])


def _tar_storages(reader: _Reader) -> dict[int, Storage]:
    storages: dict[int, Storage] = {}
    for _ in range(_count(reader)):
        entry = PickleMachine({}).run(reader)
        if not isinstance(entry, tuple) or len(entry) != 3:
            raise Refused("describes its storages in an unknown way")
        key, _, kind = entry
        dtype, numel = storage_dtype(kind), reader.number("<q")
        storages[key] = Storage(dtype, reader.take(numel * dtype.itemsize))
    parts = PickleMachine({}).run(reader)
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


def _tar_tensors(reader: _Reader, storages: Mapping[int, Storage]) -> dict[int, Any]:
    tensors: dict[int, Any] = {}
    for _ in range(_count(reader)):
        entry = PickleMachine({}).run(reader)
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


def _count(reader: _Reader) -> int:
    count = PickleMachine({}).run(reader)
    if type(count) is not int or not 0 <= count <= _MAX_COUNT:
        raise Refused("does not say how much it holds")
    return count
