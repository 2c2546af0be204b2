"""ARTalk's networks from ARTalk_wav2vec.pt: strictly, under its own names; tables that follow
from the sizes are made here, whether or not the file has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from personare.engines.artalk.networks.autoregressive import MotionTransformer
from personare.engines.artalk.networks.codec import MotionCodec
from personare.engines.artalk.networks.config import ArTalkConfig
from personare.engines.artalk.networks.style import StyleEncoder
from personare.networks.packed import PackedLinear, pack_linears
from personare.voice.wav2vec2 import SpeechFeatures, speech_features
from personare.weights.loading import load_strictly, read_state, unallocated

HEARING, CODEC, STYLE = "audio_encoder.", "basic_vae.", "style_encoder."
_STYLE_TOKENS = ("style_cond_embed.", "null_style_cond")
_MADE_HERE = (r"(^|\.)attn_mask$", r"^attn_bias_for_masking$", r"^lvl_idx$", r"^PE\.pe$")

Network = TypeVar("Network", bound=nn.Module)


class ArTalkState:
    """The tensors of a checkpoint and the sizes that go with it; each network takes its part."""

    def __init__(self, tensors: Mapping[str, Tensor], config: ArTalkConfig, source: str) -> None:
        self.tensors, self.config, self.source = tensors, config, source

    @classmethod
    def read(cls, checkpoint: Path, config: Path) -> ArTalkState:
        """Raises WeightsMismatch for a damaged file or sizes."""
        return cls(read_state(checkpoint), ArTalkConfig.read_file(config), str(checkpoint))

    def hearing(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> SpeechFeatures:
        """Raises WeightsMismatch, as all of these, with the names that are missing and those
        that are too many.
        """
        features = speech_features(self._part(HEARING), self.config.hearing, device, self.source, dtype)
        pack_linears(features.network, features.count(self.config.samples))
        return features

    def codec(self, device: torch.device | str = "cpu") -> MotionCodec:
        """Always in float32: signs decide."""

        def rename(name: str) -> str:
            return name.replace(".encoder_transformer.", ".layers.").replace(
                ".decoder_transformer.", ".layers."
            )

        network = self._loaded(MotionCodec, self._part(CODEC), device, torch.float32, rename)
        return _packed(network, 2 * self.config.frames)

    def style(self, device: torch.device | str = "cpu") -> StyleEncoder:
        state = self._part(STYLE) | {
            name: tensor for name, tensor in self.tensors.items() if name.startswith(_STYLE_TOKENS)
        }
        return self._loaded(StyleEncoder, state, device, torch.float32)

    def transformer(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> MotionTransformer:
        others = (HEARING, CODEC, STYLE, *_STYLE_TOKENS)
        state = {name: tensor for name, tensor in self.tensors.items() if not name.startswith(others)}
        network = self._loaded(MotionTransformer, state, device, dtype)
        return _packed(network, self.config.frames)

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def _loaded(
        self,
        build: Callable[[ArTalkConfig], Network],
        state: Mapping[str, Tensor],
        device: torch.device | str,
        dtype: torch.dtype,
        rename: Callable[[str], str] | None = None,
    ) -> Network:
        with unallocated():
            network = build(self.config)
        load_strictly(
            network,
            state,
            rename=rename,
            ignore=_MADE_HERE,
            device=device,
            dtype=dtype,
            source=self.source,
        )
        return network


def _packed(network: Network, rows: int) -> Network:
    """Weights reordered for a CPU, for about so many tokens at a time."""
    for part in network.modules():
        if isinstance(part, PackedLinear):
            part.pack(rows)
    return network
