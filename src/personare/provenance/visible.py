"""Marks that people see: a badge on live pictures, and the label of a clip. Drawn after
composing, into the finished picture.

A text is drawn once into a small plate; a frame costs a blend of that plate alone. Its letters
come from the fonts that OpenCV brings, Chinese ones among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.errors import InvalidOption
from personare.types import Image

LEAST_HEIGHT_SHARE = 0.05
"""Of the shorter side: what GB 45438-2025 asks of the letters of a label."""
CARD_SECONDS = 2
"""How long it asks the label of an opening to be seen."""
LONGEST_TEXT = 60
_CARD_SHARE = 0.075
_BADGE_SHARE = 0.038
_LEAST_BADGE_PX = 10
_MARGIN_SHARE = 0.025
_PLATE = 0.62
"""How much of the picture a plate covers."""
_DARK, _LIGHT = (16, 16, 16), (245, 245, 245)
_BRIGHT, _DIM = 150.0, 110.0
"""Mean grey levels around a plate above which it turns dark, and below which it turns light:
apart, so that it does not flicker.
"""
_BOLD = 600
_MEASURED_PX = 100
"""The size at which a font is measured: its capital letters are this share of it."""

Corner = Literal["top left", "top right", "bottom left", "bottom right"]

BADGE_TEXT = "AI"
LABELS = {
    "zh-CN": ("人工智能生成", "AI生成"),
    "en": ("Made with AI", "AI"),
    "eu": ("AI-generated", "AI"),
}
"""Name of a label -> what its opening card says, and what stays in the corner."""


class Plate:
    """A text on a plate, ready to be blended at one place of every picture; it turns dark or
    light with what is behind it.

    size: (height, width) of the pictures.
    letters_px: height of its letters: of capitals, or of Chinese ones.
    centred: at the lower edge, in the middle; else in `corner`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        text: str,
        letters_px: float,
        *,
        corner: Corner = "top right",
        centred: bool = False,
    ) -> None:
        height, width = size
        margin = max(2, round(_MARGIN_SHARE * min(size)))
        letters = _letters(text, letters_px, width - 4 * margin)
        pad_y, pad_x = max(2, round(0.35 * letters_px)), max(3, round(0.55 * letters_px))
        letters = np.pad(letters, ((pad_y, pad_y), (pad_x, pad_x)))[:height, :width]
        tall, wide = letters.shape
        top = height - margin - tall if centred or "bottom" in corner else margin
        left = (width - wide) // 2 if centred else margin if "left" in corner else width - margin - wide
        top, left = max(0, min(top, height - tall)), max(0, min(left, width - wide))
        self.where = (slice(top, top + tall), slice(left, left + wide))
        plate = _PLATE * _rounded((tall, wide), 0.45 * tall)
        kept = ((1 - plate) * (1 - letters))[..., None]
        self._kept = np.repeat(np.rint(255 * kept).astype(np.uint8), 3, axis=2)
        self._added = {
            dark: np.rint(
                ((1 - letters) * plate)[..., None] * np.array(ground) + letters[..., None] * np.array(ink)
            ).astype(np.uint8)
            for dark, ground, ink in ((True, _DARK, _LIGHT), (False, _LIGHT, _DARK))
        }
        self._dark: bool | None = None

    def draw(self, frame: Image) -> Image:
        """Blend the plate into the picture itself, uint8 [H, W, 3] RGB, and give it back."""
        part = frame[self.where]
        behind = float(cv2.mean(part)[1])  # green: most of the brightness
        if self._dark is None or behind > _BRIGHT or behind < _DIM:
            self._dark = behind > (_BRIGHT + _DIM) / 2 if self._dark is None else behind > _BRIGHT
        cv2.multiply(part, self._kept, dst=part, scale=1 / 255)
        cv2.add(part, self._added[self._dark], dst=part)
        return frame


class Badge(Plate):
    """The small sign in a corner of live pictures.

    size: (height, width). text: a few letters.
    """

    def __init__(self, size: tuple[int, int], text: str = BADGE_TEXT, corner: Corner = "top right") -> None:
        super().__init__(
            size, checked_text(text), max(_LEAST_BADGE_PX, _BADGE_SHARE * min(size)), corner=corner
        )


