"""Who is followed of several people, and what is shown while nobody is seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from personare.perception.whole_body.people import People
from personare.perception.whole_body.skeleton import NO_SKELETON, Skeletons

HOLD_SECONDS = 0.4
"""A person who is not seen stays as she was for so long; then nobody is there."""


def sizes_of(people: People) -> list[float]:
    """Areas of their boxes."""
    boxes = people.boxes
    return [float(area) for area in (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])]


def largest(people: People) -> int:
    """Which of them is nearest to the camera, as far as boxes tell."""
    return int(np.argmax(sizes_of(people)))


def followed(frames: Sequence[People], person: str) -> Iterator[int | None]:
    """Which of the people of each frame is the one who is followed; None where nobody is, or
    somebody else.

    person: largest, leftmost, or a number counted from the left: who that is, is decided in
    the first frame with so many people; from there on it is whoever is nearest to her last
    place.
    """
    last: np.ndarray | None = None
    for people in frames:
        chosen = None
        if len(people) and last is None:
            chosen = _chosen(people, person)
        elif len(people):
            assert last is not None
            shares = [_shared(box, last) for box in people.boxes]
            nearest = int(np.argmin(np.abs(people.boxes - last).sum(axis=1)))
            chosen = int(np.argmax(shares)) if max(shares) > 0 else nearest
        if chosen is not None:
            last = people.boxes[chosen]
        yield chosen


def _chosen(people: People, person: str) -> int | None:
    if person == "largest":
        return largest(people)
    from_left = np.argsort(people.boxes[:, 0] + people.boxes[:, 2], kind="stable")
    place = 1 if person == "leftmost" else int(person)
    return int(from_left[place - 1]) if place <= len(people) else None


def _shared(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    both = float(np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])) - common
    return common / both if both > 0 else 0.0


@dataclass(slots=True)
class Held:
    """What was shown in place of what was not seen. unseen: frames without the person; empty:
    of these, frames that show nobody.
    """

    unseen: int = 0
    empty: int = 0


def held(frames: Iterable[Skeletons], hold: int, told: Held) -> Iterator[Skeletons]:
    """Frames where nobody is get the last person for up to `hold` frames."""
    last, gap = NO_SKELETON, 0
    for frame in frames:
        if len(frame):
            last, gap = frame, 0
            yield frame
            continue
        gap += 1
        told.unseen += 1
        shown = last if gap <= hold else NO_SKELETON
        told.empty += not len(shown)
        yield shown
