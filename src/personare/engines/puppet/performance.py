"""One run of puppet: drive -> motion -> render, frame by frame; and the motion alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from personare.cache.recipe import Recipe
from personare.cache.run import run
from personare.cache.store import FeatureStore
from personare.engines.performance import Floats, Made, Movement, Performance
from personare.engines.puppet.drive import MouthDrive
from personare.engines.puppet.motion import FaceMotion
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.render import is_moving, open_show
from personare.engines.utterance import Utterance
from personare.motion import ARKIT, Motion, row_of, state_of
from personare.types import SAMPLE_RATE, Avatar, Guide, Phone, Samples

_FEED_PIECE = SAMPLE_RATE
"""Speech is taken in pieces of at most a second, so that a long array does not become a long
list of motion.
"""


RETURN_SECONDS = 0.5
"""How long a face takes from where a guide left it to its own motion."""
_HEAD = [ARKIT.columns.index(name) for name in ("headYaw", "headPitch", "headRoll", "shiftX", "shiftY")]


class PuppetMovement(Movement):
    """Speech becomes motion in ARKIT, one frame at a time; no portrait takes part."""

    space = ARKIT

    def __init__(
        self, options: PuppetOptions, guide: Guide | None = None, store: FeatureStore | None = None
    ) -> None:
        super().__init__(guided=guide is not None)
        options = _at_rate_of(guide, options)
        self.fps = options.rate
        self._face = _Face(options, self)
        self._guide, self._store = guide, store

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Floats]:  # noqa: ARG002
        return (row[None] for row in self._face.hear(samples, phones))

    def _end(self, said: Utterance) -> Iterator[Floats]:
        if self._guide is not None and not said.samples:
            return (row[None] for row in _followed(self, said, self._guide, self._store, self._face))
        return (row[None] for row in self._face.end())

    def _rest(self, n: int) -> Floats:
        return np.stack([self._face.rest() for _ in range(n)])

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        self._face.drop()


class PuppetPerformance(Performance):
    """One run of one avatar."""

    shows = frozenset({ARKIT.name})

    def __init__(
        self,
        avatar: Avatar,
        options: PuppetOptions,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ) -> None:
        super().__init__(guided=guide is not None)
        options = _at_rate_of(guide, options)
        self._guide, self._store = guide, store
        self._pictures = open_show(avatar, options)
        self._pictures.watch = self.watch
        self.fps, self.size = self._pictures.fps, self._pictures.size
        self._is_moving = is_moving(avatar)
        # Of a video the mouth alone is moved: its head, eyes and brows live by themselves.
        still = {"head_motion": 0.0, "blink_rate": 0.0, "gaze": 0.0} if self._is_moving else {}
        self._face = _Face(options.model_copy(update={"fps": self.fps, **still}), self)

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        return map(self._drawn, self._face.hear(samples, phones))

    def _end(self, said: Utterance) -> Iterator[Made]:
        if self._guide is not None and not said.samples:
            return map(self._drawn, _followed(self, said, self._guide, self._store, self._face))
        return map(self._drawn, self._face.end())

    def _show(self, motion: Motion) -> Iterator[Made]:
        return map(self._drawn, motion.values)

    def _rest(self, n: int) -> Made:
        rows = [self._face.rest() for _ in range(n)]
        return Made(np.concatenate([self._drawn(row).images for row in rows]), np.stack(rows))

    def _pass(self, n: int) -> None:
        if self._is_moving:  # its pictures come one after another
            self._rest(n)
            return
        for _ in range(n):
            self._face.rest()

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        self._face.drop()

    def _close(self) -> None:
        self._pictures.close()

    def _drawn(self, row: Floats) -> Made:
        # Drawn from what is told, float32 for float32: shown again, it gives the same bytes.
        return Made(self._pictures.render(state_of(row))[None], row[None])


class _Face:
    """What a face does, as rows float32 [60] of ARKIT: heard, or at rest."""

    def __init__(self, options: PuppetOptions, run: PuppetMovement | PuppetPerformance) -> None:
        self._options, self._run = options, run
        self._drive: MouthDrive | None = None
        self._motion = FaceMotion(options)
        self._return_frames = max(1, round(RETURN_SECONDS * float(options.rate)))
        self._left: Floats = np.zeros(ARKIT.width, np.float32)
        self._frames_to_go = 0

    def hear(self, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Floats]:
        self._drive = drive = self._drive or MouthDrive(self._options.rate, self._options.expressiveness)
        for start in range(0, len(samples), _FEED_PIECE):
            piece = samples[start : start + _FEED_PIECE]
            # Phones may lie ahead of their samples, never behind: all go in with the first
            # piece.
            with self._run.watch("drive"):
                mouths = drive.push(piece, phones if start == 0 or phones is None else ())
            for mouth in mouths:
                with self._run.watch("motion"):
                    row = self._returned(row_of(self._motion.speak(mouth)))
                yield row

    def end(self) -> Iterator[Floats]:
        drive, self._drive = self._drive, None
        if drive is not None:
            with self._run.watch("drive"):
                mouths = drive.finish()
            for mouth in mouths:
                with self._run.watch("motion"):
                    row = self._returned(row_of(self._motion.speak(mouth)))
                yield row
        self._motion.release()

    def follow(self, motion: Motion) -> Iterator[Floats]:
        """The rows of a guide's motion, with as much of its head as the options say. Wherever
        it is left, what comes next starts from there.
        """
        for values in motion.values:
            row = values.copy()
            row[_HEAD] *= np.float32(self._options.head_motion)
            self._left, self._frames_to_go = row, self._return_frames
            yield row

    def rest(self) -> Floats:
        return self._returned(row_of(self._motion.rest()))

    def _returned(self, row: Floats) -> Floats:
        """The row, or after a guide the way from its last one."""
        if not self._frames_to_go:
            return row
        linear = self._frames_to_go / (self._return_frames + 1)
        kept = np.float32(linear * linear * (3 - 2 * linear))
        self._frames_to_go -= 1
        back: Floats = kept * self._left + (1 - kept) * row
        return back

    def drop(self) -> None:
        self._drive = None
        self._motion.release()


def _at_rate_of(guide: Guide | None, options: PuppetOptions) -> PuppetOptions:
    """Without a rate of its own, what follows a guide has the guide's."""
    if guide is None or options.fps is not None:
        return options
    return options.model_copy(update={"fps": guide.fps})


def _followed(
    performance: PuppetMovement | PuppetPerformance,
    said: Utterance,
    guide: Guide,
    store: FeatureStore | None,
    face: _Face,
) -> Iterator[Floats]:
    """What the face of a guide does, float32 [60] a frame."""
    from personare.engines.puppet.fit import guide as guides

    with performance.watch("drive"):
        seen = run(Recipe((guides.stage(),)), {"guide": guide}, store, performance._told(said))
    performance.heard.update(seen.outcome)
    motion = guides.motion_of(seen.features[guides.WATCHED]).resampled(performance.fps)
    said.expected = len(motion)
    yield from face.follow(motion)
