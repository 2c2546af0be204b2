"""The sizes of one FLOAT checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personare.errors import WeightsMismatch

MODEL_FPS = 25
"""Frames per second at which the model was trained; another rate of the clip is made from these
frames' motion.
"""

_RELEASED_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}


@dataclass(frozen=True)
class FloatConfig:
    """Sizes of the networks; the defaults are the released checkpoint's.

    side: of the square picture in px.
    width: of the latents.
    motions: directions of the motion basis. hidden, depth, heads, mlp_ratio, attention_window
        (frames to either side): of the transformer.
    chunk, previous: frames sampled at a time, and frames of context before them.
    emotions: classes.
    channels: of the feature maps by their side.
    audio_width, audio_layers: of wav2vec2.
    """

    side: int = 512
    width: int = 512
    motions: int = 20
    hidden: int = 1024
    depth: int = 8
    heads: int = 8
    mlp_ratio: float = 4.0
    attention_window: int = 2
    chunk: int = 50
    previous: int = 10
    emotions: int = 7
    channels: Mapping[int, int] = field(default_factory=lambda: dict(_RELEASED_CHANNELS))
    audio_width: int = 768
    audio_layers: int = 12

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the decoder's levels in px, 8 to `side`."""
        return tuple(1 << n for n in range(3, self.side.bit_length()))

    @classmethod
    def beside(cls, checkpoint: Path) -> FloatConfig:
        """The sizes in the `.json` file beside a checkpoint, or the released ones. Raises
        WeightsMismatch for a damaged file.
        """
        path = checkpoint.with_suffix(".json")
        if not path.exists():
            return cls()
        try:
            return cls.read(json.loads(path.read_text()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WeightsMismatch(
                f"{path} does not describe a FLOAT checkpoint: {error!r}", hint="remove or restore it"
            ) from None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> FloatConfig:
        """From the names of the published command line's options (`dim_w`, `fmt_depth`,
        `wav2vec_sec`, ..).
        """
        return cls(
            side=int(values["input_size"]),
            width=int(values["dim_w"]),
            motions=int(values["dim_m"]),
            hidden=int(values["dim_h"]),
            depth=int(values["fmt_depth"]),
            heads=int(values["num_heads"]),
            mlp_ratio=float(values["mlp_ratio"]),
            attention_window=int(values["attention_window"]),
            chunk=int(values["wav2vec_sec"] * MODEL_FPS),
            previous=int(values["num_prev_frames"]),
            emotions=int(values["dim_e"]),
            channels={int(side): int(count) for side, count in values["channels"].items()},
            audio_width=int(values["audio_hidden_size"]),
            audio_layers=int(values["audio_num_layers"]),
        )
