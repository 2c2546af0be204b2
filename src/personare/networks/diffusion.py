"""The two networks that the library has, UNet2DConditionModel and AutoencoderKL, from released
files and their configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from personare.errors import WeightsMismatch
from personare.weights.loading import load_strictly, read_state, unallocated, weights_file

_library: Any = diffusers  # its classes carry no types that hold

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(attentions\.\d+\.)(query|key|value|proj_attn)\.")


def vae_name(name: str) -> str:
    """A tensor's name in today's library; the released autoencoder has the old names of the
    attentions' four linears.
    """
    return _OLD_NAME.sub(lambda match: f"{match[1]}{_OLD_ATTENTION[match[2]]}.", name)


def unet_from_state(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The UNet of a musetalk.json with a checkpoint's tensors. Raises WeightsMismatch with the
    missing and the extra names.
    """
    with unallocated():
        network = _library.UNet2DConditionModel(**constructor_values(config))
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    return network


def vae_from_state(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The autoencoder of a config.json with a checkpoint's tensors, in the old naming or the
    new. Raises WeightsMismatch.
    """
    with unallocated():
        network = _library.AutoencoderKL(**constructor_values(config))
    load_strictly(network, state, rename=vae_name, device=device, dtype=dtype, source=source)
    return network


def read_config(path: Path) -> dict[str, Any]:
    """A network's config.json or musetalk.json. Raises WeightsMismatch if it is not one."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsMismatch(
            f"{path} cannot be read: {error}", hint="fetch it again, it belongs to the weights beside it"
        ) from None
    if not isinstance(config, dict):
        raise WeightsMismatch(f"{path} is not the configuration of a network", hint="fetch it again")
    return config


def load_unet(file: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """The UNet of a checkpoint file and the musetalk.json beside it."""
    return unet_from_state(
        read_state(file), read_config(file.parent / "musetalk.json"), str(file), device, dtype
    )


def load_vae(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """The autoencoder of a folder with config.json and diffusion_pytorch_model.safetensors or
    .bin.
    """
    file = weights_file(folder, "diffusion_pytorch_model")
    return vae_from_state(read_state(file), read_config(folder / "config.json"), str(file), device, dtype)


def constructor_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config.json its network is made with: all but what the library notes of itself."""
    return {name: value for name, value in config.items() if not name.startswith("_")}
