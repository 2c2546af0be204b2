"""Whether a face moves as people do: head, brows, lids, and how the mouth opens.

Each bar is a range of real talking people, as the same landmarks show them (11 clips of 5 to 12
seconds, most of trained speakers; medians are in the notes). A figure beyond a range is as
wrong as one below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from personare.score.figures import Figure, at_least, at_most, within
from personare.score.opening import FaceSeen
from personare.score.sound import LOUDNESS_RANGE_DB

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEADY_SECONDS = 0.12
"""Poses are averaged over this time: what trembles faster is the perception's own noise."""
SLOWEST_HZ, QUICK_HZ, QUICKEST_HZ = 0.2, 1.0, 4.0
RAISED_ED = 0.02
"""A brow that comes this far above where it was within RAISE_SECONDS is raised."""
RAISE_SECONDS = 0.8
SHUT_ED = 0.012
"""Lips less open than this are seen shut."""
BLINK_DEPTH, BLINK_LONGEST_SECONDS = 0.35, 0.5
_LONG_ENOUGH_SECONDS = 4.0
_FEWEST_FRAMES = 10
_SHORT = "a clip under 4 s says nothing"


def lives(seen: FaceSeen, fps: Fraction) -> Iterator[Figure]:
    """Rows of head, brows and lids."""
    rate = float(fps)
    visible = seen.seen
    seconds = len(seen) / rate
    blinks = count_blinks(seen.eye_opening[visible], rate)
    note = f"people 15 to 37; {blinks} blinks"
    yield within("blinks", blinks / seconds * 60, 4, 40, "per minute", note)
    long = visible.sum() / rate >= _LONG_ENOUGH_SECONDS
    angles = np.stack([seen.yaw, seen.pitch, seen.roll])[:, visible]
    head = np.stack([steadied(angle, rate) for angle in angles])
    for name, angle, low, high, people in zip(
        ("yaw", "pitch", "roll"), head, (2.0, 1.6, 1.2), (3.8, 3.7, 3.2), (3.8, 3.7, 3.2), strict=True
    ):
        value = float(angle.std()) if long else None
        note = f"people {people}" if long else _SHORT
        yield within(f"{name}, standard deviation", value, low, high, "degrees", note)
    speed = np.linalg.norm(np.diff(head, axis=1), axis=0) * rate if long else None
    value = None if speed is None else float(np.median(speed))
    yield within("head speed, median", value, 6, 13, "degrees/s", "people 13" if long else _SHORT)
    value = quick_share(head, rate) if long else None
    note = "people .25 to .45" if long else _SHORT
    yield within("head motion above 1 Hz, share", value, 0.2, 0.45, "", note)
    brow = steadied(seen.brow[visible], rate)
    value = float(brow.std()) if long else None
    yield within("brows, standard deviation", value, 0.012, 0.026, "ed", "people .026" if long else _SHORT)
    value = count_raises(brow, rate) / seconds * 60 if long else None
    yield within("brows raised", value, 10, 30, "per minute", "people 30" if long else _SHORT)


def speaks(seen: FaceSeen, opening: Floats, spoken: Mask, fps: Fraction) -> Iterator[Figure]:
    """Rows of how the mouth moves while it speaks.

    opening: float64 [k], above shut lips, of the pictures with a face; spoken: bool [k].
    """
    visible, rate = seen.seen, float(fps)
    enough = spoken.sum() >= _FEWEST_FRAMES
    gap, width, chin, tilt = (
        getattr(seen, name)[visible] for name in ("gap", "width", "chin", "corners_tilt")
    )
    pose = np.stack([seen.yaw, seen.pitch, seen.roll], axis=1)[visible]

    def note(people: str) -> str:
        return f"people {people}" if enough else "no speech"

    value = together(gap, width, pose, spoken) if enough else None
    yield at_least("opening with width, r", value, 0.3, note=note(".61; turns of the head taken out"))
    value = together(gap, chin, pose, spoken) if enough else None
    yield within("opening with chin, r", value, 0.45, 0.8, "", note(".67; turns of the head taken out"))
    speed = np.abs(np.diff(gap))[spoken[1:]] * rate
    value = float(np.percentile(speed, 95)) if enough else None
    yield within("opening speed, 95th percentile", value, 1.3, 2.1, "ed/s", note("1.95"))
    shut = (opening < SHUT_ED) & spoken
    times = int((np.diff(shut.astype(np.int8), prepend=0) == 1).sum())
    value = times / (spoken.sum() / rate) if enough else None
    yield within("lips seen shut", value, 0.8, 1.7, "times/s", note(f"1.1; {times} times"))
    value = float(tilt[spoken].std()) if enough else None
    name = "mouth corners, height difference, standard deviation"
    lopsided = without(tilt - seen.width[visible] * np.sin(np.radians(pose[:, 2])), pose, spoken)
    alone = f"; the head's own tilt taken out {lopsided[spoken].std():.3f}" if enough else ""
    yield within(name, value, 0.01, 0.03, "ed", note(f".031{alone}"))


def agrees(opening: Floats, loudness: Floats, spoken: Mask) -> Figure:
    """THEval's lip-sync: how far the opening lies from the sound's amplitude, both from 0 to 1
    over the clip; of float64 [k] per picture. People are not near 0: their mouths do not follow
    the loudness.

    loudness: decibels over LOUDNESS_RANGE_DB, 1 at the loud frames.
    """
    name, note = "lip-sync (THEval)", "people .22 to .25; 0 is a loudness meter"
    if spoken.sum() < _FEWEST_FRAMES:
        return within(name, None, 0.2, 0.27, "", "no speech")
    amplitude = 10 ** ((loudness[spoken] - 1) * LOUDNESS_RANGE_DB / 20)
    apart = np.abs(_unit(opening[spoken]) - _unit(amplitude))
    return within(name, float(apart.mean()), 0.2, 0.27, "", note)


def rests(openings: list[Floats], deviations: list[Floats]) -> Iterator[Figure]:
    """Rows of the mouth in silences: openings above shut lips, and how far from their mean."""
    note = f"{len(openings)} silences" if openings else "no silence of 0.3 s"
    opening = float(np.median(np.concatenate(openings))) if openings else None
    yield at_most("opening in silence, median", opening, 0.11, "ed", f"people .09; {note}")
    deviation = float(np.median(np.concatenate(deviations))) if openings else None
    name = "opening in silence, median absolute deviation"
    yield at_most(name, deviation, 0.03, "ed", f"people .018; {note}")


def steadied(curve: Floats, rate: float) -> Floats:
    """A curve [n] averaged over STEADY_SECONDS."""
    taps = max(1, round(STEADY_SECONDS * rate))
    if taps == 1 or len(curve) < taps:
        return curve
    padded = np.pad(curve, (taps // 2, taps - 1 - taps // 2), mode="edge")
    return np.asarray(np.convolve(padded, np.full(taps, 1 / taps), "valid"))


def quick_share(angles: Floats, rate: float) -> float:
    """Root mean square of head motion [3, n] from 1 to 4 Hz over that from 0.2 to 4 Hz."""
    frequencies = np.fft.rfftfreq(angles.shape[1], 1 / rate)
    window = np.hanning(angles.shape[1])
    power = np.abs(np.fft.rfft((angles - angles.mean(axis=1, keepdims=True)) * window)) ** 2
    counts = (frequencies >= SLOWEST_HZ) & (frequencies <= QUICKEST_HZ)
    total = float(power[:, counts].sum())
    return float(np.sqrt(power[:, counts & (frequencies > QUICK_HZ)].sum() / total)) if total else 0.0


def count_raises(brow: Floats, rate: float) -> int:
    """How often the brows come RAISED_ED above the lowest of the last RAISE_SECONDS."""
    back = max(1, round(RAISE_SECONDS * rate))
    padded = np.pad(brow, (back, 0), mode="edge")
    lowest = np.lib.stride_tricks.sliding_window_view(padded, back + 1).min(axis=1)
    raised = brow - lowest > RAISED_ED
    return int((np.diff(raised.astype(np.int8), prepend=0) == 1).sum())


def together(one: Floats, other: Floats, pose: Floats, where: Mask) -> float | None:
    """Pearson r of two curves [n] where the mask says, after what the head's pose [n, 3]
    explains of them is taken out. None where one does not move.
    """
    left, right = (without(curve, pose, where)[where] for curve in (one, other))
    if left.std() < 1e-9 or right.std() < 1e-9:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def without(curve: Floats, pose: Floats, where: Mask) -> Floats:
    """A curve [n] less its linear regression on the pose [n, 3], fitted where the mask says."""
    known = np.column_stack([np.ones(len(pose)), pose])
    weights = np.linalg.lstsq(known[where], curve[where], rcond=None)[0]
    return np.asarray(curve - known @ weights)


def count_blinks(eye_opening: Floats, fps: float) -> int:
    """Short dips of the lids by more than a third below the usual opening."""
    if len(eye_opening) < _FEWEST_FRAMES:
        return 0
    shut = eye_opening < (1 - BLINK_DEPTH) * np.median(eye_opening)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(np.int8), [0]])))
    return int(((edges[1::2] - edges[::2]) / fps <= BLINK_LONGEST_SECONDS).sum())


def _unit(curve: Floats) -> Floats:
    span = float(curve.max() - curve.min())
    return np.asarray((curve - curve.min()) / span if span else np.zeros_like(curve))
