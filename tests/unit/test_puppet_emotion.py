"""Emotion: worn over speech, absent where lips meet, nothing at all when neutral."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.engines.puppet.motion import FaceMotion
from personare.engines.puppet.move.emotion import (
    CORNERS,
    EASE_IN_SECONDS,
    EMOTIONS,
    TALKING_JAW,
    Mood,
    offsets,
)
from personare.engines.puppet.move.state import MouthFrame
from personare.engines.puppet.options import PuppetOptions
from personare.motion import UNIT

FPS = Fraction(25)
MOUTH = np.array([name.startswith(("mouth", "jaw")) for name in UNIT])
AT_CORNERS = np.array([name.startswith(CORNERS) for name in UNIT])
WORN = [name for name in EMOTIONS if name != "neutral"]


def curves(**weights: float) -> np.ndarray:
    made = np.zeros(len(UNIT), np.float32)
    for name, weight in weights.items():
        made[UNIT[name]] = weight
    return made


def settled(emotion: str, spoken: np.ndarray, strength: float = 1.0) -> np.ndarray:
    mood = Mood(emotion, strength, FPS)
    for _ in range(round(EASE_IN_SECONDS * FPS)):
        mood.add(spoken)
    return mood.add(spoken)


@pytest.mark.parametrize("emotion", WORN)
def test_what_is_worn_moves_brows_or_lids_and_the_mouth(emotion: str) -> None:
    worn = settled(emotion, curves())
    assert np.array_equal(worn, offsets(emotion))
    assert worn[MOUTH].any()
    assert worn[~MOUTH].any()
    assert len({offsets(name).tobytes() for name in EMOTIONS}) == len(EMOTIONS)


@pytest.mark.parametrize("emotion", WORN)
@pytest.mark.parametrize(
    "meeting",
    [{"mouthPressLeft": 0.25, "mouthRollLower": 0.15}, {"mouthRollLower": 0.45, "mouthUpperUpLeft": 0.2}],
)
def test_where_lips_meet_nothing_moves_them_but_their_corners(
    emotion: str, meeting: dict[str, float]
) -> None:
    spoken = curves(**meeting)
    worn = settled(emotion, spoken)
    assert np.array_equal(worn[MOUTH & ~AT_CORNERS], spoken[MOUTH & ~AT_CORNERS])
    assert (worn[AT_CORNERS] - spoken[AT_CORNERS] < offsets(emotion)[AT_CORNERS] + 1e-6).all()
    assert worn[~MOUTH].any()


def test_neutral_changes_no_bit_and_strength_scales() -> None:
    spoken = curves(jawOpen=0.3)
    assert Mood("neutral", 1.0, FPS).add(spoken) is spoken
    assert Mood("happy", 0.0, FPS).add(spoken) is spoken
    half, whole = settled("happy", spoken, 0.5) - spoken, settled("happy", spoken) - spoken
    np.testing.assert_allclose(half, whole / 2, atol=1e-6)
    assert settled("happy", curves(mouthSmileLeft=1.0))[UNIT["mouthSmileLeft"]] == 1


def test_an_open_mouth_that_is_worn_does_not_add_to_one_that_talks() -> None:
    jaw = [settled("surprised", curves(jawOpen=said))[UNIT["jawOpen"]] for said in (0.0, TALKING_JAW, 0.6)]
    assert jaw[0] == offsets("surprised")[UNIT["jawOpen"]] > 0.1
    np.testing.assert_allclose(jaw[1:], [TALKING_JAW, 0.6], atol=1e-6)


def test_a_clip_starts_in_the_photos_own_expression_and_no_step_is_large() -> None:
    motion = FaceMotion(PuppetOptions(emotion="angry", blink_rate=0))
    rest = MouthFrame(curves(), 0.0, 0.0, 0.0)
    seen = np.stack([motion.speak(rest).curves for _ in range(30)] + [motion.rest().curves for _ in range(3)])
    assert not seen[0].any()
    assert np.abs(np.diff(seen, axis=0)).max() < 0.1
    assert seen[-1][UNIT["browDownLeft"]] == offsets("angry")[UNIT["browDownLeft"]]
