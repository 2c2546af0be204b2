"""Faces from the two networks, batch by batch, and what those networks are given while nobody
speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.engines.musetalk import checkpoints
from personare.engines.musetalk.drive import open_drive
from personare.engines.musetalk.hearing import Ears
from personare.engines.musetalk.options import UNET, VAE, MuseTalkOptions
from personare.engines.musetalk.template.prepared import PreparedFaces
from personare.engines.neural import chosen_batch, device_of, in_batches
from personare.ground.stopwatch import Stopwatch
from personare.types import SAMPLE_RATE, Image

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.musetalk.motion import FacePredictor
    from personare.engines.musetalk.render import FaceDecoder
    from personare.weights.finder import Weights
    from personare.weights.resident import Lease

Floats = NDArray[np.float32]

_BYTES_EACH = {4: 700 << 20, 2: 350 << 20}
"""Working memory of one frame in the decoder, by bytes per number."""
_MOST_AT_ONCE = {"cpu": 8}
_SILENCE_SECONDS = 2


class Painter:
    """The networks for one performance's options, and the template's latents. Raises
    WeightsMissing.
    """

    def __init__(
        self, options: MuseTalkOptions, weights: Weights, faces: PreparedFaces, watch: Stopwatch
    ) -> None:
        from personare.weights.device import choose_dtype

        self._options, self._weights, self._faces, self._watch = options, weights, faces, watch
        weights.require(UNET[options.version], VAE)
        self._device = device_of(options)
        self._dtype = choose_dtype(self._device, options.precision)
        self._batch = chosen_batch(
            options.batch_size,
            self._device,
            _BYTES_EACH[self._dtype.itemsize],
            _MOST_AT_ONCE.get(self._device.type, 32),
        )

    @property
    def batch_size(self) -> int:
        """Frames that go through the networks together; less after memory ran out."""
        return self._batch.rows

    def paint(
        self, indices: Sequence[int], tokens: Floats, speaking: Floats, silence: Callable[[], Floats]
    ) -> list[Image]:
        """Faces uint8 [S, S, 3] of template frames.

        tokens: float32 [n, 50, width]. speaking: float32 [n]; below 1 the frame hears so much
        of silence instead, and refers that much to the template's own frame with the mouth most
        shut.
        """
        motion, decoder = self._networks
        latents = self._faces.latents[list(indices)]
        if (speaking < 1).any():
            share = speaking[:, None, None]
            tokens = tokens * share + silence() * (1 - share)
            half = latents.shape[1] // 2
            shut = self._faces.latents[self._faces.most_shut, half:]
            latents = latents.copy()
            latents[:, half:] = latents[:, half:] * share[..., None] + shut * (1 - share[..., None])

        def run(rows: NDArray[np.intp]) -> NDArray[np.uint8]:
            with self._watch("motion"):
                predicted = motion.predict(latents[rows], tokens[rows])
            with self._watch("render"):
                return decoder.decode(predicted)

        return [face for batch in in_batches(run, len(indices), self._batch) for face in batch]

    def close(self) -> None:
        """Give the networks back; they are leased again if they are needed again."""
        for lease in self.__dict__.pop("_leases", ()):
            lease.close()

    @property
    def _networks(self) -> tuple[FacePredictor, FaceDecoder]:
        motion, decoder = self._leases
        return motion.network, decoder.network

    @cached_property
    def _leases(self) -> tuple[Lease[FacePredictor], Lease[FaceDecoder]]:
        return (
            checkpoints.lease_motion(self._options, self._weights, self._device, self._dtype),
            checkpoints.lease_decoder(self._weights, self._device, self._dtype),
        )


def silent_tokens(options: MuseTalkOptions, ears: Ears, store: FeatureStore | None) -> Floats:
    """What is heard in the middle of two silent seconds, float32 [50, width]: exactly, whatever
    the options say of live voices.
    """
    drive = open_drive(options.model_copy(update={"audio": "exact"}), ears, Fraction(25), store)
    nothing = np.zeros(_SILENCE_SECONDS * SAMPLE_RATE, np.float32)
    windows = [*drive.push(nothing), *drive.finish()]
    return windows[len(windows) // 2]
