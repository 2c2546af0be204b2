"""Motion becomes pictures: latents through the decoder, in batches, as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from personare.engines.float.networks.decoder import StyleDecoder

Floats = NDArray[np.float32]

EXACT_SIDE = 32
"""px: levels up to this side are float32 in any case. They say where things go, and are a fifth
of the work.
"""


class FrameDecoder:
    """Draws one person: holds the skip features in the decoder's format and layout.

    appearance: float32 [width]; features: "feature0".. float32 [C, side, side], smallest first.
    dtype: of the feature maps and of the products over them; styles, flow and colours stay
    float32.
    """

    def __init__(
        self,
        network: StyleDecoder,
        appearance: Floats,
        features: Mapping[str, NDArray[Any]],
        dtype: torch.dtype,
    ) -> None:
        import torch

        from personare.networks.stylegan2 import memory_format

        self._network = network
        self._device = network.input.input.device
        self._appearance = torch.from_numpy(np.array(appearance, np.float32)).to(self._device)
        self._features = []
        for name in sorted(
            (name for name in features if name.startswith("feature")), key=lambda name: int(name[7:])
        ):
            tensor = torch.from_numpy(np.array(features[name]))[None]
            tensor = tensor.to(self._device, torch.float32 if tensor.shape[-1] <= EXACT_SIDE else dtype)
            self._features.append(tensor.contiguous(memory_format=memory_format(tensor)))

    @property
    def side(self) -> int:
        """px of the square picture."""
        return int(self._features[-1].shape[-1])

    def colours(self, motion: Floats) -> Tensor:
        """Motion [n, width] -> float32 [n, 3, side, side], nominally in [-1, 1]."""
        import torch

        with torch.inference_mode():
            latents = self._appearance + torch.from_numpy(np.ascontiguousarray(motion, np.float32)).to(
                self._device
            )
            made: Tensor = self._network(latents, self._features)
            return made

    def render(self, motion: Floats) -> NDArray[np.uint8]:
        """Motion [n, width] -> uint8 [n, side, side, 3] RGB."""
        return to_bytes(self.colours(motion))


def to_bytes(colours: Tensor) -> NDArray[np.uint8]:
    """float [n, 3, H, W] in [-1, 1], limited to it -> uint8 [n, H, W, 3]; cut off, not rounded,
    as published.
    """
    import torch

    with torch.inference_mode():
        scaled = (colours.clamp(-1, 1) + 1) / 2 * 255
        return np.asarray(scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy())
