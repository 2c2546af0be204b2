"""Curves from signals: what is put into the head comes out again; lips that meet stay shut."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.heads import head468
from personare.heads.brow_shapes import (
    DOWN,
    INNER_UP,
    LEFT_LOWER_EDGE,
    LEFT_UPPER_EDGE,
    OUTER_UP,
    RIGHT_LOWER_EDGE,
    RIGHT_UPPER_EDGE,
    brow_shapes,
)
from personare.heads.expression import expression
from personare.heads.neutral import neutral
from personare.heads.signals import PARTS, PLACES, SIGNALS, signals
from personare.motion import UNIT
from personare.perception.smooth import CausalSmoother, smoothed_signals

FPS = Fraction(25)
OPEN = 0.35
"""Of an eye, in its widths."""


def curves_of(count, **units):
    """[count, 52]: a unit, or both its sides, over time."""
    curves = np.zeros((count, len(UNIT)), np.float32)
    for name, values in units.items():
        for unit in [name] if name in UNIT else [name + "Left", name + "Right"]:
            curves[:, UNIT[unit]] = values
    return curves


def measured(curves, gaze=(0.0, 0.0)):
    """Signals of the head that does this, [n, SIGNALS]."""
    head = head468()
    rows = []
    for row in curves:
        face = (head.neutral + np.einsum("u,unc->nc", row, head.deltas))[:, :2]
        lips = head.neutral[[13, 14], 1]
        face[[13, 14], 1] += lips.mean() - lips  # lips of a face at rest meet
        rows.append(signals(face, *eyes_of(row, gaze), brows_of(row)))
    return np.stack(rows)


def brows_of(row):
    neutral_points = head468().neutral[:, :2]
    order = [*RIGHT_UPPER_EDGE[::-1], *RIGHT_LOWER_EDGE[::-1], *LEFT_UPPER_EDGE[::-1], *LEFT_LOWER_EDGE[::-1]]
    brows = neutral_points[order].copy()
    inner, outer, down, _ = brow_shapes(np.abs(brows[:, 0]))
    brows[:, 1] += INNER_UP * inner * row[UNIT["browInnerUp"]]
    for side, here in (("Right", brows[:, 0] < 0), ("Left", brows[:, 0] > 0)):
        moved = (
            OUTER_UP * outer * row[UNIT["browOuterUp" + side]] - DOWN * down * row[UNIT["browDown" + side]]
        )
        brows[:, 1] += np.where(here, moved, 0)
    return brows


def eyes_of(row, gaze):
    lids = np.zeros((2, 71, 2), np.float32)
    iris = np.zeros((2, 5, 2), np.float32)
    for eye, (start, side) in enumerate(((-0.5, "Right"), (0.2, "Left"))):
        along = np.linspace(0, 0.3, 9)
        height = OPEN * 0.3 * (1 - 0.7 * row[UNIT["eyeBlink" + side]])
        lids[eye, :9, 0] = start + along
        lids[eye, 1:8, 1] = -0.3 * height
        lids[eye, 9:16, 0] = start + along[1:8]
        lids[eye, 9:16, 1] = 0.7 * height
        iris[eye] = (start + 0.15 + gaze[0], -gaze[1])
    return lids, iris


def pulse(count, at, width):
    return np.exp(-(((np.arange(count) - at) / width) ** 2))


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("jawOpen", 0.6),
        ("mouthSmile", 0.8),
        ("mouthPucker", 0.8),
        ("browInnerUp", 0.8),
        ("browOuterUp", 0.8),
        ("browDown", 0.8),
        ("eyeBlink", 1.0),
    ],
)
def test_what_a_unit_does_is_seen_as_that_unit(unit, most):
    shape = most * pulse(60, 30, 6)
    rows = measured(curves_of(60, **{unit: shape}))
    seen = expression(rows, neutral(rows, 25.0)).curves
    sides = [UNIT[unit]] if unit in UNIT else [UNIT[unit + "Left"], UNIT[unit + "Right"]]
    for side in sides:
        assert correlation(seen[:, side], shape) > 0.95
        assert seen[:, side].max() == pytest.approx(most, abs=0.3 * most)
    others = np.delete(seen, sides, axis=1)
    assert others.max() < 0.4 * most
    assert not seen[:10].any() or seen[:10].max() < 0.05, "a face at rest stays so"


def test_units_at_once_are_told_apart():
    jaw, smile, blink = 0.5 * pulse(80, 20, 5), 0.7 * pulse(80, 45, 10), pulse(80, 40, 3)
    rows = measured(curves_of(80, jawOpen=jaw, mouthSmile=smile, eyeBlink=blink))
    seen = expression(rows, neutral(rows, 25.0)).curves
    for name, meant in (("jawOpen", jaw), ("mouthSmileLeft", smile), ("eyeBlinkRight", blink)):
        assert correlation(seen[:, UNIT[name]], meant) > 0.95


def test_lips_that_meet_are_shut_however_the_chin_trembles():
    opening = 0.4 * np.clip(np.sin(np.arange(100) / 4), 0, 1)
    rows = measured(curves_of(100, jawOpen=opening))
    shut = opening == 0
    noise = np.random.default_rng(0)
    rows[:, PLACES["mouth"]] += noise.normal(0, 0.01, rows[:, PLACES["mouth"]].shape).astype(np.float32)
    rows[:, PLACES["gaps"]] += noise.normal(0, 0.001, (100, 5)).astype(np.float32)
    seen = expression(rows, neutral(rows, 25.0)).curves
    for name in ("jawOpen", "mouthLowerDownLeft", "mouthUpperUpRight", "mouthFunnel"):
        assert not seen[shut, UNIT[name]].any()
    assert seen[~shut, UNIT["jawOpen"]].max() > 0.3


def test_a_wink_is_one_eye_and_a_blink_both():
    wink = curves_of(60, eyeBlinkLeft=pulse(60, 30, 4))
    rows = measured(wink)
    seen = expression(rows, neutral(rows, 25.0)).curves
    assert seen[30, UNIT["eyeBlinkLeft"]] > 0.8
    assert seen[30, UNIT["eyeBlinkRight"]] < 0.2
    uneven = measured(curves_of(60, eyeBlinkLeft=pulse(60, 30, 4), eyeBlinkRight=0.8 * pulse(60, 30, 4)))
    seen = expression(uneven, neutral(rows, 25.0)).curves
    assert seen[30, UNIT["eyeBlinkLeft"]] == seen[30, UNIT["eyeBlinkRight"]] > 0.8


def test_gaze_is_that_of_both_eyes_and_nothing_behind_shut_lids():
    still = measured(curves_of(20))
    aside = measured(curves_of(1), gaze=(0.02, 0.0))
    shut = measured(curves_of(1, eyeBlink=1.0), gaze=(0.02, 0.0))
    found = expression(np.concatenate([still, aside, shut]), neutral(still, 25.0)).gaze
    assert found[20, 0] > 0.02
    assert abs(found[20, 1]) < 1e-3
    assert abs(found[21, 0]) < 0.3 * found[20, 0]


def test_a_smile_that_lasts_is_a_smile_though_the_clip_knows_no_other_face():
    rows = measured(curves_of(50, mouthSmile=0.8))
    seen = expression(rows, neutral(rows, 25.0)).curves
    assert (seen[:, UNIT["mouthSmileLeft"]] > 0.06).all()


def test_the_start_is_the_neutral_face_if_it_is_steady():
    """Brows go down and stay: the median would take them for those of a face at rest."""
    frown = np.concatenate([np.zeros(10), np.full(90, 0.8)])
    rows = measured(curves_of(100, browDown=frown))
    seen = expression(rows, neutral(rows, 25.0)).curves
    assert seen[50, UNIT["browDownLeft"]] > 0.5
    moving = np.concatenate([np.linspace(1, 0, 10), np.zeros(90)])
    rows = measured(curves_of(100, browInnerUp=moving))
    seen = expression(rows, neutral(rows, 25.0)).curves
    assert seen[50, UNIT["browDownLeft"]] < 0.1, "raised brows at the start are no neutral face"


def test_rows_are_solved_each_by_itself():
    rows = measured(curves_of(12, jawOpen=np.linspace(0, 0.5, 12), browInnerUp=0.4))
    rest = neutral(rows, 25.0)
    together = expression(rows, rest)
    for i in (0, 5, 11):
        alone = expression(rows[i : i + 1], rest)
        assert alone.curves[0] == pytest.approx(together.curves[i], abs=2e-3)


def test_a_single_picture_is_its_own_neutral_face():
    rows = measured(curves_of(1, browInnerUp=0.5))
    found = expression(rows, neutral(rows, 25.0))
    assert found.curves.max() < 0.05
    assert not found.gaze.any()


def test_smoothing_signals_is_not_late_and_keeps_a_blink():
    blink, slow = pulse(120, 60, 2.0), 0.05 * np.sin(np.arange(120) / 15)
    clean = np.zeros((120, SIGNALS), np.float32)
    clean[:, PLACES["openness"]] = (OPEN * (1 - 0.7 * blink))[:, None]
    clean[:, PLACES["brows"]] = slow[:, None]
    noisy = clean + np.random.default_rng(0).normal(0, 0.004, clean.shape).astype(np.float32)
    smooth = smoothed_signals(noisy, FPS, PARTS)
    assert (smooth - clean)[:, PLACES["brows"]].std() < 0.6 * 0.004
    lids = smooth[:, PLACES["openness"]].mean(axis=1)
    assert lids.argmin() == 60
    assert lids.min() == pytest.approx(OPEN * 0.3, abs=0.03)
    brows = smooth[:, PLACES["brows"]].mean(axis=1)
    lags = range(-5, 6)
    assert max(lags, key=lambda lag: correlation(brows[10:-10], np.roll(slow, lag)[10:-10])) == 0
    assert smoothed_signals(noisy[:3], FPS, PARTS) == pytest.approx(noisy[:3])


def test_the_causal_smoother_calms_rest_and_lets_a_blink_through():
    noise = np.random.default_rng(0).normal(0, 0.004, (100, 3)).astype(np.float32)
    smoother = CausalSmoother()
    quiet = np.stack([smoother.next(row, 0.04) for row in noise])
    assert quiet[20:].std() < 0.6 * 0.004
    step = np.concatenate([np.zeros((10, 1)), np.ones((10, 1))]).astype(np.float32)
    smoother = CausalSmoother()
    passed = np.concatenate([smoother.next(row, 0.04) for row in step])
    assert passed[11] > 0.9
    assert smoother.next(np.zeros(1, np.float32), 0.04, begins=True) == 0
