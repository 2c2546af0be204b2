"""The UNet: diffusers' UNetSpatioTemporalConditionModel, with one sum after its first
convolution (SPEC d.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from personare.weights.loading import load_strictly, unallocated

_library: Any = diffusers

RELEASED: Mapping[str, Any] = {
    "sample_size": 96,
    "in_channels": 8,
    "out_channels": 4,
    "down_block_types": (*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal"),
    "up_block_types": ("UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3),
    "block_out_channels": (320, 640, 1280, 1280),
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "transformer_layers_per_block": 1,
    "num_attention_heads": (5, 10, 20, 20),
    "num_frames": 25,
}

FLOAT32_PARTS = ("conv_in", "time_embedding", "add_embedding", "conv_out")
"""In half precision these stay as they are: next to none of the work, and much of the loss."""


class PosedConv(nn.Conv2d):
    """The first convolution. What comes behind its own channels is added to what it makes: so
    pose latents travel with the sample, and a network that is shared holds no state of a run.
    """

    def forward(self, sample: Tensor) -> Tensor:
        own, latents = sample[:, : self.in_channels], sample[:, self.in_channels :]
        made = super().forward(own)
        return made + latents if latents.shape[1] else made


class OneToken:
    """Attention to a single token, which gets all of it whatever is asked: what the token says,
    everywhere. Queries and keys need not be computed.
    """

    def __call__(
        self, attention: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any
    ) -> Tensor:
        said: Tensor = attention.to_out[0](attention.to_v(encoder_hidden_states))  # [B, 1, C]
        return said.expand_as(hidden_states)


def built_unet(config: Mapping[str, Any]) -> Any:
    """The network as it is built, before a checkpoint is put into it."""
    network = _library.UNetSpatioTemporalConditionModel(
        **{name: value for name, value in config.items() if not name.startswith("_")}
    )
    plain = network.conv_in
    network.conv_in = PosedConv(
        plain.in_channels, plain.out_channels, plain.kernel_size, padding=plain.padding
    )
    for name, part in network.named_modules():
        if name.endswith(".attn2"):  # the picture is one token
            part.set_processor(OneToken())
    return network


def unet_from_state(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The UNet with a checkpoint's tensors. It takes a sample [B, f, 8, h, w], or [B, f, 8 +
    width, h, w] with pose latents. Raises WeightsMismatch.
    """
    with unallocated():
        network = built_unet(config)
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    if dtype != torch.float32:
        for name in FLOAT32_PARTS:
            _keep_in_float32(network.get_submodule(name), name, state, source, dtype)
    return network


def _keep_in_float32(
    part: nn.Module, name: str, state: Mapping[str, Tensor], source: str, dtype: torch.dtype
) -> None:
    own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
    device = next(part.parameters()).device
    load_strictly(part, own, device=device, dtype=torch.float32, source=source)
    part.register_forward_pre_hook(lambda _, given: tuple(value.float() for value in given))
    part.register_forward_hook(lambda _, __, made: made.to(dtype))
