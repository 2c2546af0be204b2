"""133 points of a whole body as the parts of a skeleton in OpenPose's order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SEEN = np.float32(0.3)
"""A joint with a lower score counts as not there."""
NOSE, NECK = 0, 1
_ORDER = [0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
"""OpenPose's 18 joints among COCO's 17 and the neck behind them."""


@dataclass(frozen=True, slots=True)
class Skeletons:
    """People in one picture, as shares of its width and height.

    body: float64 [p, 18, 2]. hands: float64 [p, 2, 21, 2], the left one first. face: float64
    [p, 68, 2]. Scores: float32, of the same shapes without the last axis.
    """

    body: Doubles
    hands: Doubles
    face: Doubles
    body_scores: Floats
    hands_scores: Floats
    face_scores: Floats

    def __len__(self) -> int:
        return len(self.body)

    def only(self, person: int) -> Skeletons:
        """One of them."""
        chosen = slice(person, person + 1)
        return Skeletons(
            self.body[chosen],
            self.hands[chosen],
            self.face[chosen],
            self.body_scores[chosen],
            self.hands_scores[chosen],
            self.face_scores[chosen],
        )

    def moved(self, factor: Doubles, shift: Doubles) -> Skeletons:
        """Every point times `factor` plus `shift`, both [2]."""
        body, hands, face = (points * factor + shift for points in (self.body, self.hands, self.face))
        return Skeletons(body, hands, face, self.body_scores, self.hands_scores, self.face_scores)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which joints of the bodies are there, [p, 18]."""
        return self.body_scores > SEEN


def skeletons_of(points: Doubles, scores: Floats, size: tuple[int, int]) -> Skeletons:
    """People by their points float64 [p, 133, 2] in px and scores float32 [p, 133] in a picture
    of (height, width).
    """
    shares = points / np.array([size[1], size[0]], np.float64)
    both = (scores[:, 5] > SEEN) & (scores[:, 6] > SEEN)
    joints = np.concatenate([shares[:, :17], shares[:, 5:7].mean(axis=1, keepdims=True)], axis=1)
    joint_scores = np.concatenate([scores[:, :17], both[:, None].astype(np.float32)], axis=1)
    hands = shares[:, 91:133].reshape(len(points), 2, 21, 2)
    return Skeletons(
        joints[:, _ORDER],
        hands,
        shares[:, 23:91],
        joint_scores[:, _ORDER],
        scores[:, 91:133].reshape(len(points), 2, 21),
        scores[:, 23:91],
    )


NO_SKELETON = Skeletons(
    np.zeros((0, 18, 2)),
    np.zeros((0, 2, 21, 2)),
    np.zeros((0, 68, 2)),
    np.zeros((0, 18), np.float32),
    np.zeros((0, 2, 21), np.float32),
    np.zeros((0, 68), np.float32),
)
