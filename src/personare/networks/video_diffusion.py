"""What stable video diffusion looks at a picture with, as the libraries have it: diffusers'
AutoencoderKLTemporalDecoder and transformers' CLIPVisionModelWithProjection.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor

from personare.networks.diffusion import constructor_values, read_config
from personare.weights.loading import load_strictly, read_state, unallocated, weights_file

_diffusers: Any = diffusers  # their classes carry no types that hold
_transformers: Any = transformers


def temporal_vae_from_state(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The autoencoder whose decoder looks over time. Raises WeightsMismatch."""
    with unallocated():
        network = _diffusers.AutoencoderKLTemporalDecoder(**constructor_values(config))
    load_strictly(network, state, device=device, dtype=dtype, source=source)
    return network


def image_encoder_from_state(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """CLIP's picture half. Raises WeightsMismatch."""
    with unallocated():
        sizes = _transformers.CLIPVisionConfig(**constructor_values(config))
        network = _transformers.CLIPVisionModelWithProjection(sizes)
    load_strictly(network, state, ignore=(r"position_ids$",), device=device, dtype=dtype, source=source)
    return network


def load_temporal_vae(
    folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Any:
    """The same from a folder of diffusers."""
    file = _first(folder, "diffusion_pytorch_model")
    config = read_config(folder / "config.json")
    return temporal_vae_from_state(read_state(file), config, str(file), device, dtype)


def load_image_encoder(
    folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Any:
    """The same from a folder of transformers."""
    file = _first(folder, "model")
    config = read_config(folder / "config.json")
    return image_encoder_from_state(read_state(file), config, str(file), device, dtype)


def _first(folder: Path, stem: str) -> Path:
    """The file of half precision where it is there: half the size, and what was released."""
    half = folder / f"{stem}.fp16.safetensors"
    return half if half.is_file() else weights_file(folder, stem)
