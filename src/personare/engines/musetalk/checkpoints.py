"""The networks of the wing, from the files that are on this machine: leases of what
`weights.resident` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from personare.engines.musetalk.hearing import Ears
from personare.engines.musetalk.options import DETECTOR, PARSER, POSE, UNET, VAE, WHISPER, MuseTalkOptions
from personare.engines.neural import device_of
from personare.weights.resident import Lease, NetworkKey, lease, lease_component

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from personare.engines.musetalk.motion import FacePredictor
    from personare.engines.musetalk.render import FaceDecoder
    from personare.perception.parsing import BiSeNet
    from personare.perception.s3fd import S3FD
    from personare.perception.whole_body.rtmpose import RTMPose
    from personare.voice.whisper import SpeechEncoder
    from personare.weights.finder import Weights

Network = TypeVar("Network")


def needed(options: MuseTalkOptions, weights: Weights) -> tuple[str, ...]:
    """Catalogue names of all that a run with these options uses."""
    chosen = options.concrete(lambda name: weights.find(name) is not None)
    names = [UNET[chosen.version], VAE, whisper_component(weights)]
    names += [POSE, DETECTOR] if chosen.detector == "dwpose" else []
    names += [PARSER] if chosen.parser == "bisenet" else []
    return tuple(names)


def whisper_component(weights: Weights) -> str:
    """The naming of whisper-tiny that is there; the usual one if neither is."""
    return next((name for name in WHISPER if weights.find(name) is not None), WHISPER[0])


def ears(options: MuseTalkOptions, weights: Weights) -> Ears:
    """Whisper's encoder, leased when it first hears something that is not in the cache. Raises
    WeightsMissing.
    """
    name = whisper_component(weights)
    weights.require(name)
    device, dtype = device_of(options), _dtype(options.kept_format)
    return Ears(
        lambda: lease_component(weights, name, lambda path: load_whisper(path, device, dtype), device, dtype),
        (weights.sha256(name),),
        options.kept_format,
    )


def load_whisper(path: Path, device: torch.device, dtype: torch.dtype) -> SpeechEncoder:
    """The encoder of a transformers folder (config.json beside the file) or of OpenAI's
    tiny.pt.
    """
    from personare.networks.diffusion import read_config
    from personare.voice.whisper import EncoderConfig, encoder_from_state
    from personare.weights.loading import read_state, weights_file

    file, config = path, None
    if path.is_dir():
        file = weights_file(path)
        config = EncoderConfig.from_json(read_config(path / "config.json"))
    return encoder_from_state(read_state(file), config, str(file), device, dtype)


def lease_motion(
    options: MuseTalkOptions, weights: Weights, device: torch.device, dtype: torch.dtype
) -> Lease[FacePredictor]:
    """The generator of the chosen version, folded. Raises WeightsMissing, WeightsMismatch, as
    all of these.
    """
    from personare.engines.musetalk.motion import FacePredictor
    from personare.networks.diffusion import load_unet

    def load(file: Path) -> FacePredictor:
        return FacePredictor(load_unet(file, device, dtype))

    return lease_component(weights, UNET[options.version], load, device, dtype)


def lease_decoder(weights: Weights, device: torch.device, dtype: torch.dtype) -> Lease[FaceDecoder]:
    """The decoder half of the autoencoder, folded."""
    from personare.engines.musetalk.render import FaceDecoder

    def load(folder: Path) -> FaceDecoder:
        return FaceDecoder(_vae(folder, weights, device, dtype))

    return lease_component(weights, VAE, load, device, dtype, "decoder")


def lease_encoder(options: MuseTalkOptions, weights: Weights) -> Lease[Any]:
    """The encoder half of the autoencoder (diffusers' AutoencoderKL without the other half), in
    the format in which latents are kept.
    """
    from personare.engines.musetalk.template.latents import lean_encoder

    device, dtype = device_of(options), _dtype(options.kept_format)

    def load(folder: Path) -> Any:
        return lean_encoder(_vae(folder, weights, device, dtype))

    return lease_component(weights, VAE, load, device, dtype, "encoder")


def lease_pose(options: MuseTalkOptions, weights: Weights) -> Lease[RTMPose]:
    """DWPose, always in float32: half a pixel of its input decides where a box is."""
    from personare.perception.whole_body.rtmpose import rtmpose_from_state

    return _lease_float32(options, weights, POSE, rtmpose_from_state)


def lease_detector(options: MuseTalkOptions, weights: Weights) -> Lease[S3FD]:
    """S3FD, in float32."""
    from personare.perception.s3fd import s3fd_from_state

    return _lease_float32(options, weights, DETECTOR, s3fd_from_state)


def lease_parser(options: MuseTalkOptions, weights: Weights) -> Lease[BiSeNet]:
    """The face parser, in float32."""
    from personare.perception.parsing import bisenet_from_state

    return _lease_float32(options, weights, PARSER, bisenet_from_state)


def _lease_float32(
    options: MuseTalkOptions,
    weights: Weights,
    name: str,
    build: Callable[[Mapping[str, Tensor], str, torch.device], Network],
) -> Lease[Network]:
    from personare.weights.loading import read_state

    device = device_of(options)

    def load(file: Path) -> Network:
        return build(read_state(file), str(file), device)

    return lease_component(weights, name, load, device, _dtype("float32"))


def _vae(folder: Path, weights: Weights, device: torch.device, dtype: torch.dtype) -> Any:
    """The whole autoencoder over the tensors of its file, which both halves share: it is read
    once.
    """
    from personare.networks.diffusion import read_config, vae_from_state
    from personare.weights.loading import read_state, weights_file

    file = weights_file(folder, "diffusion_pytorch_model")
    key = NetworkKey((weights.sha256(VAE),), f"{VAE}/file")
    with lease(key, lambda: read_state(file)) as state:
        return vae_from_state(state, read_config(folder / "config.json"), str(file), device, dtype)


def _dtype(name: str) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype
