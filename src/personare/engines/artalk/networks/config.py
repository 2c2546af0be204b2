"""The sizes of one ARTalk checkpoint."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personare.errors import WeightsMismatch
from personare.types import SAMPLE_RATE

MODEL_FPS = 25
"""Frames per second of the motion."""
FRAME_SAMPLES = SAMPLE_RATE // MODEL_FPS
STYLE_FRAMES = 50
"""Frames of a style: two seconds."""
MOTION_WIDTH = 106

XLS_R_300M: Mapping[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "layer",
    "feat_extract_activation": "gelu",
    "conv_dim": [512] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_bias": True,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": True,
}
"""Sizes of wav2vec2-xls-r-300m, which the checkpoint holds and its config.json does not
describe.
"""


@dataclass(frozen=True)
class ArTalkConfig:
    """Sizes of the networks; the defaults are the released checkpoint's.

    scales: frames of each scale of the code, the last one all frames of a chunk.
    code: bits of a token.
    codec_width, codec_depth, codec_heads: of the motion codec.
    width, depth, heads: of the autoregressive transformer.
    memory: chunks that it remembers.
    hearing: of the wav2vec 2.0 network, as its library names them.
    """

    scales: tuple[int, ...] = (1, 5, 25, 50, 100)
    code: int = 32
    codec_width: int = 512
    codec_depth: int = 8
    codec_heads: int = 8
    width: int = 768
    depth: int = 12
    heads: int = 12
    memory: int = 1
    hearing: Mapping[str, Any] = field(default_factory=lambda: dict(XLS_R_300M))

    @property
    def frames(self) -> int:
        """Frames of a chunk."""
        return self.scales[-1]

    @property
    def samples(self) -> int:
        """Samples of a chunk."""
        return self.frames * FRAME_SAMPLES

    @property
    def tokens(self) -> int:
        """Tokens of a chunk: those of all scales."""
        return sum(self.scales)

    @property
    def heard_width(self) -> int:
        """Width of what is heard."""
        return int(self.hearing["hidden_size"])

    @property
    def spans(self) -> tuple[slice, ...]:
        """Where the tokens of each scale lie in a chunk's."""
        ends = itertools.accumulate(self.scales)
        return tuple(slice(end - size, end) for size, end in zip(self.scales, ends, strict=True))

    @classmethod
    def read_file(cls, path: Path) -> ArTalkConfig:
        """From a config.json. Raises WeightsMismatch."""
        try:
            return cls.read(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise WeightsMismatch(
                f"{path} does not describe an ARTalk checkpoint: {error!r}", hint="fetch it again"
            ) from None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ArTalkConfig:
        """From the names of the published config.json, which leaves out the width of the
        transformer and the sizes of its hearing; "EMBED_DIM" and "wav2vec2" name other ones.
        """
        motion, codec = values["AR_CONFIG"], values["VAE_CONFIG"]
        if (encoder := motion.get("AUDIO_ENCODER", "wav2vec")) != "wav2vec":
            raise ValueError(f"its audio encoder is {encoder}, not wav2vec")
        if codec["MOTION_DIM"] != MOTION_WIDTH:
            raise ValueError(f"its motion has {codec['MOTION_DIM']} numbers a frame, not {MOTION_WIDTH}")
        return cls(
            scales=tuple(int(size) for size in codec["V_PATCH_NUMS"]),
            code=int(codec["V_CODE_DIM"]),
            codec_width=int(codec["T_HIDDEN_DIM"]),
            codec_depth=int(codec["T_DEPTH"]),
            codec_heads=int(codec["T_NUM_HEADS"]),
            width=int(motion.get("EMBED_DIM", values.get("EMBED_DIM", cls.width))),
            depth=int(motion["T_DEPTH"]),
            heads=int(motion["T_NUM_HEADS"]),
            memory=int(motion["PREV_RATIO"]),
            hearing=dict(values.get("wav2vec2", XLS_R_300M)),
        )
