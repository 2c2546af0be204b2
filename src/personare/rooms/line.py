"""What one utterance sounds like at the room's own rate.

Engines hear 16 kHz. A room that is given 24 or 48 kHz is to hear them again, so a copy waits
here for the ticks in which it is spoken.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from personare.media.resample import StreamResampler
from personare.types import SAMPLE_RATE, Samples

_MARGIN_SECONDS = 0.01


class Line:
    """An utterance under way, from the room's side.

    generation: of the session in which it is spoken.
    is_text: whether the session makes its sound; then `heard_back` gives it.
    open: whether more comes.
    id: the session's name for it, once it has begun.
    """

    def __init__(self, rate: int, generation: int, *, is_text: bool = False) -> None:
        self.generation, self.is_text = generation, is_text
        self.open = not is_text
        self.id: str | None = None
        self._rate = rate
        self._resampler: StreamResampler | None = None
        self._pieces: deque[Samples] = deque()
        self.waiting = 0
        """Samples that were not spoken yet."""
        self.is_empty = True

    def hear(self, samples: Samples, rate: int) -> None:
        """More of it, as it comes. rate: Hz; it may change."""
        if not len(samples):
            return
        self.is_empty = False
        if rate == self._rate:
            self._flush()
            self._put(samples)
            return
        if self._resampler is None or self._resampler.from_hz != rate:
            self._flush()
            self._resampler = StreamResampler(rate, self._rate)
        self._put(self._resampler.push(samples))

    def end(self) -> None:
        """No more comes."""
        self._flush()
        self.open = False

    def heard_back(self, samples: Samples, count: int) -> None:
        """A text's sound of one tick, at 16 kHz; `count` samples of it are taken next."""
        first = self.is_empty
        self.hear(samples, SAMPLE_RATE)
        if first and self._rate != SAMPLE_RATE:  # the resampler lags: once, and by a fixed time
            lag = max(0, count - self.waiting) + round(_MARGIN_SECONDS * self._rate)
            self._pieces.appendleft(np.zeros(lag, np.float32))
            self.waiting += lag

    def take(self, count: int) -> Samples:
        """float32 [count], filled up with silence."""
        sound = np.zeros(count, np.float32)
        filled = 0
        while filled < count and self._pieces:
            head = self._pieces.popleft()
            part = head[: count - filled]
            if len(part) < len(head):
                self._pieces.appendleft(head[len(part) :])
            sound[filled : filled + len(part)] = part
            filled += len(part)
        self.waiting -= filled
        return sound

    def forget(self, generation: int) -> None:
        """What was heard is lost; what still comes is spoken in another generation."""
        self._pieces.clear()
        self._resampler, self.id = None, None
        self.waiting, self.generation, self.is_empty = 0, generation, True

    def _put(self, samples: Samples) -> None:
        if len(samples):
            self._pieces.append(samples)
            self.waiting += len(samples)

    def _flush(self) -> None:
        if self._resampler is not None:
            self._put(self._resampler.finish())
            self._resampler = None


def pcm(sound: Samples) -> NDArray[np.int16]:
    """float32 in [-1, 1] as int16."""
    return np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)


def floats(sound: NDArray[np.int16]) -> Samples:
    """int16 as float32 in [-1, 1)."""
    return sound.astype(np.float32) / np.float32(32768)
