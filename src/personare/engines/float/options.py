"""Every parameter of FLOAT."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from personare.engines.engine import FrameRate
from personare.engines.neural import NeuralOptions
from personare.engines.portrait import BACKGROUND, FACE_CHOICE, WHITE_TEXT, Background, FaceChoice


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


Emotion = Annotated[
    Literal["auto", "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"],
    BeforeValidator(_lower),
]


class FloatOptions(NeuralOptions):
    detector: Literal["auto", "s3fd", "landmarks"] = Field(
        "auto",
        description="what finds the face: s3fd (as released), landmarks (bundled), auto (s3fd "
        "if it is there)",
    )
    face: FaceChoice = Field("largest", description=f"{FACE_CHOICE}; s3fd takes the surest for the largest")
    background: Background = Field(WHITE_TEXT, description=BACKGROUND)
    no_crop: bool = Field(
        False, description="true: the whole picture is scaled to a square and used uncropped, as published"
    )
    emotion: Emotion = Field(
        "auto", description="auto (heard in the voice), angry, disgust, fear, happy, neutral, sad or surprise"
    )
    nfe: int = Field(
        10,
        ge=2,
        le=200,
        description="times at which the flow is evaluated, 2 to 200: one less is the number of Euler steps",
    )
    seed: int = Field(
        15,
        ge=0,
        le=2**32 - 1,
        description="seed of the motion; same inputs and seed, same motion on all machines",
    )
    fixed_noise: bool = Field(
        False,
        description="true: every chunk of 2 s begins with the same noise, as published with fix_noise_seed",
    )
    a_cfg_scale: float = Field(
        2.0, ge=0, le=10, description="how strongly the voice guides the motion, 0 to 10; 1 is unguided"
    )
    r_cfg_scale: float = Field(
        1.0, ge=0, le=10, description="accepted for the published command lines; has no effect there or here"
    )
    e_cfg_scale: float = Field(
        1.0, ge=0, le=10, description="how strongly the emotion guides the motion, 0 to 10; 1 is unguided"
    )
    fps: FrameRate = Field(
        Fraction(25),
        description="frames per second, 1 to 120; the model moves at 25, other rates are resampled from its "
        "motion",
    )
    head_motion: float = Field(
        1.0, ge=0, le=1, description="scale of motion outside the mouth, 0 (lips only) to 1 (as sampled)"
    )
    rest_in_silence: float = Field(
        0.0, ge=0, le=1, description="how far the mouth returns to that of the portrait in silence, 0 to 1"
    )
    framing: Literal["square", "original"] = Field(
        "square",
        description="square: the face's square, as published; original: pasted back into the photo at its "
        "own size",
    )
    whole_seconds: int = Field(
        120,
        ge=20,
        le=3600,
        description="seconds of speech that attend to one another; longer speech is heard in windows of this "
        "length",
    )
