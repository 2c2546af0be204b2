"""Lids that come down: the skin that an open eye folds away, and the lashes along its edge.

What a lid shows when it is shut is in no picture of an open eye. It is made of the skin that
slides down with it: smoothed, lit like the ball beneath, and given the picture's own grain.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.draw.mouth import smooth_line
from personare.engines.puppet.fit.eyes import BROW_BONES, CREASES, LOWER_LIDS, UPPER_LIDS, stroke_kernel
from personare.engines.puppet.fit.light import LEFT_CHEEK, RIGHT_CHEEK
from personare.engines.puppet.fit.rig import BLINKS, Rig
from personare.types import Image

Floats = NDArray[np.float32]

FROM = 0.05
"""Blinks slighter than this leave the picture's own lids as they are."""
BLUR_ALONG, BLUR_ACROSS = 0.050, 0.012
"""A shut lid is smooth: its stretched texture is blurred this much along and across the lid, in
eye distances.
"""
EDGE_BLUR = 0.018
TINT = 0.45
"""Share of bare skin colour mixed into a shut lid."""
DARK_LID, DARK_TINT = 0.80, 0.75
"""A lid that is darker than this share of bare skin (a deep socket, the hair of a low brow) is
mixed with more of it, up to the second share where it is half as bright as that: what it shows
lay in the socket's shadow, and a lid that has come down does not.
"""
LIT, SHADED = 0.07, 0.13
"""Light that the middle of a shut lid gains, over the eyeball, and that its edge loses."""
LIGHT_WIDTH = 0.028
"""Standard deviation of both, in eye distances."""
GRAIN_ABOVE, GRAIN_AT_MOST = 0.025, 14.0
"""Detail of the cheeks finer than this, in eye distances, is grain, up to so many grey levels:
a beard's hair or a freckle is none.
"""
CREASE_FADES = 0.60
"""Share of the crease above an open eye that a shut one loses."""
STROKES_GONE, PAINTED_UP = 0.35, 0.85
"""Blink by which the lashes that stood on the lid are no longer seen on it; share of the way
from the crease to the bone below the brow up to which they are painted out.
"""
BAND, BAND_ALPHA = 0.026, 0.66
"""The line of the lashes on a shut lid: height in eye distances, opacity."""
LASHES, LASH_LENGTH, LASH_ALPHA = 17, 0.034, 0.38
"""Single lashes below that line, the longest in eye distances, and their opacity."""
LASHES_LEAN = 0.75
"""How far lashes lean away from the middle of the eye, in their own length."""
LASHES_SHOW = 0.4
"""Blink from which on they point down."""
HUGE = 0.3
"""Eyes higher than this, in eye distances, have larger lashes."""
BLUR_PX = 0.55
SUPERSAMPLING = 2
RAGGED = np.random.default_rng(13).random(64).astype(np.float32)
"""What is irregular in lashes, 0..1: the same for every face, so the same bytes."""


class Lids:
    """Shuts the eyes of one face."""

    def __init__(self, picture: Image, rig: Rig) -> None:
        """picture: uint8 [S, S, 3], the rig's."""
        self._rig = rig
        self._lash_scale = lash_scale(rig.points, rig.eye_distance_px)
        self._grain = grain(picture, rig.points, rig.eye_distance_px)

    def shut(self, frame: Image, vertices: Floats, curves: Floats) -> None:
        """Draw the lids of eyes that blink into a frame, in place. vertices: where the rig's
        points are in it. curves: float32 [52].
        """
        rig = self._rig
        if not rig.blinks:
            return
        unit_px = rig.eye_distance_px
        for eye, blink in enumerate(float(v) for v in curves[BLINKS]):
            if blink > FROM:
                long = float(rig.long_lashes[eye])
                gone = min(1.0, blink / STROKES_GONE)
                bare_lid(frame, vertices, eye, unit_px, gone * (CREASE_FADES + (1 - CREASE_FADES) * long))
                smooth_lid(frame, vertices, eye, rig.lid_colours[eye], unit_px, blink, self._grain)
                line = smooth_line(vertices[UPPER_LIDS[eye], :2])
                drawn = unit_px * float(self._lash_scale[eye])
                draw_lashes(frame, line, rig.lash_colour, drawn, rig.softness_px, blink)


def lash_scale(points: Floats, unit_px: float) -> Floats:
    """How much larger than a person's the lashes of either eye are, float32 [2]: as drawings
    with huge eyes have them.
    """
    high = np.linalg.norm(points[LOWER_LIDS, :2] - points[UPPER_LIDS, :2], axis=2).max(axis=1)
    return np.asarray(np.clip(high / (HUGE * unit_px), 1, 1.8), np.float32)


