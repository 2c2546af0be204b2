"""artalk: speech becomes the motion of a FLAME head, which a mesh or another engine's photo
wears.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.artalk.options import ArTalkOptions
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.engines.neural import missing_weights, require_torch, torch_missing
from personare.heads.flame import COMPONENT as FLAME_HEAD
from personare.heads.flame import flame_file
from personare.motion import FLAME, Space
from personare.types import Avatar, Guide

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.artalk.performance import ArTalkMovement, ArTalkPerformance

CHUNK_SECONDS, SMOOTHING_SECONDS = 4.0, 0.16
_RESAMPLING_SECONDS = 0.08
"""Two frames of the model's: a spline needs them."""


class ArTalk(Engine):
    name: ClassVar[str] = "artalk"
    summary: ClassVar[str] = (
        "speech to FLAME motion, for a mesh, an avatar, or any photo with --moved-by artalk (ARTalk)"
    )
    Options: ClassVar[type[EngineOptions]] = ArTalkOptions
    idles: ClassVar[bool] = False
    moves: ClassVar[Space | None] = FLAME
    shows: ClassVar[frozenset[str]] = frozenset({FLAME.name})
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "weights artalk": "MIT (code); model card not verified",
        "wav2vec2-xls-r-300m (inside them)": "Apache-2.0, not verified",
        "weights gagavatar (look=gaussian)": "MIT (code); model card not verified",
        "FLAME head": "non-commercial research, by registration with the Max Planck Society",
    }

    def missing(self) -> list[str]:
        lines = torch_missing() + missing_weights(self.weights, ["artalk"])
        if self.weights.find(FLAME_HEAD) is None:
            lines.append("flame (FLAME_with_eye.pt, by registration): personare weights pull flame says how")
        return lines

    def recipe(self, options: EngineOptions) -> Recipe:
        """For the mesh no stages: it is that of the FLAME head's own file."""
        mine = own_options(options, ArTalkOptions, self.name)
        flame_file(self.weights)
        if mine.look == "mesh":
            return Recipe(())
        require_torch(self.name)
        from personare.engines.artalk.checkpoints import GAGAVATAR, lease_avatar_networks
        from personare.engines.artalk.prepare import recipe

        self.weights.require(GAGAVATAR)
        digest = self.weights.sha256(GAGAVATAR)
        return recipe(lambda: lease_avatar_networks(mine, self.weights), digest, mine, self.weights)

    def brings_portrait(self, options: EngineOptions) -> Path | None:
        if own_options(options, ArTalkOptions, self.name).look != "mesh":
            return None
        return Path(str(files("personare.heads") / "data" / "mesh_head.jpg"))

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.artalk.shape import shape_digest
        from personare.engines.artalk.styles import find_style

        mine = own_options(options, ArTalkOptions, self.name)
        # A style or a shape is named by a path: what it holds decides.
        shape = [] if mine.shape is None else [shape_digest(mine, self.weights)]
        names = ["artalk", FLAME_HEAD] + ([] if mine.look == "mesh" else ["gagavatar"])
        digests = [self.weights.sha256(name) for name in names]
        return (*digests, find_style(mine.style, self.weights).digest, *shape)

    def latency(self, options: EngineOptions) -> Latency:
        mine = own_options(options, ArTalkOptions, self.name)
        ahead = SMOOTHING_SECONDS if mine.smoothing else 0.0
        return Latency(CHUNK_SECONDS, ahead if mine.fps == 25 else ahead + _RESAMPLING_SECONDS)

    def styles(self) -> Mapping[str, Path]:
        """Name -> file of every style on this machine."""
        from personare.engines.artalk.styles import style_files

        return style_files(self.weights)

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,  # noqa: ARG002
        store: FeatureStore | None = None,
    ) -> ArTalkPerformance:
        require_torch(self.name)
        from personare.engines.artalk.performance import ArTalkPerformance

        return ArTalkPerformance(avatar, own_options(options, ArTalkOptions, self.name), self.weights, store)

    def move(
        self,
        options: EngineOptions,
        *,
        guide: Guide | None = None,  # noqa: ARG002
        store: FeatureStore | None = None,
    ) -> ArTalkMovement:
        require_torch(self.name)
        from personare.engines.artalk.performance import ArTalkMovement

        return ArTalkMovement(own_options(options, ArTalkOptions, self.name), self.weights, store)
