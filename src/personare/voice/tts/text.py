"""Text as it is safe to speak: cleaned, cut into pieces, and its language guessed."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from personare.errors import InputError, UnusableSpeech

LONGEST_TEXT = 4_000_000
"""Characters; about two days of speech."""

PIECE_LENGTH = 1000
"""Characters that go to the synthesiser at once, so that no counter of it overflows on a long
text.
"""

LONGEST_SENTENCE = 240
"""Characters that a neural voice says at once."""

_UNSPEAKABLE = frozenset({"Cc", "Cs", "Co", "Cn"})
_SPEAKABLE = frozenset("LN") | {"Sc", "So"}
_HALF_WIDTH_KANA = re.compile("[\uff66-\uff9f]+")
_SENTENCE_END = re.compile(r"[.!?…]\s+|[。！？]\s*|\n+")

# first word of the Unicode character name -> language of the voice
_LANGUAGE_OF_SCRIPT = {
    "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru", "GREEK": "el",
    "ARABIC": "ar", "HEBREW": "he", "DEVANAGARI": "hi", "BENGALI": "bn", "GURMUKHI": "pa", "GUJARATI": "gu",
    "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si", "THAI": "th",
    "MYANMAR": "my", "GEORGIAN": "ka", "ARMENIAN": "hy", "ETHIOPIC": "am",
}  # fmt: skip


def clean_text(text: str) -> str:
    """The text without control characters, lone surrogates and phoneme brackets; markup stays
    and is read out.

    Returns NFC text with single spaces and at most one empty line in a row. Raises InputError
    for more than LONGEST_TEXT characters and UnusableSpeech if nothing in it can be spoken.
    """
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"the text has {len(text):,} characters, more than {LONGEST_TEXT:,}",
            hint="split it into several clips",
        )
    kept = (
        " " if unicodedata.category(c) in _UNSPEAKABLE and c != "\n" else c
        for c in unicodedata.normalize("NFC", text)
    )
    plain = _HALF_WIDTH_KANA.sub(lambda run: unicodedata.normalize("NFKC", run[0]), "".join(kept))
    # espeak's own program takes [[...]] as phonemes
    plain = re.sub(r"\[(?=\[)", "[ ", plain)
    # a million dots would be minutes of silence
    plain = re.sub(r"([^\w\s])\1{3,}", r"\1\1\1", plain)
    plain = re.sub(r"[^\S\n]+", " ", plain)
    plain = re.sub(r" ?\n( ?\n)+ ?", "\n\n", plain).strip()
    if not any(
        category in _SPEAKABLE or category[0] in _SPEAKABLE for category in map(unicodedata.category, plain)
    ):
        raise UnusableSpeech(
            "the text has nothing that can be spoken", hint="give a text with letters or numbers"
        )
    return plain


def split_text(text: str) -> list[str]:
    """Pieces of at most PIECE_LENGTH characters, cut after a sentence where there is one, else
    between words.
    """
    pieces = []
    start = 0
    while len(text) - start > PIECE_LENGTH:
        limit = start + PIECE_LENGTH
        ends = [match.end() for match in _SENTENCE_END.finditer(text, start, limit)]
        cut = ends[-1] if ends else text.rfind(" ", start, limit) + 1 or limit
        pieces.append(text[start:cut].strip())
        start = cut
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def sentences(text: str) -> list[str]:
    """The sentences of a text; a very long one is cut at a comma, or between words."""
    found = []
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        sentence = text[start:end].strip()
        while len(sentence) > LONGEST_SENTENCE:
            cut = max(sentence.rfind(mark, 0, LONGEST_SENTENCE) for mark in ",;:，、；：") + 1
            cut = cut or sentence.rfind(" ", 0, LONGEST_SENTENCE) + 1 or LONGEST_SENTENCE
            found.append(sentence[:cut].strip())
            sentence = sentence[cut:].strip()
        found.append(sentence)
        start = end
    return [sentence for sentence in found if any(letter.isalnum() for letter in sentence)]


def guess_language(text: str) -> str:
    """A language tag from the script of the text's letters (its first 2000 characters).

    Kana means "ja" even among more Chinese characters; otherwise the most frequent script
    decides; Latin and everything unknown is "en", because script says nothing about the many
    languages written in Latin letters.
    """
    letters = (c for c in text[:2000] if c.isalpha())
    scripts = Counter(unicodedata.name(c, "").split(" ")[0] for c in letters)
    if not scripts:
        return "en"
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana and kana + scripts["CJK"] > scripts.total() / 2:
        return "ja"
    return _LANGUAGE_OF_SCRIPT.get(scripts.most_common(1)[0][0], "en")


def first_kanji(text: str) -> str | None:
    """The first Chinese character of the text, or None."""
    return next((c for c in text if unicodedata.name(c, "").startswith("CJK ")), None)
