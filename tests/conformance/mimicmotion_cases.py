"""mimicmotion: each golden name and the function that replays it. Tolerances are those of
mimicmotion/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from personare.engines.mimicmotion import pictures, prepare, render
from personare.engines.mimicmotion.checkpoints import unet_output
from personare.engines.mimicmotion.motion import Given, TiledSampler, first_noise, picture_noise
from personare.engines.mimicmotion.networks.pose_net import PoseNet, pose_net_from_state
from personare.engines.mimicmotion.networks.unet import unet_from_state
from personare.engines.mimicmotion.schedule import make_schedule
from personare.engines.neural import BatchSize
from personare.networks.video_diffusion import image_encoder_from_state, temporal_vae_from_state
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance
from tests.conformance.mimicmotion_pose import POSE_CASES, waves

CPU = torch.device("cpu")


def unet(replay: Replay) -> Any:
    return unet_from_state(replay.state("unet"), replay.config("unet"), "the golden")


def pose_net(replay: Replay) -> PoseNet:
    return pose_net_from_state(replay.state("pose_net"), "the golden")


def vae(replay: Replay) -> Any:
    return temporal_vae_from_state(replay.state("vae"), replay.config("vae"), "the golden")


def image_encoder(replay: Replay) -> Any:
    state, config = replay.state("image_encoder"), replay.config("image_encoder")
    return image_encoder_from_state(state, config, "the golden")


def _tensors(replay: Replay, *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(replay.arrays[name]) for name in names]


def _pose_net(replay: Replay) -> Arrays:
    with torch.inference_mode():
        made = pose_net(replay)(torch.from_numpy(replay.arrays["pose"])).numpy()
    return {"pose_latents": made, "pose_latents_from_5d": made}


def _pose_net_released(replay: Replay) -> Arrays:
    return _pose_net(Replay(replay.engine, replay.folder, replay.arrays, replay.seed, full=True))


def _unet(replay: Replay) -> Arrays:
    network = unet(replay)
    sample, time, context, ids, pose = _tensors(
        replay, "sample", "timestep", "encoder_hidden_states", "added_time_ids", "pose_latents"
    )
    made: dict[str, torch.Tensor] = {}
    tapped = {"time_embedding": network.time_embedding, "add_embedding": network.add_embedding}
    tapped |= {f"down{i}": block for i, block in enumerate(network.down_blocks)}
    tapped |= {"mid": network.mid_block, "up0": network.up_blocks[0], "up1": network.up_blocks[1]}
    with torch.inference_mode():
        posed = torch.cat([sample, pose[None]], dim=2)
        hooks = [
            part.register_forward_hook(
                lambda _, __, out, name=name: made.__setitem__(
                    f"tap_{name}", out[0] if isinstance(out, tuple) else out
                )
            )
            for name, part in tapped.items()
        ]
        made["out_cond"] = unet_output(network, posed, time, context, ids)
        for hook in hooks:
            hook.remove()
        made["tap_conv_in"] = network.conv_in(sample[0])
        made["out_uncond_zero_context"] = unet_output(network, sample, time, context * 0, ids)
    return {name: tensor.numpy() for name, tensor in made.items()}


def _unet_batch2(replay: Replay) -> Arrays:
    sample, time, context, ids, pose = _tensors(
        replay, "sample", "timestep", "encoder_hidden_states", "added_time_ids", "pose_latents"
    )
    posed = torch.cat([sample, pose.unflatten(0, sample.shape[:2])], dim=2)
    with torch.inference_mode():
        return {"out_each_alone": unet_output(unet(replay), posed, time, context, ids).numpy()}


def _vae_encode(replay: Replay) -> Arrays:
    with torch.inference_mode():
        seen = vae(replay).encode(torch.from_numpy(replay.arrays["image"])).latent_dist
    return {"latent_mode": seen.mode().numpy(), "logvar_clamped": seen.logvar.numpy()}


def _vae_decode(replay: Replay) -> Arrays:
    network, latents = vae(replay), torch.from_numpy(replay.arrays["latents"])
    with torch.inference_mode():
        whole = network.decode(latents, num_frames=len(latents)).sample
        alone = torch.cat([network.decode(each[None], num_frames=1).sample for each in latents])
    return {"frames": whole.numpy(), "frames_decoded_one_by_one": alone[:, :, ::4, ::4].numpy()}


def _image_encoder(replay: Replay) -> Arrays:
    given = replay.arrays
    picture = given.get("image_u8")
    if picture is None:
        picture = waves(*given["hw"], int(given["phase_seed"]))
    small = pictures.clip_picture(picture)
    return {
        "resized_s8": small[:, :, ::8, ::8].numpy(),
        "pixel_values_s8": pictures.clip_normalised(small)[:, :, ::8, ::8].numpy(),
        "image_embeds": prepare.embedding(image_encoder(replay), picture)[:, 0],
    }


def _scheduler(replay: Replay) -> Arrays:
    made: dict[str, Any] = {}
    for name in replay.arrays:
        if name.startswith("sigmas_") and "fp16" not in name:
            steps = int(name.removeprefix("sigmas_"))
            schedule = make_schedule("euler", steps)
            made |= {name: schedule.sigmas, f"sigmas_default_fp16_{steps}": schedule.sigmas}
            made |= {f"timesteps_{steps}": schedule.timesteps}
            made |= {f"timesteps_default_fp16_{steps}": schedule.timesteps.half()}
            made |= {f"init_noise_sigma_{steps}": schedule.first_scale}
    schedule, sample = make_schedule("euler", 4), torch.from_numpy(replay.arrays["step_sample_0"])
    for step in range(4):
        made[f"step_scaled_{step}"] = schedule.scaled(sample, step)
        sample = schedule.next(sample, torch.from_numpy(replay.arrays[f"step_v_{step}"]), step)
        made[f"step_sample_{step + 1}"] = sample
    return {name: np.asarray(value) for name, value in made.items()}


def _lcm_scheduler(replay: Replay) -> Arrays:
    made: dict[str, Any] = {"init_noise_sigma": make_schedule("lcm", 4).first_scale}
    for name in replay.arrays:
        if name.startswith("sigmas_"):
            schedule = make_schedule("lcm", int(name.removeprefix("sigmas_")))
            made |= {name: schedule.sigmas, name.replace("sigmas", "timesteps"): schedule.timesteps}
    schedule, sample = make_schedule("lcm", 4), torch.from_numpy(replay.arrays["sample_0"])
    generator = torch.Generator().manual_seed(5)
    for step in range(4):
        made[f"scaled_{step}"] = schedule.scaled(sample, step)
        v = torch.from_numpy(replay.arrays[f"v_{step}"])
        sample = schedule.next(sample, v, step, generator)
        made[f"sample_{step + 1}"] = sample
    return {name: np.asarray(value) for name, value in made.items()}


def _sampler(arrays: Arrays, network: Any, given: Given) -> TiledSampler:
    low, high = (float(value) for value in arrays["guidance_min_max"])
    return TiledSampler(
        network,
        make_schedule("euler", int(arrays["steps"])),
        given,
        int(arrays["num_frames"]),
        tile_size=int(arrays["tile_size"]),
        tile_overlap=int(arrays["tile_overlap"]),
        guidance=(low, high),
        batch=BatchSize(3, CPU),  # tiles and branches in one batch, and one that is not full
        dtype=torch.float32,
    )


def _sampled(arrays: Arrays, sampler: TiledSampler) -> list[torch.Tensor]:
    """The latents after each step."""
    size = (int(arrays["hw"][0]), int(arrays["hw"][1]))
    frames, tile = int(arrays["num_frames"]), int(arrays["tile_size"])
    noise, generator = first_noise(int(arrays["seed"]), frames, tile, size)
    latents, after = noise * sampler.schedule.first_scale, []
    for step in range(sampler.schedule.steps):
        gathered = sampler.begin(latents)
        sampler.gather(latents, step, gathered, 0, lambda _: None)
        latents = sampler.finish(latents, step, gathered, generator)
        after.append(latents)
    return after


class _StandIns:
    """The closed formulas of tiny/README.md in place of the networks."""

    config = SimpleNamespace(scaling_factor=0.18215)

    def parameters(self) -> Any:
        return iter(())

    def __call__(self, pixels: torch.Tensor) -> Any:
        return SimpleNamespace(image_embeds=pixels.mean(dim=(2, 3)).repeat(1, 2))

    def encode(self, x: torch.Tensor) -> Any:
        small = torch.nn.functional.avg_pool2d(x, 8)
        mode = torch.cat([small, small.mean(dim=1, keepdim=True)], dim=1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: mode))

    def decode(self, z: torch.Tensor, num_frames: int) -> Any:
        three = z[:, :3]
        made = (three + 0.5 * three.mean(dim=0, keepdim=True)) * 0.02
        return SimpleNamespace(sample=made.repeat_interleave(8, 2).repeat_interleave(8, 3))

    @staticmethod
    def unet(x: torch.Tensor, time: torch.Tensor, context: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        made = []
        for one, word, told in zip(x, context, ids, strict=True):
            noisy, image, pose = one[:, :4], one[:, 4:8], one[:, 8:]
            place = torch.arange(len(one))[:, None, None, None]
            y = 0.5 * noisy - 0.25 * image + 0.1 * torch.tanh(time)
            y = y + 0.01 * (place - 1.5) * torch.roll(noisy, 1, dims=0)
            y = y + 0.02 * word.mean() + 0.001 * told.sum()
            made.append(y + 0.3 * pose if pose.shape[1] else y)
        return torch.stack(made)


def _loop(replay: Replay) -> Arrays:
    given, stand_ins = replay.arrays, _StandIns()
    picture = waves(*given["hw"])
    strength, seed = float(given["noise_aug_strength"]), int(given["seed"])
    word = prepare.embedding(stand_ins, picture)
    planes = torch.from_numpy(given["pose_latents_plane"])
    sampler = _sampler(
        given,
        stand_ins.unet,
        Given(
            torch.from_numpy(word),
            torch.from_numpy(prepare.latent(stand_ins, picture, strength, seed)),
            lambda frames: planes[frames],
            strength,
        ),
    )
    after = _sampled(given, sampler)
    frames = torch.cat(list(render.decoded(stand_ins, after[-1], chunk=3)))
    size, tile = (int(given["hw"][0]), int(given["hw"][1])), int(given["tile_size"])
    noise, _ = first_noise(seed, tile, tile, size)
    return {
        "clip_embeds_cond": word,
        "tile_indices": sampler.tiles,
        "latents_after_step1": after[0][None].numpy(),
        "latents_final": after[-1][None].numpy(),
        "frames_s8": frames[None, :, :, ::8, ::8].numpy(),
        "noise_image_s8": picture_noise(torch.Generator().manual_seed(seed), size)[..., ::8, ::8].numpy(),
        "noise_latents": noise[None].numpy(),
    }


def _pipeline(replay: Replay) -> Arrays:
    given = replay.arrays
    picture = given["image_u8"]
    strength, seed = float(given["noise_aug_strength"]), int(given["seed"])
    autoencoder = vae(replay)
    with torch.inference_mode():
        poses = pose_net(replay)(pictures.pose_input(given["pose_u8"].transpose(0, 2, 3, 1)))
    sampler = _sampler(
        given,
        partial(unet_output, unet(replay)),
        Given(
            torch.from_numpy(prepare.embedding(image_encoder(replay), picture)),
            torch.from_numpy(prepare.latent(autoencoder, picture, strength, seed)),
            lambda frames: poses[frames],
            strength,
        ),
    )
    after = _sampled(given, sampler)
    frames = torch.cat(list(render.decoded(autoencoder, after[-1], chunk=int(given["decode_chunk_size"]))))
    size, tile = (int(given["hw"][0]), int(given["hw"][1])), int(given["tile_size"])
    noise, _ = first_noise(seed, tile, tile, size)
    return {
        "latents_step1": after[0][None].numpy(),
        "latents_final": after[-1][None].numpy(),
        "frames_s2": frames[None, :, :, ::2, ::2].numpy(),
        "video_u8_s2": render.to_bytes(frames)[1:, ::2, ::2].transpose(0, 3, 1, 2),
        "noise_image": picture_noise(torch.Generator().manual_seed(seed), size).numpy(),
        "noise_latents": noise[None].numpy(),
    }


class _Relative(Tolerance):
    """Of the golden's largest value."""

    def bound(self, golden: np.ndarray) -> float:
        return self.largest * float(np.abs(golden).max())


