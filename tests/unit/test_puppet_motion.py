"""Mouth and life joined, and the hand-over when an utterance ends in mid-vowel."""

from __future__ import annotations

import numpy as np

from personare.engines.puppet.motion import HANDOVER_SECONDS, FaceMotion
from personare.engines.puppet.move.state import MouthFrame
from personare.engines.puppet.options import PuppetOptions
from personare.motion import UNIT

STILL = PuppetOptions(head_motion=0, blink_rate=0, gaze=0)


def vowel(opening=0.4):
    curves = np.zeros(52, np.float32)
    curves[UNIT["jawOpen"]] = opening
    return MouthFrame(curves, tongue=0.5, loudness=0.8, emphasis=0.0)


def jaw(state):
    return float(state.curves[UNIT["jawOpen"]])


def test_speech_moves_the_mouth_as_it_wants():
    motion = FaceMotion(STILL)
    assert [jaw(motion.speak(vowel(opening))) for opening in (0.0, 0.4, 0.1)] == [
        np.float32(v) for v in (0.0, 0.4, 0.1)
    ]


def test_after_an_end_in_mid_vowel_the_mouth_eases_to_rest():
    motion = FaceMotion(STILL)
    motion.speak(vowel())
    motion.release()
    path = [0.4] + [jaw(motion.rest()) for _ in range(10)]
    steps = -np.diff(path)
    assert (steps >= 0).all()
    assert steps.max() < 0.2
    assert path[round(HANDOVER_SECONDS * 25) + 1] == 0


def test_new_speech_after_an_interruption_starts_from_where_the_mouth_is():
    motion = FaceMotion(STILL)
    motion.speak(vowel())
    motion.release()
    assert 0.3 < jaw(motion.speak(vowel(0.0))) < 0.4


def test_release_at_rest_changes_nothing():
    motion = FaceMotion(STILL)
    motion.rest()
    motion.release()
    assert jaw(motion.speak(vowel())) == np.float32(0.4)


def test_life_reaches_the_face():
    motion = FaceMotion(PuppetOptions())
    states = [
        motion.speak(MouthFrame(np.zeros(52, np.float32), 0.0, 0.8, float(i % 40 < 5))) for i in range(200)
    ]
    assert max(state.curves[UNIT["eyeBlinkLeft"]] for state in states) > 0.8
    assert max(state.curves[UNIT["browOuterUpLeft"]] for state in states) > 0.1
    assert max(state.curves[UNIT["eyeLookDownLeft"]] for state in states) > 0.05
    assert len({state.head for state in states}) > 150
