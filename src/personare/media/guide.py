"""Guides: a video, or a folder of pictures, that shows what to do. Opened, not held."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from personare.errors import UnreadableMedia
from personare.media.audio import open_speech
from personare.media.image import is_picture, read_image
from personare.media.local import shown
from personare.media.template import PHOTO_FPS, Template
from personare.types import Guide, Image, Speech

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
MAX_PICTURES = 200_000
"""A folder with more is refused: over two hours at 25 pictures a second."""


def open_guide(path: str | Path, fps: Fraction | None = None) -> Guide:
    """A video, or a folder of pictures in natural order (2.png before 10.png), as a guide.

    path: a picture alone is a guide of one frame.
    fps: pictures a second of a folder or a picture, 25 by default; a video has its own.

    Raises UnreadableMedia for what is neither, for a folder without pictures and, from
    `pictures()`, for pictures of another size than the first.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, fps or PHOTO_FPS)
    template = Template(path, None if not is_picture(path) else fps)
    return Guide(
        name=shown(path),
        files=(path,),
        size=template.size,
        fps=template.fps,
        frames=template.frames,
        pictures=lambda: iter(Template(path, template.fps)),
        sound=_sound(path) if template.moving else None,
    )


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts names as people number them: figures by value, all else by letters."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _folder(path: Path, fps: Fraction) -> Guide:
    try:
        files = sorted(
            (entry for entry in path.iterdir() if entry.suffix.lower() in _SUFFIXES and entry.is_file()),
            key=natural_order,
        )
    except OSError as error:
        raise UnreadableMedia(f"{shown(path)} cannot be read: {error.strerror}", hint="check it") from None
    if not files:
        raise UnreadableMedia(
            f"the folder {shown(path)} holds no pictures", hint="give a video, or a folder of JPEG or PNG"
        )
    if len(files) > MAX_PICTURES:
        raise UnreadableMedia(
            f"the folder {shown(path)} holds {len(files)} pictures, at most {MAX_PICTURES} are followed",
            hint="give a video, or split the folder",
        )
    first = read_image(files[0])

    def pictures() -> Iterator[Image]:
        for file in files:
            picture = read_image(file)
            if picture.shape != first.shape:
                raise UnreadableMedia(
                    f"{shown(file)} is {picture.shape[1]}x{picture.shape[0]}, the first picture of the guide "
                    f"{first.shape[1]}x{first.shape[0]}",
                    hint="give pictures of one size",
                )
            yield picture

    return Guide(shown(path), tuple(files), (first.shape[0], first.shape[1]), fps, len(files), pictures)


def _sound(path: Path) -> Speech | None:
    try:
        return open_speech(path)
    except UnreadableMedia:  # a video without sound
        return None
