"""What is seen and heard: letters high enough, on a plate that stands out, nothing else
touched.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.errors import InvalidOption
from personare.provenance.cue import Cue, morse_cue
from personare.provenance.visible import LABELS, LEAST_HEIGHT_SHARE, Badge, Plate, checked_text, label_of


def grey(level, size=(256, 256)):
    return np.full((*size, 3), level, np.uint8)


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (1080, 1080), (360, 640), (64, 48)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_badge_stands_out_and_touches_its_plate_only(size, level):
    badge = Badge(size)
    frame = grey(level, size)
    assert badge.draw(frame) is frame
    inside = frame[badge.where].astype(int)
    assert inside.max() - inside.min() > 100
    frame[badge.where] = level
    assert (frame == level).all()
    assert inside.shape[0] * inside.shape[1] < 0.02 * size[0] * size[1] or min(size) < 100


def test_a_plate_turns_with_what_is_behind_it_and_does_not_flicker():
    badge = Badge((256, 256))
    ground = [int(np.median(badge.draw(grey(level))[badge.where])) - level for level in (0, 130, 255, 130, 0)]
    lighter = [value > 0 for value in ground]
    assert lighter == [True, True, False, False, True]


@pytest.mark.parametrize("name", [*LABELS, "Von KI gemacht"])
@pytest.mark.parametrize("size", [(256, 256), (512, 512), (720, 1280)])
def test_letters_of_a_label_are_as_high_as_the_standard_asks(name, size):
    drawn = label_of(name).on(size, Fraction(25))
    for first in (0, 49, 50, 400):
        picture = drawn.draw(first, grey(0, size)[None])[0]
        light = picture[..., 0].astype(int)
        plate = np.argwhere(light > 0)
        (top, left), (bottom, right) = plate.min(axis=0), plate.max(axis=0)
        inner = light[top : bottom + 1, left : right + 1]
        ink = np.flatnonzero((inner < inner.max() / 2).any(axis=1)[3:-3])
        assert ink[-1] - ink[0] + 1 >= LEAST_HEIGHT_SHARE * min(size)


def test_the_card_is_shown_for_two_seconds_and_pictures_are_copied():
    drawn = label_of("en").on((128, 128), Fraction(30000, 1001))
    frames = np.zeros((80, 128, 128, 3), np.uint8)
    changed = np.concatenate([drawn.draw(0, frames[:50]), drawn.draw(50, frames[50:])])
    assert not frames.any()
    card = changed[0]
    assert [bool((frame == card).all()) for frame in changed] == [n < 60 for n in range(80)]


def test_texts_that_cannot_be_drawn_are_refused():
    assert checked_text(" Künstlich \n 生成 ") == "Künstlich 生成"
    for text in ("", "x" * 61, "a\0", "\U0001f600"):
        with pytest.raises(InvalidOption, match="label"):
            checked_text(text)
    wide = Plate((64, 64), "W" * 60, 10)
    assert wide.draw(grey(0, (64, 64))).any()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_the_cue_is_short_long_short_short(rate):
    cue = morse_cue(rate)
    unit = round(0.08 * rate)
    on = [bool(np.abs(cue[n * unit : (n + 1) * unit]).mean() > 0.01) for n in range(len(cue) // unit)]
    assert "".join("x" if sounds else "." for sounds in on) == "x.xxx...x.x"


def test_the_cue_is_mixed_in_any_cut_and_never_overflows():
    voice = np.ones((20000, 2), np.float32)
    voice[::2] = -0.5
    whole = Cue(16000).mixed(voice)
    cue = Cue(16000)
    pieces = np.concatenate([cue.mixed(piece) for piece in np.array_split(voice, 13)])
    assert np.array_equal(whole, pieces)
    assert np.abs(whole).max() <= 1
    assert not np.array_equal(whole[:14000], voice[:14000])
    assert np.array_equal(whole[14080:], voice[14080:])
