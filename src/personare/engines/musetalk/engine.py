"""musetalk: the mouth of a template video or photo, painted anew for a voice by MuseTalk 1.0 or
1.5 (released weights).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions
from personare.engines.musetalk.hearing import WINDOWED_LOOKAHEAD_SECONDS, WINDOWED_STEP_SECONDS
from personare.engines.musetalk.options import MuseTalkOptions
from personare.engines.neural import require_torch, torch_missing
from personare.errors import EngineError, WeightsMissing
from personare.types import Avatar

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.musetalk.performance import MuseTalkPerformance

_WINDOW_AHEAD_SECONDS = 0.12
"""A frame's window reaches six rows of 20 ms ahead."""


class MuseTalk(Engine):
    name: ClassVar[str] = "musetalk"
    summary: ClassVar[str] = (
        "lip-sync on a template video or photo: prepared once, then one network pass per frame"
    )
    Options: ClassVar[type[EngineOptions]] = MuseTalkOptions
    driven_by: ClassVar[frozenset[str]] = frozenset({"speech"})
    chunk_seconds: ClassVar[float] = WINDOWED_STEP_SECONDS
    lookahead_seconds: ClassVar[float] = WINDOWED_LOOKAHEAD_SECONDS + _WINDOW_AHEAD_SECONDS
    exact_streaming: ClassVar[bool] = False
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "weights of MuseTalk": "MIT (README: any purpose; hub card: creativeml-openrail-m)",
        "sd-vae-ft-mse, whisper-tiny, face parser": "MIT",
        "DWPose": "Apache-2.0",
        "S3FD (with DWPose only)": "none stated (code: BSD-3-Clause)",
    }

    def missing(self) -> list[str]:
        from personare.engines.musetalk.checkpoints import needed
        from personare.weights.finder import size_of

        wanted = self.weights.missing(*needed(MuseTalkOptions(), self.weights))
        lines = [f"{entry.name} ({size_of(entry)}): personare weights pull {entry.name}" for entry in wanted]
        return torch_missing() + lines

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.musetalk.checkpoints import needed
        from personare.engines.musetalk.prepare import recipe

        require_torch(self.name)
        chosen = _options(options)
        try:
            return recipe(chosen, self.weights)
        except WeightsMissing:
            self.weights.require(*needed(chosen, self.weights))  # one message for all that a clip will need
            raise

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.musetalk.checkpoints import whisper_component
        from personare.engines.musetalk.options import UNET, VAE

        names = (UNET[_options(options).version], VAE, whisper_component(self.weights))
        return tuple(self.weights.sha256(name) for name in names)

    def perform(
        self, avatar: Avatar, options: EngineOptions, store: FeatureStore | None = None
    ) -> MuseTalkPerformance:
        from personare.engines.musetalk.performance import MuseTalkPerformance

        require_torch(self.name)
        return MuseTalkPerformance(avatar, _options(options), self.weights, store)


def _options(options: EngineOptions) -> MuseTalkOptions:
    if not isinstance(options, MuseTalkOptions):
        raise EngineError(f"musetalk was given the options of another engine: {type(options).__name__}")
    return options
