"""Every parameter of the musetalk engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from personare.engines.engine import FrameRate
from personare.engines.neural import NeuralOptions, released_or_ours
from personare.engines.portrait import BACKGROUND, FACE_CHOICE, WHITE_TEXT, Background, FaceChoice
from personare.types import LARGEST

UNET = {"v15": "musetalk-unet-v15", "v1": "musetalk-unet-v1"}
VAE = "sd-vae-ft-mse"
WHISPER = ("whisper-tiny", "whisper-tiny-openai")
"""The same encoder in two namings; the first that is there is used."""
POSE, DETECTOR, PARSER = "dwpose", "s3fd", "face-parse-bisent"


def _own_rate_is_none(value: Any) -> Any:
    return None if value == "template" else value


class MuseTalkOptions(NeuralOptions):
    version: Literal["v15", "v1"] = Field(
        "v15", description="which released network: v15 (MuseTalk 1.5) or v1 (1.0)"
    )
    fps: Annotated[FrameRate | None, BeforeValidator(_own_rate_is_none)] = Field(
        None, description="frames per second of the clip, 1 to 120; none: the template's own (25 for a photo)"
    )
    detector: Literal["auto", "dwpose", "landmarks"] = Field(
        "auto",
        description="what finds the face: dwpose (with s3fd, as released), landmarks (bundled, smooth "
        "to fractions of a pixel), "
        "auto: dwpose if its two files are there, else landmarks",
    )
    parser: Literal["auto", "bisenet", "landmarks"] = Field(
        "auto",
        description="what draws the mask: bisenet (as released), landmarks (ours; does not see hair or hands "
        "before the face), "
        "auto: bisenet if its file is there, else landmarks",
    )
    face: FaceChoice = Field("largest", description=f"{FACE_CHOICE}; but for largest, found by landmarks")
    background: Background = Field(WHITE_TEXT, description=BACKGROUND)
    bbox_shift: int = Field(
        0,
        ge=-200,
        le=200,
        description="px by which the split between the halves of the face moves down; down opens the mouth "
        "more",
    )
    extra_margin: int | None = Field(
        None,
        ge=0,
        le=200,
        description="px that the face box reaches further down, below the chin; none: 10 for v15, 0 for v1",
    )
    box_smoothing: float = Field(
        0.0,
        ge=0,
        le=2,
        description="seconds over which the face box is averaged; 0 as released, 0.1 takes the jitter of "
        "dwpose away",
    )
    parsing_mode: Literal["auto", "jaw", "raw", "neck", "original"] = Field(
        "auto",
        description="what of the face is replaced: jaw, raw (skin, mouth), neck (and the neck), original "
        "(all of it, as in 2024); "
        "auto: jaw for v15, raw for v1",
    )
    left_cheek_width: int = Field(
        90, ge=0, le=256, description="jaw: px of 512 from the middle to where the left cheek begins"
    )
    right_cheek_width: int = Field(
        90, ge=0, le=256, description="jaw: px of 512 from the middle to where the right cheek begins"
    )
    mask_blur: float = Field(
        0.05,
        ge=0,
        le=0.3,
        description="softness of the mask's edge as a share of its side; released: 0.05, live 0.1",
    )
    upper_boundary: float = Field(
        0.5,
        ge=0.2,
        le=0.9,
        description="share of the square around the face, from its top, that is never replaced",
    )
    latents: Literal["mean", "sample"] = Field(
        "mean",
        description="the autoencoder's latents of the template: mean (as trained), or sample, as the "
        "released program does",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of latents=sample")
    faceless: Literal["pass", "nearest"] = Field(
        "pass",
        description="template frames without a usable face: pass through as they are, or show the last good "
        "frame instead",
    )
    audio: Literal["exact", "streaming"] = Field(
        "exact",
        description="how speech is heard: exact (pieces of 30 s, as trained), or streaming (look-ahead below "
        "1 s, approximate)",
    )
    silence: Literal["rest", "template", "off"] = Field(
        "rest",
        description="while nobody speaks: rest (mouth shut and still), template (its own pictures), off (as "
        "the network quivers)",
    )
    front_end: Literal["auto", "current", "original"] = Field(
        "auto",
        description="whisper's features: current, original (as MuseTalk 1.0 was trained), auto: current for "
        "v15, original for v1",
    )
    published_windows: bool = Field(
        False,
        description="hear at whole frame rates, as the released program does: drifts at 29.97 and the like; "
        "off keeps time exactly",
    )

    @model_validator(mode="after")
    def _one_who_chooses(self) -> Self:
        if self.face != LARGEST and self.detector == "dwpose":
            raise ValueError("dwpose cannot choose a face: leave detector out, or say detector=landmarks")
        return self

    def concrete(self, there: Callable[[str], bool]) -> MuseTalkOptions:
        """The same with every auto decided. there: whether a component of the weights is on
        this machine.
        """
        v15 = self.version == "v15"
        chosen: dict[str, Any] = {
            "detector": "landmarks"
            if self.face != LARGEST
            else released_or_ours(self.detector, "dwpose", (POSE, DETECTOR), there),
            "parser": released_or_ours(self.parser, "bisenet", (PARSER,), there),
        }
        if self.parsing_mode == "auto":
            chosen["parsing_mode"] = "jaw" if v15 else "raw"
        if self.front_end == "auto":
            chosen["front_end"] = "original" if self.hears_whole else "current"
        if self.extra_margin is None:
            chosen["extra_margin"] = 10 if v15 else 0
        return self.model_copy(update=chosen)

    @property
    def hears_whole(self) -> bool:
        """Whether the original front end is used: it normalises by the peak of the whole
        speech.
        """
        return self.front_end == "original" or (self.front_end == "auto" and self.version == "v1")

    @property
    def kept_format(self) -> str:
        """The numbers in which what is kept (latents, hearing) is computed: float32, unless
        another precision is asked for by name.

        Kept features are made once and used on any machine, so their keys do not depend on the
        one that made them.
        """
        return "float32" if self.precision == "auto" else self.precision
