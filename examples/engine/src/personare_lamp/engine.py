"""lamp: the photo grows lighter with the voice. Importing this module must be cheap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from personare.cache.recipe import Recipe
from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.types import Avatar, Guide
from personare_lamp.options import LampOptions


class Lamp(Engine):
    name: ClassVar[str] = "lamp"
    summary: ClassVar[str] = "the photo grows lighter with the voice: a skeleton to copy"
    Options: ClassVar[type[EngineOptions]] = LampOptions
    licences: ClassVar[Mapping[str, str]] = {"code": "Apache-2.0"}

    def missing(self) -> list[str]:
        return []

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare_lamp.prepare import recipe

        return recipe(own_options(options, LampOptions, self.name))

    def latency(self, options: EngineOptions) -> Latency:
        return Latency(float(1 / own_options(options, LampOptions, self.name).fps), 0.0)

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ):
        from personare_lamp.performance import LampPerformance

        return LampPerformance(avatar, own_options(options, LampOptions, self.name))
