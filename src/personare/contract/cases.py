"""An engine at work: what every check starts from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions, Performance
from personare.types import SAMPLE_RATE, Avatar, Frames, Guide, Samples

Images = NDArray[np.uint8]


@dataclass
class Case:
    """An engine, an avatar prepared for it, and the options of its performances.

    seconds: length of the voice that the checks use; engines with slow networks take a short
        one.
    guide: what performances follow, for engines that do.
    """

    engine: Engine
    avatar: Avatar
    options: EngineOptions
    store: FeatureStore | None = None
    seconds: float = 1.2
    guide: Guide | None = None
    opened: list[Performance] = field(default_factory=list)

    def perform(self) -> Performance:
        """A new performance; `close` closes it."""
        performance = self.engine.perform(self.avatar, self.options, guide=self.guide, store=self.store)
        self.opened.append(performance)
        return performance

    def close(self) -> None:
        """Close every performance of this case."""
        while self.opened:
            self.opened.pop().close()

    @cached_property
    def voice(self) -> Samples:
        """Float32 [n]: something like syllables, with pauses, the same every time."""
        time = np.arange(round(self.seconds * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
        harmonics = np.sum([np.sin(k * pitch) / k for k in range(1, 12)], axis=0)
        syllables = np.clip(np.sin(2 * np.pi * 3.1 * time), 0, None) ** 0.7
        voice: Samples = (0.2 * harmonics * syllables).astype(np.float32)
        return voice


def pictures(made: Iterable[Frames]) -> Images:
    """All frames in a row, uint8 [n, H, W, 3]; of none, [0]."""
    images = [frames.images for frames in made]
    return np.concatenate(images) if images else np.zeros(0, np.uint8)


def spoken(performance: Performance, samples: Samples, length: int | None = None) -> list[Frames]:
    """One utterance, fed in pieces of `length` samples (at once by default)."""
    made = []
    for start in range(0, len(samples), length or max(1, len(samples))):
        made += list(performance.feed(samples[start : start + (length or len(samples))]))
    return made + list(performance.finish())
