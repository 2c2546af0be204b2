"""The networks of the wing, from the files that are on this machine: leases of what
`weights.resident` holds. float.pth is read once, whatever is made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from personare.engines.float.drive import HearingNetworks
from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.options import FloatOptions
from personare.engines.float.prepare import Sight
from personare.engines.neural import device_of, released_or_ours
from personare.weights.resident import Lease, NetworkKey, lease, lease_component

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from personare.engines.float.networks.decoder import StyleDecoder
    from personare.engines.float.networks.encoder import AppearanceEncoder
    from personare.engines.float.networks.loading import FloatState
    from personare.engines.float.networks.transformer import FlowTransformer
    from personare.perception.s3fd import S3FD
    from personare.voice.wav2vec2 import EmotionClassifier, SpeechFeatures
    from personare.weights.finder import Weights

Network = TypeVar("Network")

FLOAT, VOICE, EMOTION, DETECTOR = "float", "wav2vec2-base-960h", "wav2vec2-emotion", "s3fd"


def detector_of(options: FloatOptions, weights: Weights) -> str:
    """What finds the face, "auto" decided: s3fd if its file is there."""
    return released_or_ours(
        options.detector, "s3fd", (DETECTOR,), lambda name: weights.find(name) is not None
    )


def needed(options: FloatOptions, weights: Weights) -> tuple[str, ...]:
    """Catalogue names of all that a run with these options uses."""
    names = [FLOAT, VOICE]
    names += [EMOTION] if options.emotion == "auto" else []
    names += [DETECTOR] if not options.no_crop and detector_of(options, weights) == "s3fd" else []
    return tuple(names)


def sight(options: FloatOptions, weights: Weights) -> Sight:
    """What `prepare` sees with. Raises WeightsMissing, naming all that a whole run would miss."""
    names = needed(options, weights)
    paths = weights.require(*names)
    return Sight(
        s3fd=lambda: lease_s3fd(weights, device_of(options)),
        encoder=lambda: lease_encoder(weights, device_of(options)),
        decoder=lambda: lease_decoder(weights, device_of(options)),
        s3fd_sha256=(weights.sha256(DETECTOR),) if DETECTOR in names else (),
        float_sha256=float_sha256(weights),
        sizes=FloatConfig.beside(paths[FLOAT]),
    )


def ears(options: FloatOptions, weights: Weights) -> HearingNetworks:
    """What `drive` hears with. Raises WeightsMissing."""
    hears_emotion = options.emotion == "auto"
    paths = weights.require(FLOAT, VOICE, *([EMOTION] if hears_emotion else []))
    return HearingNetworks(
        lease_voice=lambda: lease_voice(weights, device_of(options)),
        lease_emotion=lambda: lease_emotion(weights, device_of(options)),
        voice_sha256=(*float_sha256(weights), weights.sha256(VOICE)),
        emotion_sha256=(weights.sha256(EMOTION),) if hears_emotion else (),
        sizes=FloatConfig.beside(paths[FLOAT]),
    )


def float_sha256(weights: Weights) -> tuple[str, ...]:
    """float.pth, and the sizes beside it if it is of another size than the released one."""
    sizes = weights.require(FLOAT)[FLOAT].with_suffix(".json")
    return (
        weights.sha256(FLOAT),
        *([hashlib.sha256(sizes.read_bytes()).hexdigest()] if sizes.is_file() else []),
    )


def lease_s3fd(weights: Weights, device: torch.device) -> Lease[S3FD]:
    """The face detector, in float32. Raises WeightsMissing, WeightsMismatch, as all of these."""
    import torch

    from personare.perception.s3fd import s3fd_from_state
    from personare.weights.loading import read_state

    def load(file: Path) -> S3FD:
        return s3fd_from_state(read_state(file), str(file), device)

    return lease_component(weights, DETECTOR, load, device, torch.float32)


def lease_encoder(weights: Weights, device: torch.device) -> Lease[AppearanceEncoder]:
    """The appearance encoder, in float32."""
    import torch

    return _lease_part(weights, "encoder", device, torch.float32, lambda state: state.encoder(device))


def lease_decoder(weights: Weights, device: torch.device) -> Lease[StyleDecoder]:
    """The decoder, in float32: preparation uses its motion basis and its flow, a performance
    all of it.
    """
    import torch

    return _lease_part(weights, "decoder", device, torch.float32, lambda state: state.decoder(device))


def lease_transformer(
    weights: Weights, device: torch.device, sampling: torch.dtype
) -> Lease[FlowTransformer]:
    """The transformer, in the format for sampling."""

    def made(state: FloatState) -> FlowTransformer:
        transformer = state.transformer(device, sampling)
        frames = state.config.previous + state.config.chunk
        transformer.pack(3 * frames)
        return transformer

    return _lease_part(weights, "transformer", device, sampling, made)


def lease_voice(weights: Weights, device: torch.device) -> Lease[tuple[SpeechFeatures, nn.Module]]:
    """wav2vec2-base and float.pth's projection; a float.pth that holds wav2vec2 itself goes
    before the folder.
    """
    import torch

    from personare.engines.float.networks.loading import WAV2VEC2
    from personare.voice.wav2vec2 import read_sizes, speech_features

    paths = weights.require(FLOAT, VOICE)

    def made(state: FloatState) -> tuple[SpeechFeatures, nn.Module]:
        own, folder = state.part(WAV2VEC2), paths[VOICE]
        source = str(paths[FLOAT] if own else folder)
        tensors, sizes = own or _folder_state(folder), read_sizes(folder / "config.json")
        return speech_features(tensors, sizes, device, source), state.projection(device)

    return _lease_part(weights, "voice", device, torch.float32, made, VOICE)


def lease_emotion(weights: Weights, device: torch.device) -> Lease[EmotionClassifier]:
    """The emotion classifier, from float.pth if that holds it."""
    import torch

    from personare.engines.float.networks.loading import EMOTION as PREFIX
    from personare.voice.wav2vec2 import emotion_classifier, read_sizes

    paths = weights.require(FLOAT, EMOTION)

    def made(state: FloatState) -> EmotionClassifier:
        own, folder = state.part(PREFIX), paths[EMOTION]
        source = str(paths[FLOAT] if own else folder)
        tensors, sizes = own or _folder_state(folder), read_sizes(folder / "config.json")
        return emotion_classifier(tensors, sizes, device, source)

    return _lease_part(weights, "emotion", device, torch.float32, made, EMOTION)


def formats_of(options: FloatOptions, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """(of sampling, of decoding). Sampling is float32 unless another precision is asked for by
    name: it is a fifth of the work, and frames of motion from bfloat16 have 36 dB to those.
    """
    import torch

    from personare.weights.device import choose_dtype

    named = choose_dtype(device, options.precision)
    return (torch.float32 if options.precision == "auto" else named), named


def _lease_part(
    weights: Weights,
    part: str,
    device: torch.device,
    dtype: torch.dtype,
    made: Callable[[FloatState], Network],
    *others: str,
) -> Lease[Network]:
    """A lease of what is `made` of float.pth, and of other components."""
    from personare.engines.float.networks.loading import FloatState

    path, digests = weights.require(FLOAT)[FLOAT], float_sha256(weights)

    def load() -> Network:
        file = NetworkKey(digests, f"{FLOAT}/file")
        with lease(file, lambda: FloatState.read(path)) as state:
            return made(state)

    checkpoints = (*digests, *map(weights.sha256, others))
    return lease(NetworkKey.of(checkpoints, f"{FLOAT}/{part}", device, dtype), load)


def _folder_state(folder: Path) -> dict[str, Tensor]:
    from personare.weights.loading import read_state, weights_file

    return read_state(weights_file(folder))
