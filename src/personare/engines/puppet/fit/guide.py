"""Following a guide: what the face of a video does, as states of a face.

`watch` sees a whole guide and smooths it to both sides, so that nothing is late; `Mirror` sees
a camera picture by picture. Both measure the same: the head's motion by its pixels, the signals
of its expression from landmarks, lids and brows, and the curves that make the head measure so.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.cache.recipe import Stage, StageInputs
from personare.heads import CHIN, head468
from personare.heads.expression import Neutral, expression
from personare.heads.neutral import neutral
from personare.heads.signals import PARTS, SIGNALS, signals
from personare.motion import ARKIT, FaceState, Motion, state_of
from personare.perception import NETWORK_SHA256
from personare.perception.head_motion import RIGID, rotation
from personare.perception.smooth import CausalSmoother, smoothed_signals
from personare.perception.watch import FaceWatcher, Observation
from personare.types import Feature, Image, Progress, no_progress

Floats = NDArray[np.float32]

WATCHED = "puppet.watched"
NETWORKS = ("face_detection_short_range", "face_landmark", "iris_landmark")

PIVOT_BELOW_CHIN, PIVOT_DEPTH = 0.18, -0.55
"""Where the head turns on the neck, as in rig.py."""
SHIFT_LIMIT = 0.30
"""A guide's head is nowhere shown further from its place than this, in eye distances: it is on
a neck that stays.
"""
HOLD_SECONDS, EASE_SECONDS, RETURN_SECONDS = 0.4, 0.6, 0.2
"""A face that is not seen stays as it was for so long, then comes to rest; seen again, it goes
over to what is seen.
"""
CALIBRATED_EVERY_SECONDS = 0.5
MOST_REMEMBERED = 512
"""Pictures that a camera's neutral face is found in; older ones are thinned out."""

_ROW = SIGNALS + 5
"""Of what is kept of a picture: signals, head in radians, how far it is away."""
_PARTS = np.concatenate([PARTS, PARTS.max() + np.array([1, 1, 1, 2, 2])])
_HEAD, _AWAY = slice(SIGNALS, SIGNALS + 3), slice(SIGNALS + 3, _ROW)


def watch(
    pictures: Iterable[Image],
    fps: Fraction,
    total: int | None = None,
    progress: Progress = no_progress,
) -> Feature:
    """What the largest face of a guide does. Memory grows by a hundred numbers per picture.

    pictures: uint8 [H, W, 3] RGB at a constant rate, each looked at once. total: how many, for
    progress. No face in any picture is no error: nothing is `seen`.

    Arrays: motion float32 [n, 60] in the space motion.ARKIT, the head's angles from its start;
    seen bool [n], False where the face could not be seen and its last state was held or eased
    to rest. Metadata: fps, frames, unseen (how many pictures), faces (the most that were there
    at once; the largest is followed).
    """
    watcher = FaceWatcher(fps)
    rows: list[Floats] = []
    seen: list[bool] = []
    begins: list[bool] = []
    for done, picture in enumerate(pictures, 1):
        observation = watcher.see(picture)
        seen.append(observation is not None)
        if observation is not None:
            rows.append(_row(observation))
            begins.append(observation.begins)
        progress("watching the guide", done, total)
    motion = np.zeros((len(seen), ARKIT.width), np.float32)
    if rows:
        measured = np.stack(rows)
        starts = np.flatnonzero(begins)
        for start, end in zip(starts, [*starts[1:], len(measured)], strict=True):
            measured[start:end] = smoothed_signals(measured[start:end], fps, _PARTS)
        found = _states(measured, neutral(measured[:, :SIGNALS], float(fps)))
        bridge = _Bridge(fps)
        given = iter(found)
        for i, here in enumerate(seen):
            motion[i] = bridge.next(next(given) if here else None)
    return Feature(
        {"motion": motion, "seen": np.array(seen, np.bool_)},
        {"fps": str(fps), "frames": len(seen), "unseen": len(seen) - sum(seen), "faces": watcher.faces},
    )


def stage() -> Stage:
    """What is seen of a guide, kept by the guide's content; no portrait takes part."""
    return Stage(
        name=WATCHED,
        version=2,
        compute=_watched,
        reads=("guide",),
        weights=tuple(NETWORK_SHA256[name] for name in NETWORKS),
    )


def _watched(inputs: StageInputs) -> Feature:
    guide = inputs.guide
    return watch(guide.pictures(), guide.fps, guide.frames, inputs.progress)


