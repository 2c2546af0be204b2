"""Six languages, judged by what the recogniser of phones hears in them, not by there being
sound.
"""

from __future__ import annotations

import numpy as np
import pytest

from personare.voice.articulation import ArticulationStream
from personare.voice.tts import open_text
from personare.voice.visemes import VISEME, PhonePainter

from .test_tts_speech import SENTENCES


def heard_and_said(language: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Visemes that are heard and said, and lips that are heard and said to be shut, per 10 ms:
    [n, 15], [n, 15], [n], [n].
    """
    stream, painter = ArticulationStream(), PhonePainter()
    frames = []
    for chunk in open_text(SENTENCES[language], language).chunks():
        painter.add(chunk.phones or ())
        frames.append(stream.push(chunk.samples))
    frames.append(stream.finish())
    heard = np.concatenate([f.visemes for f in frames])
    closed = np.concatenate([f.closed for f in frames])
    said = painter.paint(0, len(heard))
    return heard, said.visemes, closed, said.closed


@pytest.mark.parametrize("language", SENTENCES)
def test_the_recogniser_hears_what_is_said(language: str) -> None:
    heard, said, closed, shut = heard_and_said(language)
    speech = said.sum(axis=1) - said[:, VISEME["sil"]] > 0.5

    def agreement(shift: int) -> float:
        moved = np.roll(said, shift, axis=0).argmax(axis=1)
        return float((heard.argmax(axis=1) == moved)[speech].mean())

    chance = max(agreement(shift) for shift in (60, 90, 130, 170))
    assert agreement(0) > 0.5
    assert agreement(0) > 2 * chance
    assert closed[shut > 0.5].mean() > 2 * closed[(shut < 0.5) & speech].mean()
