"""RGB pictures over a colour, and as the planes that H.264 keeps."""

from __future__ import annotations

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

# Chroma rows of ITU-R BT.601 (limited range, 8 bits) on R, G, B in 0..255, with their offset of
# 128. The third row is there because OpenCV is eight times as fast from three channels to
# three.
_CHROMA = (
    np.array([[-37.797, -74.203, 112.0, 128 * 255], [112.0, -93.786, -18.214, 128 * 255], [0, 0, 0, 0]]) / 255
)


Colour = tuple[int, int, int]
"""Red, green, blue, 0..255, sRGB."""
WHITE: Colour = (255, 255, 255)
"""What is laid behind transparent pictures unless another colour is asked for."""


def colour(text: str) -> Colour:
    """#RRGGBB. Raises ValueError for anything else."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text!r} is not a colour: write #RRGGBB, for example #00ff00")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def over(image: Image, alpha: NDArray[np.uint8], ground: Colour) -> Image:
    """A picture uint8 [H, W, 3], opaque where alpha [H, W] is 255, over a colour."""
    share = alpha[..., None].astype(np.uint16)
    mixed = image * share + np.array(ground, np.uint16) * (255 - share)
    return ((mixed + 127) // 255).astype(np.uint8)


def even_sized(image: Image) -> Image:
    """The picture with its last row and column repeated where its height or width is odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    padded = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)


def i420(image: Image) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of even size as planar 4:2:0, [H * 3 / 2, W]: BT.601, limited range,
    chroma at the centre of its four pixels.

    OpenCV's own conversion takes the chroma of every second pixel, which frays coloured edges;
    here it is the mean of the four.
    """
    height, width = image.shape[:2]
    planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
    quarter = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = cv2.transform(quarter, _CHROMA)
    for channel, plane in enumerate(planes[height:].reshape(2, height // 2, width // 2)):
        cv2.extractChannel(chroma, channel, dst=plane)
    return planes
