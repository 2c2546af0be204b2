"""One run of artalk: speech is gathered to chunks of four seconds; each becomes motion as soon
as it is full, or at the end: drive -> motion -> smoothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Recipe, Sources, Stage
from personare.cache.run import Preparation, run
from personare.cache.store import FeatureStore
from personare.engines.artalk.checkpoints import Networks, lease_upsampler
from personare.engines.artalk.drive import HEAR, hear_stage, official_frames
from personare.engines.artalk.motion import MOTION, STYLE, Carried, motion_stage, style_stage
from personare.engines.artalk.networks.config import MODEL_FPS
from personare.engines.artalk.options import ArTalkOptions
from personare.engines.artalk.prepare import AVATAR
from personare.engines.artalk.render import GaussianLook, Look, MeshLook
from personare.engines.artalk.smoothing import StreamSmoother, finished
from personare.engines.artalk.styles import find_style
from personare.engines.performance import Made, Movement, Performance, Run
from personare.engines.resampling import MotionResampler
from personare.engines.utterance import Utterance
from personare.heads.flame import Flame, flame_file
from personare.motion import FLAME, Motion
from personare.types import Avatar, Phone, Progress, Samples, frame_count, no_progress
from personare.weights.finder import Weights
from personare.weights.resident import Lease

if TYPE_CHECKING:
    from personare.engines.artalk.networks.style_unet import StyleUNet

Floats = NDArray[np.float32]


class SpokenMotion:
    """The motion of one run, utterance after utterance, float32 [n, 106]; each begins at rest.

    progress: told while it works; may raise to end it.
    """

    def __init__(
        self,
        options: ArTalkOptions,
        weights: Weights,
        store: FeatureStore | None,
        owner: Run[Any, Any],
    ) -> None:
        """owner: the run, whose watch and stages are told. Raises WeightsMissing, UnknownName
        and what a style that cannot be read raises.
        """
        self._options, self._store, self._owner = options, store, owner
        self._networks = Networks(options, weights)
        self._style = find_style(options.style, weights)
        self.progress: Progress = no_progress
        self.begin()

    def begin(self) -> None:
        """A new utterance; what is left of another one is forgotten."""
        self._samples = np.zeros(0, np.float32)
        self._carried = Carried()
        self._smoother, self._resampler = StreamSmoother(), MotionResampler(self._options.fps)
        self._made = self._given = 0

    def hear(self, samples: Samples) -> Iterator[Floats]:
        """The frames that more speech settles."""
        self._samples = np.concatenate([self._samples, samples])
        size = self._networks.config.samples
        while len(self._samples) >= size and not self._complete:
            chunk, self._samples = self._samples[:size], self._samples[size:]
            yield from self._shown(self._chunk(chunk))

    def end(self, samples: int) -> Iterator[Floats]:
        """The remaining frames of an utterance of so many samples."""
        wanted, size = model_frames(self._options, samples), self._networks.config.samples
        while self._made < wanted and not self._complete:
            chunk, self._samples = self._samples[:size], self._samples[size:]
            left = wanted - self._made
            yield from self._shown(self._chunk(np.pad(chunk, (0, size - len(chunk))))[:left])
        if wanted and not self._complete:
            if self._options.smoothing:
                yield from self._limited(self._resampler.push(self._smoother.finish()))
            yield from self._limited(self._resampler.finish(frames_of(self._options, samples)))
        self.begin()

    def close(self) -> None:
        """Give the networks back."""
        self._networks.forget()

    @property
    def _complete(self) -> bool:
        """Whether no further frame is wanted."""
        limit = self._options.clip_length
        return limit is not None and self._given >= limit

    def _chunk(self, chunk: Samples) -> Floats:
        """The motion of the next chunk, not smoothed."""
        networks, style = self._networks, self._style
        self.progress("hearing", self._made, None)
        shared = (networks.config, networks.sha256, networks.numeric_format)
        made = self._run(
            {"speech": chunk},
            hear_stage(lambda: networks.hearing, *shared),
            motion_stage(lambda: networks.maker, *shared, self._token, style.digest, self._carried),
        )
        feature = made.features[MOTION]
        self._carried = Carried(np.array(feature.arrays["remembered"]), made.keys.get(MOTION, ""))
        motion = np.array(feature.arrays["motion"], np.float32)
        self._made += len(motion)
        return motion

    @cached_property
    def _token(self) -> Floats:
        networks, style = self._networks, self._style
        stage = style_stage(
            lambda: networks.style, networks.config, networks.sha256, style.motion, style.digest
        )
        return np.array(self._run({}, stage).features[STYLE].arrays["token"], np.float32)

    def _run(self, sources: Sources, *stages: Stage) -> Preparation:
        made = run(Recipe(stages), sources, self._store)
        heard, seconds = self._owner.heard, self._owner.watch.seconds
        for stage, outcome in made.outcome.items():
            # Of several chunks a stage is found only if all of them are.
            if outcome == "miss" or stage not in heard:
                heard[stage] = outcome
            room = "drive" if stage == HEAR else "motion"
            seconds[room] = seconds.get(room, 0.0) + made.seconds[stage]
        return made

    def _shown(self, motion: Floats) -> Iterator[Floats]:
        smooth = self._smoother.push(motion) if self._options.smoothing else motion
        if len(smooth):
            yield from self._limited(self._resampler.push(smooth))

    def _limited(self, motion: Floats) -> Iterator[Floats]:
        if self._options.clip_length is not None:
            motion = motion[: self._options.clip_length - self._given]
        self._given += len(motion)
        if len(motion):
            yield finished(motion, self._options.fix_pose)


class ArTalkMovement(Movement):
    """Speech becomes motion of a FLAME head; no portrait takes part."""

    space = FLAME

    def __init__(self, options: ArTalkOptions, weights: Weights, store: FeatureStore | None) -> None:
        super().__init__()
        self._options, self.fps, self.longest = options, options.fps, options.clip_length
        self._motion = SpokenMotion(options, weights, store, self)

    def count(self, samples: int) -> int:
        return frames_of(self._options, samples)

    def _begin(self, said: Utterance) -> None:
        self._motion.begin()
        self._motion.progress = self._told(said)

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Floats]:  # noqa: ARG002
        return self._motion.hear(samples)

    def _end(self, said: Utterance) -> Iterator[Floats]:
        return self._motion.end(said.samples)

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        self._motion.begin()

    def _close(self) -> None:
        self._motion.close()


class ArTalkPerformance(Performance):
    """One run of one head. Shown motion needs none of the networks."""

    shows = frozenset({FLAME.name})

    def __init__(
        self, avatar: Avatar, options: ArTalkOptions, weights: Weights, store: FeatureStore | None
    ) -> None:
        super().__init__()
        self._options, self.fps, self.longest = options, options.fps, options.clip_length
        self._weights, self._store = weights, store
        self._upsampler: Lease[StyleUNet] | None = None
        self._look = self._looks(avatar)
        self.size = self._look.size

    def count(self, samples: int) -> int:
        return frames_of(self._options, samples)

    def _begin(self, said: Utterance) -> None:
        self._motion.begin()
        self._motion.progress = self._told(said)

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        return self._drawn(self._motion.hear(samples))

    def _end(self, said: Utterance) -> Iterator[Made]:
        return self._drawn(self._motion.end(said.samples))

    def _show(self, motion: Motion) -> Iterator[Made]:
        return self._drawn([motion.values])

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        if "_motion" in self.__dict__:
            self._motion.begin()

    def _close(self) -> None:
        if "_motion" in self.__dict__:
            self._motion.close()
        if self._upsampler is not None:
            self._upsampler.close()

    def _looks(self, avatar: Avatar) -> Look:
        if self._options.look == "mesh":
            return MeshLook(self._options, self._weights)
        model = Flame.read(flame_file(self._weights))
        self._upsampler = lease_upsampler(self._options, self._weights)
        return GaussianLook(avatar.features[AVATAR], model, self._upsampler.network, self._options.seed)

    @cached_property
    def _motion(self) -> SpokenMotion:
        """Opened when something is said: a motion that is shown needs no checkpoint."""
        return SpokenMotion(self._options, self._weights, self._store, self)

    def _drawn(self, motions: Iterable[Floats]) -> Iterator[Made]:
        for motion in motions:
            for row in motion:
                with self.watch("render"):
                    image = self._look.draw(row)
                yield Made(image[None], row[None])


def frames_of(options: ArTalkOptions, samples: int) -> int:
    """Frames of an utterance of so many samples."""
    made = official_frames(samples) if options.official_frame_count else frame_count(samples, options.fps)
    return made if options.clip_length is None else min(made, options.clip_length)


def model_frames(options: ArTalkOptions, samples: int) -> int:
    """Frames that the model makes of them."""
    if options.official_frame_count:
        return official_frames(samples)
    return frame_count(samples, Fraction(MODEL_FPS))
