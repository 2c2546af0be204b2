"""The stage that samples: the one of hours. What it has is kept after every step, and between
tiles when a minute has passed; a run that dies goes on from there and ends in the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Stage, StageInputs
from personare.engines.mimicmotion.drive import pose_pictures
from personare.engines.mimicmotion.motion import Given, TiledSampler, first_noise
from personare.engines.mimicmotion.names import EMBEDDING, LATENT, PICTURE, POSES, SAMPLED
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.engines.mimicmotion.pictures import pose_input
from personare.engines.mimicmotion.schedule import make_schedule
from personare.ground.progress import Steps
from personare.types import Feature

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from personare.engines.mimicmotion.networks.pose_net import PoseNet
    from personare.engines.neural import BatchSize

POSES_TOGETHER = 8
POSE_BYTES_IN_MEMORY = 64 << 20
"""Of pose features; what is more goes to a file that nobody sees."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Those of one sampling, and how many runs go together."""

    unet: Any
    pose_net: PoseNet
    batch: BatchSize
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Dream:
    """What samples: networks for (rows, pixels of a tile), leased while the stage needs them.

    numeric_format: what they compute with, part of the key.
    """

    networks: Callable[[int, int], AbstractContextManager[Networks]]
    sha256: tuple[str, ...]
    numeric_format: str

    def stage(self, options: MimicMotionOptions) -> Stage:
        """The latents of the whole clip, float32 [frames, 4, h, w], the picture's own first."""
        return Stage(
            SAMPLED,
            1,
            self._sample,
            {
                "seed": options.seed,
                "steps": options.steps,
                "scheduler": options.scheduler,
                "guidance": [options.guidance_min, options.guidance_max],
                "noise_aug_strength": options.noise_aug_strength,
                "tile_size": options.tile,
                "tile_overlap": options.tile_overlap,
            },
            needs=(PICTURE, EMBEDDING, LATENT, POSES),
            weights=self.sha256,
            numeric_format=self.numeric_format,
            cost="minutes",
        )

    def _sample(self, inputs: StageInputs) -> Feature:
        import torch

        parameters, features = inputs.parameters, inputs.features
        size = features[PICTURE].arrays["picture"].shape[:2]
        frames = len(features[POSES].arrays["counts"])
        tile = min(int(parameters["tile_size"]), frames)
        low, high = parameters["guidance"]
        schedule = make_schedule(parameters["scheduler"], int(parameters["steps"]))
        with self.networks(tile, size[0] * size[1]) as networks:
            pictures = pose_pictures(features[POSES], (size[0], size[1]))
            with closing(PoseFeatures(networks.pose_net, networks.dtype)) as poses:
                poses.add(_told(pictures, frames, inputs))
                given = Given(
                    torch.from_numpy(np.array(features[EMBEDDING].arrays["embedding"])),
                    torch.from_numpy(np.array(features[LATENT].arrays["latent"])),
                    poses.latents,
                    float(parameters["noise_aug_strength"]),
                )
                sampler = TiledSampler(
                    networks.unet,
                    schedule,
                    given,
                    frames,
                    tile_size=int(parameters["tile_size"]),
                    tile_overlap=int(parameters["tile_overlap"]),
                    guidance=(float(low), float(high)),
                    batch=networks.batch,
                    dtype=networks.dtype,
                )
                noise, generator = first_noise(int(parameters["seed"]), frames, tile, (size[0], size[1]))
                latents = _run(sampler, noise * schedule.first_scale, generator, inputs)
        return Feature({"latents": latents.numpy()})


def _run(sampler: TiledSampler, latents: Tensor, generator: torch.Generator, inputs: StageInputs) -> Tensor:
    """All steps that are not done yet."""
    import torch

    workspace, schedule = inputs.workspace, sampler.schedule
    runs, step, row = sampler.rows, 0, 0
    total = schedule.steps * runs
    gathered = sampler.begin(latents)
    if (kept := workspace.load()) is not None:
        latents = torch.from_numpy(np.array(kept.arrays["latents"]))
        gathered = np.array(kept.arrays["gathered"])
        generator.set_state(torch.from_numpy(np.array(kept.arrays["generator"])))
        step, row = int(kept.metadata["step"]), int(kept.metadata["row"])

    def save(rows_done: int) -> None:
        """Step and row are the next ones to do."""
        at, inside = divmod(rows_done, runs)
        arrays = {
            "latents": latents.numpy(),
            "gathered": gathered,
            "generator": generator.get_state().numpy(),
        }
        workspace.save(arrays, {"step": at, "row": inside}, step=rows_done, steps=total)

    steps = Steps(inputs.progress, "sampling", total, first=step * runs + row)
    counted = iter(steps)
    next(counted, None)

    def tell(rows_done: int) -> None:
        while steps.done < rows_done and next(counted, None) is not None:
            pass

    def told(rows_done: int) -> None:
        if rows_done < runs:  # the whole step is told when it is kept
            done = step * runs + rows_done
            if workspace.due():
                save(done)
            tell(done)

    while step < schedule.steps:
        steps.note(step=step + 1)
        sampler.gather(latents, step, gathered, row, told)
        latents = sampler.finish(latents, step, gathered, generator)
        gathered, row = sampler.begin(latents), 0
        step += 1
        save(step * runs)
        tell(step * runs)
    return latents


def _told(
    pictures: Iterator[NDArray[np.uint8]], frames: int, inputs: StageInputs
) -> Iterator[NDArray[np.uint8]]:
    """The pictures, each reported."""
    for done, picture in enumerate(pictures, 1):
        yield picture
        inputs.progress("drawing poses", done, frames)


class PoseFeatures:
    """PoseNet's features of a whole clip, made once for all tiles and steps. They need not fit
    into memory.
    """

    def __init__(self, network: PoseNet, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype
        self._file = tempfile.SpooledTemporaryFile(POSE_BYTES_IN_MEMORY)  # noqa: SIM115
        self._shape: tuple[int, ...] = ()

    def add(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Pose pictures uint8 [H, W, 3], all of them, in order."""
        group: list[NDArray[np.uint8]] = []
        for picture in pictures:
            group.append(picture)
            if len(group) == POSES_TOGETHER:
                self._write(group)
                group = []
        if group:
            self._write(group)

    def latents(self, frames: NDArray[np.intp]) -> Tensor:
        """Of these frames, [f, width, h, w]."""
        import torch

        size = int(np.prod(self._shape)) * self._dtype.itemsize
        block = bytearray(size * len(frames))
        for place, frame in enumerate(frames):
            self._file.seek(int(frame) * size)
            block[place * size : (place + 1) * size] = self._file.read(size)
        kept = torch.frombuffer(block, dtype=self._dtype).reshape(len(frames), *self._shape)
        with torch.inference_mode():
            return self._network.latents(kept.to(self._network.scale.device))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, pictures: list[NDArray[np.uint8]]) -> None:
        import torch

        device = self._network.scale.device
        with torch.inference_mode():
            made = self._network.features(pose_input(np.stack(pictures)).to(device, self._dtype))
            made = made.cpu().contiguous()
        self._shape = tuple(made.shape[1:])
        self._file.write(made.view(torch.uint8).numpy().tobytes())
