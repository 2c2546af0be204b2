"""Text as it is safe to speak: cleaned, and cut into pieces."""

from __future__ import annotations

import re
import unicodedata

from personare.errors import InputError, UnusableSpeech
from personare.voice.tts.letters import plain_letters

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
_SENTENCE_END = re.compile(r"[.!?…]\s+|[。！？]\s*|\n+")


def clean_text(text: str) -> str:
    """The text in plain letters (see letters.py), without control characters, lone surrogates
    and phoneme brackets.

    Returns NFC text with single spaces and at most one empty line in a row. Raises InputError
    for more than LONGEST_TEXT characters and UnusableSpeech if nothing in it can be spoken.
    """
    plain = tidy(checked_length(text))
    if not can_be_spoken(plain):
        raise UnusableSpeech(
            "the text has nothing that can be spoken", hint="give a text with letters or numbers"
        )
    return plain


def checked_length(text: str) -> str:
    """The text, unless it is too long. Raises InputError."""
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"the text has {len(text):,} characters, more than {LONGEST_TEXT:,}",
            hint="split it into several clips",
        )
    return text


def tidy(text: str) -> str:
    """The text as `clean_text` gives it; "" if nothing is left."""
    plain = "".join(
        _plain_control(c) if unicodedata.category(c) in _UNSPEAKABLE else c
        for c in text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    )
    plain = plain_letters(plain)
    # espeak's own program takes [[...]] as phonemes
    plain = re.sub(r"\[(?=\[)", "[ ", plain)
    # a million dots would be minutes of silence
    plain = re.sub(r"([^\w\s])\1{3,}", r"\1\1\1", plain)
    plain = re.sub(r"[^\S\n]+", " ", plain)
    return re.sub(r" ?\n( ?\n)+ ?", "\n\n", plain).strip()


def _plain_control(c: str) -> str:
    return "\n" if c in "\n\r" else " "


def can_be_spoken(text: str) -> bool:
    """Whether a voice has a word for anything in the text."""
    return any(
        category in _SPEAKABLE or category[0] in _SPEAKABLE for category in map(unicodedata.category, text)
    )


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
