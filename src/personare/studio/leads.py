"""What leads a clip: a voice that is heard, a motion that is shown, a guide that is followed,
or the motion that another engine makes of the voice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions, Performance
from personare.motion import Motion
from personare.types import Avatar, Frames, Guide, SpeechChunk

if TYPE_CHECKING:
    from personare.heads.retarget import Retarget


@dataclass(frozen=True, slots=True)
class Part:
    """Who plays: a prepared avatar, its engine, the options in force, where features are kept."""

    engine: Engine
    avatar: Avatar
    options: EngineOptions
    store: FeatureStore | None = None


class Lead(ABC):
    """Opens the run of one clip."""

    @abstractmethod
    def play(self, part: Part) -> Play:
        """Start one run."""


class Play(ABC):
    """One run: the clip's sound goes in piece by piece, frames come out no earlier than their
    sound.
    """

    performance: Performance

    @abstractmethod
    def hear(self, chunk: SpeechChunk, due: int) -> Iterator[Frames]:
        """Frames that come with a piece of the sound. due: how many the sound up to its end
        has.
        """

    def end(self) -> Iterator[Frames]:
        """The remaining frames."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Voice(Lead):
    """The speech is heard."""

    def play(self, part: Part) -> Play:
        return _Spoken(part.engine.perform(part.avatar, part.options, store=part.store))


@dataclass(frozen=True, slots=True)
class Other(Lead):
    """Another engine hears the speech, or follows the guide, and its motion is shown."""

    engine: Engine
    options: EngineOptions
    guide: Guide | None = None

    def play(self, part: Part) -> Play:
        from personare.engines.moved import Moved
        from personare.heads.retarget import open_retarget

        movement = self.engine.move(self.options, guide=self.guide, store=part.store)
        retarget = open_retarget(movement.space.name, part.engine.shows, self.engine.weights)
        performance = part.engine.perform(part.avatar, part.options, store=part.store)
        moved = Moved(movement, performance, retarget)
        return _Spoken(moved) if self.guide is None else _Guided(moved)


@dataclass(frozen=True, slots=True)
class GivenMotion(Lead):
    """A motion is shown, resampled to the rate of the clip; the sound moves nothing."""

    motion: Motion

    def play(self, part: Part) -> Play:
        from personare.heads.retarget import open_retarget

        retarget = open_retarget(self.motion.space.name, part.engine.shows, part.engine.weights)
        performance = part.engine.perform(part.avatar, part.options, store=part.store)
        return _Shown(performance, self.motion, retarget)


@dataclass(frozen=True, slots=True)
class Followed(Lead):
    """A guide is followed; the sound moves nothing."""

    guide: Guide

    def play(self, part: Part) -> Play:
        performance = part.engine.perform(part.avatar, part.options, guide=self.guide, store=part.store)
        return _Guided(performance)


class _Spoken(Play):
    def __init__(self, performance: Performance) -> None:
        self.performance = performance

    def hear(self, chunk: SpeechChunk, due: int) -> Iterator[Frames]:  # noqa: ARG002
        return self.performance.feed(chunk.samples, chunk.phones)

    def end(self) -> Iterator[Frames]:
        return self.performance.finish()


class _Shown(Play):
    def __init__(self, performance: Performance, motion: Motion, retarget: Retarget | None) -> None:
        self.performance, self._motion, self._shown = performance, motion.resampled(performance.fps), 0
        self._retarget = retarget

    def hear(self, chunk: SpeechChunk, due: int) -> Iterator[Frames]:  # noqa: ARG002
        first, self._shown = self._shown, min(due, len(self._motion))
        motion = self._motion[first : self._shown]
        return self.performance.show(motion if self._retarget is None else self._retarget(motion))


class _Guided(Play):
    def __init__(self, performance: Performance) -> None:
        self.performance, self._frames, self._shown = performance, performance.finish(), 0

    def hear(self, chunk: SpeechChunk, due: int) -> Iterator[Frames]:  # noqa: ARG002
        for frames in self._frames if self._shown < due else ():
            self._shown += len(frames)
            yield frames
            if self._shown >= due:
                return

    def end(self) -> Iterator[Frames]:
        return islice(self._frames, None)
