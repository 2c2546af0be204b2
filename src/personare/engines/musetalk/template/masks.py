"""Which pixels of the picture become the painted face's: from class labels of a square around
the face to a soft mask.

face box -> square (1.5 times as large) -> 512 x 512 px -> labels -> hard mask -> back to the
square -> lower half -> blurred
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from personare.engines.musetalk.template.boxes import Box
from personare.types import Image

if TYPE_CHECKING:
    from personare.perception.parsing import BiSeNet

Mask = NDArray[np.uint8]
ParsingMode = Literal["jaw", "raw", "neck", "original"]

PARSED_PX = 512
EXPAND = 1.5
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_SKIN, _NOSE, _INNER_MOUTH, _UPPER_LIP, _LOWER_LIP, _NECK = 1, 10, 11, 12, 13, 14
_CLASSES = {
    "raw": (_SKIN, _INNER_MOUTH, _UPPER_LIP, _LOWER_LIP),
    "neck": (_SKIN, _INNER_MOUTH, _UPPER_LIP, _LOWER_LIP, _NECK),
    "original": tuple(range(1, 14)),
}
_FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
    149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_NOSE_OUTLINE = (
    168,
    122,
    188,
    114,
    217,
    126,
    142,
    129,
    98,
    97,
    2,
    326,
    327,
    358,
    371,
    355,
    437,
    343,
    412,
    351,
)
_OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_LIPS_MEET = (61, 78, 13, 308, 291)


def square_around(box: Sequence[int], expand: float = EXPAND) -> Box:
    """The square of whole pixels around a face box, `expand` times its longer side; may reach
    beyond the picture.
    """
    x0, y0, x1, y1 = (int(value) for value in box)
    cx, cy = (x0 + x1) // 2, (y0 + y1) // 2
    s = int(max(x1 - x0, y1 - y0) // 2 * expand)
    return cx - s, cy - s, cx + s, cy + s


def cut_square(picture: Image, square: Box) -> Image:
    """The square's pixels; black beyond the picture."""
    x0, y0, x1, y1 = square
    height, width = picture.shape[:2]
    cut = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    top, left = max(0, y0), max(0, x0)
    inside = picture[top : max(top, min(y1, height)), left : max(left, min(x1, width))]
    cut[top - y0 : top - y0 + inside.shape[0], left - x0 : left - x0 + inside.shape[1]] = inside
    return cut


def parser_picture(square: Image) -> Image:
    """uint8 [512, 512, 3]: what the parser is shown of a picture, by Pillow's bilinear filter."""
    return np.asarray(
        PIL.Image.fromarray(square).resize((PARSED_PX, PARSED_PX), PIL.Image.Resampling.BILINEAR)
    )


def parser_input(square: Image) -> NDArray[np.float32]:
    """The same, normalised: float32 [3, 512, 512]."""
    shown = parser_picture(square).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((shown - _MEAN) / _STD).transpose(2, 0, 1))


def parsed(network: BiSeNet, squares: Sequence[Image]) -> Mask:
    """The parser's class of each pixel, uint8 [n, 512, 512]."""
    import torch

    weight = network.cp.resnet.conv1.weight
    shown = torch.from_numpy(np.stack([parser_input(square) for square in squares])).to(
        weight.device, weight.dtype
    )
    with torch.inference_mode():
        labels: Mask = network(shown).argmax(dim=1).to(torch.uint8).cpu().numpy()
    return labels


def drawn(landmarks: NDArray[np.float32], square: Box) -> Mask:
    """Labels as a parser would give them, uint8 [512, 512], drawn from the 468 points of a face
    in the picture.

    Skin within the oval from forehead to chin, nose, lips and inner mouth. Hair, hands and
    glasses in front of the face are not seen, there is no neck.
    """
    x0, y0, x1, _ = square
    places = (landmarks[:, :2] - np.array([x0, y0], np.float32)) * np.float32(PARSED_PX / max(1, x1 - x0))
    labels = np.zeros((PARSED_PX, PARSED_PX), np.uint8)
    upper = _OUTER_LIPS[:11]  # corner to corner
    for label, outline in (
        (_SKIN, _FACE_OVAL),
        (_NOSE, _NOSE_OUTLINE),
        (_LOWER_LIP, _OUTER_LIPS),
        (_UPPER_LIP, (*upper, *_LIPS_MEET[::-1][1:-1])),
        (_INNER_MOUTH, _INNER_LIPS),
    ):
        polygon = np.rint(places[list(outline)] * 16).astype(np.int32)
        cv2.fillPoly(labels, [polygon], label, shift=4)
    return labels


def hard_mask(
    labels: Mask, mode: ParsingMode, left_cheek_width: int = 90, right_cheek_width: int = 90
) -> Mask:
    """uint8 [512, 512], 255 where the painted face is wanted.

    raw: skin and mouth. neck: with the neck. jaw: the skin grown (more upwards than downwards)
    outside the cheeks and shrunk sideways within them, without the nose, and the mouth.
    original: everything from skin to lips, as in 2024. The cheeks are all columns further than
    the given widths (px of 512) from the middle.
    """
    if mode != "jaw":
        return np.where(np.isin(labels, _CLASSES[mode]), 255, 0).astype(np.uint8)
    skin = np.where(labels == _SKIN, 255, 0).astype(np.uint8)
    grown = cv2.dilate(skin, jaw_kernel())
    shrunk = cv2.erode(grown, cheek_kernel(), iterations=2)
    cheeks = cheek_mask(left_cheek_width, right_cheek_width)
    face = np.where(cheeks[None, :] > 0, shrunk, grown)
    mouth = np.isin(labels, (_INNER_MOUTH, _UPPER_LIP, _LOWER_LIP))
    return np.where(((face == 255) & (labels != _NOSE)) | mouth, 255, 0).astype(np.uint8)


@cache
def jaw_kernel() -> Mask:
    """Grows skin by 16 px upwards, 6 downwards and 10 sideways: uint8 [33, 33]."""
    kernel = np.zeros((33, 33), np.uint8)
    for row in range(10, 21):
        kernel[row, 16 - (row - 10) : 16 + (row - 10) + 1] = 1
    kernel[21:, 6:27] = 1
    return kernel


@cache
def cheek_kernel() -> Mask:
    """A flat ellipse, uint8 [3, 35]."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)))


def cheek_mask(left_width: int, right_width: int) -> Mask:
    """Which columns are cheeks: uint8 [512], 255 or 0."""
    middle, columns = PARSED_PX // 2, np.arange(PARSED_PX)
    return np.where((columns <= middle - left_width) | (columns >= middle + right_width), 255, 0).astype(
        np.uint8
    )


def soft_mask(hard: Mask, box: Sequence[int], square: Box, blur: float, upper_ratio: float = 0.5) -> Mask:
    """The mask in the square's own pixels, uint8 [2s, 2s]: only within the face box and below
    `upper_ratio` of the square, blurred over `blur` of its side.
    """
    x0, y0, x1, y1 = square
    width, height = x1 - x0, y1 - y0
    fitted = np.asarray(PIL.Image.fromarray(hard).resize((width, height)))
    mask = np.zeros((height, width), np.uint8)
    rows = slice(max(0, box[1] - y0, int(height * upper_ratio)), max(0, box[3] - y0))
    columns = slice(max(0, box[0] - x0), max(0, box[2] - x0))
    mask[rows, columns] = fitted[rows, columns]
    kernel = int(blur * width // 2 * 2) + 1
    return np.asarray(cv2.GaussianBlur(mask, (kernel, kernel), 0))
