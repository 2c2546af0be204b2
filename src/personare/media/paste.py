"""Putting a square that was cut from a picture, and worked on, back to its place with an
invisible seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image


@dataclass(frozen=True, slots=True)
class Square:
    """`side` x `side` whole pixels of a picture, from its column x and row y; may reach beyond
    the picture's border.
    """

    x: int
    y: int
    side: int

    def cut(self, picture: Image) -> Image:
        """The square's pixels, [side, side, ...]; beyond the border, those of the border. At
        least a part must lie inside.
        """
        height, width = picture.shape[:2]
        left, top = max(0, -self.x), max(0, -self.y)
        right, bottom = max(0, self.x + self.side - width), max(0, self.y + self.side - height)
        inside = picture[max(0, self.y) : self.y + self.side, max(0, self.x) : self.x + self.side]
        return np.asarray(cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE))

    def within(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a picture of this (height, width) that the square covers."""
        height, width = size
        rows = slice(min(max(0, self.y), height), max(0, min(self.y + self.side, height)))
        columns = slice(min(max(0, self.x), width), max(0, min(self.x + self.side, width)))
        return rows, columns


def resized(square: Image, size: int) -> Image:
    """A square picture at another size: area-averaged when it shrinks, cubic when it grows, the
    same array if it fits.
    """
    if len(square) == size:
        return square
    how = cv2.INTER_AREA if len(square) > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=how), dtype=square.dtype)


def feather(height: int, width: int, border_px: float) -> NDArray[np.float32]:
    """float32 [height, width]: 1 inside, falling smoothly to 0 at the border over `border_px`
    pixels.
    """
    y, x = (np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) for n in (height, width))
    t = np.clip(np.minimum.outer(y, x) / max(border_px, 1e-6), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def blend(picture: Image, patch: Image, corner: tuple[int, int], alpha: NDArray[np.float32]) -> None:
    """Lay a patch over a picture in place: where alpha is 0 not a byte changes, where it is 1
    the patch is copied.

    patch: uint8 [h, w, 3]. corner: (x, y) of its first pixel in the picture; what lies outside
    is left out. alpha: float32 [h, w] in 0..1.
    """
    x, y = corner
    height, width = picture.shape[:2]
    y0, x0 = max(0, -y), max(0, -x)
    y1, x1 = min(patch.shape[0], height - y), min(patch.shape[1], width - x)
    if y1 <= y0 or x1 <= x0:
        return
    window = picture[y + y0 : y + y1, x + x0 : x + x1]
    above, below = np.ascontiguousarray(patch[y0:y1, x0:x1]), np.ascontiguousarray(window)
    share = np.ascontiguousarray(alpha[y0:y1, x0:x1])
    window[:] = cv2.blendLinear(above, below, share, 1 - share)


class PasteBack:
    """Puts a worked-on square back into the picture that it was cut from, at the picture's own
    size.
    """

    def __init__(
        self,
        square: Square,
        size: tuple[int, int],
        border: float = 0.06,
        alpha: NDArray[np.float32] | None = None,
    ) -> None:
        """size: (height, width) of the picture. border: width of the seam's blend as a share of
        the square's side, towards the inside; sides at the picture's border need none. alpha:
        float32 [s, s], 0..1, instead of that border.
        """
        self.square = square
        if alpha is None:
            alpha = self._open_at_the_border(size, max(1.0, border * square.side))
        elif len(alpha) != square.side:
            alpha = np.asarray(
                cv2.resize(alpha, (square.side, square.side), interpolation=cv2.INTER_LINEAR), np.float32
            )
        rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
        self._rows = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
        self._columns = slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 0)
        self._alpha = np.ascontiguousarray(alpha[self._rows, self._columns])

    def paste(self, picture: Image, patch: Image) -> Image:
        """The patch, uint8 [s, s, 3] of any size, over the picture [H, W, 3], in place; returns
        the picture.
        """
        fitting = resized(patch, self.square.side)[self._rows, self._columns]
        blend(
            picture,
            fitting,
            (self.square.x + self._columns.start, self.square.y + self._rows.start),
            self._alpha,
        )
        return picture

    def _open_at_the_border(self, size: tuple[int, int], border_px: float) -> NDArray[np.float32]:
        side, reach = self.square.side, round(border_px) + 1
        before = [reach if start <= 0 else 0 for start in (self.square.y, self.square.x)]
        after = [
            reach if start + side >= length else 0
            for start, length in zip((self.square.y, self.square.x), size, strict=True)
        ]
        whole = feather(side + before[0] + after[0], side + before[1] + after[1], border_px)
        return whole[before[0] : before[0] + side, before[1] : before[1] + side]
