"""The plate: what the picture would show behind the person's edge, so that the background can stay still.

A head that turns uncovers a few pixels of what was behind it. They are continued from the background next to them; the
middle of the person is never uncovered and is left as it is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.heads import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from personare.types import Feature, Image

Floats = NDArray[np.float32]

PERSON = 0.25 * 255
"""A matte from here on is taken for the person: rather a bit of background that moves along than hair that stays."""
TRUSTED = 0.90
"""A matte is believed if it covers this share of the face."""
MARGIN, SOFT = 0.055, 0.035
"""The cut goes this far beyond the matte, and then falls to nothing, in eye distances."""
UNCOVERED = 0.30
"""How far inside the cut the plate is continued, in eye distances: further than any head turns."""
STRAY_HAIRS = 0.05
"""Hairs may stick out of the cut by this much, in eye distances."""
CONTINUED_BLUR_PX = 3.0


def behind(picture: Image, matte: NDArray[np.uint8], landmarks: Floats) -> Feature:
    """plate: uint8 [S, S, 3], the picture outside the cut, and the background continued inside. cut: uint8 [S, S], 255 on
    the person and near, 0 on the background; 255 everywhere if the matte misses the face and so cannot be trusted.
    """
    unit_px = float(np.linalg.norm(landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]))
    person = (matte > PERSON).astype(np.uint8)
    face = np.zeros_like(person)
    cv2.fillConvexPoly(face, cv2.convexHull(np.rint(landmarks[:, :2] - 0.5).astype(np.int32)), 1)
    if person[face > 0].mean() < TRUSTED:
        return Feature({"plate": picture, "cut": np.full_like(matte, 255)})
    person |= face
    away = cv2.distanceTransform(1 - person, cv2.DIST_L2, 5) - MARGIN * unit_px
    cut = np.rint(255 * np.clip(1 - away / (SOFT * unit_px), 0, 1)).astype(np.uint8)
    core = (cut == 255).astype(np.uint8)
    depth = cv2.distanceTransform(core, cv2.DIST_L2, 5)
    edge = ((depth > 0) & (depth < UNCOVERED * unit_px)).astype(np.uint8)
    if not (core == 0).any():
        return Feature({"plate": picture, "cut": cut})
    return Feature({"plate": continued(picture, core, edge, unit_px), "cut": cut})


def continued(picture: Image, core: NDArray[np.uint8], edge: NDArray[np.uint8], unit_px: float) -> Image:
    """The picture with its background, where core is 0, continued over the edge [S, S] of the person.

    Every pixel gets the colour of the nearest background, deeper ones that of background further out: single hairs that the
    cut has missed are not drawn out into the person.
    """
    depth = cv2.distanceTransform(core, cv2.DIST_L2, 5)
    reach = 2 * round(STRAY_HAIRS * unit_px) + 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    wider = np.asarray(cv2.dilate(core, ellipse), np.uint8)
    near, far = _nearest(picture, core), _nearest(picture, wider if (wider == 0).any() else core)
    deep = np.clip(depth / (STRAY_HAIRS * unit_px), 0, 1)[..., None]
    filled = near + (cv2.GaussianBlur(far, (0, 0), CONTINUED_BLUR_PX).astype(np.float32) - near) * deep
    result = picture.copy()
    result[edge > 0] = np.rint(filled[edge > 0])
    return result


def _nearest(picture: Image, core: NDArray[np.uint8]) -> Image:
    """For every pixel the colour of the nearest one where core is 0."""
    _, label = cv2.distanceTransformWithLabels(core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    outside = core == 0
    colours = np.zeros((int(label.max()) + 1, 3), np.uint8)
    colours[label[outside]] = picture[outside]
    return np.asarray(colours[label], np.uint8)
