"""Several voices and pauses in one speech: times that fit, a voice for every script."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from personare.errors import InputError
from personare.types import Phone, SpeechChunk
from personare.voice.tts import japanese, open_text
from personare.voice.tts.catalogue import voice_for
from personare.voice.tts.joined import Segment, joined
from personare.voice.tts.scripts import ScriptRun, readable_scripts, split_by_script
from tests.unit.test_tts_speech import said

ENGLISH = readable_scripts(["en-us", "en"])


def whole(speech) -> tuple[np.ndarray, list[Phone]]:
    samples, voice, phones = said(speech)
    assert len(samples) == -(-len(voice) * 16000 // speech.voice_rate)
    assert phones[0].start == 0
    assert phones[-1].end == len(samples)
    assert all(a.end == b.start for a, b in itertools.pairwise(phones))
    return samples, phones


def spoken(phones: list[Phone]) -> str:
    return "".join(p.symbol for p in phones)


def test_each_script_is_read_by_a_voice_that_knows_it() -> None:
    _, phones = whole(open_text("Welcome to the 北京 office, everyone."))
    alone = [whole(open_text(text, tag))[1] for text, tag in
             (("Welcome to the", "en"), ("北京", "zh"), ("office, everyone.", "en"))]  # fmt: skip
    assert spoken(phones) == "".join(map(spoken, alone))
    pauses = [p for p in phones[1:-1] if p.symbol == ""]
    assert max(p.end - p.start for p in pauses) < 0.3 * 16000  # one sentence


def test_the_sound_of_another_voice_is_where_its_phones_are() -> None:
    samples, phones = whole(open_text("Welcome to the 北京 office."))
    alone, _ = whole(open_text("北京", "zh"))
    first = next(p.start for p in phones if p.symbol.startswith("p"))
    loud = np.flatnonzero(np.abs(alone) > 0.02)
    piece = alone[loud[0] : loud[0] + 4000]
    at = np.correlate(samples, piece, "valid").argmax()
    assert abs(at - first) < 0.06 * 16000


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("Hello", [(None, "Hello")]),
        ("to 北京 now", [(None, "to "), ("zh", "北京"), (None, " now")]),
        ("北京", [("zh", "北京")]),
        ("the 東京タワー is", [(None, "the "), ("ja", "東京タワー"), (None, " is")]),
        ("北京 2008 games", [("zh", "北京"), (None, " 2008 games")]),
        ("שלום עולם", [("he", "שלום עולם")]),
        ("a नमस्ते b", [(None, "a "), ("hi", "नमस्ते"), (None, " b")]),
        ("a ᚠ b", [(None, "a "), ("runic", "ᚠ"), (None, " b")]),
    ],
)
def test_where_a_text_is_cut(text: str, runs: list[tuple[str | None, str]]) -> None:
    assert split_by_script(text, ENGLISH) == [ScriptRun(*run) for run in runs]
    assert "".join(run.text for run in split_by_script(text, ENGLISH)) == text


def test_latin_words_stay_with_the_voice() -> None:
    assert split_by_script("今天 iPhone 很好", readable_scripts(["cmn", "zh"])) == [
        ScriptRun(None, "今天 iPhone 很好")
    ]


@pytest.mark.parametrize(("text", "letter"), [("Hello ខ្មែរ", "ខ"), ("ᚠᚢᚦ", "ᚠ")])
def test_what_no_voice_reads_is_refused_with_a_hint(text: str, letter: str) -> None:
    with pytest.raises(InputError, match=letter) as caught:
        open_text(text)
    assert "voices" in caught.value.hint


def test_the_other_voice_has_the_same_style() -> None:
    assert voice_for("zh", "北京", "en-us+f3")[1].endswith("+f3")


def test_cues_begin_at_their_times() -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nHello there.\n\n2\n00:00:03,500 --> 00:00:05,000\nHow are you?\n"
    samples, phones = whole(open_text(srt))
    assert spoken(phones) == spoken(whole(open_text("Hello there. How are you?"))[1])
    loud = np.flatnonzero(np.abs(samples) > 0.02) / 16000
    assert loud[0] == pytest.approx(1.0, abs=0.15)
    assert loud[loud > 2.5][0] == pytest.approx(3.5, abs=0.15)
    assert whole(open_text(srt, timing="flow"))[0].size < 3 * 16000


def test_a_cue_waits_until_the_voice_is_free() -> None:
    srt = (
        "1\n00:00:00,000 --> 00:00:00,100\nA long sentence here.\n\n2\n00:00:00,200 --> 00:00:05,000\nBye.\n"
    )
    _, phones = whole(open_text(srt))
    assert spoken(phones).endswith(spoken(whole(open_text("Bye."))[1]))


def test_pauses_of_ssml_are_silence() -> None:
    samples, phones = whole(open_text('<speak>Hi<break time="2s"/>there</speak>'))
    pause = max(phones, key=lambda p: p.end - p.start)
    assert pause.symbol == ""
    assert any(np.abs(samples[i : i + 31000]).max() == 0 for i in range(0, len(samples) - 31000, 500))


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100])
@pytest.mark.parametrize("other", [16000, 22050, 24000])
def test_voices_of_any_rates_keep_time(rate: int, other: int) -> None:
    """A tone that starts at the same moment in both clocks, whatever the rates are."""

    def tone(at: int, seconds: float) -> SpeechChunk:
        samples = np.sin(np.arange(round(seconds * 16000)) / 5).astype(np.float32)
        count = len(samples) * at // 16000
        voice = np.sin(np.arange(count) * 16000 / at / 5).astype(np.float32)[:, None]
        return SpeechChunk(samples, voice, (Phone("a", 0, len(samples)),))

    segments = [
        Segment(lambda: iter([tone(rate, 0.5003)]), rate),
        Segment(lambda: iter([tone(other, 0.3001)]), other, start=2.0),
        Segment(None, rate, pause=0.7),
    ]
    chunks = list(joined(segments, rate, phones=True))
    samples = np.concatenate([c.samples for c in chunks])
    voice = np.concatenate([c.voice for c in chunks])
    assert len(samples) == -(-len(voice) * 16000 // rate)
    assert np.flatnonzero(np.abs(samples[16000:]) > 0.1)[0] / 16000 == pytest.approx(1.0, abs=0.02)
    assert np.flatnonzero(np.abs(voice[rate:, 0]) > 0.1)[0] / rate == pytest.approx(1.0, abs=0.02)
    assert all(len(c.samples) <= 16000 for c in chunks)


def test_kanji_are_read_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for SudachiPy's tokenizer, with its answers for this sentence."""
    words = [
        ("日本", "ニッポン", "名詞"),
        ("へ", "ヘ", "助詞"),
        ("行き", "イキ", "動詞"),
        ("ます", "マス", "助動詞"),
    ]
    answers = [
        SimpleNamespace(
            surface=lambda w=w: w[0], reading_form=lambda w=w: w[1], part_of_speech=lambda w=w: (w[2],)
        )
        for w in words
    ]
    module = ModuleType("sudachipy")
    module.SplitMode = SimpleNamespace(C="C")
    module.Dictionary = lambda dict: SimpleNamespace(
        tokenizer=lambda mode: SimpleNamespace(tokenize=lambda text: answers)
    )
    monkeypatch.setitem(sys.modules, "sudachipy", module)
    monkeypatch.setattr(japanese, "is_installed", lambda: True)
    japanese._tokenizer.cache_clear()
    try:
        assert japanese.kana("日本へ行きます") == "ニッポンエ イキます"
        _, phones = whole(open_text("日本へ行きます"))
        assert spoken(phones) == spoken(whole(open_text("ニッポンエ イキます"))[1])
    finally:
        japanese._tokenizer.cache_clear()
