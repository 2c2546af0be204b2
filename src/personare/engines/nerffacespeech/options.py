"""Every parameter of NeRFFaceSpeech."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import Field

from personare.engines.engine import FrameRate
from personare.engines.neural import NeuralOptions
from personare.engines.portrait import BACKGROUND, FACE_CHOICE, WHITE_TEXT, Background, FaceChoice

FEW_STEPS = "fewer take less time and are less like the person"


class NerfOptions(NeuralOptions):
    face: FaceChoice = Field("largest", description=FACE_CHOICE)
    background: Background = Field(WHITE_TEXT, description=BACKGROUND)
    aligned: bool = Field(
        False,
        description="true: the picture is cut as FFHQ's are already, and is used whole, as published",
    )
    mode: Literal["auto", "deform", "latent"] = Field(
        "auto",
        description="deform: a face model's mesh moves the field, as published; latent: the mouth's styles "
        "alone; auto: deform if the face model is there",
    )
    look: Literal["photo", "seed"] = Field(
        "photo", description="photo: the portrait's person; seed: a person that the generator makes up"
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="seed of the projection, of blinks and, with look=seed, of the person",
    )
    projection_steps: int = Field(
        1000, ge=1, le=10_000, description=f"steps of the projection, 1000 as published; {FEW_STEPS}"
    )
    tuning_steps: int = Field(
        2000, ge=0, le=20_000, description=f"steps of the tuning at most, 2000 as published; {FEW_STEPS}"
    )
    pose_steps: int = Field(
        1000, ge=1, le=10_000, description="steps of the face model's fit to landmarks, mode=deform"
    )
    fit_steps: int = Field(
        500, ge=0, le=10_000, description="steps of the face model's fit to the picture, mode=deform"
    )
    take_over: Path | None = Field(
        None,
        description="folder of the published program's caches of this person (G_PTI.pt, w_PTI.pt, "
        "bg_PTI.pt, fitted_coeffs.pt)",
    )
    poses: Path | None = Field(
        None, description="video, or folder of pictures, whose head the head of a speech is held like"
    )
    blink_rate: float = Field(
        12.0, ge=0, le=60, description="blinks a minute, 0 to 60; 0 as published, where nobody blinks"
    )
    fps: FrameRate = Field(
        Fraction(25),
        description="frames per second, 1 to 120; the model moves at 25, other rates are resampled from its "
        "expressions",
    )
    framing: Literal["square", "original"] = Field(
        "square",
        description="square: the generator's picture, as published; original: pasted back into the photo at "
        "its own size",
    )
    published_text: bool = Field(
        False, description="true: writes 'fake video' into every frame, as the published program does"
    )
