"""What is shown: a photo that is moved as a whole, or a template video whose mouth alone is moved."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from personare.engines.puppet.moving import MovingFace
from personare.engines.puppet.options import PuppetOptions
from personare.engines.puppet.render import FaceRenderer
from personare.errors import EngineError
from personare.types import Avatar, FaceState, Image


class Show(Protocol):
    """One run's pictures, in order. size: (height, width)."""

    fps: Fraction
    size: tuple[int, int]

    def render(self, state: FaceState) -> Image:
        """The next frame, uint8 [H, W, 3], the caller's to keep."""

    def close(self) -> None:
        """Let go of files."""


def is_moving(avatar: Avatar) -> bool:
    """Whether the avatar was prepared from a video."""
    return bool(avatar.features["puppet.face"].metadata.get("moving"))


def open_show(avatar: Avatar, options: PuppetOptions) -> Show:
    """Raises EngineError if the avatar's own pictures are needed and not there."""
    if is_moving(avatar):
        if avatar.portrait_file is None:
            raise EngineError("this avatar has lost its video", hint="prepare it again")
        return MovingFace(avatar.features, avatar.portrait_file, options.fps)
    return StillFace(avatar, options)


class StillFace:
    """Frames of a photo."""

    def __init__(self, avatar: Avatar, options: PuppetOptions) -> None:
        self.fps = options.rate
        self.size = (options.size, options.size)
        self.render = FaceRenderer(avatar.features).render

    def close(self) -> None:
        """Nothing is held."""
