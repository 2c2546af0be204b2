"""Sample rates changed piece by piece, with exact counts and no delay."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


class StreamResampler:
    """float32 [m] or [m, channels] at `from_hz` in, the same at `to_hz` out: ceil(m * to_hz /
    from_hz) over a stream.

    Sample k of the output is the signal at time k / to_hz (soxr HQ is linear phase and its
    delay is taken out), so nothing drifts however long the stream is. Equal rates pass the
    samples through untouched. One stream per object.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int | None = None) -> None:
        """`channels` None: one-dimensional arrays."""
        self.from_hz, self.to_hz = from_hz, to_hz
        self._shape = () if channels is None else (channels,)
        self._soxr = soxr.ResampleStream(from_hz, to_hz, channels or 1, dtype="float32", quality="HQ")
        self._taken = 0
        self._given = 0

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output that `piece` settles; any length, also none."""
        self._taken += len(piece)
        if self.from_hz == self.to_hz:
            self._given = self._taken
            return piece
        output: NDArray[np.float32] = self._soxr.resample_chunk(np.ascontiguousarray(piece, dtype=np.float32))
        return self._counted(output)

    def finish(self) -> NDArray[np.float32]:
        """The rest of the output."""
        if self.from_hz == self.to_hz:
            return np.zeros((0, *self._shape), np.float32)
        # soxr ends at the nearest output sample; silence for one more lets us end at the next
        # one instead.
        silence = np.zeros((self.from_hz // self.to_hz + 1, *self._shape), np.float32)
        return self._counted(self._soxr.resample_chunk(silence, last=True))

    def _counted(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        due = -(-self._taken * self.to_hz // self.from_hz) - self._given
        output = output[:due]
        self._given += len(output)
        return output
