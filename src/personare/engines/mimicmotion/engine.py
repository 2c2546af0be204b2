"""mimicmotion: a person of a picture does what a video shows, by video diffusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.engines.neural import missing_weights, require_torch, torch_missing
from personare.errors import EngineError
from personare.types import Avatar, Guide, Source

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.mimicmotion.performance import MimicMotionPerformance


class MimicMotion(Engine):
    name: ClassVar[str] = "mimicmotion"
    summary: ClassVar[str] = "a whole person does what a video shows, by video diffusion (MimicMotion)"
    Options: ClassVar[type[EngineOptions]] = MimicMotionOptions
    exact_streaming: ClassVar[bool] = True
    idles: ClassVar[bool] = False
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "weights mimicmotion": "their own terms: research and education only, not verified",
        "weights svd (image encoder, autoencoder)": "Stability AI Community License, gated",
        "weights dwpose, yolox": "Apache-2.0",
    }

    def missing(self) -> list[str]:
        from personare.engines.mimicmotion.checkpoints import needed

        return torch_missing() + missing_weights(self.weights, needed(MimicMotionOptions(), self.weights))

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.mimicmotion.checkpoints import dream, sight
        from personare.engines.mimicmotion.prepare import recipe

        require_torch(self.name)
        mine = own_options(options, MimicMotionOptions, self.name)
        return recipe(sight(mine, self.weights), dream(mine, self.weights), mine)

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.mimicmotion.checkpoints import VAE, release_sha256

        mine = own_options(options, MimicMotionOptions, self.name)
        return (*release_sha256(mine, self.weights), self.weights.sha256(VAE))

    def latency(self, options: EngineOptions) -> Latency:
        mine = own_options(options, MimicMotionOptions, self.name)
        return Latency(mine.tile / 12.5, math.inf)

    def drives(self, options: EngineOptions) -> frozenset[Source]:  # noqa: ARG002
        return frozenset({"guide"})

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ) -> MimicMotionPerformance:
        require_torch(self.name)
        from personare.engines.mimicmotion.performance import MimicMotionPerformance

        mine = own_options(options, MimicMotionOptions, self.name)
        if guide is None:
            raise EngineError(
                "mimicmotion is moved by a guide, not by a voice", hint="personare follow PORTRAIT GUIDE"
            )
        return MimicMotionPerformance(avatar, mine, self, guide, store)
