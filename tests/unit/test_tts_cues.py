"""Markup, SSML and subtitles: what is said of them, and when."""

from __future__ import annotations

import pytest

from personare.errors import InputError
from personare.voice.tts.cues import TextPart, parts_of
from personare.voice.tts.markup import without_markup
from personare.voice.tts.text import tidy

SRT = "1\n00:00:01,000 --> 00:00:03,000\nHello there.\n\n2\n00:00:03,500 --> 00:00:05,000\nHow are you?\n"


def said(text: str) -> str:
    return tidy("\n".join(part.text for part in parts_of(text)))


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("# Title\nBody", "Title.\nBody"),
        ("Title\n=====\nBody", "Title.\nBody"),
        ("- one\n* two\n1. three", "one.\ntwo.\n1. three."),
        ("- [x] done\n- [ ] not", "done.\nnot."),
        ("**bold** and *it* and ***both*** ~~no~~", "bold and it and both no"),
        ("__bold__ _it_ `code`", "bold it code"), ("[a link](https://a.b/c?d) ![alt](x.png)", "a link alt"),
        ("see https://www.example.com/a/b?c=d.", "see example.com."),
        ("> quoted\n---\nend", "quoted.\n\nend"),
        ("|a|b|\n|---|:-:|\n|1|2|", "a, b.\n1, 2."), ("text[^1]\n\n[ref]: http://a.b", "text"),
        ("Hi 👋🏽 👨\u200d👩\u200d👧 ok 1️⃣ ☕️ 🇩🇪!", "Hi ok 1 !"),
        ("<b>x</b> &amp; y<br/>z<!-- no --><script>no()</script>", "x & y\nz"),
        ("before\n```py\nprint(1)\n```\nafter", "before\nafter"), ("<p>One</p><p>Two</p>", "One\n\nTwo"),
    ],
)  # fmt: skip
def test_what_is_for_the_eye_is_not_spoken(written: str, spoken: str) -> None:
    assert said(written) == spoken


@pytest.mark.parametrize(
    "text",
    [
        "5 * 3 * 2 = 30", "snake_case_name", "a < b and c > d", "I <3 you", "AT&T", "f*ck", "C:\\dir",
        "x - y", "50 % [sic]",
    ],
)  # fmt: skip
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert said(text) == text


def test_code_alone_is_spoken() -> None:
    assert said("```\nhello world\n```") == "hello world"


@pytest.mark.parametrize(
    "text", ["<!--" * 300_000, "*a " * 300_000, "[" * 900_000, "**" * 450_000, "<a " * 300_000]
)
def test_no_text_takes_more_than_one_look(text: str) -> None:
    without_markup(text)


def test_subtitles_have_their_times() -> None:
    assert parts_of(SRT) == [TextPart("Hello there.", 1.0), TextPart("How are you?", 3.5)]
    assert [part.start for part in parts_of(SRT, "flow")] == [None]
    assert said(SRT) == "Hello there.\nHow are you?"


@pytest.mark.parametrize(
    "text",
    [
        SRT.replace("\n", "\r\n"), SRT.replace("\n\n", "\n"), SRT.replace(",", "."), "\ufeff" + SRT,
        SRT.replace("Hello", "<i>Hello</i>").replace("How", r"{\an8}- How"),
        "WEBVTT - title\nKind: captions\n\nNOTE a\nnote\n\nSTYLE\n::cue{color:red}\n\n"
        "id\n00:01.000 --> 00:03.000 align:start\n"
        "<v Bob>Hello <00:01.500>there.</v>\n\nNOTE again\n\n00:03.500 --> 00:05.000\nHow are\nyou?\n",
    ],
)  # fmt: skip
def test_subtitles_as_programs_write_them(text: str) -> None:
    assert parts_of(text) == [TextPart("Hello there.", 1.0), TextPart("How are you?", 3.5)]


def test_a_text_that_speaks_of_times_is_no_subtitle() -> None:
    assert len(parts_of("We met.\n00:00:01,000 --> 00:00:03,000\nis how a cue begins.")) == 1


def test_a_cue_after_more_than_a_day_is_refused() -> None:
    with pytest.raises(InputError, match="more than a day"):
        parts_of("1\n99:00:01,000 --> 99:00:03,000\nHello\n")


def test_ssml() -> None:
    parts = parts_of(
        '<?xml version="1.0"?><speak xmlns="http://www.w3.org/2001/10/synthesis">Hi <break time="500ms"/>'
        "<emphasis>you</emphasis> <prosody rate='slow'>all</prosody>. <p><s>One.</s><s>Two.</s></p>"
        '<say-as interpret-as="characters">ABC</say-as> <say-as interpret-as="ordinal">22</say-as> '
        '<sub alias="World Wide Web">WWW</sub> <break strength="strong"/></speak>'
    )
    assert [(tidy(part.text), part.pause) for part in parts] == [
        ("Hi", 0.0),
        ("you all. \nOne.\nTwo.\n\nA, B, C 22nd World Wide Web", 0.5),
        ("", 0.8),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<speak>Hi <b></speak>", "not well-formed"), ("<speak><audio src='a.wav'/></speak>", "<audio>"),
        ("<speak><voice name='x'>a</voice></speak>", "<voice>"),
        ("<speak><break time='1 hour'/>a</speak>", "break"),
        ("<speak><break time='999999s'/>a</speak>", "longer than a day"),
        ("<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><speak>&a;</speak>", "DOCTYPE"),
        ("<speak>" + "<p>" * 5000 + "</p>" * 5000 + "</speak>", "nests"),
        ("<speak><sub>" + "<p>" * 5000 + "</p>" * 5000 + "</sub></speak>", "nests"),
    ],
)  # fmt: skip
def test_ssml_that_cannot_be_done_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        parts_of(text)
    assert "\n" not in caught.value.message
