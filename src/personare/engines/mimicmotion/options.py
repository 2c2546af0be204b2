"""Every parameter of MimicMotion."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from personare.engines.engine import FrameRate
from personare.engines.mimicmotion.pictures import MULTIPLE
from personare.engines.mimicmotion.schedule import LCM_TRAINED_STEPS, Scheduler
from personare.engines.neural import DeviceOptions
from personare.engines.portrait import BACKGROUND, WHITE_TEXT, Background
from personare.types import Guide

MOST_PEOPLE = 99
TILE_SIZE = {"1.1": 72, "1.0": 16}
"""Frames that each release was trained on."""
SLOWEST_SAMPLED = 24
"""Of guides of 48 pictures a second and more, every second one counts, and so on, as published."""


def _resolution(value: Any) -> Any:
    try:
        side = int(value)
    except (TypeError, ValueError):
        return value
    if side % MULTIPLE:
        low = side // MULTIPLE * MULTIPLE
        raise ValueError(f"a multiple of {MULTIPLE}, such as {max(low, MULTIPLE)} or {low + MULTIPLE}")
    return side


def _person(value: object) -> str:
    text = str(value).strip().lower()
    if text in ("largest", "leftmost"):
        return text
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_PEOPLE:
        return str(int(text))
    raise ValueError(f"largest, leftmost or a number from 1 to {MOST_PEOPLE}, counted from the left")


class MimicMotionOptions(DeviceOptions):
    version: Literal["1.1", "1.0"] = Field("1.1", description="which released checkpoint: 1.1 or 1.0")
    resolution: Annotated[int, BeforeValidator(_resolution)] = Field(
        576,
        ge=MULTIPLE,
        le=1024,
        description="short side of the clip in pixels, 64 to 1024 in steps of 64; the long side follows: "
        "576 gives 1024",
    )
    sample_stride: int = Field(
        2, ge=1, le=100, description="every how many pictures of the guide one is followed, 1 to 100"
    )
    fps: FrameRate | None = Field(
        None,
        description="frames per second, 1 to 120; default: the guide's own over the stride. Another rate "
        "follows other pictures of the guide, in its own time",
    )
    steps: int = Field(25, ge=1, le=100, description="steps of the sampler, 1 to 100; lcm takes up to 40")
    scheduler: Scheduler = Field(
        "euler",
        description="euler (as released), align_your_steps (about 10 steps do), lcm (4 to 8 steps, for "
        "checkpoints that were distilled for it)",
    )
    guidance_min: float = Field(2.0, ge=0, le=20, description="guidance of the first frame, 0 to 20")
    guidance_max: float = Field(
        2.0, ge=0, le=20, description="guidance of the last frame, 0 to 20; without guidance (1 or less) a "
        "step costs half"
    )  # fmt: skip
    noise_aug_strength: float = Field(
        0.0, ge=0, le=1, description="noise that is laid over the picture, 0 to 1"
    )
    seed: int = Field(
        42, ge=0, le=2**32 - 1, description="seed of the noise; same inputs and seed, same bytes"
    )
    tile_size: int | None = Field(
        None,
        ge=2,
        le=512,
        description="frames that are sampled together, 2 to 512; default 72 for version 1.1, 16 for 1.0; "
        "a shorter clip is one tile",
    )
    tile_overlap: int = Field(6, ge=1, description="frames that neighbouring tiles share, 1 to tile_size - 1")
    person: Annotated[str, BeforeValidator(_person)] = Field(
        "largest",
        description="who is followed of several people in the guide: largest, leftmost, or a number "
        "counted from the left",
    )
    alignment: Literal["global", "limbs"] = Field(
        "global",
        description="global: one line fits the guide to the picture, as published; limbs: the picture's own "
        "bones, bone by bone",
    )
    published_fit: bool = Field(
        False,
        description="true: fitted and drawn as published: unseen joints count, everybody is drawn, and the "
        "whole picture is a person where nobody is seen",
    )
    published_rounding: bool = Field(
        False, description="true: the picture loses the levels that the published program loses in float16"
    )
    background: Background = Field(WHITE_TEXT, description=BACKGROUND)
    max_memory: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="GB that networks and their work may take of the device; 0: all that is there. Less "
        "memory takes longer",
    )

    @field_validator("tile_overlap")
    @classmethod
    def _below_tile_size(cls, overlap: int, info: ValidationInfo) -> int:
        size = info.data.get("tile_size") or TILE_SIZE[info.data.get("version", "1.1")]
        if overlap >= size:
            raise ValueError(f"tiles of {size} frames cannot overlap by {overlap}: at most {size - 1}")
        return overlap

    @field_validator("scheduler")
    @classmethod
    def _enough_steps(cls, scheduler: Scheduler, info: ValidationInfo) -> Scheduler:
        if scheduler == "lcm" and info.data.get("steps", 1) > LCM_TRAINED_STEPS:
            raise ValueError(f"lcm takes at most {LCM_TRAINED_STEPS} steps")
        return scheduler

    @property
    def tile(self) -> int:
        """Frames of a tile."""
        return self.tile_size or TILE_SIZE[self.version]

    def rate(self, guide: Guide) -> Fraction:
        """Frames per second of a clip that follows this guide."""
        return rate_of(guide, self.sample_stride, self.fps)


def rate_of(guide: Guide, sample_stride: int, fps: Fraction | None) -> Fraction:
    """Frames per second of a clip: what is asked for, else the guide's own over the stride."""
    return fps or guide.fps / (sample_stride * max(1, int(guide.fps / SLOWEST_SAMPLED)))
