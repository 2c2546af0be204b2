"""Networks in memory: one owner in a process. Any number of performances, stages and threads
hold one copy of each network.

    with resident.lease(key, load) as network:
        ...

A network is loaded by whoever asks first; others who ask meanwhile wait for it. It stays in
memory after its last lease ended, so that the next clip finds it. When what is resident exceeds
a budget, the networks that nobody leases are dropped, the least recently used first. A leased
network is never dropped, whatever the budget.

The budget is one number of bytes for each device: `set_budget`, else PERSONARE_NETWORK_MEMORY
("8GB", "512 MiB"), else half of the device's memory.

A shared network must not hold the state of a run: several threads may call it at once.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from personare.errors import InvalidOption
from personare.weights.footprint import Footprint, footprint, total_memory

if TYPE_CHECKING:
    from types import TracebackType

    import torch

    from personare.weights.finder import Weights

BUDGET_VARIABLE = "PERSONARE_NETWORK_MEMORY"
STORED = "stored"
"""dtype of what is kept in the formats that its file has."""
_SHARE_OF_MEMORY = 0.5

Network = TypeVar("Network")


@dataclass(frozen=True, slots=True)
class NetworkKey:
    """What makes two networks the same.

    checkpoints: the sha256 of every file that the network is made of.
    part: which network of those files, the component of the catalogue first: "s3fd",
        "float/decoder".
    device: "cpu", "cuda:0", "mps".
    dtype: "float32", "bfloat16", or STORED.
    """

    checkpoints: tuple[str, ...]
    part: str
    device: str = "cpu"
    dtype: str = STORED

    @classmethod
    def of(
        cls,
        checkpoints: tuple[str, ...],
        part: str,
        device: torch.device,
        dtype: torch.dtype,
    ) -> NetworkKey:
        """The same from torch's own values."""
        return cls(checkpoints, part, str(device), str(dtype).removeprefix("torch."))


@dataclass(frozen=True, slots=True)
class Resident:
    """One network in memory.

    checkpoints: the first 12 digits of each sha256.
    bytes: all that it holds, also what it shares with another network of the same file.
    leases: how many hold it now.
    loads: how often this process has loaded it.
    """

    part: str
    checkpoints: tuple[str, ...]
    device: str
    dtype: str
    bytes: int
    leases: int
    loads: int


class Lease(Generic[Network]):
    """The right to use a network, until `close`, the end of a `with` (which gives the network),
    or until nobody refers to the lease any more: keep it for as long as the network is used.
    """

    network: Network

    def __init__(self, network: Network, give_back: Callable[[], None] | None = None) -> None:
        """give_back: called once, when the lease ends; None for a network that nobody shares."""
        self.network = network
        self._end = weakref.finalize(self, give_back or _nothing)
        self._end.atexit = False

    def close(self) -> None:
        """Give the network back. A second time does nothing."""
        self.__dict__.pop("network", None)
        self._end()

    def __enter__(self) -> Network:
        return self.network

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(eq=False, slots=True)
class _Entry:
    key: NetworkKey
    network: Any = None
    held: Footprint = field(default_factory=dict)
    loading: bool = True
    leases: int = 0
    used: int = 0

    @property
    def bytes(self) -> int:
        return sum(self.held.values())


