"""Latents -> faces: the autoencoder's decoder, batched, with its constants folded in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.musetalk.template.latents import SCALING
from personare.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor


class FaceDecoder:
    """The decoder half of an autoencoder. Stateless: any thread, any session.

    vae: as `checkpoints.load_vae` gives it; it is changed, and its encoder is let go of.
    """

    def __init__(self, vae: Any) -> None:
        import torch
        from torch import nn

        from personare.networks.folding import channels_last, fold_upsampling, lean_resnets
        from personare.networks.packed import pack_convolutions

        vae.encoder = vae.quant_conv = None
        fold_upsampling(vae.decoder)
        lean_resnets(vae.decoder)
        with torch.inference_mode():
            # 1 / SCALING, and from -1..1 to 0..255, are factors of the first and the last
            # convolution.
            entry, last = vae.post_quant_conv, vae.decoder.conv_out
            entry.weight = nn.Parameter(entry.weight / SCALING, requires_grad=False)
            # In half precision 255 levels would not be told apart: the last convolution stays
            # exact.
            last.float()
            last.weight = nn.Parameter(last.weight * 127.5, requires_grad=False)
            last.bias = nn.Parameter(last.bias * 127.5 + 127.5, requires_grad=False)
        channels_last(vae.decoder)
        self._entry, self._decoder = entry, vae.decoder
        self.device = entry.weight.device
        pack_convolutions(vae.decoder)

    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Scaled latents [n, 4, h, w] -> RGB uint8 [n, 8h, 8w, 3]. Raises EngineError if a
        picture is not finite.
        """
        import torch

        decoder = self._decoder
        with torch.inference_mode():
            x = self._entry(latents.to(self._entry.weight.dtype)).contiguous(
                memory_format=torch.channels_last
            )
            x = decoder.mid_block(decoder.conv_in(x))
            for block in decoder.up_blocks:
                x = block(x)
            levels = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)).float())
            if not bool(torch.isfinite(levels).all()):
                raise EngineError(
                    "the network painted faces that are not finite",
                    hint="--set precision=float32 or bfloat16",
                )
            # uint8 before it crosses to main memory: a quarter of the bytes
            images = levels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()
            faces: NDArray[np.uint8] = images.numpy()
            return faces
