"""Between pictures of faces and the autoencoder's latents, both ways, as the released program
does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError
from personare.types import Image

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

SCALING = 0.18215
"""Latents of the autoencoder times this are those of the UNet. (diffusers' AutoencoderKL has no
types that hold: `vae` is Any.)
"""


def picture_input(crop: Image) -> Floats:
    """A face crop twice, with its lower half blanked and whole, in -1..1: float32 [2, 3, S, S]."""
    whole = (crop / 255.0).astype(np.float32).transpose(2, 0, 1)
    masked = whole.copy()
    masked[:, whole.shape[1] // 2 :] = 0
    return (np.stack([masked, whole]) - np.float32(0.5)) / np.float32(0.5)


def lean_encoder(vae: Any) -> Any:
    """The encoder half of an autoencoder, in place: the other one is let go of.

    Half precision runs channels last. float32 does not: 4 % faster, but its latents would leave
    the goldens' bounds.
    """
    import torch

    from personare.networks.folding import channels_last, lean_resnets
    from personare.networks.packed import pack_convolutions

    vae.decoder = vae.post_quant_conv = None
    lean_resnets(vae.encoder)
    if vae.quant_conv.weight.dtype != torch.float32:
        channels_last(vae.encoder)
        pack_convolutions(vae.encoder)
    return vae


def posterior(vae: Any, pictures: Floats) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of the latents of pictures float32 [n, 3, S, S]: two [n, 4,
    S/8, S/8] in float32.
    """
    import torch

    weight = vae.quant_conv.weight
    with torch.inference_mode():
        given = torch.from_numpy(pictures).to(weight.device, weight.dtype)
        if weight.dtype != torch.float32:
            given = given.contiguous(memory_format=torch.channels_last)
        moments = vae.quant_conv(vae.encoder(given)).float()
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, (log_variance.clamp(-30, 20) / 2).exp()


def encoded(vae: Any, crops: Sequence[Image], noise: Floats | None = None) -> Floats:
    """What the UNet is given of each crop uint8 [S, S, 3]: float32 [n, 8, S/8, S/8], latents of
    the blanked and the whole picture.

    The posterior's mean, as in training; with noise [n, 8, ..] a sample of it, as the released
    program takes. Raises EngineError if the latents are not finite (a half-precision overflow).
    """
    mean, deviation = posterior(vae, np.concatenate([picture_input(crop) for crop in crops]))
    latents = mean.cpu().numpy()
    if noise is not None:
        latents = latents + deviation.cpu().numpy() * noise.reshape(latents.shape)
    latents = (np.float32(SCALING) * latents).astype(np.float32)
    if not np.isfinite(latents).all():
        raise EngineError("the autoencoder gave infinite latents", hint="--set precision=float32 or bfloat16")
    stacked: Floats = latents.reshape(len(crops), 2 * latents.shape[1], *latents.shape[2:])
    return stacked


def frame_noise(seed: int, frame: int, shape: tuple[int, ...]) -> Floats:
    """The noise of one template frame, the same in whatever batch it is encoded."""
    generator = np.random.Generator(np.random.Philox(key=[seed, frame]))
    return generator.standard_normal(shape, dtype=np.float32)


def decoded(vae: Any, latents: Tensor) -> Tensor:
    """Pictures of scaled latents [n, 4, h, w]: [n, 3, 8h, 8w], nominally -1..1."""
    import torch

    with torch.inference_mode():
        weight = vae.post_quant_conv.weight
        x = (1 / SCALING) * latents.to(weight.device, weight.dtype)
        pictures: Tensor = vae.decoder(vae.post_quant_conv(x))
        return pictures


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures [n, 3, H, W] in -1..1 as uint8 [n, H, W, 3]; halves are rounded to even."""
    import torch

    with torch.inference_mode():
        levels = ((pictures.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        images: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return images
