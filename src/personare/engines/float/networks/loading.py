"""FLOAT's networks from float.pth: strictly, under its own names, with constants recomputed and
folded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.networks.decoder import StyleDecoder
from personare.engines.float.networks.encoder import AppearanceEncoder
from personare.engines.float.networks.transformer import FlowTransformer, attention_band, position_table
from personare.weights.loading import load_strictly, read_state, unallocated

ENCODER, DECODER = "motion_autoencoder.enc.", "motion_autoencoder.dec."
TRANSFORMER = "fmt."
PROJECTION = "audio_encoder.audio_projection."
WAV2VEC2, EMOTION = "audio_encoder.wav2vec2.", "emotion_encoder.wav2vec2_for_emotion."

_CONSTANT = r"(^|\.)kernel$"
"""Blur kernels: computed here, whether or not a file has them."""
_UNUSED = r"^to_rgb1\."
"""In the checkpoint, read by nobody: colours start at 8 px."""

Network = TypeVar("Network", bound=nn.Module)


class FloatState:
    """The tensors of a float.pth and the sizes that go with it; each network takes its part."""

    def __init__(self, tensors: Mapping[str, Tensor], config: FloatConfig, source: str) -> None:
        self.tensors, self.config, self.source = tensors, config, source

    @classmethod
    def read(cls, path: Path) -> FloatState:
        """Raises WeightsMismatch for a damaged file or sizes."""
        return cls(read_state(path), FloatConfig.beside(path), str(path))

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def encoder(self, device: torch.device) -> AppearanceEncoder:
        """Raises WeightsMismatch, as all of these, with the names that are missing and those
        that are too many.
        """
        network = self._loaded(AppearanceEncoder, ENCODER, device)
        network.fold()
        return _frozen(network)

    def decoder(self, device: torch.device) -> StyleDecoder:
        """Its parameters stay float32: `render.FrameDecoder` chooses the format of the feature
        maps.
        """
        network = self._loaded(StyleDecoder, DECODER, device)
        network.fold()
        return _frozen(network)

    def transformer(self, device: torch.device, dtype: torch.dtype = torch.float32) -> FlowTransformer:
        """A stored table of positions counts, as in the published loader; the attention band is
        recomputed. dtype: of the blocks' products.
        """
        state, config = self.part(TRANSFORMER), self.config
        frames = config.previous + config.chunk
        state.setdefault("pos_embed", position_table(frames, config.hidden))
        network = self._loaded(FlowTransformer, TRANSFORMER, device, state, ignore=("^alignment_mask$",))
        network.halve(dtype)
        network.band = attention_band(frames, config.attention_window).to(device)
        return _frozen(network)

    def projection(self, device: torch.device) -> nn.Sequential:
        """wav2vec2's layers side by side [.., layers * audio_width] -> [.., width]"""
        return _frozen(self._loaded(_projection, PROJECTION, device))

    def _loaded(
        self,
        build: Callable[[FloatConfig], Network],
        prefix: str,
        device: torch.device,
        state: dict[str, Tensor] | None = None,
        ignore: tuple[str, ...] = (),
    ) -> Network:
        with unallocated():
            network = build(self.config)
        state = self.part(prefix) if state is None else state
        ignored = (_CONSTANT, _UNUSED, *ignore)
        load_strictly(network, state, ignore=ignored, device=device, dtype=torch.float32, source=self.source)
        return network


def _projection(config: FloatConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(config.audio_layers * config.audio_width, config.width),
        nn.LayerNorm(config.width),
        nn.SiLU(),
    )


def _frozen(network: Network) -> Network:
    return network.eval().requires_grad_(False)
