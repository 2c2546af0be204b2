"""Every parameter of the puppet engine."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from personare.engines.engine import EngineOptions, FrameRate
from personare.engines.portrait import FACE_CHOICE, FaceChoice, colour_text
from personare.engines.puppet.move.emotion import Emotion
from personare.media.template import PHOTO_FPS


def _kept_or_colour(value: str) -> str:
    if value in ("keep", "stretch"):
        return value
    try:
        return colour_text(value)
    except ValueError:
        raise ValueError("write keep, stretch, or a colour as #RRGGBB") from None


class PuppetOptions(EngineOptions):
    look: Literal["photo", "mesh"] = Field(
        "photo", description="photo: the portrait itself; mesh: the bundled 3-D head, without a portrait"
    )
    size: int = Field(
        512,
        ge=256,
        le=1024,
        multiple_of=2,
        description="side of the square picture in pixels, 256 to 1024, even",
    )
    fps: FrameRate | None = Field(
        None,
        description="frames per second, 1 to 120; 23.976, 29.97 and 59.94 are exact NTSC rates; default 25, "
        "or the video's own",
    )
    face_height: float = Field(
        0.40,
        ge=0.25,
        le=0.60,
        description="height of the face as a share of the picture's side, 0.25 to 0.60",
    )
    framing: Literal["square", "original"] = Field(
        "square",
        description="square: a crop around the face; original: the whole picture at its own size. Videos "
        "keep theirs",
    )
    background: Annotated[str, AfterValidator(_kept_or_colour)] = Field(
        "keep",
        description="keep: what is behind the head stays still; stretch: it bends a little as the head "
        "turns; #RRGGBB: as keep, and this lies behind what is transparent in the portrait, not white",
    )
    face: FaceChoice = Field("largest", description=FACE_CHOICE)
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="seed of blinks, gaze and head motion; same inputs and seed, same bytes",
    )
    head_motion: float = Field(1.0, ge=0, le=2, description="scale of head motion, 0 (still) to 2")
    expressiveness: float = Field(1.0, ge=0.5, le=1.5, description="scale of mouth movement, 0.5 to 1.5")
    emotion: Emotion = Field(
        "neutral",
        description="neutral, happy, sad, surprised or angry, added to the speech; of a video only the "
        "mouth's part shows",
    )
    emotion_strength: float = Field(1.0, ge=0, le=1, description="how much of the emotion, 0 (none) to 1")
    blink_rate: float = Field(
        1.0, ge=0, le=3, description="scale of how often the person blinks, 0 (never) to 3"
    )
    gaze: float = Field(1.0, ge=0, le=2, description="scale of gaze jumps, 0 (fixed) to 2")

    @property
    def rate(self) -> Fraction:
        """Frames per second: those asked for, or those of a photo."""
        return self.fps or PHOTO_FPS
