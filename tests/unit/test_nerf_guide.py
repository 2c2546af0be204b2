"""What a guide shows, at a clip's rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.engines.nerffacespeech.guide import GuideMotion
from personare.types import SAMPLE_RATE, Feature, frame_count

pytestmark = pytest.mark.neural


@pytest.mark.parametrize("rate", ["24", "25", "30", "24000/1001", "30000/1001"])
@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 50])
def test_a_guide_of_any_rate_has_the_frames_of_its_sound(rate, fps):
    for pictures in (1, 2, 7, 30, 1001):
        watched = Feature(
            {"angles": np.zeros((pictures, 3)), "expression": np.zeros((pictures, 64))},
            {"fps": rate, "unseen": 0},
        )
        sound = int(pictures * SAMPLE_RATE / Fraction(rate))
        assert GuideMotion(watched, Fraction(fps)).frames == frame_count(sound, Fraction(fps))
