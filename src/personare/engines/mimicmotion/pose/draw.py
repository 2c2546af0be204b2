"""Skeletons as pictures, pixel for pixel as the networks saw them when they were trained (SPEC
c.7): body, hands and face on a canvas with a short side of 2160 px, which is then shrunk.
"""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.whole_body.skeleton import SEEN, Skeletons
from personare.types import Image

Canvas = NDArray[np.uint8]
Colour = tuple[float, ...]
Place = tuple[int, int]

SHORT_SIDE = 2160
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
FINGERS = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
    for finger in range(5)
    for joint in range(4)
)
PALETTE = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
_RAINBOW = tuple(colorsys.hsv_to_rgb(i / len(FINGERS), 1.0, 1.0) for i in range(len(FINGERS)))
_DIMMED = (np.arange(256) * 0.6).astype(np.uint8)
_LIMB_HALF_WIDTH, _JOINT_RADIUS, _FACE_RADIUS = 4, 4, 3
_INSIDE = 0.01
_SHIFT = 16
_FARTHEST = (1 << 31 - _SHIFT) - 2
"""px: what OpenCV's fixed point holds."""


def draw(people: Skeletons, size: tuple[int, int]) -> Image:
    """A pose picture uint8 [H, W, 3] RGB of that (height, width); black where nobody is."""
    height, width = size
    scale = SHORT_SIDE / min(size)
    canvas = np.zeros((int(height * scale), int(width * scale), 3), np.uint8)
    if len(people):
        _draw_bodies(canvas, people)
        for hand in range(2):
            for person in range(len(people)):
                _draw_hand(canvas, people.hands[person, hand], people.hands_scores[person, hand])
        for person in range(len(people)):
            _draw_face(canvas, people.face[person], people.face_scores[person])
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(small[:, :, ::-1])


def _draw_bodies(canvas: Canvas, people: Skeletons) -> None:
    """Limbs, dimmed, then joints."""
    body = people.body * np.array([canvas.shape[1], canvas.shape[0]])  # [p, 18, 2]
    scores = people.body_scores
    # A joint of a score of just 0.3 is not there, and its index of -1 means the last one.
    body = np.where(people.seen[..., None], body, body[-1, -1])
    for limb, (first, second) in enumerate(LIMBS):
        for person in range(len(people)):
            ends = scores[person, first], scores[person, second]
            if ends[0] >= SEEN and ends[1] >= SEEN:
                colour = tuple(int(c * ends[0] * ends[1]) for c in PALETTE[limb])
                _draw_limb(canvas, body[person, first], body[person, second], colour)
    _dim(canvas, body)
    for joint, colour in enumerate(PALETTE):
        for person in range(len(people)):
            if people.seen[person, joint]:
                score = scores[person, joint]
                shade = tuple(int(c * score) for c in colour)
                x, y = body[person, joint]
                cv2.circle(canvas, (int(x), int(y)), _JOINT_RADIUS, shade, thickness=-1)


def _draw_limb(
    canvas: Canvas, first: NDArray[np.float64], second: NDArray[np.float64], colour: Colour
) -> None:
    (x, y), (dx, dy) = (first + second) / 2, first - second
    length, angle = math.hypot(dx, dy), math.degrees(math.atan2(dy, dx))
    outline = cv2.ellipse2Poly((int(x), int(y)), (int(length / 2), _LIMB_HALF_WIDTH), int(angle), 0, 360, 1)
    cv2.fillConvexPoly(canvas, np.asarray(outline), colour)


def _dim(canvas: Canvas, body: NDArray[np.float64]) -> None:
    """The canvas times 0.6, cut off; outside of the limbs it is black."""
    margin = _LIMB_HALF_WIDTH + 2
    low = np.clip(body.min(axis=(0, 1)) - margin, 0, None).astype(int)
    high = np.clip(body.max(axis=(0, 1)) + margin, 0, None).astype(int)
    part = canvas[low[1] : high[1] + 1, low[0] : high[0] + 1]
    part[:] = _DIMMED[part]


def _draw_hand(canvas: Canvas, hand: NDArray[np.float64], scores: NDArray[np.float32]) -> None:
    """hand: [21, 2] as shares of the picture."""
    places = _whole(canvas, hand)
    for edge, (first, second) in enumerate(FINGERS):
        if _is_inside(places[first]) and _is_inside(places[second]):
            strength = int(scores[first] * scores[second] * 255)
            colour = tuple(c * strength for c in _RAINBOW[edge])
            draw_line(canvas, places[first], places[second], colour)
    for place, score in zip(places, scores, strict=True):
        if _is_inside(place):
            cv2.circle(canvas, place, _JOINT_RADIUS, (0, 0, int(score * 255)), thickness=-1)


def _draw_face(canvas: Canvas, face: NDArray[np.float64], scores: NDArray[np.float32]) -> None:
    """face: [68, 2] as shares of the picture."""
    for place, score in zip(_whole(canvas, face), scores, strict=True):
        if _is_inside(place):
            cv2.circle(canvas, place, _FACE_RADIUS, (int(score * 255),) * 3, thickness=-1)


def _whole(canvas: Canvas, points: NDArray[np.float64]) -> list[Place]:
    """Shares of the picture as whole px, cut off toward zero."""
    return [(int(x * canvas.shape[1]), int(y * canvas.shape[0])) for x, y in points]


def _is_inside(place: Place) -> bool:
    return place[0] > _INSIDE and place[1] > _INSIDE


def draw_line(canvas: Canvas, first: Place, second: Place, colour: Colour) -> None:
    """A line of two px with round ends, of OpenCV's own parts: `cv2.line` itself gives other
    pixels from 4.13 on where an end lies outside of the canvas.
    """
    if max(*first, *second) > _FARTHEST:
        cv2.line(canvas, first, second, colour, thickness=2)  # too far for fixed point, nothing is pinned
        return
    dx, dy = first[0] - second[0], first[1] - second[1]
    if dx or dy:
        reach = (1 << _SHIFT) / math.hypot(dx, dy)
        aside = np.array([round(dy * reach), round(dx * reach)]) * [1, -1]
        ends = np.array([first, first, second, second], np.int64) << _SHIFT
        ends += aside * np.array([[1], [-1], [-1], [1]])
        cv2.fillConvexPoly(canvas, ends.astype(np.int32), colour, lineType=cv2.LINE_8, shift=_SHIFT)
    for end in (first, second):
        cv2.circle(canvas, end, 1, colour, thickness=-1)
