"""Phones from phoneme events: closures start where the silence does, lips open before the vowel
is reported.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personare.voice.tts.backends import Phoneme
from personare.voice.tts.timing import phones_of

RATE = 16000
LOUD = 1000


def sounding(*parts):
    """Samples from (milliseconds, loud or not)."""
    return np.concatenate([np.full(ms * 16, LOUD if loud else 0, np.int16) for ms, loud in parts])


def events(*pairs):
    return [Phoneme(ms * 16, symbol) for ms, symbol in pairs]


def in_ms(phones):
    return [(p.symbol, p.start / 16, p.end / 16) for p in phones]


def test_a_stop_begins_with_its_silent_closure():
    sound = sounding((160, True), (40, False), (130, True))
    phones = phones_of(events((0, "ˈa"), (200, "p"), (230, "i")), sound, 0, RATE)
    assert in_ms(phones)[0] == ("ˈa", 0, 160)
    assert in_ms(phones)[1][:2] == ("p", 160)


def test_a_closure_is_taken_from_a_pause_but_no_more_than_60_ms():
    sound = sounding((100, True), (300, False), (100, True))
    phones = phones_of(events((0, "a"), (100, ""), (400, "b"), (420, "a")), sound, 0, RATE)
    assert in_ms(phones)[:2] == [("a", 0, 100), ("", 100, 340)]


def test_no_closure_is_invented_where_the_sound_goes_on():
    sound = sounding((400, True))
    assert in_ms(phones_of(events((0, "a"), (200, "p")), sound, 0, RATE))[1][:2] == ("p", 200)
    silent = sounding((150, True), (50, False), (200, True))
    assert in_ms(phones_of(events((0, "a"), (200, "s")), silent, 0, RATE))[1][:2] == ("s", 200)


def test_lips_open_22_ms_before_the_vowel_is_reported():
    sound = sounding((400, True))
    assert in_ms(phones_of(events((0, "a"), (100, "m"), (200, "a")), sound, 0, RATE)) == [
        ("a", 0, 100), ("m", 100, 178), ("a", 178, 400),
    ]  # fmt: skip
    short = phones_of(events((0, "a"), (100, "b"), (120, "a")), sound, 0, RATE)
    assert in_ms(short)[1] == ("b", 100, 110)


def test_short_or_audible_pauses_are_not_pauses():
    sound = sounding((100, True), (40, False), (200, True), (100, False))
    phones = phones_of(
        events((0, "a"), (100, ""), (140, "l"), (200, ""), (280, "o"), (340, ""), (400, "")), sound, 0, RATE
    )
    assert in_ms(phones) == [("a", 0, 140), ("l", 140, 280), ("o", 280, 340), ("", 340, 440)]


def test_language_switches_and_empty_phonemes_are_no_phones():
    sound = sounding((300, True))
    phones = phones_of(
        events((0, "(en)"), (10, "h"), (50, "a"), (100, "(ja)"), (110, "i"), (300, "x")), sound, 0, RATE
    )
    assert in_ms(phones) == [("h", 0, 50), ("a", 50, 110), ("i", 110, 300)]


@pytest.mark.parametrize(
    ("espeak", "ipa"),
    [
        ("ts.h", "ʈʂʰ"),
        ("s.", "ʂ"),
        ("th", "tʰ"),
        ("tɕh", "tɕʰ"),
        ("ˈi.", "ˈɨ"),
        ("onɡ", "oŋ"),
        ("ə-", "ə"),
        ("h", "h"),
        ("θ", "θ"),
    ],
)
def test_ascii_names_become_ipa(espeak, ipa):
    assert phones_of(events((0, espeak)), sounding((100, True)), 0, RATE)[0].symbol == ipa


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["", "p", "m", "a", "s", "(en)"])), max_size=12),
    st.data(),
)
def test_phones_cover_the_sound_in_order_at_any_rate(pairs, data):
    origin = data.draw(st.integers(0, 10**9))
    loud = np.repeat(data.draw(st.lists(st.booleans(), min_size=40, max_size=40)), 200)
    sound = np.where(loud, LOUD, 0).astype(np.int16)
    given_events = [Phoneme(origin + ms * 22, symbol) for ms, symbol in sorted(pairs)]
    phones = phones_of(given_events, sound, origin, 22050)
    assert phones[0].start == -(-origin * 16000 // 22050)
    assert phones[-1].end == -(-(origin + len(sound)) * 16000 // 22050)
    assert all(a.end == b.start for a, b in itertools.pairwise(phones))
    assert all(p.start <= p.end for p in phones)