class NetworkPool:
    """The owner. A process needs one (the functions of this module); tests make their own."""

    def __init__(self, budget: int | None = None) -> None:
        """budget: bytes for each device; None as the module says."""
        self._budget = budget
        self._entries: dict[NetworkKey, _Entry] = {}
        self._loads: Counter[NetworkKey] = Counter()
        self._clock = count(1)
        self._lock = threading.Lock()
        self._loaded = threading.Condition(self._lock)
        # The garbage collector may end a lease at any moment, also in a thread that has the
        # lock: what ended waits here until the lock is free.
        self._ended: deque[_Entry] = deque()

    def lease(
        self,
        key: NetworkKey,
        load: Callable[[], Network],
        size: Callable[[Network], int] | None = None,
        expected: int = 0,
    ) -> Lease[Network]:
        """A lease of the network, loaded by `load` unless it is resident. Raises what `load`
        raises; then the next who asks tries again.

        load: may lease other networks, such as the file that this one is a part of.
        size: bytes of what holds no tensors (for an onnxruntime session that of its file); None
            counts the tensors that are found in modules, containers and objects.
        expected: bytes for which space is made before `load` is called.
        """
        self.budget(key.device)  # a budget that cannot be read is told before anything is loaded
        with self._lock:
            while (entry := self._entries.get(key)) is not None and entry.loading:
                self._loaded.wait()
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = _Entry(key)
            entry.leases += 1
            entry.used = next(self._clock)
            dropped = self._over_budget(key.device, expected) if mine else []
        del dropped  # memory is freed without the lock
        if mine:
            self._load(entry, load, size)
        self._settle()
        return Lease(entry.network, partial(self._end, entry))

    def _load(
        self,
        entry: _Entry,
        load: Callable[[], Network],
        size: Callable[[Network], int] | None,
    ) -> None:
        try:
            network = load()
            held: Footprint = footprint(network) if size is None else {("size", id(network)): size(network)}
        except BaseException:
            with self._lock:
                del self._entries[entry.key]
                self._loaded.notify_all()
            raise
        with self._lock:
            entry.network, entry.held, entry.loading = network, held, False
            self._loads[entry.key] += 1
            self._loaded.notify_all()
            dropped = self._over_budget(entry.key.device)
        del dropped

    def _end(self, entry: _Entry) -> None:
        self._ended.append(entry)
        self._settle()

    def _settle(self) -> None:
        """Count the leases that ended; also called after each use of the lock, for those that
        ended meanwhile.
        """
        while self._ended and self._lock.acquire(blocking=False):
            dropped: list[_Entry] = []
            try:
                while self._ended:
                    entry = self._ended.popleft()
                    entry.leases -= 1
                    entry.used = next(self._clock)
                    if not entry.leases:
                        dropped += self._over_budget(entry.key.device)
            finally:
                self._lock.release()
            del dropped

    def _over_budget(self, device: str, coming: int = 0) -> list[_Entry]:
        """Take out what nobody leases, the least recently used first, until the rest fits
        together with so many bytes to come.
        """
        here = [entry for entry in self._entries.values() if entry.key.device == device]
        budget = self.budget(device) - coming
        if sum(entry.bytes for entry in here) <= budget:
            return []
        holders = Counter(piece for entry in here for piece in entry.held)
        in_use = _shared([entry for entry in here if entry.leases]).keys()
        left = sum(_shared(here).values())
        dropped = []
        for entry in sorted((e for e in here if not e.leases), key=lambda e: e.used):
            # What a leased network holds as well would not be freed.
            if left > budget and not entry.held.keys() <= in_use:
                left -= sum(size for piece, size in entry.held.items() if holders[piece] == 1)
                holders.subtract(entry.held.keys())
                dropped.append(self._entries.pop(entry.key))
        return dropped

    def drop_unleased(self, device: str | None = None) -> int:
        """Let go of all networks that nobody leases (on one device); bytes that were freed."""
        with self._lock:
            before = sum(_shared(list(self._entries.values())).values())
            dropped = [
                self._entries.pop(entry.key)
                for entry in list(self._entries.values())
                if not entry.leases and device in (None, entry.key.device)
            ]
            after = sum(_shared(list(self._entries.values())).values())
        del dropped
        self._settle()
        return before - after

    def budget(self, device: str) -> int:
        """Bytes that networks may hold on a device while nobody leases them. Raises
        InvalidOption if PERSONARE_NETWORK_MEMORY is not a size.
        """
        if self._budget is not None:
            return self._budget
        if text := os.environ.get(BUDGET_VARIABLE):
            return _read_size(text)
        return int(total_memory(device) * _SHARE_OF_MEMORY)

    def set_budget(self, budget: int | None) -> None:
        """Another budget for each device, in force at once; None for the usual one."""
        self._budget = budget
        with self._lock:
            devices = {entry.key.device for entry in self._entries.values()}
            dropped = [entry for device in devices for entry in self._over_budget(device)]
        del dropped
        self._settle()

    def report(self) -> list[Resident]:
        """What is resident, by part."""
        with self._lock:
            found = [
                Resident(
                    entry.key.part,
                    tuple(digest[:12] for digest in entry.key.checkpoints),
                    entry.key.device,
                    entry.key.dtype,
                    entry.bytes,
                    entry.leases,
                    self._loads[entry.key],
                )
                for entry in self._entries.values()
                if not entry.loading
            ]
        self._settle()
        return sorted(found, key=lambda entry: (entry.part, entry.device, entry.dtype, entry.checkpoints))

    def resident_bytes(self, device: str | None = None) -> int:
        """Bytes that are resident (on one device). Memory that two networks share counts once."""
        with self._lock:
            entries = [entry for entry in self._entries.values() if device in (None, entry.key.device)]
            total = sum(_shared(entries).values())
        self._settle()
        return total


_POOL = NetworkPool()

lease = _POOL.lease
report = _POOL.report
resident_bytes = _POOL.resident_bytes
drop_unleased = _POOL.drop_unleased
budget = _POOL.budget
set_budget = _POOL.set_budget


def lease_component(
    weights: Weights,
    name: str,
    load: Callable[[Path], Network],
    device: torch.device,
    dtype: torch.dtype,
    part: str = "",
) -> Lease[Network]:
    """A lease of the network of a component of the catalogue, the same for every engine that
    uses it. Raises WeightsMissing, and what `load` raises.

    load: given the component's file of weights, or its folder.
    part: which network of the component, if there are several.
    """
    weights.require(name)
    located = weights.locate(name)
    assert located is not None
    key = NetworkKey.of((weights.sha256(name),), f"{name}/{part}" if part else name, device, dtype)
    return lease(key, partial(load, located.path), expected=located.file("weights").stat().st_size)


def _nothing() -> None:
    pass


def _shared(entries: list[_Entry]) -> dict[Hashable, int]:
    """All that some networks hold; what several of them hold is there once."""
    return {piece: size for entry in entries for piece, size in entry.held.items()}


def _read_size(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise InvalidOption(
            f"{BUDGET_VARIABLE}={text!r} is not a size", hint="for example 8GB, 512MB or 0"
        ) from None
