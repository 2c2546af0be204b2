"""What is said, utterance by utterance, on its way in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from personare.media.resample import StreamResampler
from personare.types import SAMPLE_RATE, Phone, Samples


class Voice:
    """One utterance's speech: samples at 16 kHz in, pieces as long as a tick out. The session's
    lock guards it.

    id: for the page, one a session.
    guided: a guide moves the face; the samples are only heard.
    ended: no more comes.
    void: it was interrupted or cleared; whoever makes its sound may stop.
    """

    def __init__(self, id: str, *, guided: bool = False) -> None:
        self.id = id
        self.guided = guided
        self.ended = False
        self.void = False
        self.waiting_since: float | None = None
        """When its first sample came; None before."""
        self.length = 0
        """Samples that wait."""
        self._pieces: deque[Samples] = deque()
        self._phones: deque[Phone] | None = None
        self._given = 0
        self._inserted = 0

    def put(self, samples: Samples, phones: Sequence[Phone] | None, now: float) -> None:
        """More of it. phones: as in `Performance.feed`."""
        if len(samples) and self.waiting_since is None:
            self.waiting_since = now
        if phones is not None:
            self._phones = self._phones if self._phones is not None else deque()
            self._phones.extend(phones)
        if len(samples):
            self._pieces.append(samples)
            self.length += len(samples)

    def take(self, count: int) -> tuple[Samples, tuple[Phone, ...] | None]:
        """The next `count` samples, fewer at its end, and the phones that start in them."""
        taken: list[Samples] = []
        missing = count
        while missing and self._pieces:
            head = self._pieces[0]
            taken.append(head[:missing])
            if len(head) > missing:
                self._pieces[0] = head[missing:]
            else:
                self._pieces.popleft()
            missing -= len(taken[-1])
        samples = np.concatenate(taken) if taken else np.zeros(0, np.float32)
        self.length -= len(samples)
        self._given += len(samples)
        return samples, self._started_phones()

    def silence(self, count: int) -> tuple[Samples, tuple[Phone, ...] | None]:
        """Silence in place of samples that are late; what is said later is later by as much."""
        self._inserted += count
        return np.zeros(count, np.float32), None if self._phones is None else ()

    def clear(self) -> None:
        """Forget what waits."""
        self._pieces.clear()
        self.length = 0
        if self._phones is not None:
            self._phones.clear()

    def _started_phones(self) -> tuple[Phone, ...] | None:
        if self._phones is None:
            return None
        started = []
        while self._phones and self._phones[0].start < self._given:
            phone = self._phones.popleft()
            by = self._inserted
            started.append(Phone(phone.symbol, phone.start + by, phone.end + by))
        return tuple(started)


class LiveVoice(Voice):
    """One that comes in pieces from outside, at a rate of its own."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._resampler: StreamResampler | None = None

    def hear(self, samples: Samples, rate: int, now: float) -> None:
        """More of it. rate: Hz; it may change."""
        if self._resampler is None or self._resampler.from_hz != rate:
            self._flush(now)
            self._resampler = StreamResampler(rate, SAMPLE_RATE)
        self.put(np.clip(self._resampler.push(samples), -1, 1), None, now)

    def end(self, now: float) -> None:
        """No more comes."""
        self._flush(now)
        self.ended = True

    def _flush(self, now: float) -> None:
        if self._resampler is not None:
            self.put(np.clip(self._resampler.finish(), -1, 1), None, now)
            self._resampler = None


class Fed:
    """What the engine was fed and nobody has heard yet."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[Samples, bool]] = deque()

    def put(self, samples: Samples, starved: bool) -> None:
        """starved: silence in place of voice that is late."""
        if len(samples):
            self._pieces.append((samples, starved))

    def take(self, count: int) -> tuple[Samples, bool]:
        """float32 [count], filled up with silence; and whether it begins in a starved piece."""
        taken: list[Samples] = []
        missing, starved = count, bool(self._pieces) and self._pieces[0][1]
        while missing and self._pieces:
            samples, late = self._pieces.popleft()
            taken.append(samples[:missing])
            if len(samples) > missing:
                self._pieces.appendleft((samples[missing:], late))
            missing -= len(taken[-1])
        taken.append(np.zeros(missing, np.float32))
        return np.concatenate(taken), starved

    def clear(self) -> None:
        """Forget all."""
        self._pieces.clear()
