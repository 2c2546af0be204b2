"""The networks of the wing, from the files that are on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from personare.engines.float.drive import Ears
from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.options import FloatOptions
from personare.engines.float.prepare import Sight

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

FLOAT, VOICE, EMOTION, DETECTOR = "float", "wav2vec2-base-960h", "wav2vec2-emotion", "s3fd"


def detector_of(options: FloatOptions, weights: Weights) -> str:
    """What finds the face, "auto" decided: s3fd if its file is there."""
    if options.detector != "auto":
        return options.detector
    return "s3fd" if weights.find(DETECTOR) else "landmarks"


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
        s3fd=lambda: load_s3fd(paths[DETECTOR], device_of(options)),
        encoder=lambda: load_encoder(paths[FLOAT], device_of(options)),
        s3fd_sha256=(weights.sha256(DETECTOR),) if DETECTOR in names else (),
        float_sha256=float_sha256(weights),
        sizes=FloatConfig.beside(paths[FLOAT]),
    )


def ears(options: FloatOptions, weights: Weights) -> Ears:
    """What `drive` hears with. Raises WeightsMissing."""
    hears_emotion = options.emotion == "auto"
    paths = weights.require(FLOAT, VOICE, *([EMOTION] if hears_emotion else []))
    return Ears(
        load_voice=lambda: load_voice(paths[FLOAT], paths[VOICE], device_of(options)),
        load_emotion=lambda: load_emotion(paths[FLOAT], paths[EMOTION], device_of(options)),
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


def load_s3fd(path: Path, device: torch.device) -> S3FD:
    from personare.perception.s3fd import s3fd_from_state
    from personare.weights.loading import read_state

    return s3fd_from_state(read_state(path), str(path), device)


def load_encoder(path: Path, device: torch.device) -> tuple[AppearanceEncoder, StyleDecoder]:
    """The encoder, and the decoder for its motion basis and its flow; float32. Raises
    WeightsMismatch, as all of these.
    """
    state = _state(path)
    return state.encoder(device), state.decoder(device)


def load_generator(
    path: Path, device: torch.device, sampling: torch.dtype
) -> tuple[FlowTransformer, StyleDecoder]:
    """The transformer, in the format for sampling, and the decoder."""
    state = _state(path)
    transformer = state.transformer(device, sampling)
    frames = state.config.previous + state.config.chunk
    transformer.pack(3 * frames)
    return transformer, state.decoder(device)


def load_voice(path: Path, folder: Path, device: torch.device) -> tuple[SpeechFeatures, nn.Module]:
    """wav2vec2-base and float.pth's projection; a float.pth that holds wav2vec2 itself goes
    before the folder.
    """
    from personare.engines.float.networks.loading import WAV2VEC2
    from personare.voice.wav2vec2 import read_sizes, speech_features

    state = _state(path)
    own = state.part(WAV2VEC2)
    source = str(path if own else folder)
    return speech_features(
        own or _folder_state(folder), read_sizes(folder / "config.json"), device, source
    ), state.projection(device)


def load_emotion(path: Path, folder: Path, device: torch.device) -> EmotionClassifier:
    """The emotion classifier, from float.pth if that holds it."""
    from personare.engines.float.networks.loading import EMOTION as PREFIX
    from personare.voice.wav2vec2 import emotion_classifier, read_sizes

    own = _state(path).part(PREFIX)
    return emotion_classifier(
        own or _folder_state(folder), read_sizes(folder / "config.json"), device, str(path if own else folder)
    )


def device_of(options: FloatOptions) -> torch.device:
    """Where networks run. Raises InvalidOption."""
    from personare.weights.device import choose_device

    return choose_device(options.device)


def formats_of(options: FloatOptions, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """(of sampling, of decoding). Sampling is float32 unless another precision is asked for by
    name: it is a tenth of the work, and its errors are carried from chunk to chunk.
    """
    import torch

    from personare.weights.device import choose_dtype

    named = choose_dtype(device, options.precision)
    return (torch.float32 if options.precision == "auto" else named), named


def _state(path: Path) -> FloatState:
    from personare.engines.float.networks.loading import FloatState

    return FloatState.read(path)


def _folder_state(folder: Path) -> dict[str, Tensor]:
    from personare.weights.loading import read_state, weights_file

    return read_state(weights_file(folder))
