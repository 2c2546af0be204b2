"""puppet: the photo itself talks, on any CPU, with nothing to download."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.engines.puppet.options import PuppetOptions
from personare.errors import WeightsError
from personare.motion import ARKIT, Space
from personare.types import Avatar, Guide, Source

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.puppet.performance import PuppetMovement, PuppetPerformance


class Puppet(Engine):
    name: ClassVar[str] = "puppet"
    version: ClassVar[int] = 11
    summary: ClassVar[str] = (
        "the photo itself talks: 2.5-D warp, drawn mouth, faster than real time on any CPU"
    )
    Options: ClassVar[type[EngineOptions]] = PuppetOptions
    moves: ClassVar[Space | None] = ARKIT
    shows: ClassVar[frozenset[str]] = frozenset({ARKIT.name})
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
        return [f"bundled network {name} is missing or damaged: reinstall personare" for name in damaged]

    def recipe(self, options: EngineOptions) -> Recipe:
        from personare.engines.puppet.prepare import recipe

        return recipe(own_options(options, PuppetOptions, self.name))

    def brings_portrait(self, options: EngineOptions) -> Path | None:
        mesh = own_options(options, PuppetOptions, self.name).look == "mesh"
        return Path(str(files("personare.heads") / "data" / "mesh_head.jpg")) if mesh else None

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:  # noqa: ARG002
        from personare.voice.articulation import NETWORK_SHA256

        return (NETWORK_SHA256,)

    def latency(self, options: EngineOptions) -> Latency:
        from personare.engines.puppet.drive import MouthDrive

        frame = 1 / own_options(options, PuppetOptions, self.name).rate
        return Latency(float(frame), MouthDrive.lookahead_seconds)

    def drives(self, options: EngineOptions) -> frozenset[Source]:  # noqa: ARG002
        return frozenset({"speech", "guide"})

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ) -> PuppetPerformance:
        from personare.engines.puppet.performance import PuppetPerformance

        return PuppetPerformance(avatar, own_options(options, PuppetOptions, self.name), guide, store)

    def move(
        self,
        options: EngineOptions,
        *,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ) -> PuppetMovement:
        from personare.engines.puppet.performance import PuppetMovement

        return PuppetMovement(own_options(options, PuppetOptions, self.name), guide, store)
