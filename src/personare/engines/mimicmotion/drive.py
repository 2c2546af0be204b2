"""Drive: a guide becomes people, people become skeletons on the picture's canvas.

The first is kept once per guide, whatever the picture and the resolution; the second is kept
per pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Stage, StageInputs
from personare.engines.mimicmotion.names import GUIDE_POINTS, PICTURE, PICTURE_POINTS, POSES
from personare.engines.mimicmotion.options import MimicMotionOptions, rate_of
from personare.engines.mimicmotion.pose.align import FITTED, FITTED_IN_1_0, fitted_line, on_limbs
from personare.engines.mimicmotion.pose.draw import draw
from personare.engines.mimicmotion.pose.follow import HOLD_SECONDS, Held, followed, held, largest
from personare.engines.mimicmotion.pose.records import (
    packed_skeletons,
    people_of,
    rows_of,
    unpacked,
    unpacked_skeletons,
)
from personare.errors import NoPersonFound, UnreadableMedia
from personare.ground.progress import Steps
from personare.perception.whole_body.people import People, Pose, see_people
from personare.perception.whole_body.skeleton import NO_SKELETON, Skeletons, skeletons_of
from personare.types import Feature, Guide, Image

SAVED_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """What sees people: the session of YOLOX, and the pose network."""

    detector: Any
    pose: Pose


Watching = Callable[[], AbstractContextManager[Watcher]]


# ---------------------------------------------------------------- a guide by itself


def guide_stage(watcher: Watching, weights: tuple[str, ...], options: MimicMotionOptions) -> Stage:
    """Who is in those pictures of the guide that are followed."""
    frames: dict[str, Any] = {"sample_stride": options.sample_stride}
    if options.fps is not None:
        frames = {"fps": str(options.fps)}
    return Stage(
        GUIDE_POINTS,
        1,
        partial(_guide_points, watcher),
        frames | always_seen(options.published_fit),
        reads=("guide",),
        weights=weights,
        cost="minutes",
    )


def always_seen(published: bool) -> dict[str, bool]:
    """The parameter of a stage that looks for people."""
    return {"always_seen": True} if published else {}


def followed_frames(guide: Guide, fps: Fraction) -> list[int]:
    """Which pictures of a guide a clip at this rate follows, in its own time: with the guide's
    rate over a stride, every so many.
    """
    count = math.ceil(guide.frames * fps / guide.fps)
    return [min(math.floor(frame * guide.fps / fps), guide.frames - 1) for frame in range(count)]


def _guide_points(watcher: Watching, inputs: StageInputs) -> Feature:
    guide, parameters = inputs.guide, inputs.parameters
    asked = parameters.get("fps")
    fps = rate_of(guide, int(parameters.get("sample_stride", 1)), Fraction(asked) if asked else None)
    wanted = followed_frames(guide, fps)
    frames: list[People] = []
    if (kept := inputs.workspace.load()) is not None:
        frames = people_of(kept.arrays)
    steps = Steps(inputs.progress, "watching the guide", len(wanted), first=len(frames))
    with watcher() as seeing:
        pictures = _chosen(guide, wanted[len(frames) :])
        always = bool(parameters.get("always_seen"))
        for _, (picture, again) in zip(steps, pictures, strict=True):
            seen = frames[-1] if again and frames else None
            frames.append(seen or see_people(picture, seeing.detector, seeing.pose, always=always))
            if inputs.workspace.due(SAVED_EVERY_SECONDS):
                inputs.workspace.save(rows_of(frames), step=len(frames), steps=len(wanted))
    return Feature(rows_of(frames), {"fps": str(fps), "size": list(guide.size), "frames": len(wanted)})


def _chosen(guide: Guide, wanted: list[int]) -> Iterator[tuple[Image, bool]]:
    """Those pictures of a guide, and whether each is the one before. wanted: rising."""
    pictures = enumerate(guide.pictures())
    at, picture = -1, None
    for index in wanted:
        again = index == at
        while at < index:
            try:
                at, picture = next(pictures)
            except StopIteration:
                raise UnreadableMedia(
                    f"{guide.name} ends after {at + 1} of {guide.frames} pictures", hint="convert it to H.264"
                ) from None
        assert picture is not None
        yield picture, again


# ---------------------------------------------------------------- a guide on a picture


def poses_stage(options: MimicMotionOptions) -> Stage:
    """The skeletons of the clip, the picture's own first."""
    return Stage(
        POSES,
        1,
        _poses,
        {
            "person": options.person,
            "alignment": options.alignment,
            "published_fit": options.published_fit,
            "version": options.version,
        },
        needs=(PICTURE, PICTURE_POINTS, GUIDE_POINTS),
    )


def _poses(inputs: StageInputs) -> Feature:
    parameters = inputs.parameters
    watched = inputs.features[GUIDE_POINTS]
    canvas = inputs.features[PICTURE].arrays["picture"].shape[:2]
    (people,) = unpacked(inputs.features[PICTURE_POINTS])
    frames = unpacked(watched)
    joints = FITTED if parameters["version"] == "1.1" else FITTED_IN_1_0
    size = (int(watched.metadata["size"][0]), int(watched.metadata["size"][1]))
    told = Held()
    if parameters["published_fit"]:
        reference = skeletons(people, canvas)
        moving = [skeletons(each, size) for each in frames]
    else:
        reference = skeletons(people, canvas).only(largest(people))
        chosen = list(followed(frames, parameters["person"]))
        moving = [
            NO_SKELETON if which is None else skeletons(each, size).only(which)
            for each, which in zip(frames, chosen, strict=True)
        ]
        if not any(map(len, moving)):
            _nobody(frames, parameters["person"])
        hold = math.floor(HOLD_SECONDS * Fraction(watched.metadata["fps"]))
        moving = list(held(moving, hold, told))
    line = fitted_line(
        reference, moving, size, canvas, joints=joints, published=bool(parameters["published_fit"])
    )
    aligned = [line.apply(each) for each in moving]
    if parameters["alignment"] == "limbs":
        aligned = [on_limbs(reference.only(0), each.only(0)) if len(each) else each for each in aligned]
    facts = {
        "unseen": told.unseen,
        "empty": told.empty,
        "people": max(map(len, frames), default=0),
        "factor": line.factor.tolist(),
        "shift": line.shift.tolist(),
    }
    return packed_skeletons([reference, *aligned], facts)


def skeletons(people: People, size: tuple[int, ...]) -> Skeletons:
    """People in a picture of (height, width) as skeletons."""
    if not len(people):
        return NO_SKELETON
    points = np.stack([people.points(person) for person in range(len(people))])
    return skeletons_of(points, people.scores, (int(size[0]), int(size[1])))


def _nobody(frames: list[People], person: str) -> None:
    most = max(map(len, frames), default=0)
    if not most:
        raise NoPersonFound(
            f"no person was found in any of the {len(frames)} pictures of the guide",
            hint="use a sharp, well-lit video of one person, at least from the waist up",
        )
    raise NoPersonFound(
        f"person={person} is asked for, and at most {most} are seen at once in the guide",
        hint="largest, leftmost, or a number counted from the left",
    )


def pose_pictures(poses: Feature, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Pose pictures uint8 [H, W, 3] of frame after frame, the picture's own first."""
    for people in unpacked_skeletons(poses):
        yield draw(people, size)
