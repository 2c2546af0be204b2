"""What the face is painted with: a picture from which colours between its pixels are fetched.

The picture is enlarged once by two, with a wide kernel. From then on the mean of four
neighbours is as good as the wide kernel itself (49 dB to it), and costs a sixth: a picture that
goes half a pixel to and fro must not go in and out of focus. Four channels, because OpenCV is
twice as fast with four as with three; the fourth is carried along with the colours.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

Floats = NDArray[np.float32]

ENLARGED = 2
"""Places in a texture are counted in this fraction of a pixel of its picture."""
_HALF_WAY = np.array([-3, 19, 19, -3], np.float32) / 32
"""Cubic convolution, a = -3/4, half-way between two pixels."""
_REACH_PX = 2
"""How far that looks."""
_CACHE_LINE = 64
"""Bytes that a processor reads at once."""


class Texture:
    """A picture, uint8 [H, W, 3], and a plane of as many pixels, to be fetched from.

    size: (height, width) of the picture.
    """

    MARGIN_PX: ClassVar[int] = 3
    """How much further than its places a fetch looks."""

    def __init__(self, picture: Image, plane: NDArray[np.uint8] | None = None) -> None:
        """plane: uint8 [H, W], all 255 unless given."""
        height, width = self.size = picture.shape[:2]
        self._pixels = np.empty((ENLARGED * height, ENLARGED * width, 4), np.uint8)
        self.show(picture, (slice(0, height), slice(0, width)), plane)

    @property
    def plane(self) -> NDArray[np.uint8]:
        """The plane, uint8 [H, W]."""
        return np.ascontiguousarray(self._pixels[::ENLARGED, ::ENLARGED, 3])

    def show(
        self, picture: Image, window: tuple[slice, slice], plane: NDArray[np.uint8] | None = None
    ) -> None:
        """Take what another picture of the same size shows in this window."""
        rows, columns = window
        around = tuple(
            slice(max(0, part.start - _REACH_PX), min(side, part.stop + _REACH_PX))
            for part, side in zip(window, self.size, strict=True)
        )
        within = tuple(
            slice(part.start - more.start, part.stop - more.start)
            for part, more in zip(window, around, strict=True)
        )
        if plane is None:
            pixels = np.asarray(cv2.cvtColor(picture[around], cv2.COLOR_RGB2RGBA), np.uint8)
        else:
            pixels = np.dstack([picture[around], plane[around]])
        into = self._pixels.view(np.uint32)[
            ENLARGED * rows.start : ENLARGED * rows.stop,
            ENLARGED * columns.start : ENLARGED * columns.stop,
            0,
        ]
        # The picture's own pixels stay among those between them: what does not move is the
        # picture to the byte.
        for column, own in enumerate((pixels, _half_way(pixels, across=True))):
            into[0::ENLARGED, column::ENLARGED] = own.view(np.uint32)[..., 0][within]
            below = _half_way(own, across=False).view(np.uint32)[..., 0]
            into[1::ENLARGED, column::ENLARGED] = below[within]

    def expect(self, window: tuple[slice, slice]) -> None:
        """Read this window of the picture once in order, from where a fetch will read it in
        leaps: the processor then has it at hand, which on some halves the time of the fetch.
        """
        rows, columns = window
        lines = self._pixels.view(np.int32)[
            ENLARGED * rows.start : ENLARGED * rows.stop,
            ENLARGED * columns.start : ENLARGED * columns.stop : _CACHE_LINE // 4,
            0,
        ]
        np.bitwise_or.reduce(lines, axis=None)

    def fetch(self, x: Floats, y: Floats, into: NDArray[np.uint8]) -> None:
        """Colours and plane, uint8 [h, w, 4], at places float32 [h, w] each; beyond the border
        it is mirrored: colours of the border alone would be streaks.
        """
        cv2.remap(self._pixels, x, y, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REFLECT_101)


def _half_way(pixels: NDArray[np.uint8], *, across: bool) -> NDArray[np.uint8]:
    """What lies half a pixel to the right, or below, uint8 [h, w, 4]."""
    kernel = _HALF_WAY[None] if across else _HALF_WAY[:, None]
    anchor = (1, 0) if across else (0, 1)
    return np.asarray(
        cv2.filter2D(pixels, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE), np.uint8
    )
