"""What sampling costs mimicmotion against the published order of work (PoseNet again for every
tile and step, both branches one after the other, attention as the library has it): one process.

    python -m tests.conformance.seeded_checkpoint --engine mimicmotion --size full WEIGHTS
    python -m benchmarks.mimicmotion WEIGHTS [--size 64 128] [--frames 10] [--tile 6]
        [--overlap 2] [--steps 2] [--half]

Operations of both orders are counted at 320x512 in tiles of 16, whatever --size is. --half: the
frames with bfloat16's rounding after every operation, for processors that have no units for it,
against those of float32.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from personare.engines.mimicmotion.checkpoints import unet_output
from personare.engines.mimicmotion.motion import Given, TiledSampler, first_noise
from personare.engines.mimicmotion.networks.loading import MimicMotionState, sizes_beside
from personare.engines.mimicmotion.networks.pose_net import PoseNet
from personare.engines.mimicmotion.networks.unet import FLOAT32_PARTS, RELEASED, OneToken, built_unet
from personare.engines.mimicmotion.pictures import pose_input
from personare.engines.mimicmotion.pose.draw import draw
from personare.engines.mimicmotion.render import decoded, to_bytes
from personare.engines.mimicmotion.sampling import PoseFeatures
from personare.engines.mimicmotion.schedule import make_schedule
from personare.engines.mimicmotion.tiles import tile_weights, tiles_of
from personare.engines.neural import BatchSize
from personare.ground.machine import machine
from personare.networks.diffusion import read_config
from personare.networks.video_diffusion import load_temporal_vae
from personare.perception.whole_body.skeleton import skeletons_of
from personare.studio.report import peak_memory_mb
from tests.conformance.people_standin import BODY, SCORES

GUIDANCE, SEED = 2.0, 42
COUNTED_SIZE = (320, 512)
COUNTED_TILE, COUNTED_OVERLAP = 16, 6
"""Those of the release that takes 16 frames."""


def pose_pictures(frames: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Somebody who sways, uint8 [frames, H, W, 3]."""
    height, width = size
    fitting = min(height / 384, width / 288)
    return np.stack(
        [
            draw(skeletons_of((BODY + 9 * np.sin(i))[None] * fitting, SCORES[None], size), size)
            for i in range(frames)
        ]
    )


@contextmanager
def library_attention(unet: Any) -> Iterator[None]:
    """Attention to the picture's one token as the library computes it."""
    parts = [part for name, part in unet.named_modules() if name.endswith(".attn2")]
    for part in parts:
        part.set_processor(AttnProcessor2_0())
    try:
        yield
    finally:
        for part in parts:
            part.set_processor(OneToken())


