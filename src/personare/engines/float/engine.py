"""float: one photo and a voice, by flow matching."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.engines.float.options import FloatOptions
from personare.engines.neural import missing_weights, require_torch, torch_missing
from personare.types import Avatar, Guide

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.float.performance import FloatPerformance

CHUNK_SECONDS = 2.0


class Float(Engine):
    name: ClassVar[str] = "float"
    summary: ClassVar[str] = "one photo and a voice, by flow matching: head, gaze and mood move too (FLOAT)"
    Options: ClassVar[type[EngineOptions]] = FloatOptions
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "weights float": "CC-BY-NC-ND-4.0 (README) or CC-BY-NC-4.0 (LICENSE): non-commercial",
        "weights wav2vec2-base-960h": "Apache-2.0",
        "weights emotion classifier": "Apache-2.0 according to a third party",
        "weights s3fd": "none stated (code: BSD-3-Clause)",
    }

    def missing(self) -> list[str]:
        from personare.engines.float.checkpoints import needed

        return torch_missing() + missing_weights(self.weights, needed(FloatOptions(), self.weights))

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.float.checkpoints import detector_of, sight
        from personare.engines.float.prepare import recipe

        require_torch(self.name)
        mine = own_options(options, FloatOptions, self.name)
        return recipe(sight(mine, self.weights), mine, detector_of(mine, self.weights))

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.float.checkpoints import EMOTION, VOICE, float_sha256

        mine = own_options(options, FloatOptions, self.name)
        names = [VOICE, EMOTION] if mine.emotion == "auto" else [VOICE]
        return (*float_sha256(self.weights), *map(self.weights.sha256, names))

    def latency(self, options: EngineOptions) -> Latency:  # noqa: ARG002
        return Latency(CHUNK_SECONDS, math.inf)

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,  # noqa: ARG002
        store: FeatureStore | None = None,
    ) -> FloatPerformance:
        require_torch(self.name)
        from personare.engines.float.performance import FloatPerformance

        mine = own_options(options, FloatOptions, self.name)
        return FloatPerformance(avatar, mine, self.weights, store)
