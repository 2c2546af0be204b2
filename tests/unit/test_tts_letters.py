"""Look-alike and invisible letters: a voice gets what a reader sees."""

from __future__ import annotations

import pytest

from personare.errors import UnusableSpeech
from personare.voice.tts.text import clean_text


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("Ｈｅｌｌｏ　１２３", "Hello 123"),
        ("ＡＩ assistant", "AI assistant"), ("ﬁve ﬂowers", "five flowers"),
        ("good\u00a0morning", "good morning"),
        ("𝐇𝐞𝐥𝐥𝐨 𝓦𝓸𝓻𝓵𝓭 𝟙𝟚", "Hello World 12"),
        ("①②③ ❶ ⑳", "1 2 3 1 20"),
        ("Ⅳ ㎏ ℃", "IV kg °C"), ("🅗🅘 ⓗⓘ", "HI hi"), ("ᴴᵉˡˡᵒ 5ᵗʰ", "Hello 5th"), ("ʜᴇʟʟᴏ", "HELLO"),
        ("Ｈｅｌｌｏ，ｗｏｒｌｄ！", "Hello, world!"),
        ("１２：３０　５，０００", "12:30 5,000"), ("Ｉ＇ｍ", "I'm"),
        ("he\u200bllo \u2060wor\u00adld\ufeff", "hello world"), ("h\u0336e\u0336y", "hey"),
        ("\u202ehello\u202c", "hello"), ("Неllo раypal", "Hello paypal"), ("Mосква", "Москва"),
    ],
)  # fmt: skip
def test_what_a_reader_sees(written: str, seen: str) -> None:
    assert clean_text(written) == seen


@pytest.mark.parametrize(
    "text",
    [
        "你好！世界，再见。", "「こんにちは」！", "½ cup", "5 €", "ทำไม", "ㅋㅋㅋ",
        "Москва IT-специалист", "Ωμέγα", "naïve café",
        "क्\u200dष", "می\u200cخواهم", "it’s “fine” …",
    ],
)  # fmt: skip
def test_what_has_a_meaning_of_its_own_stays(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize("text", ["\u200b\u200d\ufeff", "\u3164\u2800", "\u202e"])
def test_nothing_but_the_invisible_is_nothing(text: str) -> None:
    with pytest.raises(UnusableSpeech):
        clean_text(text)


def test_accents_are_not_stacked_without_end() -> None:
    assert len(clean_text("z" + "\u0301" * 500)) <= 4