class Clip:
    """What one sampling is given."""

    def __init__(self, size: tuple[int, int], frames: int, tile: int, overlap: int, steps: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.size, self.frames, self.tile, self.overlap = size, frames, tile, overlap
        self.schedule = make_schedule("euler", steps)
        self.pictures = pose_pictures(frames, size)
        self.latent = torch.randn((4, size[0] // 8, size[1] // 8), generator=generator)
        self.noise = first_noise(SEED, frames, tile, size)[0] * self.schedule.first_scale

    def embedding(self, width: int) -> Tensor:
        return torch.randn((1, 1, width), generator=torch.Generator().manual_seed(2))


def as_published(unet: Any, pose_net: PoseNet, clip: Clip) -> Tensor:
    """Latents [frames, 4, h, w] in the published order (SPEC e)."""
    x, schedule = clip.noise, clip.schedule
    embedding = clip.embedding(unet.config.cross_attention_dim)
    ids = torch.tensor([[6.0, 127.0, 0.0]])
    nothing = torch.zeros_like(clip.latent)
    for step in range(schedule.steps):
        z, time_now = schedule.scaled(x, step), schedule.timesteps[step]
        sums, total = torch.zeros((2, *x.shape)), torch.zeros(len(x))
        for tile in tiles_of(len(x), clip.tile, clip.overlap):
            pose = pose_net(pose_input(clip.pictures[tile]))
            weights = torch.from_numpy(tile_weights(len(tile)))
            plain = torch.cat([z[tile], nothing.expand(len(tile), -1, -1, -1)], 1)[None]
            posed = torch.cat([z[tile], clip.latent.expand(len(tile), -1, -1, -1), pose], 1)[None]
            for branch, sample, context in ((0, plain, embedding * 0), (1, posed, embedding)):
                v = unet_output(unet, sample, time_now, context, ids)[0]
                sums[branch, tile] += v * weights[:, None, None, None]
            total[tile] += weights
        without, conditioned = sums / total[:, None, None, None]
        x = schedule.next(x, without + GUIDANCE * (conditioned - without), step)
    return x


def as_we_do(unet: Any, pose_net: PoseNet, clip: Clip, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same by the product's classes."""
    poses = PoseFeatures(pose_net, dtype)
    poses.add(iter(clip.pictures))
    given = Given(clip.embedding(unet.config.cross_attention_dim), clip.latent, poses.latents)
    sampler = TiledSampler(
        lambda *told: unet_output(unet, *told),
        clip.schedule,
        given,
        clip.frames,
        tile_size=clip.tile,
        tile_overlap=clip.overlap,
        guidance=(GUIDANCE, GUIDANCE),
        batch=BatchSize(2, torch.device("cpu")),
        dtype=dtype,
    )
    x, generator = clip.noise, torch.Generator()
    for step in range(clip.schedule.steps):
        gathered = sampler.begin(x)
        sampler.gather(x, step, gathered, 0, lambda _: None)
        x = sampler.finish(x, step, gathered, generator)
    poses.close()
    return x


def counted(unet_config: Mapping[str, Any], size: tuple[int, int] = COUNTED_SIZE) -> dict[str, float]:
    """Multiplications and additions of one tile, billions, without computing: of one branch of
    the UNet, and of PoseNet.
    """
    with torch.device("meta"):
        unet = built_unet(unet_config).to("meta")
        width = unet.config.block_out_channels[0]
        pose_net = PoseNet(width)
        places = (size[0] // 8, size[1] // 8)
        sample = torch.zeros(1, COUNTED_TILE, 8 + width, *places)
        context = torch.zeros(1, 1, unet.config.cross_attention_dim)
        ids, pictures = torch.zeros(1, 3), torch.zeros(COUNTED_TILE, 3, *size)
        features = torch.zeros(COUNTED_TILE, 128, *places)

    def operations(run: Any) -> float:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            run()
        return counter.get_total_flops() / 1e9

    def network() -> Tensor:
        return unet_output(unet, sample, torch.zeros((), device="meta"), context, ids)

    ours = operations(network)
    with library_attention(unet):
        theirs = operations(network)
    return {
        "unet_published": theirs,
        "unet": ours,
        "pose_net": operations(lambda: pose_net(pictures)),
        "pose_net_of_kept_features": operations(lambda: pose_net.latents(features)),
    }


def orders(cost: dict[str, float], frames: int, steps: int) -> dict[str, float]:
    """What a clip costs in both orders, billions, from the cost of a tile."""
    tiles = len(tiles_of(frames, COUNTED_TILE, COUNTED_OVERLAP))
    published = tiles * steps * (2 * cost["unet_published"] + cost["pose_net"])
    once = cost["pose_net"] - cost["pose_net_of_kept_features"]
    ours = tiles * steps * (2 * cost["unet"] + cost["pose_net_of_kept_features"])
    ours += once * frames / COUNTED_TILE
    return {"published": published, "ours": ours, "ratio": published / ours}


class RoundedToHalf(TorchDispatchMode):
    """Every operation's result as bfloat16 holds it, computed in float32. parts: of a network
    that are not rounded.
    """

    def __init__(self, parts: Iterable[torch.nn.Module] = ()) -> None:
        super().__init__()
        self._exact = 0
        for part in parts:
            part.register_forward_pre_hook(lambda *_: self._count(1))
            part.register_forward_hook(lambda _, __, made: self._count(-1) or self._rounded(made))

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        shares_memory = any(value.alias_info is not None for value in operation._schema.returns)
        return made if self._exact or shares_memory else tree_map_only(Tensor, self._rounded, made)

    def _count(self, change: int) -> None:
        self._exact += change

    @staticmethod
    def _rounded(made: Tensor) -> Tensor:
        return made.bfloat16().float() if made.dtype == torch.float32 else made


def round_to_half(part: torch.nn.Module, but: Iterable[str] = ()) -> None:
    """From now on this network computes as in bfloat16, but for the parts named."""
    exact = [part.get_submodule(name) for name in but]
    kept = {id(tensor) for each in exact for tensor in each.parameters()}
    for tensor in part.parameters():
        if id(tensor) not in kept:
            tensor.copy_(tensor.bfloat16())
    mode, forward = RoundedToHalf(exact), part.forward

    def rounded(*given: Any, **named: Any) -> Any:
        given, named = tree_map_only(Tensor, Tensor.float, (given, named))
        with mode:
            return forward(*given, **named)

    part.forward = rounded


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def frames_of(vae: Any, latents: Tensor) -> NDArray[np.uint8]:
    return np.concatenate([to_bytes(part) for part in decoded(vae, latents)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 128))
    parser.add_argument("--frames", type=int, default=10, help="with the picture's own")
    parser.add_argument("--tile", type=int, default=6)
    parser.add_argument("--overlap", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--half", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    file = chosen.weights / "mimicmotion/MimicMotion_1-1.pth"
    sizes = sizes_beside(file)
    cost = counted(RELEASED if sizes is None else read_config(sizes))
    _tell(
        counted_size=COUNTED_SIZE,
        billions_a_tile=cost,
        clip_of_36_frames_2_steps=orders(cost, 37, 2),
        clip_of_36_frames_25_steps=orders(cost, 37, 25),
        processor=machine().processor,
    )
    clip = Clip(tuple(chosen.size), chosen.frames, chosen.tile, chosen.overlap, chosen.steps)
    state = MimicMotionState.read(file)
    unet, pose_net = state.unet(), state.pose_net()
    ours, our_seconds = _timed(lambda: as_we_do(unet, pose_net, clip))
    with library_attention(unet):
        published, their_seconds = _timed(lambda: as_published(unet, pose_net, clip))
    _tell(
        size=chosen.size,
        tiles=tiles_of(clip.frames, clip.tile, clip.overlap).shape,
        steps=chosen.steps,
        processor_seconds={"ours": our_seconds, "published": their_seconds},
        ratio=their_seconds / our_seconds,
        largest_difference=float((ours - published).abs().max() / published.abs().max()),
        load=os.getloadavg(),
        peak_memory_mb=peak_memory_mb(),
    )
    if chosen.half:
        vae = load_temporal_vae(chosen.weights / "svd/vae")
        expected = frames_of(vae, ours)
        round_to_half(unet, FLOAT32_PARTS)
        with torch.inference_mode():
            rounded = as_we_do(unet, pose_net.bfloat16(), clip, torch.bfloat16)
        sampled = psnr(frames_of(vae, rounded), expected)
        round_to_half(vae.decoder)
        both = psnr(frames_of(vae, rounded), expected)
        _tell(psnr_sampled_in_half=sampled, psnr_sampled_and_decoded_in_half=both)


def _timed(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What is made, and seconds of the processor."""
    began = time.process_time()
    with torch.inference_mode():
        made = run()
    return made, time.process_time() - began


def _tell(**facts: Any) -> None:
    print(json.dumps(facts, indent=2), flush=True)


if __name__ == "__main__":
    main()
