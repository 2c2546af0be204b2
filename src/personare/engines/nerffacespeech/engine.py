"""nerffacespeech: one photo and a voice, by a 3D-aware generator that is tuned to the person."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from personare.cache.recipe import Recipe
from personare.engines.engine import Engine, EngineOptions, Latency, own_options
from personare.engines.nerffacespeech.options import NerfOptions
from personare.engines.neural import missing_weights, require_torch, torch_missing
from personare.types import Avatar, Guide, Source

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.nerffacespeech.performance import NerfPerformance

_FRAME_SECONDS, _LOOKAHEAD_SECONDS, _RESAMPLING_SECONDS = 0.04, 0.16, 0.08


class NerfFaceSpeech(Engine):
    name: ClassVar[str] = "nerffacespeech"
    summary: ClassVar[str] = (
        "one photo and a voice: a 3D-aware generator tuned to the person, hours once (NeRFFaceSpeech)"
    )
    Options: ClassVar[type[EngineOptions]] = NerfOptions
    licences: ClassVar[Mapping[str, str]] = {
        "code": "Apache-2.0",
        "weights stylenerf-ffhq-1024": "CC-BY-NC-4.0, parts NVIDIA Source Code License: non-commercial",
        "weights lipaintnet, deep3d-recon": "MIT (code); weights: none stated",
        "weights sadtalker": "not verified",
        "weights nerffacespeech-seg (mode=deform)": "none stated",
        "weights vgg16-imagenet, alexnet-imagenet": "BSD-3-Clause (code); weights: none stated",
        "weights lpips-vgg, lpips-alex": "BSD-2-Clause",
        "Basel Face Model (mode=deform)": "non-commercial research, by registration",
    }

    def missing(self) -> list[str]:
        from personare.engines.nerffacespeech.checkpoints import needed

        return torch_missing() + missing_weights(self.weights, needed(NerfOptions(), self.weights))

    def recipe(self, options: EngineOptions) -> Recipe:
        require_torch(self.name)
        from personare.engines.nerffacespeech.checkpoints import Networks, require
        from personare.engines.nerffacespeech.prepare import recipe
        from personare.engines.nerffacespeech.stages import Wanted

        mine = own_options(options, NerfOptions, self.name)
        mode = require(mine, self.weights)
        return recipe(Wanted(mine, mode, Networks(mine, self.weights)))

    def brings_portrait(self, options: EngineOptions) -> Path | None:
        if own_options(options, NerfOptions, self.name).look != "seed":
            return None
        return Path(str(files("personare.heads") / "data" / "mesh_head.jpg"))

    def performance_weights(self, options: EngineOptions) -> tuple[str, ...]:
        from personare.engines.nerffacespeech.checkpoints import (
            FACE_MODEL,
            GENERATOR,
            HEARING,
            LIPAINT,
            PARSER,
            RECON,
            mode_of,
        )

        mine = own_options(options, NerfOptions, self.name)
        names = [GENERATOR, LIPAINT, HEARING, RECON]
        names += [PARSER, FACE_MODEL] if mode_of(mine, self.weights) == "deform" else []
        # Poses are named by a path: what is seen there decides.
        return (*map(self.weights.sha256, names), *self._poses_digest(mine))

    def _poses_digest(self, options: NerfOptions) -> tuple[str, ...]:
        if options.poses is None:
            return ()
        from personare.engines.nerffacespeech.guide import watched_digest
        from personare.media.guide import open_guide

        return (watched_digest(open_guide(options.poses)),)

    def latency(self, options: EngineOptions) -> Latency:
        from personare.engines.nerffacespeech.performance import BATCH

        mine = own_options(options, NerfOptions, self.name)
        chunk = (mine.batch_size or BATCH) / float(mine.fps)
        ahead = _LOOKAHEAD_SECONDS if mine.fps == 25 else _LOOKAHEAD_SECONDS + _RESAMPLING_SECONDS
        return Latency(max(chunk, _FRAME_SECONDS), ahead)

    def drives(self, options: EngineOptions) -> frozenset[Source]:  # noqa: ARG002
        return frozenset({"speech", "guide"})

    def perform(
        self,
        avatar: Avatar,
        options: EngineOptions,
        *,
        guide: Guide | None = None,
        store: FeatureStore | None = None,
    ) -> NerfPerformance:
        require_torch(self.name)
        from personare.engines.nerffacespeech.performance import NerfPerformance

        mine = own_options(options, NerfOptions, self.name)
        return NerfPerformance(avatar, mine, self.weights, guide, store)
