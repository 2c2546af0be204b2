"""What belongs to one utterance of a run: its speech, its counts, and the word that it is over."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError, UnusableSpeech
from personare.types import Samples


class Cut:
    """Tells whoever works for an utterance that it was interrupted."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._told: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return self._set.is_set()

    def set(self) -> None:
        """Interrupt; whoever asked to be told is told, in this thread."""
        with self._lock:
            self._set.set()
            told, self._told = self._told, []
        for tell in told:
            tell()

    def tell(self, listener: Callable[[], None]) -> None:
        """Call `listener()` at the interruption, or now if it has been. It must neither block
        nor raise.
        """
        with self._lock:
            if not self._set.is_set():
                self._told.append(listener)
                return
        listener()


@dataclass
class Utterance:
    """One utterance, or one motion that is shown.

    number: from 1.
    cut: set when it is interrupted.
    samples: how many were fed.
    shown: how many of its frames were handed out.
    expected: how many frames it has if that is known without speech.
    """

    number: int
    cut: Cut = field(default_factory=Cut)
    samples: int = 0
    shown: int = 0
    expected: int | None = None
    ending: bool = False
    work: deque[Iterator[Any]] = field(default_factory=deque)

    def close(self) -> None:
        """Close the iterators that still have work."""
        for items in self.work:
            if (close := getattr(items, "close", None)) is not None:
                close()


def one_dimensional(samples: NDArray[Any]) -> Samples:
    """The samples given to `feed` as float32 [n], a copy: they are heard later, when the caller
    may have reused his buffer.

    Raises EngineError for any other shape, UnusableSpeech for NaN or infinite samples.
    """
    if samples.ndim != 1:
        raise EngineError(f"speech must be one-dimensional 16 kHz mono, not of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise UnusableSpeech("the speech has NaN or infinite samples", hint="check what makes the samples")
    return np.array(samples, dtype=np.float32)
