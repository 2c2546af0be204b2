"""The tier in memory: features used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from personare.types import Feature

_OVERHEAD_BYTES = 4096
"""What a feature costs beside its arrays; bounds the number of tiny ones."""


class MemoryTier:
    """Features by key, least recently used first out. Thread-safe.

    A mapped feature counts with all its bytes, though the operating system may hold fewer of
    them in memory.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._features: OrderedDict[str, Feature] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: str) -> Feature | None:
        with self._lock:
            feature = self._features.get(key)
            if feature is not None:
                self._features.move_to_end(key)
            return feature

    def put(self, key: str, feature: Feature) -> None:
        """Keep a feature, letting go of others if there is no space; one that is larger than
        the whole tier is not kept.
        """
        with self._lock:
            self._drop(key)
            if _cost_bytes(feature) > self.max_bytes:
                return
            self._features[key] = feature
            self._bytes += _cost_bytes(feature)
            while self._bytes > self.max_bytes:
                self._drop(next(iter(self._features)))

    def clear(self) -> None:
        with self._lock:
            self._features.clear()
            self._bytes = 0

    @property
    def nbytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._features)

    def _drop(self, key: str) -> None:
        if (feature := self._features.pop(key, None)) is not None:
            self._bytes -= _cost_bytes(feature)


def _cost_bytes(feature: Feature) -> int:
    return feature.nbytes + _OVERHEAD_BYTES
