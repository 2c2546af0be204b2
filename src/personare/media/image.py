"""Pictures: any common file as sRGB pixels, checked before they are decoded."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, JpegImagePlugin, UnidentifiedImageError

from personare.errors import PictureTooLarge, UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.colour import WHITE, Colour
from personare.media.heif import open_heif, picture_of
from personare.media.iso_boxes import is_cut_off, still_picture
from personare.media.jpeg import jpeg_size
from personare.media.local import open_local, shown
from personare.types import Image

MAX_PIXELS = 50_000_000
"""The pixel budget of a picture; more than any camera that portraits come from."""
MOST_FRAMES = 100
"""Of an animation that are looked at."""

# Named one by one because others (EPS, PDF, WMF) start programs or are scripts themselves.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
_READERS = ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Ppm", "Jpeg2K", "Avif", "Ico")
_ANIMATED = ("WEBP", "GIF", "PNG", "AVIF")
_HEAD_BYTES = 512
_BAND_PIXELS = 1 << 22
_HELD_BYTES = 64 << 20

_quiet_pillow = threading.Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it writes to stderr where nobody listens


def read_image(path: Path, max_pixels: int = MAX_PIXELS, background: Colour = WHITE) -> Image:
    """The picture in a file as uint8 [H, W, 3] sRGB, upright.

    EXIF orientation is applied (of HEIC, the container's turns), transparency is laid over the
    background (white, as a web page shows it), an embedded ICC profile is converted to sRGB (a
    broken one is ignored), 16 bits and greys are scaled to 8 bits, CMYK and palettes are
    resolved, and of an animation the first frame is taken. A larger JPEG is decoded at a half,
    quarter or eighth of its size. Raises PictureTooLarge, from the header alone, above
    `max_pixels`, and for a JPEG whose decoding has no end; UnreadableMedia for what is no
    picture, cut off or damaged: never half a picture.
    """
    with _opened(path, max_pixels) as picture:
        return _srgb(picture, background)


def animation(path: Path, max_pixels: int = MAX_PIXELS, background: Colour = WHITE) -> Iterator[Image]:
    """The frames of an animated picture (WebP, GIF, APNG, AVIF) as `read_image` gives the first
    of them, up to MOST_FRAMES; nothing for other pictures. Raises as `read_image`.
    """
    begin = 0
    while frames := _some_frames(path, begin, max_pixels, background):
        yield from frames
        begin += len(frames)


def _some_frames(path: Path, begin: int, max_pixels: int, background: Colour) -> list[Image]:
    """Frames from `begin` on, at least one if there is one: as many as _HELD_BYTES hold, for
    each opening decodes all that come before.
    """
    frames: list[Image] = []
    with _opened(path, max_pixels) as picture:
        count = getattr(picture, "n_frames", 1) if picture.format in _ANIMATED else 0
        for index in range(begin, min(count, MOST_FRAMES)):
            picture.seek(index)
            picture.load()
            frames.append(_srgb(picture.copy(), background))
            if sum(frame.nbytes for frame in frames) >= _HELD_BYTES:
                break
    return frames


def is_animation(path: Path) -> bool:
    """Whether a picture has several frames. Raises as `open_local`."""
    with open_local(path) as file, _quietly():
        try:
            with Pillow.open(file, formats=_known_formats()) as picture:
                return picture.format in _ANIMATED and getattr(picture, "n_frames", 1) > 1
        except Exception:  # no picture, or a damaged one
            return False


def is_picture(path: Path) -> bool:
    """Whether the file begins like a picture that `read_image` knows; a container of still
    pictures (HEIC, AVIF) always does. Raises UnreadableMedia as `open_local`.
    """
    with open_local(path) as file, _quietly():
        try:
            if still_picture(file.read(_HEAD_BYTES)) is not None:
                return True
            file.seek(0)
            with Pillow.open(file, formats=_known_formats()):
                return True
        except UnidentifiedImageError:
            return False
        except Exception:  # recognised, and damaged
            return True


def write_png(path: Path, image: Image) -> None:
    """Write uint8 [H, W, 3] RGB as PNG; the file appears when it is complete. Raises
    UnwritableOutput.
    """
    try:
        with replaced_when_complete(path) as part:
            Pillow.fromarray(image).save(part, format="PNG")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnwritableOutput(
            f"{shown(path)} cannot be written: {reason}", hint="check the folder and the disk"
        ) from error


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Pillow.Image]:
    """The picture, decoded; whatever its reader raises, also later in the block, as our own."""
    with open_local(path) as file, _quietly():
        try:
            with _decoded(file, path, max_pixels) as picture:
                yield picture
        except (PictureTooLarge, UnreadableMedia):
            raise
        except Pillow.DecompressionBombError as error:  # Pillow's own, higher limit
            pixels = re.search(r"\d+", str(error))
            megapixels = f"{int(pixels[0]) / 1e6:.0f}" if pixels else "too many"
            raise _too_large(path, megapixels, max_pixels) from error
        except UnidentifiedImageError as error:
            raise UnreadableMedia(
                f"{shown(path)} is not a picture that can be read",
                hint="give a JPEG, PNG, WebP, TIFF or HEIC file",
            ) from error
        except Exception as error:  # Pillow's parsers raise whatever the hostile bytes lead them to
            raise UnreadableMedia(
                f"{shown(path)} is damaged or cut off: {_one_line(error)}", hint="save or download it again"
            ) from error


def _decoded(file: BinaryIO, path: Path, max_pixels: int) -> Pillow.Image:
    still = still_picture(file.read(_HEAD_BYTES))
    file.seek(0)
    if still == "HEIC":
        if is_cut_off(file):  # its reader would leave the missing tiles out
            raise UnreadableMedia(f"{shown(path)} is damaged or cut off", hint="save or download it again")
        heif = open_heif(file, path)
        _check_size(path, heif.size, max_pixels)
        return picture_of(heif)
    jpeg = jpeg_size(file)
    if jpeg is not None:
        if jpeg.too_much_work:
            raise PictureTooLarge(
                f"{shown(path)} is scanned {jpeg.scans} times, too often for its size", hint="save it again"
            )
        scale = jpeg.scale_below(max_pixels)
        if scale is not None and scale > 1:
            # Without Pillow's own limit, which does not know of the smaller size.
            picture: Pillow.Image = JpegImagePlugin.JpegImageFile(file)
            picture.draft(None, (jpeg.width // scale, jpeg.height // scale))
            _check_size(path, picture.size, max_pixels)
            picture.load()
            return picture
    picture = Pillow.open(file, formats=_known_formats())
    _check_size(path, picture.size, max_pixels)
    if picture.format == "TIFF":
        with _silent_libtiff():
            picture.load()
    else:
        picture.load()
    return picture


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(path, f"{width}x{height} = {width * height / 1e6:.0f}", max_pixels)


def _too_large(path: Path, megapixels: str, max_pixels: int) -> PictureTooLarge:
    return PictureTooLarge(
        f"{shown(path)} has {megapixels} megapixels; the limit is {max_pixels / 1e6:g}",
        hint="scale it down first",
    )


@cache
def _known_formats() -> list[str]:
    """Those formats that this build of Pillow has. Their readers are loaded, and no others: all
    that Pillow has take a seventh of a second.
    """
    for reader in _READERS:
        with suppress(ImportError):
            import_module(f"PIL.{reader}ImagePlugin")
    return [name for name in _FORMATS if name in Pillow.OPEN]


def _turn_upright(picture: Pillow.Image) -> None:
    with suppress(Exception):  # broken EXIF says nothing about the orientation
        ImageOps.exif_transpose(picture, in_place=True)


def _srgb(picture: Pillow.Image, background: Colour) -> Image:
    """In bands: what lies between the picture and its pixels is many times as large as they."""
    _turn_upright(picture)
    white = _white(picture)
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, picture.width))
    for row in range(0, picture.height, rows):
        band = picture.crop((0, row, picture.width, min(row + rows, picture.height)))
        image[row : row + rows] = np.asarray(_band_srgb(band, background, white))
    return image


def _band_srgb(picture: Pillow.Image, background: Colour, white: float | None) -> Pillow.Image:
    profile = picture.info.get("icc_profile")
    if white is not None:
        grey = np.clip(np.rint(np.asarray(picture, dtype=np.float64) / white * 255), 0, 255)
        picture = Pillow.fromarray(grey.astype(np.uint8))
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    if alpha is not None:
        picture = picture.convert("RGBA").convert("RGB")
    elif picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    colours = _from_profile(picture, profile)
    if alpha is not None:
        ground = Pillow.new("RGB", colours.size, background)
        ground.paste(colours, mask=alpha)
        colours = ground
    return colours


def _white(picture: Pillow.Image) -> float | None:
    """What becomes 255 in pictures of one wide channel, which are scaled to grey: Pillow's own
    conversion would cut at 255. None for others.
    """
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return None
    values = np.asarray(picture)
    largest = float(values.max())
    if not (np.isfinite(largest) and np.isfinite(float(values.min()))):  # NaN passes through both
        raise ValueError("pixels that are not numbers")
    return max(1.0 if picture.mode == "F" else 65535.0, largest)


def _from_profile(picture: Pillow.Image, profile: bytes | None) -> Pillow.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                converted = ImageCms.profileToProfile(
                    picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a profile that does not fit the picture: the plain colours are the better guess
    return picture.convert("RGB")


@contextmanager
def _quietly() -> Iterator[None]:
    """Pillow's warnings repeat what our own checks say. Filters are the process's, not the
    thread's: the lock.
    """
    with _quiet_pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _silent_libtiff() -> Iterator[None]:
    """libtiff writes its complaints to the process's own stderr, past Python."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
