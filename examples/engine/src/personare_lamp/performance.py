"""One run of lamp: each frame is as light as its stretch of the voice is loud."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from personare.engines.performance import Made, Performance
from personare.engines.utterance import Utterance
from personare.types import SAMPLE_RATE, Avatar, Phone, Samples, frame_count
from personare_lamp.options import LampOptions
from personare_lamp.prepare import PICTURE


class LampPerformance(Performance):
    """A wing writes hearing, ending, resting and dropping; the run itself is the base class's."""

    def __init__(self, avatar: Avatar, options: LampOptions) -> None:
        super().__init__()
        self._picture = avatar.features[PICTURE].arrays["picture"]
        self._options = options
        self.fps, self.size = options.fps, self._picture.shape[:2]
        self._kept = np.zeros(0, np.float32)  # samples of frames that are not complete
        self._frame = 0  # of the utterance

    def _begin(self, said: Utterance) -> None:
        self._kept, self._frame = np.zeros(0, np.float32), 0

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:
        self._kept = np.concatenate([self._kept, samples])
        while len(self._kept) >= (need := self._samples_of(self._frame)):
            yield self._drawn(self._kept[:need])
            self._kept = self._kept[need:]

    def _end(self, said: Utterance) -> Iterator[Made]:
        for _ in range(frame_count(said.samples, self.fps) - self._frame):
            yield self._drawn(self._kept)
            self._kept = self._kept[:0]

    def _rest(self, n: int) -> Made:
        return Made(np.repeat(self._picture[None], n, axis=0))

    def _samples_of(self, frame: int) -> int:
        """Samples of a frame: exact over the utterance, whatever the rate."""
        return int((frame + 1) * SAMPLE_RATE / self.fps) - int(frame * SAMPLE_RATE / self.fps)

    def _drawn(self, heard: Samples) -> Made:
        self._frame += 1
        loudness = float(np.sqrt(np.mean(heard**2))) if len(heard) else 0.0
        with self.watch("render"):
            light = 1 + self._options.glow * min(1.0, 4 * loudness)
            return Made(np.clip(self._picture * light, 0, 255).astype(np.uint8)[None])