@dataclass(frozen=True, slots=True)
class Label:
    """What a clip shows. opening: on a card, for CARD_SECONDS from the first frame. corner:
    from then on.
    """

    opening: str
    corner: str

    def on(self, size: tuple[int, int], fps: Fraction) -> Labelled:
        """Drawn on pictures of this size (height, width)."""
        return Labelled(self, size, fps)


class Labelled:
    """The label of one clip on its frames, in their order."""

    def __init__(self, label: Label, size: tuple[int, int], fps: Fraction) -> None:
        short = min(size)
        self._opening = Plate(size, label.opening, _CARD_SHARE * short, centred=True)
        self._corner = Plate(size, label.corner, LEAST_HEIGHT_SHARE * short)
        self._opens = -(-CARD_SECONDS * fps // 1)

    def draw(self, first: int, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label on a copy of consecutive pictures, uint8 [n, H, W, 3]. first: index of the
        first one in the clip.
        """
        drawn = np.array(images)
        for number, image in enumerate(drawn, first):
            (self._opening if number < self._opens else self._corner).draw(image)
        return drawn


def label_of(text: str) -> Label:
    """The label by its name in LABELS, or of a text. Raises InvalidOption."""
    known = {name.casefold(): label for name, label in LABELS.items()}
    if (found := known.get(text.strip().casefold())) is not None:
        return Label(*found)
    kept = checked_text(text)
    return Label(kept, kept)


def checked_text(text: str) -> str:
    """A text that can be drawn, in one line. Raises InvalidOption."""
    kept = " ".join(text.split())
    names = ", ".join(LABELS)
    if not kept or not kept.isprintable() or len(kept) > LONGEST_TEXT:
        raise InvalidOption(
            f"a label of {len(kept)} letters cannot be drawn", hint=f"{names}, or 1 to {LONGEST_TEXT} letters"
        )
    if (missing := _without_shape(kept)) is not None:
        raise InvalidOption(
            f"the label's letter {missing!r} is in no font here",
            hint=f"{names}, or a text in Latin or Chinese",
        )
    return kept


def _letters(text: str, letters_px: float, widest_px: int) -> NDArray[np.float32]:
    """The text in [0, 1], cut to its ink; smaller than asked for if it would be wider."""
    font = cv2.FontFace("sans")
    size = letters_px * _MEASURED_PX / _height_px(font, "H" if text.isascii() else text)
    _, _, wide, _ = cv2.getTextSize((0, 0), text, (0, 0), font, round(size), _BOLD)
    size = max(6.0, size * min(1.0, widest_px / max(1, wide)))
    canvas = _drawn(font, text, round(size))
    rows, columns = (np.flatnonzero(canvas.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((1, 1), np.float32)
    return np.asarray(canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / 255, np.float32)


def _height_px(font: cv2.FontFace, text: str) -> int:
    rows = np.flatnonzero(_drawn(font, text, _MEASURED_PX).any(axis=1))
    return int(rows[-1] - rows[0] + 1) if len(rows) else _MEASURED_PX


def _drawn(font: cv2.FontFace, text: str, size: int) -> NDArray[np.uint8]:
    canvas = np.zeros((3 * size, (len(text) + 2) * 2 * size), np.uint8)
    cv2.putText(canvas, text, (size, 2 * size), (255,), font, size, _BOLD)
    return canvas


def _without_shape(text: str) -> str | None:
    """The first letter that the font draws as it draws one that does not exist."""
    font = cv2.FontFace("sans")
    nothing = _drawn(font, "\U0010fffd", 24)
    return next((c for c in text if c != " " and np.array_equal(_drawn(font, c, 24), nothing)), None)


def _rounded(shape: tuple[int, int], radius: float) -> NDArray[np.float32]:
    """A rectangle with round corners, its edges smooth: float32 in [0, 1]."""
    tall, wide = shape
    y = np.abs(np.arange(tall) + 0.5 - tall / 2)[:, None] - (tall / 2 - radius)
    x = np.abs(np.arange(wide) + 0.5 - wide / 2)[None] - (wide / 2 - radius)
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) - radius
    return np.asarray(np.clip(0.5 - outside, 0, 1), np.float32)
