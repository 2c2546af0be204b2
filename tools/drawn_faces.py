"""Faces drawn by code, free to show: huge eyes, small mouths, shut lips that shine.

python tools/drawn_faces.py [-o out/drawn]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]

SIDE, FINE, MIDDLE = 1024, 2, 512.0
"""Pixels of a picture, how much finer its shapes are drawn, and where the face's middle is."""
TOP, BOTTOM = 270.0, 850.0
NECK, SHIRT = 0.82, (90, 110, 170)
SHINE = (255, 255, 255)


@dataclass(frozen=True)
class Face:
    """What tells drawn faces apart. Lengths are pixels; eye and mouth are half as wide and as
    high as these.

    flat: outlines and plain colours, as in anime; else soft shading.
    gloss: bright spots on the lips.
    """

    skin: Colour
    hair: Colour
    iris: Colour
    eye: Point = (92, 104)
    eye_at: Point = (135, 545)
    mouth: Point = (52, 18)
    mouth_at: float = 700
    iris_size: float = 0.78
    lip: Colour = (200, 110, 110)
    line: Colour = (60, 40, 40)
    background: Colour = (205, 210, 220)
    half: float = 285
    flat: bool = False
    gloss: bool = False


FACES = {
    "anime": Face((250, 222, 204), (96, 64, 52), (70, 120, 200), flat=True),
    "cartoon": Face((236, 184, 150), (70, 42, 30), (60, 130, 80), eye=(98, 106)),
    "doll": Face((244, 206, 190), (214, 160, 80), (120, 80, 50), eye=(84, 92), mouth=(44, 18), mouth_at=712),
    "goggles": Face(
        (222, 170, 130), (40, 38, 50), (50, 40, 36), (100, 100), (128, 545), (64, 18), 715, iris_size=0.5
    ),
    "sprite": Face(
        (252, 228, 208),
        (150, 70, 110),
        (180, 60, 90),
        (80, 100),
        (136, 550),
        (40, 18),
        712,
        background=(230, 226, 214),
        half=270,
        flat=True,
    ),
    "glossy": Face(
        (150, 100, 70),
        (30, 24, 24),
        (60, 40, 30),
        (56, 30),
        (118, 520),
        (84, 34),
        705,
        lip=(150, 60, 60),
        gloss=True,
    ),
}
"""Portraits by name."""


class Pen:
    """Draws soft-edged shapes on a picture of floats."""

    def __init__(self, colour: Colour) -> None:
        self.picture = np.empty((SIDE, SIDE, 3), np.float32)
        self.picture[:] = colour

    def shape(self, drawn: Callable[[NDArray[np.uint8]], object], soft: float) -> Floats:
        """float32 [SIDE, SIDE] 0..1 of what a function draws on a fine mask."""
        mask = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
        drawn(mask)
        small = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(small / 255, (0, 0), soft), np.float32)

    def put(self, colour: Colour | Floats, mask: Floats, alpha: float = 1.0) -> None:
        self.picture += (np.asarray(colour, np.float32) - self.picture) * (mask * alpha)[..., None]

    def ellipse(
        self, at: Point, half: Point, colour: Colour | Floats, soft: float = 0.8, alpha: float = 1.0
    ) -> Floats:
        """The mask of what was drawn."""
        centre, axes = (tuple(round(v * FINE) for v in pair) for pair in (at, half))
        mask = self.shape(lambda m: cv2.ellipse(m, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA), soft)
        self.put(colour, mask, alpha)
        return mask

    def polygon(
        self, points: Floats, colour: Colour | Floats, soft: float = 0.8, alpha: float = 1.0
    ) -> Floats:
        """The mask of what was drawn."""
        placed = np.rint(points * FINE).astype(np.int32)
        mask = self.shape(lambda m: cv2.fillPoly(m, [placed], 255, cv2.LINE_AA), soft)
        self.put(colour, mask, alpha)
        return mask

    def line(self, points: Floats, width: float, colour: Colour | Floats, alpha: float = 1.0) -> None:
        placed, wide = np.rint(points * FINE).astype(np.int32), round(width * FINE)
        self.put(
            colour,
            self.shape(lambda m: cv2.polylines(m, [placed], False, 255, wide, cv2.LINE_AA), 0.8),
            alpha,
        )


def bow(start: Point, over: Point, end: Point) -> Floats:
    """A quadratic Bezier curve, float32 [40, 2]."""
    t = np.linspace(0, 1, 40, dtype=np.float32)[:, None]
    a, b, c = (np.asarray(p, np.float32) for p in (start, over, end))
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * c, np.float32)


def arc(at: Point, half: Point, start: float, end: float) -> Floats:
    """Part of an ellipse's rim, degrees clockwise from image right, float32 [40, 2]."""
    t = np.deg2rad(np.linspace(start, end, 40, dtype=np.float32))
    return np.stack([at[0] + half[0] * np.cos(t), at[1] + half[1] * np.sin(t)], axis=1).astype(np.float32)


def draw(face: Face) -> NDArray[np.uint8]:
    """The portrait, uint8 [SIDE, SIDE, 3]."""
    pen, skin, hair = Pen(face.background), np.float32(face.skin), np.float32(face.hair)
    pen.ellipse((MIDDLE, 430), (345, 360), hair)
    pen.polygon(np.float32([(170, 420), (854, 420), (880, 900), (144, 900)]), hair, 3)
    pen.polygon(np.float32([(430, 760), (594, 760), (610, 1024), (414, 1024)]), skin * NECK, 2)
    pen.polygon(np.float32([(250, 1024), (340, 930), (684, 930), (774, 1024)]), SHIRT, 2)
    _draw_skin(pen, face)
    for side in (-1, 1):
        _draw_eye(pen, face, side)
    _draw_nose(pen, face)
    _draw_mouth(pen, face)
    for low, over, end in (
        ((230, 480), (330, 250), (560, 255)),
        ((420, 400), (480, 270), (640, 250)),
        ((800, 480), (720, 250), (480, 255)),
    ):
        crown = np.float32([(MIDDLE, 150), ((low[0] + MIDDLE) / 2, 180), (low[0], 300)])
        pen.polygon(np.vstack([bow(low, over, end), crown]), hair, 1.5)
    return np.asarray(np.clip(pen.picture, 0, 255), np.uint8)


