"""One run of musetalk: what is heard meets the template frame by frame, in steps that work side
by side.

    drive (windows), gate (speaking or not), template -> batches | motion, render (networks) |
    compose (paste-back) -> frames

While the networks paint one batch, the next is decoded from the template and the last one is
pasted back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.engines.musetalk import checkpoints
from personare.engines.musetalk.compose import BlendMask, face_in_box, paste
from personare.engines.musetalk.drive import SpeechDrive, open_drive
from personare.engines.musetalk.options import MuseTalkOptions
from personare.engines.musetalk.painter import Painter, silent_tokens
from personare.engines.musetalk.template.prepared import PreparedFaces
from personare.engines.neural import grouped
from personare.engines.performance import Made, Performance
from personare.engines.pipeline import overlapped
from personare.engines.portrait import shown_template
from personare.engines.utterance import Utterance
from personare.errors import EngineError
from personare.types import SAMPLE_RATE, Avatar, Image, Phone, Samples
from personare.voice.activity import ActivityGate

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.weights.finder import Weights

Floats = NDArray[np.float32]

_FEED_PIECE = SAMPLE_RATE
_FACES_AT_REST = 128
"""Faces at rest that are held: 25 MB."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame to be made. index: of the template's frame. tokens: float32 [50, width].
    speaking: 0 (at rest) .. 1.
    """

    index: int
    picture: Image
    tokens: Floats
    speaking: float


@dataclass
class Speaking:
    """The speech of one utterance on its way in. gate: None where silence is not told from
    speech.
    """

    drive: SpeechDrive
    gate: ActivityGate | None
    windows: deque[Floats] = field(default_factory=deque)
    speaking: deque[float] = field(default_factory=deque)

    def push(self, samples: Samples) -> None:
        self._extend(self.drive.push(samples), self.gate.push(samples) if self.gate else ())

    def finish(self) -> None:
        self._extend(self.drive.finish(), self.gate.finish() if self.gate else ())

    def settled(self) -> Iterator[tuple[Floats, float]]:
        """Windows and speaking of the frames of which both are known."""
        while self.windows and (self.speaking or self.gate is None):
            yield self.windows.popleft(), self.speaking.popleft() if self.gate else 1.0

    def _extend(self, windows: Iterable[Floats], speaking: Iterable[float]) -> None:
        self.windows.extend(windows)
        self.speaking.extend(speaking)


class MuseTalkPerformance(Performance):
    """Owns the utterance and the walk through the template; the networks are shared with other
    performances.
    """

    def __init__(
        self, avatar: Avatar, options: MuseTalkOptions, weights: Weights, store: FeatureStore | None
    ) -> None:
        super().__init__()
        if avatar.portrait_file is None:
            raise EngineError("this avatar has lost its template", hint="prepare it again")
        self._options = options = options.concrete(lambda name: weights.find(name) is not None)
        self._portrait = avatar.portrait_file
        self._store = store
        self._ears = checkpoints.ears(options, weights)
        self._faces = PreparedFaces(avatar.features)
        self._painter = Painter(options, weights, self._faces, self.watch)
        self.fps = options.fps or self._faces.fps
        self.size = self._faces.size
        self._walk = self._walk_from(0)
        self._speech: Speaking | None = None
        self._face_at_rest = lru_cache(_FACES_AT_REST)(self._painted_at_rest)

    def _begin(self, said: Utterance) -> None:
        drive = open_drive(self._options, self._ears, self.fps, self._store, self._told(said))
        self._speech = Speaking(drive, None if self._options.silence == "off" else ActivityGate(self.fps))

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        return self._made(said, self._heard(samples))

    def _end(self, said: Utterance) -> Iterator[Made]:
        return self._made(said, self._finished())

    def _rest(self, n: int) -> Made:
        pictures = []
        for _ in range(n):
            index, picture = next(self._walk)
            rests = self._options.silence == "rest" and bool(self._faces.present[index])
            pictures.append(self._composed(index, picture, self._face_at_rest(index) if rests else None, 1.0))
        return Made(np.stack(pictures))

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        self._speech = None
        # What the steps had taken of the template was not shown: the walk goes on after the
        # last frame that was.
        self._walk.close()
        self._walk = self._walk_from(self._next_frame)

    def _close(self) -> None:
        self._walk.close()
        self._painter.close()
        self._ears.forget()

    def _heard(self, samples: Samples) -> Iterator[Moment]:
        speech = self._speech
        assert speech is not None
        for start in range(0, len(samples), _FEED_PIECE):
            with self.watch("drive"):
                speech.push(samples[start : start + _FEED_PIECE])
            yield from self._moments(speech)

    def _finished(self) -> Iterator[Moment]:
        speech, self._speech = self._speech, None
        assert speech is not None
        with self.watch("drive"):
            speech.finish()
        self.heard.update(speech.drive.hearing.heard)
        yield from self._moments(speech)

    def _moments(self, speech: Speaking) -> Iterator[Moment]:
        for tokens, speaking in speech.settled():
            index, picture = next(self._walk)
            yield Moment(index, picture, tokens, speaking)

    def _made(self, said: Utterance, moments: Iterator[Moment]) -> Iterator[Made]:
        batches = grouped(moments, lambda: self._painter.batch_size)
        steps = (("", self._painted), ("compose", self._pasted))
        with closing(overlapped(batches, *steps, watch=self.watch, depth=1, cut=said.cut)) as made:
            yield from map(Made, made)

    def _painted(self, batch: list[Moment]) -> tuple[list[Moment], list[Image | None]]:
        """The moments, and the faces of those that have one to be replaced. Faces at rest are
        kept: they are always the same.
        """
        resting = self._options.silence == "rest"
        faces: list[Image | None] = [None] * len(batch)
        wanted = []
        for i, moment in enumerate(batch):
            if not self._faces.present[moment.index]:
                continue
            if moment.speaking > 0 or self._options.silence == "off":
                wanted.append(i)
            elif resting:
                faces[i] = self._face_at_rest(moment.index)
        if wanted:
            chosen = [batch[i] for i in wanted]
            speaking = np.array([m.speaking if resting else 1.0 for m in chosen], np.float32)
            tokens = np.stack([m.tokens for m in chosen])
            painted = self._painter.paint([m.index for m in chosen], tokens, speaking, lambda: self._silence)
            for i, face in zip(wanted, painted, strict=True):
                faces[i] = face
        return batch, faces

    @cached_property
    def _silence(self) -> Floats:
        """What is heard in silence: the same at every moment, so that a mouth at rest is still."""
        return silent_tokens(self._options, self._ears, self._store)

    def _painted_at_rest(self, index: int) -> Image:
        silence = self._silence
        return self._painter.paint([index], silence[None], np.zeros(1, np.float32), lambda: silence)[0]

    def _pasted(self, painted: tuple[list[Moment], list[Image | None]]) -> NDArray[np.uint8]:
        fades = self._options.silence == "template"
        moments, faces = painted
        return np.stack(
            [
                self._composed(moment.index, moment.picture, face, moment.speaking if fades else 1.0)
                for moment, face in zip(moments, faces, strict=True)
            ]
        )

    def _composed(self, index: int, picture: Image, face: Image | None, share: float) -> Image:
        """The picture with so much of the painted face in it."""
        if face is None:
            return picture
        mask, box = self._faces.mask(index), self._faces.box(index)
        if share < 1:
            mask = BlendMask(np.rint(mask.alpha * share).astype(np.uint8), mask.x, mask.y)
        return paste(picture.copy(), face_in_box(face, box), box, mask)

    def _walk_from(self, frame: int) -> Generator[tuple[int, Image], None, None]:
        """Endlessly (template frame, picture) to and fro at the rate of the clip, from a frame
        of the clip on.

        faceless=nearest: the last frame with a face stands in for those without.
        """
        nearest = self._options.faceless == "nearest"
        good = None
        template = shown_template(self._portrait, self._options.background, fps=self._faces.fps)
        with closing(template.shown_at(self.fps, frame)) as pictures:
            for shown in pictures:
                good = shown if self._faces.present[shown[0]] else good
                yield good if nearest and good is not None else shown