def motion_of(watched: Feature) -> Motion:
    """The motion of a guide that was watched, a frame per picture."""
    return Motion(ARKIT, Fraction(watched.metadata["fps"]), watched.arrays["motion"])


class Mirror:
    """The face before a camera, picture by picture. Its first moments should show it at rest.

    seen: whether it was seen in the last picture.
    """

    def __init__(self, fps: Fraction) -> None:
        """fps: pictures per second, about."""
        self._fps = fps
        self._watcher = FaceWatcher(fps)
        self._smoother = CausalSmoother()
        self._bridge = _Bridge(fps)
        self._remembered: list[Floats] = []
        self._stride = 1
        self._count = 0
        self._neutral: Neutral | None = None
        self.seen = False

    def see(self, picture: Image) -> FaceState:
        """The state of the face in the next picture, uint8 [H, W, 3] RGB."""
        observation = self._watcher.see(picture)
        self.seen = observation is not None
        if observation is None:
            return state_of(self._bridge.next(None))
        row = self._smoother.next(_row(observation), float(1 / self._fps), observation.begins)
        rest = self._calibrated(row[:SIGNALS])
        return state_of(self._bridge.next(_states(row[None], rest)[0]))

    def _calibrated(self, row: Floats) -> Neutral:
        """The face at rest, from what was seen up to now."""
        if self._count % self._stride == 0:
            self._remembered.append(row)
        if len(self._remembered) > MOST_REMEMBERED:
            # The start stays whole: it shows the face at rest.
            start = max(1, round(self._fps))
            self._remembered[start:] = self._remembered[start::2]
            self._stride *= 2
        every = max(1, round(CALIBRATED_EVERY_SECONDS * float(self._fps)))
        if self._neutral is None or self._count % every == 0 or self._count < every:
            self._neutral = neutral(np.stack(self._remembered), float(self._fps))
        self._count += 1
        return self._neutral


class _Bridge:
    """Carries a face over pictures in which it is not seen."""

    def __init__(self, fps: Fraction) -> None:
        self._step = float(1 / fps)
        self._last = np.zeros(ARKIT.width, np.float32)
        self._shown = self._last
        self._unseen = 0.0
        self._return = 1.0

    def next(self, state: Floats | None) -> Floats:
        """The row of ARKIT for the next picture; None where the face is not seen."""
        if state is None:
            if self._unseen == 0:
                self._last = self._shown
            self._unseen += self._step
            self._return = 0.0
            self._shown = self._last * np.float32(
                1 - _smoothstep((self._unseen - HOLD_SECONDS) / EASE_SECONDS)
            )
            return self._shown
        if self._unseen:
            self._last, self._unseen = self._shown, 0.0
        self._return = min(1.0, self._return + self._step / RETURN_SECONDS)
        share = np.float32(_smoothstep(self._return))
        self._shown = self._last + (state - self._last) * share if share < 1 else state
        return self._shown


def _row(seen: Observation) -> Floats:
    measured = signals(seen.face, seen.lids, seen.iris, seen.brows)
    return np.concatenate([measured, np.radians(seen.head), seen.away]).astype(np.float32)


def _states(rows: Floats, rest: Neutral) -> Floats:
    """Rows of ARKIT, [n, 60], of rows [n, _ROW]."""
    found = expression(rows[:, :SIGNALS], rest)
    head = np.degrees(rows[:, _HEAD])
    tongue = np.zeros((len(rows), 1), np.float32)
    shift = rows[:, _AWAY] - np.stack([_swung(turn) for turn in head])
    size = np.linalg.norm(shift, axis=1, keepdims=True)
    shift *= SHIFT_LIMIT * np.tanh(size / SHIFT_LIMIT) / np.maximum(size, 1e-6)
    return np.concatenate([found.curves, tongue, head, shift, found.gaze], axis=1).astype(np.float32)


def _swung(head: Floats) -> Floats:
    """How far the middle of the face goes as the head turns on its neck, (x, y) in eye
    distances, image right and down.
    """
    points = head468().neutral
    middle, pivot = (
        points[list(RIGID)].mean(axis=0),
        np.array([0, points[CHIN, 1] - PIVOT_BELOW_CHIN, PIVOT_DEPTH]),
    )
    arm = (middle - pivot) * [1, -1, 1]
    return np.asarray((rotation(*head) @ arm - arm)[:2], np.float32)


def _smoothstep(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
