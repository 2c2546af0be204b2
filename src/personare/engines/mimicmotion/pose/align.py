"""A guide's skeletons on the body of the picture's person (SPEC c.6 and j)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from personare.errors import NoPersonFound
from personare.perception.whole_body.skeleton import NECK, Skeletons

Doubles = NDArray[np.float64]

FITTED = (0, 1, 2, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
"""Joints that the line is fitted through; the first release left the knees and feet out."""
FITTED_IN_1_0 = (0, 1, 2, 5, 8, 11, 14, 15, 16, 17)
_HEAD = (0, 14, 15, 16, 17)
_ARMS = ((2, 3, 4, 1), (5, 6, 7, 0))
"""Shoulder, elbow, wrist, and the hand at it: among DWPose's hands the left one comes first."""


@dataclass(frozen=True, slots=True)
class Line:
    """x' = factor[0] x + shift[0], and y likewise, from shares of the guide's pictures to
    shares of the canvas.
    """

    factor: Doubles
    shift: Doubles

    def apply(self, people: Skeletons) -> Skeletons:
        """All people of a frame on the canvas."""
        return people.moved(self.factor, self.shift)


def fitted_line(
    reference: Skeletons,
    frames: Sequence[Skeletons],
    guide_size: tuple[int, int],
    canvas_size: tuple[int, int],
    *,
    joints: Sequence[int] = FITTED,
    published: bool = False,
) -> Line:
    """The line that brings all frames together nearest to the reference, in height; widths
    follow, so that nobody is stretched.

    reference: its first person counts. frames: those with exactly one person enter. sizes:
    (height, width) in px. published: joints of a frame count whether or not they were seen in
    it. Raises NoPersonFound if no joint is seen in both.
    """
    wanted = [joint for joint in joints if reference.seen[0, joint]]
    entered = [frame for frame in frames if len(frame) == 1]
    pairs = [
        (frame.body[0, joint], reference.body[0, joint])
        for frame in entered
        for joint in wanted
        if published or frame.seen[0, joint]
    ]
    if not pairs:
        raise NoPersonFound(
            "the guide and the picture have no joint in common, so neither can be fitted to the other",
            hint="use a guide and a picture that show the same part of one person",
        )
    x, y = np.array([pair[0] for pair in pairs]).T
    x_wanted, y_wanted = np.array([pair[1] for pair in pairs]).T
    height, width = guide_size
    if np.ptp(y) < 1e-9:  # one joint alone: there is no line through it, only a shift
        slope, shift = 1.0, float(np.mean(y_wanted - y))
    else:
        slope, shift = (float(value) for value in np.polyfit(y, y_wanted, 1))
    across = slope / (height / width / canvas_size[0] * canvas_size[1])
    return Line(np.array([across, slope]), np.array([float(np.mean(x_wanted - across * x)), shift]))


def on_limbs(reference: Skeletons, person: Skeletons) -> Skeletons:
    """One frame's person with the bones of the reference: the trunk stays where it is in the
    picture, arms go as the guide's do, at the length of the reference's shoulders; hands hang
    at the new wrists; face and head fill the reference's own box.

    person: after `Line.apply`, so that proportions are those of the canvas.
    """
    body, hands = reference.body.copy(), person.hands.copy()
    seen = np.where(reference.body_scores > 0, person.body_scores, reference.body_scores)
    scores = reference.body_scores.copy()
    for shoulder, elbow, wrist, hand in _ARMS:
        ours, theirs = (
            float(np.linalg.norm(each.body[0, shoulder] - each.body[0, NECK])) for each in (reference, person)
        )
        scale = ours / theirs if theirs > 1e-6 else 1.0
        for near, far in ((shoulder, elbow), (elbow, wrist)):
            body[0, far] = body[0, near] + scale * (person.body[0, far] - person.body[0, near])
            scores[0, far] = seen[0, far]
        hands[0, hand] = body[0, wrist] + scale * (person.hands[0, hand] - person.body[0, wrist])
    head = list(_HEAD)
    body[0, head] = _into_box(person.body[0, head], person.body[0, head], reference.body[0, head])
    scores[0, head] = seen[0, head]
    face = _into_box(person.face[0], person.face[0], reference.face[0])[None]
    return replace(person, body=body, hands=hands, face=face, body_scores=scores)


def _into_box(points: Doubles, box: Doubles, wanted: Doubles) -> Doubles:
    """Points moved so that the box of some points becomes that of others, axis by axis."""
    low, high = box.min(axis=0), box.max(axis=0)
    to_low, to_high = wanted.min(axis=0), wanted.max(axis=0)
    size = np.where(high - low > 1e-9, high - low, 1.0)
    return np.asarray((points - low) / size * (to_high - to_low) + to_low)
