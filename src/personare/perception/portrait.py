"""The portrait's own picture: of an animation, the first that has a face."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from personare.errors import InputError
from personare.media.colour import WHITE, Colour
from personare.media.image import animation, is_animation, read_image
from personare.media.template import Template
from personare.perception.face import find_face
from personare.types import Image

LIT_SHARE = 0.8
"""Of the light of the brightest picture with a face."""


def read_portrait(path: Path, background: Colour = WHITE) -> Image:
    """A portrait's picture, uint8 [H, W, 3] sRGB: of an animation (WebP, GIF, APNG, AVIF) the
    first frame with a face that can be animated, once it has faded in, or the first frame if
    none has one.

    background: laid behind what is transparent. Raises as `read_image`.
    """
    if not is_animation(path):
        return read_image(path, background=background)
    status = path.stat()
    wanted = _frame_with_face(path, status.st_mtime_ns, status.st_size, background)
    for index, frame in enumerate(animation(path, background=background)):
        if index == wanted:
            return frame
    return read_image(path, background=background)


def portrait_template(path: Path, fps: Fraction | None = None, background: Colour = WHITE) -> Template:
    """A portrait as a template: a video, or the picture that `read_portrait` gives. Raises as
    Template.
    """
    photo = read_portrait(path, background) if is_animation(path) else None
    return Template(path, fps, background=background, photo=photo)


@lru_cache(maxsize=16)
def _frame_with_face(path: Path, mtime_ns: int, size: int, background: Colour) -> int:  # noqa: ARG001
    """Its index; 0 if there is none. Time and size of the file tell whether it is another.

    Faces are found in all but black pictures: where the first has none, and it fades in, the
    first one is taken that is nearly as bright as any with a face.
    """
    lit: dict[int, float] = {}
    for index, frame in enumerate(animation(path, background=background)):
        try:
            find_face(frame)
        except InputError:
            continue
        if index == 0:
            return 0
        lit[index] = float(frame.mean())
    return next((index for index, level in lit.items() if level >= LIT_SHARE * max(lit.values())), 0)
