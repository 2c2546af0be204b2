"""What is shown: a photo that is moved as a whole, a template video whose mouth alone is moved,
or the bundled 3-D head.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from personare.engines.portrait import ground
from personare.engines.puppet.draw.face import FaceRenderer
from personare.engines.puppet.draw.moving import MovingFace
from personare.engines.puppet.forms import CROP, FACE
from personare.engines.puppet.options import PuppetOptions
from personare.errors import EngineError
from personare.ground.stopwatch import Stopwatch
from personare.media.paste import PasteBack, Square
from personare.motion import FaceState, row_of
from personare.perception.portrait import read_portrait
from personare.types import Avatar, Image


class Show(Protocol):
    """One run's pictures, in order. size: (height, width). watch: told the seconds of "render"
    and "compose".
    """

    fps: Fraction
    size: tuple[int, int]
    watch: Stopwatch

    def render(self, state: FaceState) -> Image:
        """The next frame, uint8 [H, W, 3], the caller's to keep."""

    def close(self) -> None:
        """Let go of files and threads."""


def is_moving(avatar: Avatar) -> bool:
    """Whether the avatar was prepared from a video."""
    face = avatar.features.get(FACE)
    return face is not None and bool(face.metadata.get("moving"))


def open_show(avatar: Avatar, options: PuppetOptions) -> Show:
    """Raises EngineError if the avatar's own pictures are needed and not there."""
    if options.look == "mesh":
        return MeshFace(options)
    if is_moving(avatar):
        return MovingFace(avatar.features, own_file(avatar), options.fps, options.background)
    return StillFace(avatar, options)


class Stillness:
    """A face that does not move is not drawn anew.

    A picture is kept once its state comes a second time: faces that move cost no copy.
    """

    def __init__(self, draw: Callable[[FaceState], Image]) -> None:
        """draw: the same state gives the same bytes."""
        self._draw = draw
        self._last: bytes | None = None
        self._kept: Image | None = None

    def render(self, state: FaceState) -> Image:
        now = row_of(state).tobytes()
        again, self._last = now == self._last, now
        if not again:
            self._kept = None
            return self._draw(state)
        if self._kept is None:
            self._kept = self._draw(state)
        return self._kept.copy()


class MeshFace:
    """Frames of the bundled head."""

    def __init__(self, options: PuppetOptions) -> None:
        from personare.engines.puppet.draw.mesh import MeshRenderer

        self.fps = options.rate
        self.size = (options.size, options.size)
        self.watch = Stopwatch()
        self._renderer = MeshRenderer(options.size, options.face_height)
        self._stillness = Stillness(self._draw)

    def render(self, state: FaceState) -> Image:
        return self._stillness.render(state)

    def _draw(self, state: FaceState) -> Image:
        with self.watch("render"):
            return self._renderer.render(state)

    def close(self) -> None:
        self._renderer.close()


class StillFace:
    """Frames of a photo: the square around the face, or the whole photo with that square in its
    place.
    """

    def __init__(self, avatar: Avatar, options: PuppetOptions) -> None:
        crop = avatar.features[CROP]
        self.fps = options.rate
        self.size = crop.arrays["picture"].shape[:2]
        self.watch = Stopwatch()
        self._renderer = FaceRenderer(avatar.features)
        self._stillness = Stillness(self._draw)
        self._paste: PasteBack | None = None
        if options.framing == "original":
            self._photo = read_portrait(own_file(avatar), ground(options.background))
            self.size = self._photo.shape[:2]
            square = Square(*(int(crop.metadata[name]) for name in ("x", "y", "side")))
            self._paste = PasteBack(square, self.size, alpha=self._renderer.still.feathered())

    def render(self, state: FaceState) -> Image:
        return self._stillness.render(state)

    def _draw(self, state: FaceState) -> Image:
        with self.watch("render"):
            drawn = self._renderer.draw(state)
        with self.watch("compose"):
            square = self._renderer.compose(drawn)
            return square if self._paste is None else self._paste.paste(self._photo.copy(), square)

    def close(self) -> None:
        """There is nothing to let go of."""


def own_file(avatar: Avatar) -> Path:
    """The portrait's own file. Raises EngineError if it is not there."""
    if avatar.portrait_file is None:
        raise EngineError("this avatar has lost its portrait", hint="prepare it again")
    return avatar.portrait_file
