"""Pictures: any common file as sRGB pixels, checked before they are decoded."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from personare.errors import PictureTooLarge, UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.local import open_local, shown
from personare.types import Image

MAX_PIXELS = 50_000_000
"""The pixel budget of a picture; more than any camera that portraits come from."""

# Named one by one because others (EPS, PDF, WMF) start programs or are scripts themselves.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

_BACKGROUND = (255, 255, 255)

_quiet_pillow = threading.Lock()


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image:
    """The picture in a file as uint8 [H, W, 3] sRGB, upright.

    EXIF orientation is applied, transparency is laid over white (as a web page shows it), an
    embedded ICC profile is converted to sRGB (a broken one is ignored), 16 bits and greys are
    scaled to 8 bits, CMYK and palettes are resolved, and of an animation the first frame is
    taken. Raises PictureTooLarge, from the header alone, above `max_pixels`; UnreadableMedia
    for what is no picture, cut off or damaged: never half a picture.
    """
    with open_local(path) as file, _without_warnings():
        try:
            with Pillow.open(file, formats=_known_formats()) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise _too_large(path, f"{width}x{height} = {width * height / 1e6:.0f}", max_pixels)
                picture.load()
                return _srgb(_upright(picture))
        except PictureTooLarge:
            raise
        except Pillow.DecompressionBombError as error:  # Pillow's own, higher limit
            pixels = re.search(r"\d+", str(error))
            megapixels = f"{int(pixels[0]) / 1e6:.0f}" if pixels else "too many"
            raise _too_large(path, megapixels, max_pixels) from error
        except UnidentifiedImageError as error:
            raise UnreadableMedia(
                f"{shown(path)} is not a picture that can be read", hint="give a JPEG, PNG, WebP or TIFF file"
            ) from error
        except Exception as error:  # Pillow's parsers raise whatever the hostile bytes lead them to
            raise UnreadableMedia(
                f"{shown(path)} is damaged or cut off: {_one_line(error)}", hint="save or download it again"
            ) from error


def is_picture(path: Path) -> bool:
    """Whether the file begins like a picture that `read_image` knows. Raises UnreadableMedia as
    `open_local`.
    """
    with open_local(path) as file, _without_warnings():
        try:
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


def _too_large(path: Path, megapixels: str, max_pixels: int) -> PictureTooLarge:
    return PictureTooLarge(
        f"{shown(path)} has {megapixels} megapixels; the limit is {max_pixels / 1e6:g}",
        hint="scale it down first",
    )


@cache
def _known_formats() -> list[str]:
    """Those formats that this build of Pillow has; it loads its readers lazily and stumbles
    over one that is not loaded.
    """
    Pillow.init()
    return [name for name in _FORMATS if name in Pillow.OPEN]


def _upright(picture: Pillow.Image) -> Pillow.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # broken EXIF says nothing about the orientation
        return picture


def _srgb(picture: Pillow.Image) -> Image:
    profile = picture.info.get("icc_profile")
    picture = _eight_bits(picture)
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    if alpha is not None:
        picture = picture.convert("RGBA").convert("RGB")
    elif picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    colours = _from_profile(picture, profile)
    if alpha is not None:
        background = Pillow.new("RGB", colours.size, _BACKGROUND)
        background.paste(colours, mask=alpha)
        colours = background
    return np.array(colours, dtype=np.uint8)


def _eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """Pictures of one wide channel scaled to grey; Pillow's own conversion would cut at 255."""
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not numbers")
    white = max(1.0 if picture.mode == "F" else 65535.0, values.max())
    return Pillow.fromarray(np.clip(np.rint(values / white * 255), 0, 255).astype(np.uint8))


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
def _without_warnings() -> Iterator[None]:
    """Pillow's warnings repeat what our own checks say. Filters are the process's, not the
    thread's: the lock.
    """
    with _quiet_pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
