"""Text before it is spoken: what is removed, how it is cut, which language it is taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personare.errors import InputError, UnusableSpeech
from personare.voice.tts.scripts import first_kanji, guess_language
from personare.voice.tts.text import (
    LONGEST_TEXT,
    PIECE_LENGTH,
    clean_text,
    split_text,
)


@pytest.mark.parametrize("text", ["", "   \n\t", "...!?", "\0\x01\x02", "。、", "- – —"])
def test_nothing_to_speak_is_refused(text):
    with pytest.raises(UnusableSpeech, match="nothing that can be spoken"):
        clean_text(text)


def test_too_long_a_text_is_refused_before_any_work():
    with pytest.raises(InputError, match="4,000,001 characters"):
        clean_text("a" * (LONGEST_TEXT + 1))


def test_what_steers_a_synthesiser_is_removed():
    # \x01 opens espeak's embedded commands, [[ its phoneme input
    assert clean_text("a\x0150S b\0c\ud800d [[h@loU]]") == "a 50S b c d [ [h@loU]]"


def test_white_space_and_runs_of_punctuation_are_bounded():
    assert clean_text("  a \t b\r\n\n \n\nc" + "." * 9999) == "a b\n\nc..."


def test_composed_letters_and_half_width_kana_are_what_the_voice_knows():
    assert clean_text("u\u0308ber") == "über"
    assert clean_text("ｶﾞﾀｶﾅ") == "ガタカナ"


@given(st.text(st.sampled_from("ab. \n。！x?"), max_size=5000))
def test_pieces_are_short_and_lose_only_white_space(text):
    pieces = split_text(text)
    assert all(0 < len(p) <= PIECE_LENGTH for p in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_pieces_end_with_sentences_then_with_words_then_anywhere():
    sentence = "One two three. "
    assert all(p.endswith("three.") for p in split_text(sentence * 500))
    assert all(p.startswith("word") and p.endswith("word") for p in split_text("word " * 1000))
    assert split_text("x" * 2500) == ["x" * 1000, "x" * 1000, "x" * 500]
    assert all(p.endswith("。") for p in split_text("今天天气很好。" * 300))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello", "en"), ("12 + 3", "en"), ("你好，世界", "zh"), ("日本語を話す", "ja"), ("カタカナ", "ja"),
        ("안녕", "ko"), ("Привет, world", "ru"), ("مرحبا", "ar"), ("नमस्ते", "hi"), ("Γειά", "el"),
        ("The word 猫 means cat", "en"), ("The word ねこ means cat", "en"),
    ],
)  # fmt: skip
def test_the_script_tells_the_language(text, language):
    assert guess_language(text) == language


def test_kanji_are_found_among_kana():
    assert first_kanji("これは本です") == "本"
    assert first_kanji("これはほんです。ー") is None