def _draw_skin(pen: Pen, face: Face) -> None:
    t = np.linspace(0, 2 * np.pi, 200, dtype=np.float32)
    down = (1 - np.cos(t)) / 2
    chin = 1 - 0.45 * np.clip((down - 0.45) / 0.55, 0, 1) ** 1.6
    outline = np.stack([MIDDLE + face.half * np.sin(t) * chin, TOP + (BOTTOM - TOP) * down], axis=1)
    inside = pen.polygon(outline.astype(np.float32), face.skin, 1)
    if face.flat:
        pen.line(outline.astype(np.float32), 5, face.line)
        return
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    out = np.clip(np.hypot((x - MIDDLE) / face.half, (y - 560) / 330) - 0.45, 0, 1) ** 1.3
    pen.picture *= 1 - (0.28 * inside * out)[..., None]
    for side in (-1, 1):
        pen.ellipse((MIDDLE + side * 165, 690), (70, 42), np.float32(face.skin) * (0.95, 0.7, 0.75), 28, 0.35)


def _draw_eye(pen: Pen, face: Face, side: int) -> None:
    x, y = MIDDLE + side * face.eye_at[0], face.eye_at[1]
    wide, high = face.eye
    if not face.flat:
        pen.ellipse((x, y - 6), (wide + 16, high + 18), np.float32(face.skin) * 0.78, 10, 0.55)
    ball, iris = Pen((250, 250, 252)), np.float32(face.iris)
    at = (x - side * wide * 0.06, y + high * 0.05)
    half = (min(wide, high) if high < wide else wide) * face.iris_size, high * face.iris_size * 1.05
    ball.ellipse(at, half, iris * 0.45, 1.2)
    ball.ellipse((at[0], at[1] + half[1] * 0.12), (half[0] * 0.88, half[1] * 0.84), iris, 6)
    bright = np.minimum(iris * 1.6 + 30, 255)
    ball.ellipse((at[0], at[1] + half[1] * 0.45), (half[0] * 0.6, half[1] * 0.4), bright, 10, 0.7)
    ball.ellipse(at, (half[0] * 0.42, half[1] * 0.45), (18, 14, 20), 1.5)
    for aside, up, size in ((-0.32, -0.38, 0.24), (0.3, 0.4, 0.12)):
        spot = (at[0] + half[0] * aside, at[1] + half[1] * up)
        ball.ellipse(spot, (half[0] * size, half[1] * size), SHINE, 1)
    ball.ellipse((x, y - high * 0.85), (wide * 1.1, high * 0.5), np.float32((0, 0, 0)), 12, 0.3)
    opened = pen.shape(
        lambda m: cv2.fillPoly(m, [np.rint(arc((x, y), face.eye, 0, 360) * FINE).astype(np.int32)], 255), 0.8
    )
    pen.picture += (ball.picture - pen.picture) * opened[..., None]
    pen.line(arc((x, y), (wide * 1.02, high * 1.02), 188, 352), 10, face.line)
    pen.line(arc((x, y), face.eye, 20, 160), 3, face.line, 0.55)
    brow = y - high - 48
    left, right = (x - side * wide * 0.8, brow + 12), (x + side * wide * 0.9, brow + 14)
    pen.line(bow(left, (x, brow - 22), right), 11, np.float32(face.hair) * 0.7)


def _draw_nose(pen: Pen, face: Face) -> None:
    y, skin = face.eye_at[1] + 95, np.float32(face.skin)
    if face.flat:
        pen.line(np.float32([(MIDDLE + 4, y - 17), (MIDDLE - 8, y + 9), (MIDDLE + 6, y + 11)]), 4, face.line)
        return
    pen.ellipse((MIDDLE, y), (26, 18), np.minimum(skin * 1.08, 255), 6, 0.8)
    pen.ellipse((MIDDLE, y + 23), (30, 7), skin * 0.75, 5, 0.6)
    for aside in (-16, 16):
        pen.ellipse((MIDDLE + aside, y + 15), (7, 4), skin * 0.5, 2, 0.8)


def _draw_mouth(pen: Pen, face: Face) -> None:
    (wide, high), y = face.mouth, face.mouth_at
    left, right = (MIDDLE - wide, y), (MIDDLE + wide, y)
    above, below = bow(left, (MIDDLE, y - 0.9 * high), right), bow(right, (MIDDLE, y + 2 * high), left)
    pen.polygon(np.vstack([above, below]), face.lip, 1.5, 0.9)
    pen.line(bow(left, (MIDDLE, y + 0.8 * high), right), 4, np.float32(face.lip) * 0.4)
    if face.gloss:
        for aside, up, length in (
            (-0.25, -0.05, 0.16),
            (0.2, -0.08, 0.12),
            (-0.1, 0.72, 0.3),
            (0.3, 0.66, 0.12),
        ):
            at = (MIDDLE + aside * wide, y + up * high)
            pen.ellipse(at, (length * wide, 0.09 * high), (240, 190, 185), 2, 0.85)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/drawn"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for name, face in FACES.items():
        Image.fromarray(draw(face)).save(output / f"{name}.png")


if __name__ == "__main__":
    main()
