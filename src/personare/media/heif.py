"""HEIC and HEIF, as phones keep photos: HEVC in a container of tiles, with turns and mirrors.

They are decoded by libheif and libde265 (LGPL-3.0, from the package pi-heif, which cannot
encode).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from personare.errors import UnreadableMedia
from personare.media.hdr import Grade, is_wide
from personare.media.local import shown

if TYPE_CHECKING:
    import pi_heif


def open_heif(file: BinaryIO, path: Path) -> pi_heif.HeifFile:
    """Its header, with `size` as it will be seen. Raises UnreadableMedia where pi-heif is not
    installed; otherwise whatever pi-heif raises for damaged files.
    """
    try:
        import pi_heif
    except ImportError as error:
        raise UnreadableMedia(
            f"{shown(path)} is a HEIC picture, and what reads them is not installed",
            hint="pip install pi-heif, or convert it to JPEG (on the phone: share it as the most compatible)",
        ) from error
    return pi_heif.open_heif(file, convert_hdr_to_8bit=False)


def picture_of(heif: pi_heif.HeifFile) -> Pillow.Image:
    """The primary picture, upright, 8 bits, with its colour profile in `info`.

    A picture whose colours are told by numbers (nclx) instead is converted to sRGB: HLG and PQ
    of cameras among them.
    """
    profile = heif.info.get("icc_profile")
    nclx = heif.info.get("nclx_profile") or {}
    transfer, primaries = nclx.get("transfer_characteristics", 0), nclx.get("color_primaries", 0)
    pixels = np.asarray(heif)
    alpha = pixels[..., 3:] if heif.mode.startswith(("RGBA", "RGBa")) else None
    if not profile and pixels.ndim == 3 and is_wide(transfer, primaries):
        coded = _sixteen_bits(np.ascontiguousarray(pixels[..., :3]))
        pixels = Grade.of(transfer, primaries, [coded[::8, ::8]]).srgb(coded)
        if alpha is not None:
            pixels = np.concatenate([pixels, _eight_bits(alpha)], axis=2)
    picture = Pillow.fromarray(_eight_bits(pixels))
    if heif.premultiplied_alpha and picture.mode == "RGBA":
        picture = Pillow.frombytes("RGBa", picture.size, picture.tobytes()).convert("RGBA")
    picture.info = {"icc_profile": profile} if profile else {}
    return picture


def _sixteen_bits(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    return np.asarray(pixels, np.uint16) * np.uint16(257 if pixels.dtype == np.uint8 else 1)


def _eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    return np.asarray((pixels.astype(np.uint32) * 255 + 32767) // 65535, np.uint8)
