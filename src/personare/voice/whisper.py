"""What whisper hears (Radford et al. 2022): log-mel spectra, and the encoder with all its
hidden states.

Two front ends exist for the same encoder weights. The library's (`piece_mel`) pads the WAVEFORM
of each 30 s piece with silence and normalises by that piece; OpenAI's own (`normalised` with
the whole file's peak) pads the SPECTRUM, with its grey level 0. They also differ in the last
hidden state: with the final LayerNorm, or without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from personare.errors import WeightsMismatch
from personare.types import SAMPLE_RATE, Samples
from personare.weights.loading import load_strictly, unallocated

Floats = NDArray[np.float32]

PIECE_SAMPLES = 30 * SAMPLE_RATE
WINDOW, HOP = 400, 160  # samples
"""Spectra in a piece; the encoder makes one row of every two."""
ROW_SAMPLES = 2 * HOP
PIECE_ROWS = PIECE_SAMPLES // ROW_SAMPLES
ROWS_PER_SECOND = SAMPLE_RATE // ROW_SAMPLES
_MELS = 80
_QUIETEST = 1e-10
_RANGE = 8.0  # log10 units below the peak

_TO_LIBRARY = (
    (r"^(?:model\.)?encoder\.blocks\.(\d+)\.", r"layers.\1."),
    (r"^(?:model\.)?encoder\.", ""),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.attn\.query\.", ".self_attn.q_proj."),
    (r"\.attn\.key\.", ".self_attn.k_proj."),
    (r"\.attn\.value\.", ".self_attn.v_proj."),
    (r"\.attn\.out\.", ".self_attn.out_proj."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"^ln_post\.", "layer_norm."),
    (r"^positional_embedding$", "embed_positions.weight"),
)
_NOT_THE_ENCODER = (r"^(?:model\.)?decoder\.", r"^proj_out\.")


def log_mel(padded: NDArray[np.floating[Any]]) -> Floats:
    """log10 of the mel power of samples with half a window of context on both sides.

    [n] to float32 [80, (n - 400) // 160 + 1]. A periodic Hann window of 400, hop 160, 80 Slaney
    filters from 0 to 8000 Hz; nothing below 1e-10.
    """
    if len(padded) < WINDOW:
        return np.zeros((_MELS, 0), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded.astype(np.float64), WINDOW)[::HOP]  # [t, 400]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2  # [t, 201]
    mel: Floats = np.log10(np.maximum(_mel_filters() @ power.T, _QUIETEST)).astype(np.float32)
    return mel


def mirrored(samples: Samples) -> Samples:
    """The samples with half a window of their own mirror image at both ends."""
    return np.pad(samples, WINDOW // 2, mode="reflect") if len(samples) > 1 else np.pad(samples, WINDOW // 2)


def normalised(mel: Floats, peak: float) -> Floats:
    """Limited to eight orders of magnitude below the peak (log10), then brought to about [-1,
    1].
    """
    scaled: Floats = ((np.maximum(mel, np.float32(peak - _RANGE)) + np.float32(4)) / np.float32(4)).astype(
        np.float32
    )
    return scaled


def piece_mel(samples: Samples) -> Floats:
    """The library's spectra of at most 30 s: float32 [80, 3000], silence appended to the
    samples, normalised by its own peak.
    """
    piece = np.zeros(PIECE_SAMPLES, np.float32)
    piece[: len(samples)] = samples
    mel = log_mel(mirrored(piece))[:, :-1]
    return normalised(mel, float(mel.max()))


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of a whisper encoder; whisper-tiny by default."""

    width: int = 384
    layers: int = 4
    heads: int = 6
    feed_forward: int = 1536
    positions: int = PIECE_ROWS

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EncoderConfig:
        """Of a transformers config.json."""
        return cls(
            width=values["d_model"],
            layers=values["encoder_layers"],
            heads=values["encoder_attention_heads"],
            feed_forward=values["encoder_ffn_dim"],
            positions=values["max_source_positions"],
        )


class SpeechEncoder(nn.Module):
    """Whisper's encoder, made of the library's own layers; takes spectra of any even length up
    to 30 s.
    """

    def __init__(self, config: EncoderConfig) -> None:
        import transformers
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        super().__init__()
        library: Any = transformers  # types its constructors too narrowly
        self.config = config
        self.encoder = WhisperEncoder(
            library.WhisperConfig(
                num_mel_bins=_MELS,
                d_model=config.width,
                encoder_layers=config.layers,
                encoder_attention_heads=config.heads,
                encoder_ffn_dim=config.feed_forward,
                max_source_positions=config.positions,
                attn_implementation="sdpa",
            )
        )

    def forward(self, mel: Tensor, final_norm: bool) -> Tensor:
        """mel: [B, 80, 2n] to all hidden states [B, n, layers + 1, width]: the input of every
        layer, and the output of the last, after the final LayerNorm if `final_norm`.
        """
        encoder = self.encoder
        x = nn.functional.gelu(encoder.conv1(mel))
        x = nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)  # [B, n, width]
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        states = [x]
        for layer in encoder.layers:
            x = layer(x, None)
            states.append(x)
        if final_norm:
            states[-1] = encoder.layer_norm(x)
        return torch.stack(states, dim=2)

    @torch.inference_mode()
    def hear(self, mel: Floats, final_norm: bool) -> Floats:
        """The same for one spectrum float32 [80, 2n], in and out of numpy: float32 [n, layers +
        1, width].
        """
        weight = self.encoder.conv1.weight
        spectrum = torch.from_numpy(np.ascontiguousarray(mel)).to(weight.device, weight.dtype)
        states: Floats = self(spectrum[None], final_norm)[0].float().cpu().numpy()
        return states


