"""The generative loop: noise becomes latents, step by step and tile by tile (SPEC e).

Networks come as callables, so that the loop is what it is with any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.mimicmotion.schedule import Schedule
from personare.engines.mimicmotion.tiles import tile_weights, tiles_of
from personare.engines.neural import BatchSize, in_batches

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FPS_ID, MOTION_BUCKET = 6, 127
"""What the network is told of rate and motion; fixed when it was trained."""

Network = Callable[..., Any]
"""network(sample [B, f, 8 (+ width), h, w], time, context [B, 1, D], ids [B, 3]) -> v [B, f, 4,
h, w].
"""
PoseLatents = Callable[[NDArray[np.intp]], Any]
"""Frame numbers -> pose latents [f, width, h, w]."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the sampling is conditioned on.

    embedding: float32 [1, 1, D], CLIP's. latent: float32 [4, h, w], the picture's, not scaled.
    poses: see PoseLatents. strength: of the noise that was laid over the picture.
    """

    embedding: Tensor
    latent: Tensor
    poses: PoseLatents
    strength: float = 0.0


def picture_noise(generator: torch.Generator, size: tuple[int, int]) -> Tensor:
    """Float32 [1, 3, H, W]: the first thing that is drawn, whether or not it is used."""
    import torch

    return torch.randn((1, 3, *size), generator=generator, dtype=torch.float32)


def first_noise(seed: int, frames: int, tile: int, size: tuple[int, int]) -> tuple[Tensor, torch.Generator]:
    """Float32 [frames, 4, h, w] for a clip of (height, width), and the generator behind it:
    noise for one tile, repeated. Drawn on the CPU, so that all machines begin alike.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    picture_noise(generator, size)
    tile = min(tile, frames)
    noise = torch.randn((1, tile, 4, size[0] // 8, size[1] // 8), generator=generator)[0]
    return noise.repeat(-(-frames // tile), 1, 1, 1)[:frames], generator


class TiledSampler:
    """All steps of one clip.

    frames: with the picture's own. guidance: (first, last) frame's. batch: how many branches of
    tiles go through the network together; halved when memory runs out.
    """

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        given: Given,
        frames: int,
        *,
        tile_size: int,
        tile_overlap: int,
        guidance: tuple[float, float],
        batch: BatchSize,
        dtype: torch.dtype,
    ) -> None:
        import torch

        self.tiles = tiles_of(frames, tile_size, tile_overlap)
        self.schedule = schedule
        self._network, self._given, self._batch = network, given, batch
        self._device, self._dtype = batch.device, dtype
        self._weights = torch.from_numpy(tile_weights(self.tiles.shape[1]))
        self._guidance = torch.linspace(*guidance, frames)
        self._branches = 2 if max(guidance) > 1 else 1
        total = torch.zeros(frames)
        for tile in self.tiles:
            total[tile] += self._weights
        self._total = total[:, None, None, None]

    @property
    def rows(self) -> int:
        """Runs of the network in a step: tiles times branches."""
        return len(self.tiles) * self._branches

    def begin(self, latents: Tensor) -> NDArray[np.float32]:
        """What a step starts to gather from: float32 [branches, frames, 4, h, w]."""
        return np.zeros((self._branches, *latents.shape), np.float32)

    def gather(
        self,
        latents: Tensor,
        step: int,
        gathered: NDArray[np.float32],
        first: int,
        told: Callable[[int], None],
    ) -> None:
        """Add what the network says of the rows from `first` on, in place. latents: float32
        [frames, 4, h, w]. told: called with the rows that are done after each batch.
        """
        import torch

        scaled = self.schedule.scaled(latents, step)
        time = self.schedule.timesteps[step].to(self._device)
        done = first

        def run(rows: NDArray[np.intp]) -> Tensor:
            with torch.inference_mode():
                made = self._run(scaled, time, rows + first)
                return torch.as_tensor(made).float().cpu()

        sums = torch.from_numpy(gathered)
        for made in in_batches(run, self.rows - first, self._batch):
            for v in made:
                tile, branch = divmod(done, self._branches)
                sums[branch, self.tiles[tile]] += v * self._weights[:, None, None, None]
                done += 1
            told(done)

    def finish(
        self,
        latents: Tensor,
        step: int,
        gathered: NDArray[np.float32],
        generator: torch.Generator,
    ) -> Tensor:
        """The latents after a step whose rows are all gathered."""
        import torch

        fused = torch.from_numpy(gathered) / self._total
        v = fused[-1]
        if self._branches == 2:
            v = fused[0] + self._guidance[:, None, None, None] * (fused[1] - fused[0])
        return self.schedule.next(latents, v, step, generator)

    def _run(self, scaled: Tensor, time: Tensor, rows: NDArray[np.intp]) -> Tensor:
        """One batch of the network: v [len(rows), f, 4, h, w]."""
        import torch

        given, device, dtype = self._given, self._device, self._dtype
        conditional = [self._branches == 1 or bool(row % 2) for row in rows]
        samples, contexts = [], []
        latent, embedding = given.latent.to(device, dtype), given.embedding.to(device, dtype)
        for row, is_conditional in zip(rows, conditional, strict=True):
            tile = self.tiles[row // self._branches]
            noisy = scaled[tile].to(device, dtype)  # [f, 4, h, w]
            picture = (latent if is_conditional else torch.zeros_like(latent)).expand(len(tile), -1, -1, -1)
            parts = [noisy, picture]
            if is_conditional:
                parts.append(given.poses(tile).to(device, dtype))
            samples.append(torch.cat(parts, dim=1))
            contexts.append(embedding if is_conditional else torch.zeros_like(embedding))
        width = max(sample.shape[1] for sample in samples)
        # Without a pose, nothing is added.
        padded = [
            sample
            if sample.shape[1] == width
            else torch.nn.functional.pad(sample, (0, 0, 0, 0, 0, width - 8))
            for sample in samples
        ]
        ids = torch.tensor([[FPS_ID, MOTION_BUCKET, given.strength]] * len(rows), device=device).to(dtype)
        made: Tensor = self._network(torch.stack(padded), time, torch.cat(contexts), ids)
        return made
