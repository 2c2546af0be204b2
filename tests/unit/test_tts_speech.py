"""Real espeak-ng: six languages, times that fit the sound, long and hostile texts."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from personare.errors import EngineError, InputError, UnknownName, UnusableSpeech
from personare.types import Speech
from personare.voice.tts import open_text
from personare.voice.tts.backends import ESPEAK_RATE as VOICE_RATE
from personare.voice.tts.backends import EspeakLibrary
from personare.voice.tts.text import clean_text, split_text
from personare.voice.visemes import visemes_of

SENTENCES = {
    "en": "My mother may buy a happy copper pot, maybe a pepper mill. "
    "Remember my broken umbrella? A baby came by!",
    "de": "Meine Mama backt am Abend eine Pampelmuse. Der Opa nahm die Lampe und baute ein Boot.",
    "fr": "Ma maman pose un bateau sur la table. Le papa d'Emma aime beaucoup la soupe.",
    "es": "Mi mamá compra una manzana para papá. La bomba rompe una copa de la empresa.",
    "zh": "妈妈爸爸买面包。八百朋友慢慢跑步。明白不怕苹果皮。",
    "ja": "まままもる。ぱぱがぱんをたべます。あぽおばまさん。",
}


def said(speech: Speech):
    chunks = list(speech.chunks())
    return (
        np.concatenate([c.samples for c in chunks]),
        np.concatenate([c.voice for c in chunks]),
        [phone for c in chunks for phone in c.phones],
    )


@pytest.mark.parametrize("language", SENTENCES)
def test_phones_cover_the_speech_and_lie_in_their_chunks(language):
    speech = open_text(SENTENCES[language], language)
    at = 0
    phones = []
    for chunk in speech.chunks():
        assert chunk.samples.dtype == chunk.voice.dtype == np.float32
        assert chunk.voice.shape[1:] == (1,)
        assert all(at <= p.start < at + len(chunk.samples) for p in chunk.phones)
        at += len(chunk.samples)
        phones += chunk.phones
    assert phones[0].start == 0
    assert phones[-1].end == at
    assert all(a.end == b.start for a, b in itertools.pairwise(phones))
    assert all(p.end > p.start for p in phones)


@pytest.mark.parametrize("language", SENTENCES)
def test_every_phone_is_ipa_that_the_mouth_knows(language):
    _, _, phones = said(open_text(SENTENCES[language], language))
    assert not any(c in p.symbol for p in phones for c in "()0123456789.-")
    unknown = {p.symbol for p in phones if not visemes_of(p.symbol)}
    assert unknown == set()
    assert any(p.symbol == "" for p in phones)
    spoken = "".join(p.symbol for p in phones)
    assert "m" in spoken
    assert "p" in spoken


@pytest.mark.parametrize("language", ["en", "es", "zh"])
def test_lips_are_shut_when_the_sound_dips(language):
    """Of the closures of p between sounds, most are silent from their start until the burst."""
    _, voice, phones = said(open_text(SENTENCES[language], language))
    level = voice[:, 0] ** 2
    shut = 0
    closures = [
        b
        for a, b, c in zip(phones, phones[1:], phones[2:], strict=False)
        if b.symbol == "p" and a.symbol and c.symbol
    ]
    for phone in closures:
        start, end = (round(t * VOICE_RATE / 16000) for t in (phone.start, phone.end))
        first_half = level[start + 110 : (start + end) // 2 - 110].mean()
        shut += first_half < 1e-3 * level[start - 1100 : start].mean()
    assert len(closures) >= 4
    assert shut >= 0.75 * len(closures)


def test_the_voice_is_22050_hz_and_is_heard_at_exactly_16_khz():
    samples, voice, _ = said(open_text(SENTENCES["en"], "en"))
    assert len(samples) == -(-len(voice) * 16000 // VOICE_RATE)
    assert 0.1 < np.abs(samples).max() <= 1
    # the same sound: level in 50 ms windows agrees
    heard = [np.sqrt(np.mean(w**2)) for w in np.array_split(samples, 100)]
    kept = [np.sqrt(np.mean(w**2)) for w in np.array_split(voice[:, 0], 100)]
    assert np.corrcoef(heard, kept)[0, 1] > 0.98


def test_a_speech_can_be_heard_again():
    speech = open_text("Hello, my friend. How are you?")
    first, second = said(speech), said(speech)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[2] == second[2]
    assert (speech.voice_rate, speech.voice_channels, speech.seconds) == (VOICE_RATE, 1, None)


def test_the_language_is_guessed_from_the_script():
    assert np.array_equal(said(open_text("你好"))[1], said(open_text("你好", "zh"))[1])
    assert np.array_equal(said(open_text("hello"))[1], said(open_text("hello", "en-us"))[1])


def test_markup_is_neither_read_out_nor_obeyed():
    tags = said(open_text("hello <break time='60s'/> <audio src='/etc/passwd'/> world"))
    assert np.array_equal(tags[1], said(open_text("hello world"))[1])
    assert np.array_equal(said(open_text("<b>hello</b>"))[1], said(open_text("hello"))[1])


def test_kanji_are_refused_by_the_voice_that_cannot_read_them(monkeypatch):
    monkeypatch.setattr("personare.voice.tts.japanese.is_installed", lambda: False)
    with pytest.raises(InputError, match=r"kana only.*'日'"):
        open_text("こんにちは日本")
    with pytest.raises(InputError, match="kana only"):
        open_text("日本", "Japanese")


def test_unusable_text_and_unknown_voices():
    with pytest.raises(UnusableSpeech):
        open_text("?!")
    with pytest.raises(UnknownName):
        open_text("hello", "klingonese")


@pytest.mark.slow
def test_a_long_text_starts_at_once_and_stays_small():
    speech = open_text("Hello there, my friend. " * 42_000)
    tracemalloc.start()
    try:
        chunks = list(itertools.islice((len(c.samples) for c in speech.chunks()), 50))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(chunks) == 50
    assert max(chunks) < 11 * 16000
    # the request itself is about 2 MB
    assert peak < 12e6


def test_sentences_are_parted_by_pauses_also_between_pieces():
    text = "Hello there, my friend. " * 60
    assert len(split_text(clean_text(text))) > 1
    _, _, phones = said(open_text(text))
    before_hello = [a.symbol for a, b in itertools.pairwise(phones) if b.symbol == "h"]
    assert before_hello == [""] * 59


def test_speech_without_a_pause_is_cut_after_ten_seconds():
    chunks = list(open_text("banana" * 150, "en").chunks())
    assert len(chunks) > 1
    assert max(len(c.samples) for c in chunks) < 11 * 16000
    phones = [p for c in chunks for p in c.phones]
    assert all(a.end == b.start for a, b in itertools.pairwise(phones))


def test_a_missing_library_says_what_failed():
    with pytest.raises(EngineError, match="cannot be loaded"):
        open_text("hello", back_ends=[EspeakLibrary("here", "/nonexistent/libespeak-ng.so")])