def encoder_from_state(
    state: Mapping[str, Tensor],
    config: EncoderConfig | None,
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SpeechEncoder:
    """The encoder with a whisper file's tensors, in the library's naming or OpenAI's; the
    decoder is left out.

    config: None reads the sizes off the tensors, with heads of 64 as in every released whisper.
    Raises WeightsMismatch.
    """
    with unallocated():
        encoder = SpeechEncoder(config or _sizes(state, source))
    load_strictly(
        encoder.encoder,
        state,
        rename=library_name,
        ignore=_NOT_THE_ENCODER,
        device=device,
        dtype=dtype,
        source=source,
    )
    return encoder


def library_name(name: str) -> str:
    """A tensor's name in transformers' WhisperEncoder, from either naming."""
    for pattern, replacement in _TO_LIBRARY:
        name = re.sub(pattern, replacement, name)
    return name


def _sizes(state: Mapping[str, Tensor], source: str) -> EncoderConfig:
    shapes = {
        library_name(name): tuple(tensor.shape) for name, tensor in state.items() if "decoder." not in name
    }
    try:
        width = shapes["conv1.weight"][0]
        positions = shapes["embed_positions.weight"][0]
        feed_forward = shapes["layers.0.fc1.weight"][0]
    except KeyError as error:
        raise WeightsMismatch(f"{source} is not a whisper checkpoint: it has no {error}") from None
    layers = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("layers."))
    return EncoderConfig(width, layers, max(1, width // 64), feed_forward, positions)


@cache
def _mel_filters() -> NDArray[np.float64]:
    """[80, 201]: triangles of equal area on Slaney's scale (linear to 1 kHz, then logarithmic;
    Auditory Toolbox, 1998).
    """

    def hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        linear = mel * 200.0 / 3
        return np.where(mel < 15, linear, 1000.0 * np.exp((mel - 15) * np.log(6.4) / 27))

    highest = 15 + 27 * np.log(SAMPLE_RATE / 2 / 1000) / np.log(6.4)
    edges = hertz(np.linspace(0, highest, _MELS + 2))
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return np.maximum(np.minimum(rising, falling), 0) * area[:, None]