def grain(picture: Image, points: Floats, unit_px: float) -> Floats:
    """The picture's own grain, float32 [h, w] in grey levels about 0: what is fine on the
    smoother of the cheeks.
    """
    found = []
    for corners in (LEFT_CHEEK, RIGHT_CHEEK):
        size = np.array(picture.shape[1::-1])
        low = np.clip(np.floor(points[list(corners), :2].min(axis=0)).astype(int), 0, size - 2)
        high = np.clip(np.ceil(points[list(corners), :2].max(axis=0)).astype(int), low + 2, size)
        grey = cv2.cvtColor(picture[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY)
        coarse = cv2.GaussianBlur(grey, (0, 0), max(GRAIN_ABOVE * unit_px, 0.5)).astype(np.float32)
        found.append(np.clip(grey.astype(np.float32) - coarse, -GRAIN_AT_MOST, GRAIN_AT_MOST))
    return min(found, key=lambda fine: float(fine.std()))


def bare_lid(frame: Image, posed: Floats, eye: int, unit_px: float, strength: float) -> None:
    """Paint out, in place, what is fine and dark on a lid that shuts: lashes that stood on it,
    and the crease. posed: vertices of the frame. strength: 0..1.
    """
    crease, bone = posed[CREASES[eye], :2], posed[BROW_BONES[eye], :2]
    outline = np.concatenate([posed[UPPER_LIDS[eye], :2], (crease + PAINTED_UP * (bone - crease))[::-1]])
    kernel = stroke_kernel(unit_px)
    window = _window(frame, outline, len(kernel))
    if window is None:
        return
    patch, corner = window
    soft = _filled(patch, (outline - corner).astype(np.float32), max(EDGE_BLUR * unit_px, 0.5)) * np.float32(
        strength / 255
    )
    # What is left between strokes in place of them, smooth as lids are.
    closed = cv2.GaussianBlur(
        cv2.morphologyEx(patch, cv2.MORPH_CLOSE, kernel), (0, 0), max(0.25 * len(kernel), 0.5)
    )
    patch[:] = cv2.blendLinear(closed, np.ascontiguousarray(patch), soft, 1 - soft)


def smooth_lid(
    frame: Image,
    posed: Floats,
    eye: int,
    colour: Floats,
    unit_px: float,
    blink: float,
    fine: Floats | None = None,
) -> None:
    """Make the lid of a shutting eye skin over a ball, in place. posed: vertices of the frame;
    colour: of bare skin; fine: the picture's `grain`.
    """
    # From the crease's corners over the lid to its edge: the skin that was folded away while
    # the eye was open.
    edge, crease = posed[UPPER_LIDS[eye], :2], posed[CREASES[eye], :2]
    outline = np.concatenate([edge, crease[::-1]])
    window = _window(frame, outline, round(2 * BLUR_ALONG * unit_px) + 2)
    if window is None:
        return
    patch, corner = window
    shut = min(1.0, blink * 1.2)
    soft = _filled(patch, (outline - corner).astype(np.float32), max(EDGE_BLUR * unit_px, 0.5)) * np.float32(
        shut / 255
    )
    sigma = (max(BLUR_ALONG * unit_px, 0.5), max(BLUR_ACROSS * unit_px, 0.3))
    smooth = cv2.GaussianBlur(patch, (0, 0), sigma[0], sigmaY=sigma[1]).astype(np.float32)
    dark = np.clip(
        1 - smooth.mean(axis=2, keepdims=True) / np.float32(DARK_LID * max(float(colour.mean()), 1.0)), 0, 1
    )
    smooth += (colour - smooth) * (TINT + (DARK_TINT - TINT) * np.minimum(2 * dark, 1))
    middle = (edge[1:-1] + crease)[1:-1] / 2
    wide = max(1, round(LIGHT_WIDTH * unit_px))
    lit = _stroked(patch, (middle - corner).astype(np.float32), wide) * np.float32(LIT * shut / 255)
    lit -= _stroked(patch, (edge[1:-1] - corner).astype(np.float32), wide) * np.float32(SHADED * shut / 255)
    smooth *= 1 + lit[..., None]
    if fine is not None:
        height, width = patch.shape[:2]
        down, right = max(0, height - fine.shape[0]), max(0, width - fine.shape[1])
        tiled = cv2.copyMakeBorder(fine, 0, down, 0, right, cv2.BORDER_REFLECT)[:height, :width, None]
        smooth += tiled * np.float32(min(1.0, float(colour.mean()) / 128))
    patch[:] = np.rint(np.clip(patch + (smooth - patch) * soft[..., None], 0, 255))


def draw_lashes(
    frame: Image, lid_edge: Floats, colour: Floats, unit_px: float, softness_px: float, blink: float
) -> None:
    """Draw the lashes of a lid that comes down into a frame, in place: a band with a ragged
    lower edge, and single lashes. lid_edge: smooth line float32 [k, 2] from the outer corner;
    softness_px: of the picture; blink: 0..1.
    """
    window = _window(frame, lid_edge, 3 + round((BAND + LASH_LENGTH) * unit_px))
    if window is None:
        return
    patch, corner = window
    height, width = patch.shape[:2]
    fine = SUPERSAMPLING
    mask = np.zeros((height * fine, width * fine), np.uint8)
    line = (lid_edge - corner).astype(np.float32)
    along = (line[-1] - line[0]) / max(float(np.linalg.norm(line[-1] - line[0])), 1e-3)
    down = np.array([-along[1], along[0]], np.float32)
    down *= np.sign(down[1]) or 1
    share = np.linspace(0, 1, len(line), dtype=np.float32)
    ragged = RAGGED[np.arange(len(line)) % len(RAGGED)]
    # Fuller towards the outer corner, nothing at either.
    full = np.maximum(np.sin(np.pi * share**0.8), 0)
    above, below = 0.3 * full, full * (0.35 + 0.35 * ragged)
    band = np.concatenate(
        [
            line - down * (BAND * unit_px * above)[:, None],
            (line + down * (BAND * unit_px * below)[:, None])[::-1],
        ]
    )
    cv2.fillPoly(mask, [_subpixel(band * fine)], round(255 * BAND_ALPHA), cv2.LINE_AA, 4)
    shown = (blink - LASHES_SHOW) / (1 - LASHES_SHOW)
    if shown > 0:
        at = 0.08 + 0.84 * (np.arange(LASHES) + RAGGED[:LASHES]) / LASHES
        root = np.stack([np.interp(at, share, line[:, axis]) for axis in (0, 1)], axis=1)
        length = (
            LASH_LENGTH * unit_px * np.interp(at, share, full) * (0.55 + 0.45 * RAGGED[LASHES : 2 * LASHES])
        )
        lean = (at - 0.5) * 2 * LASHES_LEAN
        tips = root + (down + along * lean[:, None]) * length[:, None]
        strokes = _subpixel(np.stack([root, tips], axis=1) * fine)
        single = np.zeros_like(mask)
        thickness = max(1, round(0.006 * unit_px * fine))
        cv2.polylines(
            single, list(strokes), False, round(255 * LASH_ALPHA * shown), thickness, cv2.LINE_AA, 4
        )
        mask = np.maximum(mask, single)
    soft = cv2.resize(
        cv2.GaussianBlur(mask, (0, 0), fine * float(np.hypot(BLUR_PX, softness_px))),
        (width, height),
        interpolation=cv2.INTER_AREA,
    )
    middle, half = (line[0] + line[-1]) / 2, max(float(np.linalg.norm(line[-1] - line[0])) / 2, 0.5)
    x, y = (np.arange(count, dtype=np.float32) + 0.5 for count in (width, height))
    aside = np.add.outer((y - middle[1]) * along[1], (x - middle[0]) * along[0]) / half
    ends = np.clip((1 - aside**4) * 1.2, 0, 1)
    alpha = soft * ends * np.float32(min(1.0, blink * 1.2) / 255)
    patch[:] = np.rint(patch + (colour - patch) * alpha[..., None])


def _window(frame: Image, outline: Floats, margin: int) -> tuple[Image, NDArray[np.int_]] | None:
    """The part of the frame around an outline, and its corner (x, y); None if it lies outside
    the frame.
    """
    size = np.array(frame.shape[1::-1])
    low = np.clip(np.floor(outline.min(axis=0) - margin).astype(int), 0, size)
    high = np.clip(np.ceil(outline.max(axis=0) + margin).astype(int), 0, size)
    if (high - low < 2).any():
        return None
    return frame[low[1] : high[1], low[0] : high[0]], low


def _subpixel(places: Floats) -> NDArray[np.int32]:
    """Places as cv2's drawing takes them with four bits below the pixel."""
    return np.asarray(np.rint((places - 0.5) * 16), np.int32)


def _filled(patch: Image, outline: Floats, sigma: float) -> Floats:
    """An outline [k, 2] in the patch, filled, with soft edges: float32 [h, w] in 0..255."""
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_subpixel(outline)], 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)


def _stroked(patch: Image, line: Floats, width: int) -> Floats:
    """A wide soft line [k, 2] in the patch: float32 [h, w] in 0..255."""
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.polylines(mask, [_subpixel(line)], False, 255, 2 * width, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.7 * width, 0.5)), np.float32)
