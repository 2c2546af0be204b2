"""musetalk: the mouth of a template video or photo, painted anew for a voice by MuseTalk 1.0 or
1.5 (released weights).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.engines.musetalk.hearing import (
    PIECE_SAMPLES,
    WINDOWED_LOOKAHEAD_SECONDS,
    WINDOWED_STEP_SECONDS,
)
from personare.engines.musetalk.options import MuseTalkOptions
from personare.engines.neural import missing_weights, require_torch, torch_missing
from personare.errors import WeightsMissing
from personare.types import SAMPLE_RATE, Avatar, Guide

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

        return torch_missing() + missing_weights(self.weights, needed(MuseTalkOptions(), self.weights))

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.musetalk.checkpoints import needed
        from personare.engines.musetalk.prepare import recipe

        require_torch(self.name)
        chosen = own_options(options, MuseTalkOptions, self.name)
        try:
            return recipe(chosen, self.weights)
        except WeightsMissing:
            self.weights.require(*needed(chosen, self.weights))  # one message for all that a clip will need
            raise

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.musetalk.checkpoints import whisper_component
        from personare.engines.musetalk.options import UNET, VAE

        names = (
            UNET[own_options(options, MuseTalkOptions, self.name).version],
            VAE,
            whisper_component(self.weights),
        )
        return tuple(self.weights.sha256(name) for name in names)

    def latency(self, options: EngineOptions) -> Latency:
        mine = own_options(options, MuseTalkOptions, self.name)
        if mine.audio == "streaming":
            return Latency(WINDOWED_STEP_SECONDS, WINDOWED_LOOKAHEAD_SECONDS + _WINDOW_AHEAD_SECONDS)
        if mine.hears_whole:
            return Latency(PIECE_SAMPLES / SAMPLE_RATE, math.inf)
        return Latency(PIECE_SAMPLES / SAMPLE_RATE, _WINDOW_AHEAD_SECONDS)

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,  # noqa: ARG002
        store: FeatureStore | None = None,
    ) -> MuseTalkPerformance:
        require_torch(self.name)
        from personare.engines.musetalk.performance import MuseTalkPerformance

        mine = own_options(options, MuseTalkOptions, self.name)
        return MuseTalkPerformance(avatar, mine, self.weights, store)
