"""The picture's colours and its light, so that what is drawn belongs to it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.types import Image

Floats = NDArray[np.float32]

LEFT_CHEEK, RIGHT_CHEEK = (50, 205, 207, 187), (280, 425, 427, 411)
"""Corners of a patch on either cheek, clear of eye sockets and nasolabial folds."""
WELL_LIT = 165.0
"""Mean level of a cheek in good light, 0..255."""
BRIGHTNESS_LIMITS = (0.35, 1.10)
USUAL_SKIN = np.array([205, 160, 140], np.float32)
"""Skin of middle tone in white light; only its ratios matter."""
CAST_SHARE = 0.50
"""How much of the colour cast is passed on."""
GREEN_LIMIT = 0.95
"""Green never gains more than this share of red: olive skin in yellow light would give green
teeth.
"""
CAST_LIMITS = (0.50, 1.25)
LIT_HIGHLIGHTS, HIGHLIGHTS_PERCENT = 128.0, 99.0
"""A face whose highlights are below this stands in the dark."""
COLOURED_LIGHT = (1.2, 1.6)
"""Logarithm of the cast's strongest over its weakest channel: up to the first it is skin, or
the light of lamps; from the second on the light is coloured.
"""
COLOURED_TEETH, BRIGHTEST_COLOUR = 1.20, 1.35
"""Where only one channel has light, teeth are told from skin by that alone."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601."""
COLOURLESS, COLOURED = 0.008, 0.018
"""Spread of the colours of a face that its brightness does not explain: below the first it is
black and white or toned, above the second it has colours. Black-and-white photos: 0; toned
sepia .002; a pen drawing .005; 24 photos and paintings .026 to .105.
"""
DARKEST = 120
"""Sum of the channels below which a pixel's colour is noise."""


def colours_at(picture: Image | Floats, places: Floats) -> Floats:
    """Colours of the picture at places [..., 2] in pixels, float32 [..., 3]."""
    flat = places.reshape(-1, 1, 2).astype(np.float32) - np.float32(0.5)
    x, y = np.ascontiguousarray(flat[..., 0]), np.ascontiguousarray(flat[..., 1])
    colours = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(colours.reshape(*places.shape[:-1], 3), np.float32)


def cheek_colour(picture: Image, points: Floats) -> Floats:
    """Mean colour float32 [3] of the brighter cheek: the darker one may be in shadow, the mouth
    seldom is altogether.
    """
    colours = []
    for corners in (LEFT_CHEEK, RIGHT_CHEEK):
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, np.rint(points[list(corners), :2]).astype(np.int32), 255)
        colours.append(np.array(cv2.mean(picture, mask)[:3], np.float32))
    return max(colours, key=lambda colour: float(colour.sum()))


def highlights(picture: Image, points: Floats) -> float:
    """How bright the brightest of a face is, 0..255, whatever its skin: eyes, glints, teeth."""
    (x0, y0), (x1, y1) = _around(picture, points)
    return float(np.percentile(picture[y0:y1, x0:x1].max(axis=2), HIGHLIGHTS_PERCENT))


def mouth_light(skin: Floats, brightest: float = 255.0) -> Floats:
    """Gain per channel for what is drawn inside the mouth, float32 [3]: 1 is white light on a
    well lit face.

    skin: colour of a cheek. brightest: the face's `highlights`: a dark cheek is dark skin where
    they are bright, and little light where they are dark. Where the light has a colour that no
    skin gives a cheek, the mouth has all of it.
    """
    seen = skin / USUAL_SKIN
    cast = seen / max(float(skin.mean() / USUAL_SKIN.mean()), 1e-3)
    balance = 1 + CAST_SHARE * (np.clip(cast, *CAST_LIMITS) - 1)
    balance[1] = min(balance[1], GREEN_LIMIT * balance[0])
    darkest, lightest = BRIGHTNESS_LIMITS
    darkest *= min(1.0, brightest / LIT_HIGHLIGHTS)
    light = balance * np.clip(skin.mean() / WELL_LIT, darkest, lightest)
    spread = float(np.log(cast.max() / max(float(cast.min()), 1e-2)))
    coloured = (spread - COLOURED_LIGHT[0]) / (COLOURED_LIGHT[1] - COLOURED_LIGHT[0])
    coloured = min(max(coloured, 0.0), 1.0)
    if coloured > 0:
        own = COLOURED_TEETH * seen * (USUAL_SKIN.mean() / WELL_LIT)
        light += (np.minimum(own, BRIGHTEST_COLOUR) - light) * np.float32(coloured)
    return np.asarray(light, np.float32)


def mouth_colours(picture: Image, points: Floats, skin: Floats) -> Floats:
    """float32 [3, 3]: what is drawn inside the mouth keeps its colours, or takes the tone of a
    picture that has none.
    """
    own = np.float32(np.clip((_colourfulness(picture, points) - COLOURLESS) / (COLOURED - COLOURLESS), 0, 1))
    tone = np.outer(skin / max(float(skin @ LUMA), 1e-3), LUMA)
    return np.asarray(own * np.eye(3, dtype=np.float32) + (1 - own) * tone, np.float32)


def _colourfulness(picture: Image, points: Floats) -> float:
    """Standard deviation of the face's chromaticities about a parabola over brightness, which
    is all that toning makes.
    """
    (x0, y0), (x1, y1) = _around(picture, points)
    small = (
        cv2.resize(picture[y0:y1, x0:x1], (64, 64), interpolation=cv2.INTER_AREA)
        .reshape(-1, 3)
        .astype(np.float64)
    )
    total = small.sum(axis=1)
    seen = total > DARKEST
    if seen.sum() < 3:
        return 0.0
    chromaticities, brightness = small[seen] / total[seen, None], total[seen] / 765
    powers = np.stack([np.ones_like(brightness), brightness, brightness**2], axis=1)
    fitted = powers @ np.linalg.lstsq(powers, chromaticities, rcond=None)[0]
    return float(np.sqrt(((chromaticities - fitted) ** 2).sum(axis=1).mean()))


def _around(picture: Image, points: Floats) -> NDArray[np.int64]:
    """First and last corner (x, y) of the face's box, within the picture: [2, 2]."""
    size = np.array(picture.shape[1::-1])
    low = np.clip(points[:, :2].min(axis=0), 0, size - 1)
    high = np.clip(points[:, :2].max(axis=0) + 1, 1, size)
    return np.stack([low, high]).astype(np.int64)