_ENCODER = Case(
    _image_encoder,
    {"image_embeds": Tolerance(1e-4), ".*": Tolerance(1e-5)},
    inputs=("hw", "phase_seed", "image_u8"),
    components=("image_encoder",),
)
_LOOP = Case(
    _loop,
    {
        "tile_indices": EXACT,
        "latents_after_step1": _Relative(1e-4),
        "latents_final": _Relative(2e-4),
        ".*": Tolerance(1e-5),
    },
    inputs=(
        "num_frames|tile_size|tile_overlap|hw|guidance_min_max|steps|noise_aug_strength|seed",
        "pose_latents_plane",
    ),
)
_UNET_INPUTS = ("sample", "timestep", "encoder_hidden_states", "added_time_ids", "pose_latents")

CASES: Mapping[str, Case] = {
    **POSE_CASES,
    "pose_net": Case(_pose_net, {".*": Tolerance(1e-5)}, ("pose",), ("pose_net",)),
    "pose_net_released": Case(_pose_net_released, {".*": Tolerance(1e-5)}, ("pose",)),
    "unet": Case(_unet, {".*": Tolerance(1e-4)}, _UNET_INPUTS, ("unet",)),
    "unet_batch2": Case(_unet_batch2, {".*": Tolerance(1e-4)}, _UNET_INPUTS, ("unet",)),
    "vae_encode": Case(_vae_encode, {".*": Tolerance(1e-4)}, ("image",), ("vae",)),
    "vae_decode": Case(_vae_decode, {".*": Tolerance(1e-4)}, ("latents", "num_frames"), ("vae",)),
    "image_encoder_a": _ENCODER,
    "image_encoder_b": _ENCODER,
    "image_encoder_c": _ENCODER,
    "scheduler": Case(
        _scheduler,
        {".*timesteps_default_fp16_.*": EXACT, ".*": _Relative(1e-5)},
        inputs=("step_sample_0", r"step_v_\d"),
    ),
    "lcm_scheduler": Case(_lcm_scheduler, {".*": _Relative(1e-5)}, inputs=("sample_0", r"v_\d", r"noise_\d")),
    "loop_a": _LOOP,
    "loop_b": _LOOP,
    "loop_c": _LOOP,
    "pipeline": Case(
        _pipeline,
        {
            "latents_.*": Tolerance(2e-3),
            "frames_s2": Tolerance(5e-4),
            "video_u8_s2": Tolerance(1),
            ".*": Tolerance(1e-6),
        },
        inputs=(
            "num_frames|tile_size|tile_overlap|hw|guidance_min_max|steps|noise_aug_strength|seed",
            "decode_chunk_size|image_u8|pose_u8",
        ),
        components=("unet", "pose_net", "vae", "image_encoder"),
    ),
}
