"""Glasses are told by their lines: frames of several makes are seen, what skin draws by itself
is not taken for them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from personare.media.image import read_image
from personare.perception.face import Face, find_face
from personare.perception.glasses import look_for_glasses

EYES = ((33, 133), (263, 362))
DARK, GREY = (34, 28, 28), (96, 88, 84)
SKIN_FOLD = 0.72
"""Light that a deep furrow leaves."""


class Sitter(NamedTuple):
    picture: np.ndarray
    face: Face

    @property
    def unit(self) -> float:
        return self.face.eye_distance_px

    @property
    def points(self) -> np.ndarray:
        return self.face.landmarks[:, :2].astype(float)


@pytest.fixture(scope="module")
def sitter(portrait) -> Sitter:
    picture = cv2.resize(read_image(portrait), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return Sitter(picture, find_face(picture))


def evidence(picture: np.ndarray, sitter: Sitter) -> float:
    return look_for_glasses(picture, sitter.face).evidence


def stroke(picture: np.ndarray, places: np.ndarray, colour: tuple[int, int, int], width: float) -> None:
    cv2.polylines(
        picture, [np.rint(places * 16).astype(np.int32)], False, colour, max(1, round(width)), cv2.LINE_AA, 4
    )


def framed(sitter: Sitter, colour=DARK, width=0.016, square=False, lower=True, temples=True) -> np.ndarray:
    """Frames drawn onto the face. width in eye distances."""
    drawn, points, unit = sitter.picture.copy(), sitter.points, sitter.unit
    angles, power = np.radians(np.arange(0, 361, 5)), 4.0 if square else 2.2
    if not lower:
        angles = angles[(angles > np.pi) | (angles == 0)]
    round_x = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** (2 / power)
    round_y = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** (2 / power)
    middles = [points[list(eye)].mean(axis=0) + np.array([0, 0.04 * unit]) for eye in EYES]
    for middle in middles:
        stroke(
            drawn,
            middle + np.stack([0.21 * unit * round_x, 0.17 * unit * round_y], axis=1),
            colour,
            width * unit,
        )
    across = [middles[0] + [0.2 * unit, -0.05 * unit], middles[1] - [0.2 * unit, 0.05 * unit]]
    stroke(drawn, np.array(across), colour, width * unit)
    for middle, side, temple in ((middles[0], -1, 127), (middles[1], 1, 356)):
        hinge = middle + np.array([side * 0.21 * unit, -0.05 * unit])
        if temples:
            stroke(
                drawn, np.array([hinge, [points[temple, 0], hinge[1] - 0.03 * unit]]), colour, width * unit
            )
    return drawn


def folded(sitter: Sitter, lines: list[np.ndarray], width: float = 0.015) -> np.ndarray:
    """The face with folds of skin drawn in: soft lines of less light."""
    mask = np.zeros(sitter.picture.shape[:2], np.uint8)
    for line in lines:
        cv2.polylines(
            mask,
            [np.rint(line * 16).astype(np.int32)],
            False,
            255,
            max(1, round(width * sitter.unit)),
            cv2.LINE_AA,
            4,
        )
    soft = cv2.GaussianBlur(mask, (0, 0), 0.006 * sitter.unit)[..., None] / 255.0
    return np.rint(sitter.picture * (1 - (1 - SKIN_FOLD) * soft)).astype(np.uint8)


def furrows(sitter: Sitter) -> list[np.ndarray]:
    """What an angry brow shows: upright folds, and a level one across the root of the nose."""
    root, unit = sitter.points[8], sitter.unit
    upright = [root + np.array([[x * unit, -0.02 * unit], [x * unit, -0.16 * unit]]) for x in (-0.06, 0.06)]
    return [*upright, root + np.array([[-0.08 * unit, 0.04 * unit], [0.08 * unit, 0.04 * unit]])]


def crows_feet(sitter: Sitter) -> list[np.ndarray]:
    ends = []
    for (outer, _), side in zip(EYES, (-1, 1), strict=True):
        corner = sitter.points[outer] + [side * 0.04 * sitter.unit, 0]
        ends += [
            corner + np.array([[0, 0], [side * 0.12 * sitter.unit, y * sitter.unit]])
            for y in (-0.07, 0.0, 0.06)
        ]
    return ends


def bags(sitter: Sitter) -> list[np.ndarray]:
    """Bags under the eyes."""
    angles = np.radians(np.arange(40, 141, 5))
    arc = np.stack([0.15 * np.cos(angles), 0.11 * np.sin(angles)], axis=1) * sitter.unit
    return [sitter.points[list(eye)].mean(axis=0) + np.array([0, 0.03 * sitter.unit]) + arc for eye in EYES]


def test_a_bare_face_wears_none(sitter: Sitter) -> None:
    found = look_for_glasses(sitter.picture, sitter.face)
    assert found.evidence < 0.6
    assert not found.worn
    assert not found.dark


@pytest.mark.parametrize(
    "make",
    [
        {},
        {"width": 0.011},
        {"width": 0.05},
        {"square": True},
        {"colour": GREY, "square": True},
        {"lower": False},
        {"temples": False},
    ],
    ids=str,
)
def test_frames_of_many_makes_are_seen(sitter: Sitter, make: dict) -> None:
    found = look_for_glasses(framed(sitter, **make), sitter.face)
    assert found.worn
    assert found.evidence > 1.3
    assert not found.dark


def test_rimless_glasses_are_seen_by_pads_and_temples(sitter: Sitter) -> None:
    drawn, points, unit = sitter.picture.copy(), sitter.points, sitter.unit
    x, y = points[168, 0], points[[133, 362], 1].mean()
    for side, temple, (outer, _) in ((-1, 127, EYES[0]), (1, 356, EYES[1])):
        pad = np.array([[x + side * 0.09 * unit, y - 0.04 * unit], [x + side * 0.12 * unit, y + 0.08 * unit]])
        stroke(drawn, pad, DARK, 0.014 * unit)
        hinge = points[outer] + [side * 0.02 * unit, -0.03 * unit]
        stroke(drawn, np.array([hinge, [points[temple, 0], hinge[1] - 0.02 * unit]]), DARK, 0.012 * unit)
    assert evidence(drawn, sitter) > 1.1


@pytest.mark.parametrize("marks", [furrows, crows_feet, bags], ids=lambda marks: marks.__name__)
def test_what_skin_draws_is_no_frame(sitter: Sitter, marks) -> None:
    bare = evidence(sitter.picture, sitter)
    assert bare <= evidence(folded(sitter, marks(sitter)), sitter) < 0.9


def test_a_worn_face_with_all_of_them_wears_none(sitter: Sitter) -> None:
    everything = folded(sitter, [*furrows(sitter), *bags(sitter)])
    assert evidence(everything, sitter) < 0.9


def test_dark_lenses_hide_the_eyes(sitter: Sitter) -> None:
    lenses = []
    for darkness in (1.0, 0.3):
        drawn = sitter.picture.copy()
        for eye in EYES:
            middle = tuple(int(v) for v in np.rint(sitter.points[list(eye)].mean(axis=0)))
            cv2.ellipse(
                drawn,
                middle,
                (round(0.24 * sitter.unit), round(0.2 * sitter.unit)),
                0,
                0,
                360,
                (18, 16, 20),
                -1,
                cv2.LINE_AA,
            )
        lenses.append(
            look_for_glasses(
                np.rint(drawn * darkness + sitter.picture * (1 - darkness)).astype(np.uint8), sitter.face
            )
        )
    black, tinted = lenses
    assert black.dark
    assert black.worn
    assert not tinted.dark


def test_the_evidence_grows_with_the_frames(sitter: Sitter) -> None:
    shades = [
        framed(sitter, colour=tuple(int(v) for v in np.array(DARK) + step)) for step in (120, 80, 40, 0)
    ]
    assert all(a < b for a, b in pairwise(evidence(shade, sitter) for shade in shades))
