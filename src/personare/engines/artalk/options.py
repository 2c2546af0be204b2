"""Every parameter of ARTalk."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from personare.engines.neural import DeviceOptions
from personare.engines.portrait import FACE_CHOICE, FaceChoice
from personare.errors import InvalidOption
from personare.types import frame_rate

FrameRate = Annotated[Fraction, BeforeValidator(frame_rate), PlainSerializer(str, return_type=str)]


class ArTalkOptions(DeviceOptions):
    look: Literal["mesh", "gaussian"] = Field(
        "mesh",
        description="how the head is shown: mesh (the FLAME head in one colour; needs no portrait) or "
        "gaussian (GAGAvatar: the portrait is a photo or a tracked.pt)",
    )
    person: str | None = Field(None, description='whose head, a name in a tracked.pt; "?" lists them')
    face: FaceChoice = Field("largest", description=f"of a photo: {FACE_CHOICE}")
    seed: int | None = Field(
        None,
        ge=0,
        lt=1 << 63,
        description="look=gaussian: draws the noise of the picture, the same in every frame; none is the "
        "checkpoint's own",
    )
    style: str = Field(
        "default",
        description="how the head moves: default, the name of a style (`personare styles list`), or a file "
        "of two seconds of FLAME motion (.pt or .npz)",
    )
    smoothing: bool = Field(
        True,
        description="false: motion as the network makes it; true: smoothed as published, four frames later",
    )
    fix_pose: bool = Field(False, description="true: the head stays straight; the face alone moves")
    clip_length: int | None = Field(
        None, ge=1, description="frames of a clip at most; what is said after them is neither heard nor shown"
    )
    fps: FrameRate = Field(
        Fraction(25),
        description="frames per second, 1 to 120; the model moves at 25, other rates are resampled from its "
        "motion",
    )
    official_frame_count: bool = Field(
        False,
        description="true: frames are counted in floating point as published, for some lengths one more than "
        "there are; at 25 frames per second",
    )
    shape: Path | None = Field(
        None,
        description="look=mesh: whose head: a photo, a tracked.pt (with person), or 300 FLAME shape values "
        "(.npy or .pt); none is the mean head",
    )
    size: int = Field(512, ge=64, le=2048, description="look=mesh: side of the picture in pixels")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.official_frame_count and self.fps != 25:
            raise InvalidOption(
                f"official_frame_count=true counts at 25 frames per second, not {self.fps}",
                hint="leave fps or official_frame_count out",
            )
        return self
