"""What is heard becomes motion, chunk after chunk; each one goes on from the one before.

    artalk.style     "token" float32 [width]                                      (the style encoder)
    artalk.motion    "motion" float32 [frames, 106] of one chunk, not smoothed
                     "remembered" bool [memory, tokens, code], where the next chunk goes on

A chunk is kept under what was heard in it, the style, and the chunk before it: the same voice
in the same style needs no network a second time, whichever head wears it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.cache.form import Array, Form
from personare.cache.recipe import Stage, StageInputs
from personare.engines.artalk.drive import HEAR
from personare.engines.artalk.networks.config import MOTION_WIDTH, ArTalkConfig
from personare.types import Feature

if TYPE_CHECKING:
    from personare.engines.artalk.networks.autoregressive import Generated, MotionTransformer
    from personare.engines.artalk.networks.codec import MotionCodec
    from personare.engines.artalk.networks.style import StyleEncoder

STYLE, MOTION = "artalk.style", "artalk.motion"
_LARGEST = 1e4

Floats = NDArray[np.float32]
Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Carried:
    """Where a run of chunks stands. remembered: bits of the chunks that the next one remembers,
    [memory, tokens, code], the oldest first; None before the first one. key: of the last
    chunk's feature, "" if there is none.
    """

    remembered: Bits | None = None
    key: str = ""


class MotionMaker:
    """Makes the motion of chunks; holds no state of a run."""

    def __init__(self, transformer: MotionTransformer, codec: MotionCodec) -> None:
        self._transformer, self._codec = transformer, codec

    def at_rest(self) -> Bits:
        """What is remembered before the first chunk: chunks without motion."""
        import torch

        config = self._codec.config
        with torch.inference_mode():
            still = torch.zeros(1, config.frames, MOTION_WIDTH, device=self._codec.motion_mean.device)
            bits = self._codec.bits(still).repeat(config.memory, 1, 1)
        return np.asarray(bits.cpu().numpy())

    def generated(self, heard: Floats, style: Floats, remembered: Bits) -> Generated:
        """The bits of a chunk. heard: [tokens, heard_width]. style: the token [width]."""
        import torch

        like = self._transformer.pos_embed
        with torch.inference_mode():
            made: Generated = self._transformer(
                torch.from_numpy(heard)[None].to(like),
                torch.from_numpy(style)[None, None].to(like),
                torch.from_numpy(remembered).to(like.device),
            )
            return made

    def chunk(self, heard: Floats, style: Floats, remembered: Bits) -> tuple[Floats, Bits]:
        """(motion [frames, 106], what the next chunk remembers)"""
        import torch

        with torch.inference_mode():
            bits = self.generated(heard, style, remembered).bits.to(self._codec.motion_mean.device)
            before = torch.from_numpy(remembered).to(bits.device)
            motion = self._codec.decode(before[-1:], bits)[:, self._codec.config.frames :]
            # As released: what is remembered is the motion that was made, not the bits it is
            # of.
            after = torch.cat([before[1:], self._codec.bits(motion)])
        return np.array(motion[0].cpu().numpy(), np.float32), np.array(after.cpu().numpy())


def style_token(encoder: StyleEncoder, motion: Floats | None) -> Floats:
    """The style token [width] of a motion [50, 106]; None: of no style."""
    import torch

    with torch.inference_mode():
        given = None
        if motion is not None:
            given = torch.from_numpy(motion)[None].to(encoder.motion_mean)
        return np.array(encoder.token(given)[0, 0].cpu().numpy(), np.float32)


def style_stage(
    encoder: Callable[[], StyleEncoder],
    config: ArTalkConfig,
    weights: tuple[str, ...],
    motion: Floats | None,
    digest: str,
) -> Stage:
    """The stage of a style. digest: names its motion."""

    def token(_: StageInputs) -> Feature:
        return Feature({"token": style_token(encoder(), motion)})

    form = Form({"token": Array("float32", (config.width,), -_LARGEST, _LARGEST)})
    return Stage(STYLE, 1, token, {"style": digest}, weights=weights, form=lambda _: form)


def motion_stage(
    maker: Callable[[], MotionMaker],
    config: ArTalkConfig,
    weights: tuple[str, ...],
    numeric_format: str,
    style: Floats,
    digest: str,
    carried: Carried,
) -> Stage:
    """The stage of the next chunk.

    maker: gives the networks when they are needed.
    config: sizes.
    weights: sha256 of the checkpoint.
    numeric_format: of the transformer.
    style: the token [width].
    digest: names the style's motion.
    carried: where the run stands.
    """

    def made(inputs: StageInputs) -> Feature:
        makes, heard = maker(), np.asarray(inputs.features[HEAR].arrays["heard"], np.float32)
        remembered = makes.at_rest() if carried.remembered is None else carried.remembered
        motion, after = makes.chunk(np.array(heard), style, remembered)
        return Feature({"motion": motion, "remembered": after})

    form = Form(
        {
            "motion": Array("float32", (config.frames, MOTION_WIDTH), -_LARGEST, _LARGEST),
            "remembered": Array("bool", (config.memory, config.tokens, config.code), 0, 1),
        }
    )
    return Stage(
        MOTION,
        1,
        made,
        {"style": digest, "before": carried.key},
        needs=(HEAR,),
        weights=weights,
        numeric_format=numeric_format,
        form=lambda _: form,
    )
