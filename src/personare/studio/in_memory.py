"""Portraits and voices that are not files: arrays, PIL pictures, bytes, open files.

Each is written once into a folder that ends with the process, under the digest of its content.
Features are kept by the bytes of a file, so the same picture is found prepared, in this process
and in every other one.
"""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from personare.errors import UnreadableMedia, UnusableSpeech
from personare.ground.durable import replaced_when_complete
from personare.media.audio import open_speech
from personare.studio.order import refuse_url
from personare.types import Speech

Picture = NDArray[np.uint8] | Pillow.Image | bytes | BinaryIO
"""A portrait that is not a file.

An array is uint8 [H, W, 3] RGB or [H, W, 4] with alpha: one picture (a video comes as a file,
as bytes or as an open file). bytes and open binary files hold a whole file of any format that
is read from disk too.
"""
Sound = bytes | BinaryIO
"""A voice that is not a file: bytes or an open binary file that hold a sound file whole."""

MAX_BYTES = 1 << 30
"""What is read of an open file at most."""
_PIECE_BYTES = 1 << 20
_TIFF_MODES = ("RGB", "RGBA", "L", "LA", "CMYK", "I;16", "I", "F")
_HINT = "give a path, bytes, an open binary file, a PIL picture, or uint8 [H, W, 3] RGB"


def portrait_file(portrait: str | Path | Picture) -> str | Path:
    """A portrait as a file; paths and names of avatars are handed through.

    Raises UnreadableMedia for arrays of another shape or type, and for what is no picture.
    """
    if isinstance(portrait, str | Path):
        return portrait
    if isinstance(portrait, np.ndarray):
        return _kept(_tiff(Pillow.fromarray(np.ascontiguousarray(_checked_array(portrait)))))
    if isinstance(portrait, Pillow.Image):
        return _kept(_tiff(_upright(portrait)))
    return _kept(_content(portrait, "the portrait", _HINT))


def open_voice_of(speech: str | Path | Speech | Sound) -> Speech:
    """A speech from whatever holds one. Raises UnusableSpeech, UnreadableMedia, and
    InvalidOption for a URL.
    """
    if isinstance(speech, Speech):
        return speech
    if isinstance(speech, str | Path):
        refuse_url(str(speech), "speech")
        return open_speech(Path(speech))
    if isinstance(speech, np.ndarray):
        raise UnusableSpeech(
            "an array of samples does not tell its rate", hint="Speech.from_samples(samples, rate)"
        )
    hint = "give a path, bytes, an open binary file, or Speech.from_samples(samples, rate)"
    return open_speech(_kept(_content(speech, "the voice", hint)))


def _checked_array(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.ndim == 4:
        raise UnreadableMedia(
            f"an array {picture.shape} is a video; arrays are single pictures",
            hint="give one picture, or a video as a file",
        )
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or 0 in picture.shape:
        raise UnreadableMedia(f"an array {picture.shape} is no picture", hint=_HINT)
    if picture.dtype != np.uint8:
        convert = "(255 * picture).round().astype('uint8')" if picture.dtype.kind == "f" else "uint8"
        raise UnreadableMedia(f"an array of {picture.dtype} is no picture", hint=f"convert it: {convert}")
    return picture


def _upright(picture: Pillow.Image) -> Pillow.Image:
    """As the same picture would be read from a file. Raises UnreadableMedia."""
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError) as error:  # a lazy picture is read only now
        raise UnreadableMedia(f"the picture cannot be read: {error}", hint=_HINT) from None
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # broken EXIF says nothing about the orientation
        return picture


def _tiff(picture: Pillow.Image) -> bytes:
    """Without compression, so that no library's version changes a byte."""
    if picture.mode not in _TIFF_MODES:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    file = io.BytesIO()
    picture.save(file, format="TIFF")
    return file.getvalue()


def _content(given: bytes | BinaryIO, what: str, hint: str) -> bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        content = bytes(given)
    elif hasattr(given, "read"):
        content = _read(given, what)
    else:
        raise UnreadableMedia(f"{what} is a {type(given).__name__}", hint=hint)
    if not content:
        raise UnreadableMedia(f"{what} is empty (0 bytes)", hint="an open file is read from where it is")
    return content


def _read(file: BinaryIO, what: str) -> bytes:
    content = io.BytesIO()
    try:
        while piece := file.read(_PIECE_BYTES):
            if isinstance(piece, str):
                raise UnreadableMedia(f"{what} is open as text", hint='open it with "rb"')
            content.write(piece)
            if content.tell() > MAX_BYTES:
                raise UnreadableMedia(
                    f"{what} has more than {MAX_BYTES >> 20} MB", hint="give the path of a file"
                )
    except (OSError, ValueError) as error:
        raise UnreadableMedia(f"{what} cannot be read: {error}", hint="is the file still open?") from None
    return content.getvalue()


def _kept(content: bytes) -> Path:
    path = _folder(os.getpid()) / blake3(content).hexdigest()
    if not path.exists():
        with replaced_when_complete(path) as part:
            part.write_bytes(content)
    return path


@cache
def _folder(process: int) -> Path:
    """A folder of this process, gone when it ends; a forked child has its own."""
    folder = Path(tempfile.mkdtemp(prefix="personare-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
