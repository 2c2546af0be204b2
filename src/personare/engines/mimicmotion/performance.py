"""One run of mimicmotion: the guide is watched, the clip is sampled as a whole, then frames
come eight at a time: drive -> motion -> render.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Recipe, Sources, Stage
from personare.cache.run import Preparation, run
from personare.engines.mimicmotion.checkpoints import lease_vae, make_room, sampling_dtype
from personare.engines.mimicmotion.names import PICTURE, POSES, SAMPLED
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.engines.mimicmotion.render import decoded, to_bytes
from personare.engines.neural import device_of
from personare.engines.performance import Made, Performance
from personare.engines.utterance import Utterance
from personare.errors import EngineError
from personare.types import Avatar, Feature, Guide, Phone, Samples

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.engines.mimicmotion.engine import MimicMotion


class MimicMotionPerformance(Performance):
    """One run of one avatar after one guide."""

    def __init__(
        self,
        avatar: Avatar,
        options: MimicMotionOptions,
        engine: MimicMotion,
        guide: Guide,
        store: FeatureStore | None,
    ) -> None:
        super().__init__(guided=True)
        if avatar.portrait_file is None:
            raise EngineError("mimicmotion needs the avatar's picture", hint="prepare the avatar again")
        self._sources: Sources = {"portrait": avatar.portrait_file, "guide": guide}
        self._options, self._guide, self._store = options, guide, store
        self._weights = engine.weights
        self._recipe = _without(engine.recipe(options), avatar)
        self.fps = options.rate(guide)
        height, width = avatar.features[PICTURE].arrays["picture"].shape[:2]
        self.size = (int(height), int(width))

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        raise EngineError(
            "mimicmotion is moved by a guide, not by a voice", hint="personare follow PORTRAIT GUIDE"
        )

    def _end(self, said: Utterance) -> Iterator[Made]:
        said.expected = math.ceil(self._guide.frames * self.fps / self._guide.fps)
        seen = self._sampled(said)
        latents = seen.features[SAMPLED].arrays["latents"]
        for images in self.watch.each("render", self._decoded(latents)):
            if said.cut:
                return
            yield Made(images)

    def _sampled(self, said: Utterance) -> Preparation:
        """All stages. Those of the guide count for "drive", the sampling for "motion"."""
        seen = run(self._recipe, self._sources, self._store, self._told(said))
        told = {name: outcome for name, outcome in seen.outcome.items() if name in self._guided}
        self.heard.update(told)
        for name in told:
            step = "motion" if name == SAMPLED else "drive"
            for row in (step, name):
                self.watch.seconds[row] = self.watch.seconds.get(row, 0.0) + seen.seconds[name]
        self.remarks = remarks(seen.features[POSES], self._options)
        return seen

    @property
    def _guided(self) -> set[str]:
        """Stages that the portrait alone is not enough for."""
        return {stage.name for stage in self._recipe.stages} - {
            stage.name for stage in self._recipe.within("portrait").stages
        }

    def _decoded(self, latents: NDArray[np.float32]) -> Iterator[NDArray[np.uint8]]:
        """Frames uint8 [n, H, W, 3], all but the picture's own."""
        import torch

        device = device_of(self._options)
        make_room(self._options, device)
        with lease_vae(self._weights, device, sampling_dtype(self._options)) as vae:
            first = 1
            with closing(decoded(vae, torch.from_numpy(np.array(latents)))) as colours:  # type: ignore[type-var]
                for part in colours:
                    images = to_bytes(part)[first:]
                    first = 0
                    if len(images):
                        yield images


def _without(recipe: Recipe, avatar: Avatar) -> Recipe:
    """The recipe with what the avatar has already: where nothing is kept, it is not made again."""

    def stands(stage: Stage) -> Stage:
        feature = avatar.features.get(stage.name)
        return stage if feature is None else replace(stage, compute=lambda _: feature)

    return Recipe(tuple(map(stands, recipe.stages)))


def remarks(poses: Feature, options: MimicMotionOptions) -> tuple[str, ...]:
    """What should be told of a guide, a sentence each."""
    facts, lines = poses.metadata, []
    frames = len(poses.arrays["counts"]) - 1
    if facts["people"] > 1 and not options.published_fit:
        who = {"largest": "the largest", "leftmost": "the leftmost"}.get(
            options.person, f"number {options.person} from the left"
        )
        lines.append(
            f"up to {facts['people']} people are in the guide, and {who} is followed: --set person=leftmost "
            f"or person=N (counted from the left) chooses another"
        )
    if facts["unseen"]:
        empty = f"; {facts['empty']} of them show nobody" if facts["empty"] else ""
        lines.append(
            f"nobody was seen in {facts['unseen']} of {frames} pictures of the guide: the last pose was held"
            f"{empty}"
        )
    return tuple(lines)
