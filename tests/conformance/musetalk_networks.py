"""The generator and the autoencoder, and the networks of faces: forward passes with seeded
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from personare.engines.musetalk.render import FaceDecoder
from personare.engines.musetalk.template import latents
from personare.networks.diffusion import unet_from_state, vae_from_state
from personare.networks.folding import fold_time, fold_upsampling, lean_resnets, predict
from personare.perception.parsing import bisenet_from_state
from personare.perception.s3fd import s3fd_from_state
from personare.perception.whole_body.rtmpose import rtmpose_from_state
from tests.conformance.case import Arrays, Case, Replay, Tolerance


@contextmanager
def recorded(**modules: torch.nn.Module) -> Iterator[dict[str, Any]]:
    """What each module gave when it was last called, by the name given here."""
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, output)

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _unet(replay: Replay) -> Arrays:
    unet = unet_from_state(replay.state("unet"), replay.config("unet"), "the golden")
    noisy, audio = (torch.from_numpy(replay.arrays[name]) for name in ("latents", "audio"))
    parts = {
        "time_emb": unet.time_embedding,
        "conv_in": unet.conv_in,
        "down0": unet.down_blocks[0],
        "down3": unet.down_blocks[3],
        "mid": unet.mid_block,
        "up0": unet.up_blocks[0],
    }
    with torch.inference_mode(), recorded(**parts) as seen:
        unet(noisy, torch.tensor([0]), encoder_hidden_states=audio, return_dict=False)
    # The parts are looked at as the library has them; the result is that of the network as the
    # product runs it.
    fold_time(unet)
    fold_upsampling(unet)
    lean_resnets(unet)
    with torch.inference_mode():
        out = predict(unet, noisy, audio)
    return {
        "out": out.numpy(),
        "time_emb": seen["time_emb"][:1].numpy(),
        "conv_in": seen["conv_in"][:, ::4, ::4, ::4].numpy(),
        "down0": seen["down0"][0][:, ::4, ::2, ::2].numpy(),
        "down3": seen["down3"][0][:, ::8].numpy(),
        "mid": seen["mid"][:, ::8].numpy(),
        "up0": seen["up0"][:, ::8, ::2, ::2].numpy(),
    }


def _vae(replay: Replay) -> Arrays:
    vae = vae_from_state(replay.state("vae"), replay.config("vae"), "the golden")
    crop = np.ascontiguousarray(replay.arrays["image_bgr_u8"][..., ::-1])
    half, full = latents.picture_input(crop)
    mean, deviation = (both.numpy() for both in latents.posterior(vae, np.stack([half, full])))
    eps = replay.arrays["eps"]
    sample = latents.encoded(vae, [crop], np.concatenate([np.zeros_like(eps), eps], axis=1))
    z = torch.from_numpy(replay.arrays["z"])
    decoded, encoded = latents.decoded(vae, z), latents.encoded(vae, [crop])
    painted = FaceDecoder(vae).decode(z)  # the decoder as the product runs it; it lets go of the encoder
    return {
        "half_rgb": half[None, :, ::4, ::4],
        "full_rgb": full[None, :, ::4, ::4],
        "mean_half": mean[:1],
        "mean_full": mean[1:],
        "logvar_half": 2 * np.log(deviation[:1]),
        "logvar_full": 2 * np.log(deviation[1:]),
        "latent_full_sample": sample[:, sample.shape[1] // 2 :],
        "latents_unet_mode": encoded,
        "decoded": decoded[:, :, ::2, ::2].numpy(),
        "decoded_bgr_u8": painted[..., ::-1],
    }


def _bisenet(replay: Replay) -> Arrays:
    network = bisenet_from_state(replay.state("face_parsing"), "the golden")
    with torch.inference_mode(), recorded(resnet=network.cp.resnet, cp=network.cp) as seen:
        heads = network.all_heads(torch.from_numpy(replay.arrays["x"]))
    feat8, feat16, feat32 = seen["resnet"]
    _, cp8, cp16 = seen["cp"]
    slices = {
        "out": heads[0][:, :, ::8, ::8],
        "out16": heads[1][:, :, ::16, ::16],
        "out32": heads[2][:, :, ::16, ::16],
        "feat8": feat8[:, ::16, ::2, ::2],
        "feat16": feat16[:, ::32],
        "feat32": feat32[:, ::64],
        "cp8": cp8[:, ::16, ::2, ::2],
        "cp16": cp16[:, ::16],
    }
    return {name: array.numpy() for name, array in slices.items()}


def _s3fd(replay: Replay) -> Arrays:
    network = s3fd_from_state(replay.state("s3fd"), "the golden")
    with torch.inference_mode():
        levels = network(torch.from_numpy(replay.arrays["x"]))
    outputs = {}
    for i, (classes, offsets) in enumerate(levels, start=1):
        step = 2 if i == 1 else 1
        outputs[f"cls{i}"] = classes[:, :, ::step, ::step].numpy()
        outputs[f"reg{i}"] = offsets[:, :, ::step, ::step].numpy()
    return outputs


def _dwpose_net(replay: Replay) -> Arrays:
    network = rtmpose_from_state(replay.state("dwpose"), "the golden")
    x = torch.from_numpy(replay.arrays["x"])
    parts = {
        "stem": network.backbone.stem,
        "stage1": network.backbone.stage1,
        "stage4": network.backbone.stage4,
    }
    with torch.inference_mode():
        with recorded(**parts) as seen:
            simcc_x, simcc_y = network(x)
        flip_x, flip_y = network(x.flip(3))
    slices = {
        "stem": seen["stem"][:, :, ::8, ::8],
        "stage1": seen["stage1"][:, ::4, ::4, ::4],
        "stage4": seen["stage4"][:, ::8],
        "simcc_x": simcc_x[:, ::4],
        "simcc_y": simcc_y[:, ::4],
        "flip_simcc_x": flip_x[:, ::19],
        "flip_simcc_y": flip_y[:, ::19],
    }
    return {name: np.asarray(array) for name, array in slices.items()}


CASES = {
    "unet": Case(
        _unet, {".*": Tolerance(1e-4, of_std=True)}, inputs=("latents", "audio"), components=("unet",)
    ),
    "vae": Case(
        _vae,
        {"decoded_bgr_u8": Tolerance(1), ".*": Tolerance(1e-4, of_std=True)},
        inputs=("image_bgr_u8", "z", "eps"),
        components=("vae",),
    ),
    "bisenet": Case(
        _bisenet, {".*": Tolerance(1e-3, of_std=True)}, inputs=("x",), components=("face_parsing",)
    ),
    "s3fd": Case(_s3fd, {".*": Tolerance(1e-3, of_std=True)}, inputs=("x",), components=("s3fd",)),
    "dwpose_net": Case(
        _dwpose_net, {".*": Tolerance(1e-3, of_std=True)}, inputs=("x",), components=("dwpose",)
    ),
}
