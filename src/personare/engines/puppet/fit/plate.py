"""The plate: what the picture would show behind the person's edge, so that the background can
stay still.

A head that turns uncovers a few pixels of what was behind it. They are continued from the
background next to them; the middle of the person is never uncovered and is left as it is. What
the matte misses of a person would stay behind as a second ear or earring; where the face says
that an ear is, and where something stands out of a plain background, it is cut with them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.heads import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from personare.types import Feature, Image

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]

PERSON = 0.25 * 255
"""A matte from here on is taken for the person: rather a bit of background that moves along
than hair that stays.
"""
TRUSTED = 0.90
"""A matte is believed if it covers this share of the face."""
EAR_ROWS = ((127, 234, 93, 132), (356, 454, 323, 361))
"""Face points along which the ears are attached, from the top down, image left first."""
EAR_OUT, EAR_BACK, EARRING = 0.18, 0.40, 0.25
"""How far an ear sticks out aside and to the back, in eye distances, and how far down from its
lobe something may hang, in heights of the ear.
"""
BEYOND = 0.30
"""Background is certain from this far on, in eye distances from the person."""
OUTSTANDING_LEVELS, OUTSTANDING_SPREADS, OUTSTANDING_REACH = 26.0, 3.5, 0.17
"""What touches the person and differs from the background further out by this many grey levels,
and by this many of its standard deviations, is taken for the person's if it ends within this
reach, in eye distances: earrings, locks, collars. What goes on, such as the frame of a window,
is the background's.
"""
PLAIN = 14.0
"""Only a background of at most this standard deviation (grey levels) tells what is in front of
it.
"""
FOLLOWED = 0.8
"""It is followed to where it differs by this share of that: where there is much of it, an
average of the background has it too.
"""
FRINGE_PX = 3.0
"""Width of the person's own soft edge, which would connect whatever touches it; what begins
within twice that touches.
"""
ISLAND = 0.05
"""What the matte has further than this from the person, in eye distances, is none of them."""
MARGIN, SOFT = 0.055, 0.035
"""The cut goes this far beyond the person, and then falls to nothing, in eye distances."""
BAY = 0.06
"""Background in gaps narrower than twice this, in eye distances, goes with the head."""
HOLE_AREA = 0.12
"""Background that the cut encloses (under an ear, through a lock) goes with the head up to this
area, in squared eye distances.
"""
UNCOVERED = 0.30
"""How far inside the cut the plate is continued, in eye distances: further than any head turns."""
STRAY_HAIRS = 0.05
"""Hairs may stick out of the cut by this much, in eye distances."""
SOFTER = ((0.03, (0.0, STRAY_HAIRS)), (0.09, (STRAY_HAIRS, 0.15)))
"""Blurs of the continued background (standard deviation) and over which depths each takes over,
in eye distances.
"""
WINDOWS = (0.32, 0.16)
"""Standard deviations of the windows, in eye distances, over which the background is averaged
to say what stands out of it.
"""
ENOUGH = 0.20
"""Share of such a window that must be background for the narrower average to replace the wider
one.
"""
COARSE = 4
"""Averages are taken at this fraction of the resolution."""


def behind(picture: Image, matte: Mask, landmarks: Floats) -> Feature:
    """plate: uint8 [S, S, 3], the picture outside the cut, and the background continued inside.
    cut: uint8 [S, S], 255 on the person and near, 0 on the background; 255 everywhere if the
    matte misses the face and so cannot be trusted.

    landmarks: float32 [468, 3] pixels, z smaller is nearer.
    """
    unit_px = float(np.linalg.norm(landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]))
    person = (matte > PERSON).astype(np.uint8)
    face = np.zeros_like(person)
    _fill_hull(face, landmarks[:, :2])
    if person[face > 0].mean() < TRUSTED:
        return Feature({"plate": picture, "cut": np.full_like(matte, 255)})
    person = _without_islands(person | face, face, ISLAND * unit_px)
    for row in ears(landmarks, unit_px):
        _fill_hull(person, row)
    person |= outstanding(picture, person, unit_px)
    person = np.asarray(cv2.morphologyEx(person, cv2.MORPH_CLOSE, _disc(BAY * unit_px)), np.uint8)
    away = cv2.distanceTransform(1 - person, cv2.DIST_L2, 5) - MARGIN * unit_px
    cut = np.rint(255 * np.clip(1 - away / (SOFT * unit_px), 0, 1)).astype(np.uint8)
    cut[_holes(cut, HOLE_AREA * unit_px**2)] = 255
    core = (cut == 255).astype(np.uint8)
    depth = cv2.distanceTransform(core, cv2.DIST_L2, 5)
    edge = ((depth > 0) & (depth < UNCOVERED * unit_px)).astype(np.uint8)
    if not (core == 0).any():
        return Feature({"plate": picture, "cut": cut})
    return Feature({"plate": continued(picture, core, edge, unit_px), "cut": cut})


def ears(landmarks: Floats, unit_px: float) -> Floats:
    """Corners of the space that the ears take in the picture, float32 [2, 13, 2]. An ear on the
    side that is turned away comes to lie within the face.
    """
    aside = (landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER]) / unit_px
    rows = landmarks[np.array(EAR_ROWS)]
    back = np.array([0, 0, EAR_BACK * unit_px], np.float32)
    back -= aside * (aside @ back)
    spaces = []
    for row, outwards in zip(rows, (-aside, aside), strict=True):
        out = outwards * np.float32(EAR_OUT * unit_px)
        hangs = row[-1:] + (row[-1:] - row[:1]) * np.float32(EARRING)
        spaces.append(np.concatenate([row, row + out, row + out + back, hangs + out])[:, :2])
    return np.stack(spaces).astype(np.float32)


def outstanding(picture: Image, person: Mask, unit_px: float) -> Mask:
    """uint8 [S, S], 1 on what sticks out of the person and out of a plain background. Looked
    for at half the resolution.
    """
    small = (max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2))
    colours = cv2.resize(picture, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    body = (cv2.resize(person * np.uint8(255), small, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    distance = 2 * cv2.distanceTransform(1 - body, cv2.DIST_L2, 5)
    beyond = (distance > BEYOND * unit_px).astype(np.uint8)
    if not beyond.any():
        return np.zeros_like(person)
    mean = averaged(colours, beyond, unit_px / 2)
    spread = np.sqrt(np.maximum(averaged(colours**2, beyond, unit_px / 2) - mean**2, 0))
    differs = (np.abs(colours - mean) / np.maximum(OUTSTANDING_LEVELS, OUTSTANDING_SPREADS * spread)).max(
        axis=2
    )
    differs[distance <= FRINGE_PX] = 0
    count, label = _labelled((differs > FOLLOWED).astype(np.uint8))
    takes = np.zeros(count, np.uint8)
    takes[label[(differs > 1) & (distance <= 2 * FRINGE_PX)]] = 1
    takes[label[distance > OUTSTANDING_REACH * unit_px]] = 0
    around = np.bincount(label.ravel(), spread.max(axis=2).ravel()) / np.maximum(
        np.bincount(label.ravel()), 1
    )
    takes[around > PLAIN] = 0
    takes[0] = 0
    return np.asarray(
        cv2.resize(takes[label], picture.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8
    )


def continued(picture: Image, core: Mask, edge: Mask, unit_px: float) -> Image:
    """The picture with its background, where core is 0, continued over the edge [S, S] of the
    person.

    At the rim every pixel gets the colour of the nearest background; deeper ones that of
    background further out, and the softer the deeper: single hairs that the cut has missed are
    not drawn out into the person, and no colours meet in a hard line.
    """
    depth = cv2.distanceTransform(core, cv2.DIST_L2, 5)
    wider = np.asarray(cv2.dilate(core, _disc(STRAY_HAIRS * unit_px)), np.uint8)
    filled = _nearest(picture, core).astype(np.float32)
    far = cv2.resize(
        _nearest(picture, wider if (wider == 0).any() else core),
        None,
        fx=1 / COARSE,
        fy=1 / COARSE,
        interpolation=cv2.INTER_AREA,
    )
    for softness, (begins, ends) in SOFTER:
        soft = cv2.GaussianBlur(far, (0, 0), max(softness * unit_px / COARSE, 0.5))
        soft = cv2.resize(soft, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
        filled += (soft - filled) * np.clip((depth / unit_px - begins) / (ends - begins), 0, 1)[..., None]
    result = picture.copy()
    result[edge > 0] = np.rint(filled[edge > 0])
    return result


def averaged(values: Floats, known: Mask, unit_px: float) -> Floats:
    """Values float32 [S, S, 3] where known is 1, averaged and continued over the whole picture:
    at every place over the narrowest window that has enough of them.
    """
    small = (max(1, values.shape[1] // COARSE), max(1, values.shape[0] // COARSE))
    weight = known.astype(np.float32)
    sums = cv2.resize(values * weight[..., None], small, interpolation=cv2.INTER_AREA)
    counts = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
    result = np.broadcast_to(values[known > 0].mean(axis=0), sums.shape).astype(np.float32)
    for window in WINDOWS:
        sigma = max(window * unit_px / COARSE, 0.5)
        share = cv2.GaussianBlur(counts, (0, 0), sigma)[..., None]
        here = cv2.GaussianBlur(sums, (0, 0), sigma) / np.maximum(share, 1e-4)
        result = result + (here - result) * np.clip(share / ENOUGH, 0, 1)
    return np.asarray(cv2.resize(result, values.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _labelled(mask: Mask) -> tuple[int, NDArray[np.int32]]:
    count, label = cv2.connectedComponents(mask)
    return count, np.asarray(label, np.int32)


def _disc(radius_px: float) -> Mask:
    side = 2 * round(radius_px) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _without_islands(person: Mask, face: Mask, near_px: float) -> Mask:
    """What is connected with the face, or nearly: uint8 [S, S]."""
    count, label = _labelled(person)
    main = np.zeros(count, np.uint8)
    main[label[face > 0]] = 1
    distance = cv2.distanceTransform(1 - main[label], cv2.DIST_L2, 5)
    belongs = np.zeros(count, np.uint8)
    belongs[label[distance <= near_px]] = 1
    belongs[0] = 0
    return np.asarray(belongs[label], np.uint8)


def _holes(cut: Mask, largest: float) -> NDArray[np.bool_]:
    """bool [S, S]: what the cut encloses, up to an area in pixels; the picture's border closes
    nothing.
    """
    _, label, boxes, _ = cv2.connectedComponentsWithStats((cut < 255).astype(np.uint8))
    height, width = cut.shape
    x, y, w, h, area = boxes.T
    enclosed = (x > 0) & (y > 0) & (x + w < width) & (y + h < height) & (area < largest)
    enclosed[0] = False
    return np.asarray(enclosed[label], np.bool_)


def _fill_hull(mask: Mask, points: Floats) -> None:
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points - 0.5).astype(np.int32)), 1)


def _nearest(picture: Image, core: Mask) -> Image:
    """For every pixel the colour of the nearest one where core is 0."""
    _, label = cv2.distanceTransformWithLabels(core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    outside = core == 0
    colours = np.zeros((int(label.max()) + 1, 3), np.uint8)
    colours[label[outside]] = picture[outside]
    return np.asarray(colours[label], np.uint8)
