"""The networks of the wing, from the files that are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from personare.engines.musetalk.hearing import Ears
from personare.engines.musetalk.options import DETECTOR, PARSER, POSE, UNET, VAE, WHISPER, MuseTalkOptions

if TYPE_CHECKING:
    import torch

    from personare.perception.parsing import BiSeNet
    from personare.perception.s3fd import S3FD
    from personare.perception.whole_body.rtmpose import RTMPose
    from personare.voice.whisper import SpeechEncoder
    from personare.weights.finder import Weights


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
    """Whisper's encoder, loaded when it first hears something that is not in the cache. Raises
    WeightsMissing.
    """
    name = whisper_component(weights)
    path = weights.require(name)[name]
    return Ears(
        lambda: load_whisper(path, device_of(options), _dtype(options.kept_format)),
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


def load_unet(options: MuseTalkOptions, weights: Weights, device: torch.device, dtype: torch.dtype) -> Any:
    """The generator of the chosen version. Raises WeightsMissing, WeightsMismatch."""
    from personare.networks.diffusion import load_unet as load

    name = UNET[options.version]
    return load(weights.require(name)[name], device, dtype)


def load_vae(weights: Weights, device: torch.device, dtype: torch.dtype) -> Any:
    """The autoencoder. Raises WeightsMissing, WeightsMismatch."""
    from personare.networks.diffusion import load_vae as load

    return load(weights.require(VAE)[VAE], device, dtype)


def load_vae_for_latents(options: MuseTalkOptions, weights: Weights) -> Any:
    """The autoencoder in the format in which latents are kept."""
    return load_vae(weights, device_of(options), _dtype(options.kept_format))


def load_pose(options: MuseTalkOptions, weights: Weights) -> RTMPose:
    """DWPose, always in float32: half a pixel of its input decides where a box is."""
    from personare.perception.whole_body.rtmpose import rtmpose_from_state
    from personare.weights.loading import read_state

    file = weights.require(POSE)[POSE]
    return rtmpose_from_state(read_state(file), str(file), device_of(options))


def load_detector(options: MuseTalkOptions, weights: Weights) -> S3FD:
    """S3FD, in float32."""
    from personare.perception.s3fd import s3fd_from_state
    from personare.weights.loading import read_state

    file = weights.require(DETECTOR)[DETECTOR]
    return s3fd_from_state(read_state(file), str(file), device_of(options))


def load_parser(options: MuseTalkOptions, weights: Weights) -> BiSeNet:
    """The face parser, in float32."""
    from personare.perception.parsing import bisenet_from_state
    from personare.weights.loading import read_state

    file = weights.require(PARSER)[PARSER]
    return bisenet_from_state(read_state(file), str(file), device_of(options))


def device_of(options: MuseTalkOptions) -> torch.device:
    """Where networks run. Raises InvalidOption."""
    from personare.weights.device import choose_device

    return choose_device(options.device)


def _dtype(name: str) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype
