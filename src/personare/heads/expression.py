"""From signals of a face to ARKit curves: what one has to do to the head so that it measures
the same.

A regularised least squares over the head's own units: how they move the measured points is
known (head468, and brow_shapes for brows, of which the head data have a fifth of what faces
do), how much of each is usual is the prior, and all weights lie between 0 and 1. Where lips
meet is not left to the balance of errors: what opens the mouth is scaled so that the lips are
as far apart as they were seen. Lids are measured by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from personare.heads.brow_shapes import (
    DOWN,
    INNER_UP,
    LEFT_LOWER_EDGE,
    LEFT_UPPER_EDGE,
    OUTER_UP,
    RIGHT_LOWER_EDGE,
    RIGHT_UPPER_EDGE,
    TOGETHER,
    brow_shapes,
)
from personare.heads.head468 import LOWER_INNER_LIP, UPPER_INNER_LIP, head468
from personare.heads.signals import (
    BROW_PLACES,
    CHIN_POINTS,
    CORNERS,
    INNER_LIPS,
    LIP_COLUMNS,
    MOUTH_POINTS,
    NOSE_WINGS,
    OUTER_LIPS,
    PLACES,
    SIGNALS,
)
from personare.motion import UNIT

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

USUAL = {
    "jawOpen": 0.35,
    "jawLeft": 0.15,
    "jawRight": 0.15,
    "mouthFunnel": 0.30,
    "mouthPucker": 0.60,
    "mouthLeft": 0.20,
    "mouthRight": 0.20,
    "mouthSmile": 0.60,
    "mouthFrown": 0.80,
    "mouthStretch": 0.18,
    "mouthLowerDown": 0.35,
    "mouthUpperUp": 0.35,
    "mouthPress": 0.12,
    "mouthRollLower": 0.15,
    "mouthRollUpper": 0.12,
    "mouthShrugLower": 0.15,
    "mouthShrugUpper": 0.12,
    "noseSneer": 0.25,
    "browInnerUp": 0.7,
    "browOuterUp": 0.7,
    "browDown": 0.7,
}
"""The units that are solved for and their usual size: the prior's standard deviation."""
SIDES_DIFFER = 0.20
"""The usual difference between a unit's two sides."""
QUIET = 0.15
"""Units are drawn to 0 by this many standard errors' worth of evidence: a face at rest stays
so.
"""
FROWN_GAIN, SNEER_GAIN = 1.5, 1.9
"""The head's corners fall, and its nose's wings rise, by less than those of faces."""
OFF = {
    "corners": 0.006,
    "lips": 0.012,
    "chin": 0.030,
    "wings": 0.014,
    "gaps": 0.007,
    "brows": 0.010,
    "along brows": 0.025,
}
"""Usual error of the signals, in eye distances."""
MOUTH_DRIFT = 0.015
"""The network shifts a whole mouth by about so much as other parts of the face move: no unit
has to explain that.
"""
SWEEPS, SETTLED = 60, 1e-4
"""Rounds over the units at most, and the change of a weight at which to stop."""

OPENING = ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
           "mouthFunnel", "mouthShrugUpper")  # fmt: skip
SHUT_BELOW = 0.006
"""Inner lips that are parted by less, in eye distances, are shut."""
OPENING_LIMIT = 1.6
OUTER_TELLS, OUTER_LIMIT = 0.85, 2.2
"""The lips part by this share of what their outer edges do, and by no more than so many times
what their inner edges say.
"""

SHUT_SHARE = (0.25, 0.60)
"""Opening of a shut eye as a share of an open one, as the network sees it: the least and the
most that a clip's own blinks are believed; without blinks:
"""
SHUT_USUAL = 0.38
LID_IDLE = 0.10
"""Blinks below this are none."""
WINK = (0.35, 0.70)
"""Lids whose blinks differ by less than the first are shut alike, by more than the second as
seen.
"""
WIDE_RISE = 0.30
"""An eye that is this much more open than usual, as a share, is at eyeWide 1."""
SQUINT_RISE = 0.030
"""The lower lid rises by this much, in eye distances, at eyeSquint 1."""
GAZE_GAIN = np.array([1.8, 2.0])
"""The network draws irises to the middle."""
GAZE_LIMIT = np.array([0.09, 0.05])


@dataclass(frozen=True, slots=True)
class Neutral:
    """A person's face at rest.

    signals: float32 [SIGNALS].
    shut: opening of either eye when shut, as a share of the open one, [2].
    mouth_scale: width of the mouth in that of the head.
    """

    signals: Floats
    shut: Floats
    mouth_scale: float


@dataclass(frozen=True, slots=True)
class Expression:
    """curves: float32 [n, 52]. gaze: float32 [n, 2] of both irises in eye distances, image
    right and down.
    """

    curves: Floats
    gaze: Floats


def expression(signals: Floats, neutral: Neutral) -> Expression:
    """What a face does whose signals, [n, SIGNALS], are these. Each row is solved by itself."""
    model = _model()
    away = (signals - neutral.signals).astype(np.float64)
    for group in ("mouth", "gaps"):
        away[:, PLACES[group]] /= neutral.mouth_scale
    gaps = _opened(away)
    away[:, PLACES["gaps"]] = gaps
    weights = _bounded_least_squares(model.hessian, np.einsum("ns,us->nu", away, model.pull) - model.quiet)
    _part_lips(weights, gaps.mean(axis=1), model)
    curves = np.zeros((len(signals), len(UNIT)), np.float32)
    curves[:, model.units] = weights
    gaze = _eyes(curves, signals, neutral)
    return Expression(curves, gaze)


def _opened(away: Doubles) -> Doubles:
    """How far the lips part, [n, columns]. The network is exact about whether they do, but
    draws inner lips together; outer lips tell how far.
    """
    gaps = away[:, PLACES["gaps"]]
    inner = gaps.mean(axis=1)
    mouth = away[:, PLACES["mouth"]].reshape(len(away), -1, 2)[..., 1]
    half = len(OUTER_LIPS) // 2
    outer = mouth[:, len(CORNERS) :][:, : 2 * half]
    apart = OUTER_TELLS * (outer[:, :half] - outer[:, half:])[:, 1:-1].mean(axis=1)
    wanted = np.clip(apart, inner, OUTER_LIMIT * np.maximum(inner, 0))
    wanted *= np.clip((inner - SHUT_BELOW) / SHUT_BELOW, 0, 1)
    parted = np.maximum(gaps, 0)
    return np.asarray(parted * (wanted / np.maximum(parted.mean(axis=1), 1e-4))[:, None], np.float64)


def _part_lips(weights: Doubles, gap: Doubles, model: _Model) -> None:
    """Scale what opens the mouth, in place, so that its lips are `gap` [n] apart."""
    by_all = weights * model.gap
    by_opening = by_all[:, model.opening].sum(axis=1)
    others = by_all.sum(axis=1) - by_opening
    share = np.clip((gap - np.minimum(others, 0)) / np.maximum(by_opening, 1e-4), 0, OPENING_LIMIT)
    share[gap == 0] = 0
    weights[:, model.opening] = np.clip(weights[:, model.opening] * share[:, None], 0, 1)


def _eyes(curves: Floats, signals: Floats, neutral: Neutral) -> Floats:
    """Fill the lids' curves in; the gaze, float32 [n, 2]."""
    usual = np.maximum(neutral.signals[PLACES["openness"]], 1e-3)
    share = signals[:, PLACES["openness"]] / usual
    fallen = np.clip((1 - share) / (1 - neutral.shut), 0, 1)
    blink = _together(np.clip((fallen - LID_IDLE) / (1 - LID_IDLE), 0, 1))
    risen = (signals - neutral.signals)[:, PLACES["lower_lids"]]
    squint = np.clip(risen / SQUINT_RISE - 0.3, 0, 1) * (1 - blink)
    for side, name in enumerate(("Right", "Left")):
        curves[:, UNIT["eyeBlink" + name]] = blink[:, side]
        curves[:, UNIT["eyeWide" + name]] = np.clip((share[:, side] - 1.05) / WIDE_RISE, 0, 1)
        curves[:, UNIT["eyeSquint" + name]] = squint[:, side]
        curves[:, UNIT["cheekSquint" + name]] = squint[:, side] * curves[:, UNIT["mouthSmile" + name]]
    # Of a shut eye the network guesses.
    looks = (signals - neutral.signals)[:, PLACES["gaze"]].reshape(-1, 2, 2).mean(axis=1)
    looks = (looks * (1 - blink.mean(axis=1, keepdims=True))).astype(np.float32)
    return np.asarray(GAZE_LIMIT * np.tanh(looks * GAZE_GAIN / GAZE_LIMIT), np.float32)


def _together(blink: Floats) -> Floats:
    """Lids go together, rather as the one that is shut further, unless they differ as much as
    in a wink; [n, 2].
    """
    apart = np.abs(blink[:, 1] - blink[:, 0])
    winks = np.clip((apart - WINK[0]) / (WINK[1] - WINK[0]), 0, 1)[:, None]
    both = 0.75 * blink.max(axis=1, keepdims=True) + 0.25 * blink.min(axis=1, keepdims=True)
    return np.asarray(both + (blink - both) * winks, np.float32)


@dataclass(frozen=True, slots=True)
class _Model:
    """units: numbers of the u units solved for. hessian: [u, u]. pull: [u, SIGNALS], signals to
    the gradient. quiet: [u]. gap: [u], how much each parts the lips. opening: places of
    OPENING.
    """

    units: NDArray[np.int_]
    hessian: Doubles
    pull: Doubles
    quiet: Doubles
    gap: Doubles
    opening: NDArray[np.int_]


@cache
def _model() -> _Model:
    usual = {
        full: size
        for name, size in USUAL.items()
        for full in ([name] if name in UNIT else [name + "Left", name + "Right"])
    }
    names = list(usual)
    units = np.array([UNIT[name] for name in names])
    here = moves()[units].T  # [signals, u]
    precision = 1 / _errors() ** 2
    drift = _drift()
    # The mouth's drift is two unknowns more, without bounds: they are eliminated.
    within = drift.T * precision
    inner = np.linalg.inv(within @ drift + np.eye(2) / MOUTH_DRIFT**2)
    weighted = np.diag(precision) - within.T @ inner @ within
    size = np.array(list(usual.values()))
    hessian = here.T @ weighted @ here + np.diag(1 / size**2)
    for i, name in enumerate(names):
        if (
            name.endswith("Left")
            and (other := name[:-4] + "Right") in usual
            and not name.startswith(("jaw", "mouthLeft"))
        ):
            j = names.index(other)
            hessian[[i, j], [i, j]] += 1 / SIDES_DIFFER**2
            hessian[[i, j], [j, i]] -= 1 / SIDES_DIFFER**2
    gap = here[PLACES["gaps"]].mean(axis=0)
    opening = np.array([names.index(name) for name in OPENING])
    return _Model(units, hessian, here.T @ weighted, QUIET * np.sqrt(np.diag(hessian)), gap, opening)


@cache
def moves() -> Doubles:
    """How every unit moves every signal of the head, [52, SIGNALS]; read-only by convention."""
    head = head468()
    deltas = head.deltas.astype(np.float64)
    for name, gain in (("mouthFrown", FROWN_GAIN), ("noseSneer", SNEER_GAIN)):
        for side in ("Left", "Right"):
            deltas[UNIT[name + side]] *= gain
    moved = np.zeros((len(UNIT), SIGNALS))
    moved[:, PLACES["mouth"]] = deltas[:, list(MOUTH_POINTS), :2].reshape(len(UNIT), -1)
    columns = list(LIP_COLUMNS)
    upper, lower = np.array(UPPER_INNER_LIP)[columns], np.array(LOWER_INNER_LIP)[columns]
    moved[:, PLACES["gaps"]] = deltas[:, upper, 1] - deltas[:, lower, 1]
    # Lips of the head lie on one another: what presses them further changes nothing that is
    # seen.
    moved[:, PLACES["gaps"]] = np.maximum(moved[:, PLACES["gaps"]], 0)
    at = brow_places()
    inner, outer, down, together = brow_shapes(np.abs(at))
    brows = np.zeros((len(UNIT), BROW_PLACES, 2))
    brows[UNIT["browInnerUp"], :, 1] = INNER_UP * inner
    for side, here in (("Right", at < 0), ("Left", at > 0)):
        brows[UNIT["browOuterUp" + side], here, 1] = (OUTER_UP * outer)[here]
        brows[UNIT["browDown" + side], here, 1] = -(DOWN * down)[here]
        brows[UNIT["browDown" + side], here, 0] = (-np.sign(at) * TOGETHER * together)[here]
    moved[:, PLACES["brows"]] = brows.reshape(len(UNIT), -1)
    return moved


def brow_places() -> Floats:
    """Of the head's brows, x of the ten places in the order of the signals, float32 [10]."""
    x = head468().neutral[:, 0]
    sides = [
        (x[list(upper[::-1])] + x[list(lower[::-1])]) / 2
        for upper, lower in ((RIGHT_UPPER_EDGE, RIGHT_LOWER_EDGE), (LEFT_UPPER_EDGE, LEFT_LOWER_EDGE))
    ]
    return np.concatenate(sides)


def _errors() -> Doubles:
    """Usual error of every signal, [SIGNALS]; those of the eyes, which are not solved for,
    count for nothing.
    """
    errors = np.full(SIGNALS, 1e6)
    kinds = {
        **dict.fromkeys(CORNERS, "corners"),
        **dict.fromkeys(CHIN_POINTS, "chin"),
        **dict.fromkeys(NOSE_WINGS, "wings"),
    }
    mouth = np.array([OFF[kinds.get(point, "lips")] for point in MOUTH_POINTS])
    # The inner lips' height is in the gaps; where they lie between counts as the outer ones do.
    mouth[[i for i, point in enumerate(MOUTH_POINTS) if point in INNER_LIPS]] *= 1.5
    errors[PLACES["mouth"]] = np.repeat(mouth, 2)
    errors[PLACES["gaps"]] = OFF["gaps"]
    errors[PLACES["brows"]] = np.tile([OFF["along brows"], OFF["brows"]], BROW_PLACES)
    return errors


def _drift() -> Doubles:
    """Shifts of the whole mouth, right and up, [SIGNALS, 2]."""
    drift = np.zeros((SIGNALS, 2))
    drift[PLACES["mouth"]] = np.tile(np.eye(2), (len(MOUTH_POINTS), 1))
    return drift


def _bounded_least_squares(hessian: Doubles, pull: Doubles) -> Doubles:
    """Minimise w H w / 2 - pull w for each row of pull [n, u] with 0 <= w <= 1: cyclic
    coordinate descent, which for a positive definite H converges to the one solution.
    """
    weights = np.zeros_like(pull)
    left = pull.copy()  # the gradient's negative: pull - H w
    diagonal = np.diag(hessian)
    for _ in range(SWEEPS):
        largest = 0.0
        for i in range(len(diagonal)):
            wanted = np.clip(weights[:, i] + left[:, i] / diagonal[i], 0, 1)
            step = wanted - weights[:, i]
            weights[:, i] = wanted
            left -= step[:, None] * hessian[i]
            largest = max(largest, float(np.abs(step).max()))
        if largest < SETTLED:
            break
    return weights
