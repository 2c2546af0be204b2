"""puppet: the photo itself talks, on any CPU, with nothing to download."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Performance, one_dimensional
from personare.engines.puppet.options import PuppetOptions
from personare.errors import EngineError, WeightsError
from personare.types import SAMPLE_RATE, Avatar, Frames, Phone, Samples

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.puppet.drive import MouthDrive
    from personare.engines.puppet.move.state import MouthFrame
    from personare.types import FaceState, Image

LOOKAHEAD_SECONDS = 0.145
_FEED_PIECE = SAMPLE_RATE
"""Speech is taken in pieces of at most a second, so that a long array does not become a long
list of motion.
"""


class Puppet(Engine):
    name: ClassVar[str] = "puppet"
    version: ClassVar[int] = 7
    summary: ClassVar[str] = (
        "the photo itself talks: 2.5-D warp, drawn mouth, faster than real time on any CPU"
    )
    Options: ClassVar[type[EngineOptions]] = PuppetOptions
    driven_by: ClassVar[frozenset[str]] = frozenset({"speech"})
    chunk_seconds: ClassVar[float] = 0.04
    lookahead_seconds: ClassVar[float] = LOOKAHEAD_SECONDS
    curves: ClassVar[bool] = True
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "face networks": "Apache-2.0 (MediaPipe)",
        "head data": "CC0-1.0 (MakeHuman)",
        "voice network": "Apache-2.0",
    }

    def missing(self) -> list[str]:
        from personare.perception.networks import damaged_networks
        from personare.voice.articulation import NETWORK, NETWORK_SHA256, open_network

        damaged = damaged_networks()
        try:
            open_network(NETWORK, NETWORK_SHA256)
        except WeightsError:
            damaged.append("articulation")
        return [f"carried network {name} is missing or damaged: reinstall personare" for name in damaged]

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.puppet.prepare import recipe

        return recipe(_puppet_options(options))

    def carried_portrait(self, options: EngineOptions) -> Path | None:
        mesh = _puppet_options(options).look == "mesh"
        return Path(str(files("personare.heads") / "data" / "mesh_head.jpg")) if mesh else None

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:  # noqa: ARG002
        from personare.voice.articulation import NETWORK_SHA256

        return (NETWORK_SHA256,)

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        store: FeatureStore | None = None,  # noqa: ARG002
    ) -> PuppetPerformance:
        return PuppetPerformance(avatar, _puppet_options(options))


class PuppetPerformance(Performance):
    """One run of one avatar: drive -> motion -> render, frame by frame."""

    def __init__(self, avatar: Avatar, options: PuppetOptions) -> None:
        from personare.engines.puppet.motion import Motion
        from personare.engines.puppet.render import is_moving, open_show

        super().__init__()
        self._show = open_show(avatar, options)
        self._show.watch = self.watch
        self.fps, self.size = self._show.fps, self._show.size
        still = {"head_motion": 0.0, "blink_rate": 0.0, "gaze": 0.0} if is_moving(avatar) else {}
        self._options = options.model_copy(update={"fps": self.fps, **still})
        self._drive: MouthDrive | None = None
        self._motion = Motion(self._options)
        self._next_frame = 0
        self._utterance = 0

    def feed(self, samples: Samples, phones: Sequence[Phone] | None = None) -> Iterator[Frames]:
        samples = one_dimensional(samples)
        if self._drive is None:
            from personare.engines.puppet.drive import MouthDrive

            self._drive = MouthDrive(self.fps, self._options.expressiveness)
        return self._heard(self._drive, samples, phones)

    def finish(self) -> Iterator[Frames]:
        if self._drive is None:
            return iter(())
        drive, self._drive = self._drive, None
        return self._said(drive)

    def idle(self, n: int) -> Frames:
        import numpy as np

        if n < 1:
            raise EngineError(f"idle({n}): ask for at least one frame")
        if self._drive is not None:
            raise EngineError(
                "idle() while an utterance is under way", hint="call finish() or interrupt() first"
            )
        return Frames(self._advance(n), np.stack([self._render(self._motion.rest()) for _ in range(n)]))

    def close(self) -> None:
        self._show.close()

    def interrupt(self) -> None:
        self._drive = None
        self._utterance += 1
        self._motion.release()

    def follow(self, states: Iterable[FaceState]) -> Iterator[Frames]:
        if self._drive is not None:
            raise EngineError(
                "follow() while an utterance is under way", hint="call finish() or interrupt() first"
            )
        utterance = self._utterance
        for state in states:
            if utterance != self._utterance:
                return
            yield Frames(self._advance(1), self._render(state)[None])

    def _render(self, state: FaceState) -> Image:
        if self.curves is not None:
            self.curves.write(state)
        return self._show.render(state)

    def _heard(self, drive: MouthDrive, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Frames]:
        utterance = self._utterance
        for start in range(0, len(samples), _FEED_PIECE):
            piece = samples[start : start + _FEED_PIECE]
            # Phones may lie ahead of their samples, never behind: all of them go in with the
            # first piece.
            with self.watch("drive"):
                mouths = drive.push(piece, phones if start == 0 or phones is None else ())
            yield from self._rendered(mouths, utterance)
            if utterance != self._utterance:
                return

    def _said(self, drive: MouthDrive) -> Iterator[Frames]:
        utterance = self._utterance
        with self.watch("drive"):
            mouths = drive.finish()
        yield from self._rendered(mouths, utterance)
        if utterance == self._utterance:
            self._motion.release()
            self._utterance += 1

    def _rendered(self, mouths: Iterable[MouthFrame], utterance: int) -> Iterator[Frames]:
        for mouth in mouths:
            if utterance != self._utterance:
                return
            with self.watch("motion"):
                state = self._motion.speak(mouth)
            yield Frames(self._advance(1), self._render(state)[None])

    def _advance(self, n: int) -> int:
        first = self._next_frame
        self._next_frame += n
        return first


def _puppet_options(options: EngineOptions) -> PuppetOptions:
    if not isinstance(options, PuppetOptions):
        raise EngineError(f"puppet was given the options of another engine: {type(options).__name__}")
    return options
