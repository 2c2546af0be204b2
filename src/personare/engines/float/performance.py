"""One run of float: speech is gathered until it ends, for the networks attend to all of it;
then frames come chunk by chunk, while the next chunk is sampled: drive -> motion -> render ->
compose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.run import hear
from personare.engines.float import drive
from personare.engines.float.checkpoints import ears, formats_of, lease_decoder, lease_transformer
from personare.engines.float.compose import OriginalFraming, SquareFraming
from personare.engines.float.motion import Continuation, Guidance, MotionSampler
from personare.engines.float.networks.config import MODEL_FPS
from personare.engines.float.options import FloatOptions
from personare.engines.float.prepare import APPEARANCE, CROP, REACH
from personare.engines.float.reach import MouthAndHead
from personare.engines.float.render import FrameDecoder
from personare.engines.neural import BatchSize, chosen_batch, device_of, grouped, in_batches
from personare.engines.performance import Made, Performance
from personare.engines.pipeline import overlapped
from personare.engines.portrait import own_photo
from personare.engines.resampling import MotionResampler
from personare.engines.utterance import Utterance
from personare.types import Avatar, Phone, Samples
from personare.voice.activity import ActivityGate

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.float.networks.decoder import StyleDecoder
    from personare.engines.float.networks.transformer import FlowTransformer
    from personare.weights.finder import Weights
    from personare.weights.resident import Lease

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]

_AT_MOST = {"cpu": 1}
"""Frames decoded together: a CPU is busy with one, and more make its caches miss."""
_CHUNKS_AHEAD = 3
"""How many chunks may have been sampled before the first frame of them is shown, at most."""
_BYTES_A_PIXEL = 600
"""Working memory of the decoder per pixel of a frame, measured in bfloat16."""


class FloatPerformance(Performance):
    """One run of one avatar: its networks, its sampler, and where its timeline is."""

    def __init__(
        self, avatar: Avatar, options: FloatOptions, weights: Weights, store: FeatureStore | None
    ) -> None:
        super().__init__()
        self._options, self._weights, self._store = options, weights, store
        self._seen = avatar.features[APPEARANCE].arrays
        self._device = device_of(options)
        self._ears = ears(options, weights)
        self._hearing = drive.recipe(self._ears, options.whole_seconds, options.emotion)
        self._framing = self._framed(avatar)
        self.fps, self.size = options.fps, self._framing.size
        self._mouth = self._mouth_of(avatar)
        self._emotion = drive.requested_emotion("neutral" if options.emotion == "auto" else options.emotion)
        self._speech: list[Samples] = []
        self._last: Continuation | None = None
        self._trail: _Trail | None = None
        self._idle: Iterator[Floats] | None = None
        self._idled = 0

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        self._speech.append(samples)
        return iter(())

    def _end(self, said: Utterance) -> Iterator[Made]:
        speech = np.concatenate([*self._speech, np.zeros(0, np.float32)])
        self._speech = []
        if not len(speech):
            return
        with self.watch("drive"):
            heard = hear(self._hearing, speech, self._store, self._told(said))
        self.heard.update(heard.outcome)
        self._leave(self._idled)
        self._ears.forget()
        assert self._batch.rows  # loads the networks here, not in one of the threads to come
        if drive.EMOTION in heard.features:
            self._emotion = np.asarray(heard.features[drive.EMOTION].arrays["scores"], np.float32)
        voice = np.asarray(heard.features[drive.VOICE].arrays["voice"], np.float32)
        motion = self._motion(voice, self._silent_frames(speech, len(voice)), self._count(said))
        steps = (("render", self._rendered), ("compose", self._framing.compose))
        with closing(overlapped(motion, *steps, watch=self.watch, depth=1, cut=said.cut)) as made:
            yield from map(Made, made)
        if not said.cut:
            self._leave(said.shown)

    def _rest(self, n: int) -> Made:
        """The model's own motion while it hears silence."""
        if self._idle is None:
            self._idle, self._idled = self._idle_motion(), 0
        motion = np.stack([next(self._idle) for _ in range(n)])
        self._idled += n
        with self.watch("render"):
            images = self._rendered(motion)
        with self.watch("compose"):
            return Made(self._framing.compose(images))

    def _drop(self, said: Utterance) -> None:
        self._speech = []
        if self._idle is None:
            self._leave(said.shown)

    def _close(self) -> None:
        """Give the networks back."""
        self._ears.forget()
        self.__dict__.pop("_decoder", None)
        for lease in self.__dict__.pop("_leases", ()):
            lease.close()

    def _leave(self, shown: int) -> None:
        """What comes next goes on from the last frame that was shown, the one before `shown`."""
        if self._trail is not None:
            step = MODEL_FPS / self._options.fps
            self._last = self._trail.at(math.floor((shown - 1) * step) + 1 if shown else 0)
        self._trail = self._idle = None
        self._idled = 0

    def _framed(self, avatar: Avatar) -> SquareFraming | OriginalFraming:
        crop = avatar.features[CROP]
        if self._options.framing == "square":
            return SquareFraming(crop.arrays["picture"].shape[0])
        return OriginalFraming(own_photo(avatar, self._options.background), crop.metadata)

    def _mouth_of(self, avatar: Avatar) -> MouthAndHead | None:
        if REACH not in avatar.features:
            return None
        reach, options = avatar.features[REACH].arrays, self._options
        return MouthAndHead(
            self._seen["reference"],
            reach["share"],
            reach["basis"],
            options.head_motion,
            options.rest_in_silence,
        )

    @cached_property
    def _leases(self) -> tuple[Lease[FlowTransformer], Lease[StyleDecoder]]:
        sampling, _ = formats_of(self._options, self._device)
        transformer = lease_transformer(self._weights, self._device, sampling)
        return transformer, lease_decoder(self._weights, self._device)

    @property
    def _transformer(self) -> FlowTransformer:
        return self._leases[0].network

    @cached_property
    def _decoder(self) -> FrameDecoder:
        _, decoding = formats_of(self._options, self._device)
        return FrameDecoder(self._leases[1].network, self._seen["appearance"], self._seen, decoding)

    @cached_property
    def _batch(self) -> BatchSize:
        return chosen_batch(
            self._options.batch_size,
            self._device,
            _BYTES_A_PIXEL * self._decoder.side**2,
            _AT_MOST.get(self._device.type, 32),
        )

    def _silent_frames(self, speech: Samples, count: int) -> Floats:
        """float32 [count] at the model's rate: 1 where nobody speaks; only asked where the
        mouth is to rest then.
        """
        if self._mouth is None or self._options.rest_in_silence == 0:
            return np.zeros(count, np.float32)
        gate = ActivityGate(Fraction(MODEL_FPS))
        return 1 - np.array(gate.push(speech) + gate.finish(), np.float32)

    def _motion(self, voice: Floats, silence: Floats, count: int) -> Iterator[Floats]:
        """Motion for batches of pictures; chunks are sampled as they are wanted."""
        sampler, resampler = self._sampler(), MotionResampler(self._options.fps)
        done = 0
        chunks = self.watch.each("motion", self._chunks(sampler, voice))
        for motion in chunks:
            adjusted = self._adjusted(motion, silence[done : done + len(motion)])
            done += len(motion)
            yield from self._batches(resampler.push(adjusted))
        yield from self._batches(resampler.finish(count))

    def _chunks(self, sampler: MotionSampler, voice: Floats) -> Iterator[Floats]:
        self._trail = trail = _Trail(sampler.continuation)
        size = self._transformer.config.chunk
        for first, motion in zip(range(0, len(voice), size), sampler.chunks(voice), strict=True):
            trail.add(motion, voice[first : first + size])
            yield motion

    def _idle_motion(self) -> Iterator[Floats]:
        """Motion [width] of frame after frame without a voice."""
        voice, silence = self._silent_voice, np.ones(len(self._silent_voice), np.float32)
        sampler, resampler = self._sampler(), MotionResampler(self._options.fps)
        self._trail = trail = _Trail(sampler.continuation)
        while True:
            with self.watch("motion"):
                motion = sampler.sample(voice)
            trail.add(motion, voice)
            yield from resampler.push(self._adjusted(motion, silence))

    @cached_property
    def _silent_voice(self) -> Floats:
        """What the network hears in a chunk of silence [chunk, width]."""
        with self.watch("drive"):
            size = self._transformer.config.chunk
            heard = drive.voice_of_frames(
                *self._ears.voice, np.zeros(size * drive.FRAME_SAMPLES, np.float32), size
            )
            self._ears.forget()
            return heard

    def _sampler(self) -> MotionSampler:
        options = self._options
        return MotionSampler(
            self._transformer,
            self._seen["reference"],
            self._emotion,
            points=options.nfe,
            guidance=Guidance(options.a_cfg_scale, options.e_cfg_scale),
            seed=options.seed,
            fixed=options.fixed_noise,
            continuation=self._last,
        )

    def _adjusted(self, motion: Floats, silence: Floats) -> Floats:
        return motion if self._mouth is None else self._mouth.apply(motion, silence)

    def _batches(self, motion: Floats) -> Iterator[Floats]:
        return map(np.stack, grouped(motion, lambda: self._batch.rows))

    def _rendered(self, motion: Floats) -> Pictures:
        return np.concatenate(
            list(in_batches(lambda rows: self._decoder.render(motion[rows]), len(motion), self._batch))
        )


class _Trail:
    """The last chunks as they were sampled, with their voice, to go on from any frame of them."""

    def __init__(self, start: Continuation) -> None:
        self._motion, self._voice, self._chunk = start.motion, start.voice, start.chunk
        self._previous = len(start.motion)
        self._from = -self._previous

    def add(self, motion: Floats, voice: Floats) -> None:
        """A chunk [n, width] and its voice; chunks longer ago than shown frames can be are
        forgotten.
        """
        keep = self._previous + _CHUNKS_AHEAD * len(motion)
        self._from += max(0, len(self._motion) - keep)
        self._motion = np.concatenate([self._motion[-keep:], motion])
        self._voice = np.concatenate([self._voice[-keep:], voice])
        self._chunk += 1

    def at(self, frame: int) -> Continuation:
        """What a sampler needs to go on with this frame of the utterance."""
        end = min(frame - self._from, len(self._motion))
        first = end - self._previous
        return Continuation(self._motion[first:end], self._voice[first:end], self._chunk)
