"""Kanji as kana, for voices that read kana only: SudachiPy and its dictionary (Apache-2.0), the
extra `japanese`.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sudachipy import Tokenizer

INSTALL_HINT = "pip install 'personare[japanese]'"
_AS_SPOKEN = {"は": "ワ", "へ": "エ", "を": "オ"}
"""Particles that are written otherwise than they are said."""
_GREETINGS = {"コンニチハ": "コンニチワ", "コンバンハ": "コンバンワ"}


def is_installed() -> bool:
    """Whether kanji can be read."""
    return all(importlib.util.find_spec(name) for name in ("sudachipy", "sudachidict_small"))


def kana(text: str) -> str:
    """The text with every word that has kanji in katakana, and particles as they are said.
    Everything else stays. text: at most 49149 bytes.
    """
    read = []
    for word in _tokenizer().tokenize(text):
        written, sound = word.surface(), word.reading_form()
        if word.part_of_speech()[0] == "助詞" and written in _AS_SPOKEN:
            # and a space, or its vowel and the next word's first would be taken for a long one
            read.append(f"{_AS_SPOKEN[written]} ")
        elif sound in _GREETINGS:
            read.append(_GREETINGS[sound])
        elif any(_is_kanji(c) for c in written):
            # a character that the dictionary lacks has itself for its reading
            read.append("".join(c for c in sound if not _is_kanji(c)))
        else:
            read.append(written)
    return "".join(read)


def _is_kanji(c: str) -> bool:
    return "\u3400" <= c <= "\u9fff" or c in "々〆" or c >= "\U00020000"


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    from sudachipy import Dictionary, SplitMode

    return Dictionary(dict="small").tokenizer(mode=SplitMode.C)
