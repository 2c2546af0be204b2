"""What is heard, and the face as it was -> the latents of the face as it speaks: one pass of
the UNet at timestep 0 per frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.musetalk.drive import positional_encoding

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]


class FacePredictor:
    """The UNet, folded for its one timestep. Stateless: any thread, any session.

    unet: as `checkpoints.load_unet` gives it; it is changed.
    """

    def __init__(self, unet: Any) -> None:
        from personare.networks.folding import channels_last, fold_time, fold_upsampling, lean_resnets
        from personare.networks.packed import pack_convolutions

        fold_time(unet)
        fold_upsampling(unet)
        lean_resnets(unet)
        channels_last(unet)
        self._unet = unet
        weight = unet.conv_in.weight
        self.device, self.dtype = weight.device, weight.dtype
        pack_convolutions(unet)
        self._table: Tensor | None = None

    def predict(self, latents: Floats, tokens: Floats) -> Tensor:
        """latents: float32 [n, 8, h, w] of the template; tokens: float32 [n, 50, width] of the
        windows, without positions.

        Returns scaled latents [n, 4, h, w] on the network's device.
        """
        import torch

        from personare.networks.folding import predict

        with torch.inference_mode():
            heard = torch.from_numpy(np.ascontiguousarray(tokens)).to(
                self.device, self.dtype
            ) + self._positions(tokens.shape[1:])
            given = torch.from_numpy(np.ascontiguousarray(latents)).to(self.device, self.dtype)
            return predict(self._unet, given.contiguous(memory_format=torch.channels_last), heard)

    def _positions(self, shape: tuple[int, ...]) -> Tensor:
        import torch

        if self._table is None or self._table.shape != shape:
            self._table = torch.from_numpy(positional_encoding(shape[0], shape[1])).to(
                self.device, self.dtype
            )
        return self._table
