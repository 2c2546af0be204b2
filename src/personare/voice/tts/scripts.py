"""Which writing a voice can read, and a text cut where another voice has to read on."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from personare.voice.tts.letters import script_of

# language of the voice that reads a script, other languages that are written in it
_LANGUAGES = {
    "CJK": "zh cmn yue hak nan wuu", "BOPOMOFO": "zh cmn", "HIRAGANA": "ja ryu", "KATAKANA": "ja ryu",
    "HANGUL": "ko", "CYRILLIC": "ru uk bg mk sr be kk ky tt ba cv mn tg uz os ab nog", "GREEK": "el grc",
    "ARABIC": "ar fa ur ug sd ps ckb ku", "HEBREW": "he yi", "DEVANAGARI": "hi mr ne kok sa bho mai",
    "BENGALI": "bn as bpy", "GURMUKHI": "pa", "GUJARATI": "gu", "ORIYA": "or", "TAMIL": "ta", "TELUGU": "te",
    "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si", "THAI": "th", "LAO": "lo", "KHMER": "km",
    "TIBETAN": "bo", "MYANMAR": "my shn", "GEORGIAN": "ka", "ARMENIAN": "hy hyw", "ETHIOPIC": "am ti",
    "CHEROKEE": "chr", "THAANA": "dv", "MONGOLIAN": "mn",
}  # fmt: skip
_LANGUAGE_OF = {script: languages.split()[0] for script, languages in _LANGUAGES.items()}
_EVERYWHERE = frozenset({"LATIN", "FEMININE", "MASCULINE", "MICRO", "MODIFIER"})
"""Scripts that every voice reads, if only letter by letter."""


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """Text that one voice reads. language: None for the voice of the whole text."""

    language: str | None
    text: str


def guess_language(text: str) -> str:
    """A language tag from the script of the text's letters (its first 2000 characters).

    Kana means "ja" even among more Chinese characters; otherwise the most frequent script
    decides; Latin and everything unknown is "en", because script says nothing about the many
    languages written in Latin letters.
    """
    scripts = Counter(script_of(c) for c in text[:2000] if c.isalpha())
    if not scripts:
        return "en"
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana and kana + scripts["CJK"] > scripts.total() / 2:
        return "ja"
    return _LANGUAGE_OF.get(scripts.most_common(1)[0][0], "en")


def readable_scripts(languages: Iterable[str]) -> frozenset[str]:
    """The scripts in which the languages of a voice are written."""
    primary = {tag.partition("-")[0] for tag in languages if "-latn" not in tag}
    read = {script for script, tags in _LANGUAGES.items() if primary & set(tags.split())}
    if "ja" in primary:
        read.add("CJK")
    return _EVERYWHERE | read


def split_by_script(text: str, readable: frozenset[str]) -> list[ScriptRun]:
    """The text in runs, cut where letters begin that the voice of the whole cannot read.

    Chinese characters in a text with kana are Japanese. Figures, spaces and marks between two
    runs go with the voice of the whole. A run's language is the name of its script in lower
    case if no language here is written in it.
    """
    if text.isascii():
        return [ScriptRun(None, text)]
    kana = any("\u3041" <= c <= "\u30ff" for c in text)
    runs: list[tuple[str | None, list[str]]] = []
    neutral: list[str] = []
    for c in text:
        if not c.isalpha():
            # a mark belongs to the letter before it
            marks = unicodedata.category(c) in ("Mn", "Mc", "Me")
            (runs[-1][1] if marks and runs and not neutral else neutral).append(c)
            continue
        language = _language(c, readable, kana)
        if runs and runs[-1][0] == language:
            runs[-1][1].extend(neutral)
        elif language is None:
            runs.append((None, [*neutral]))
        elif runs and runs[-1][0] is None:
            runs[-1][1].extend(neutral)
            runs.append((language, []))
        else:
            if any(n.isalnum() for n in neutral):
                runs.append((None, [*neutral]))
            elif runs:
                runs[-1][1].extend(neutral)
            runs.append((language, []))
        neutral = []
        runs[-1][1].append(c)
    if any(n.isalnum() for n in neutral) and runs and runs[-1][0] is not None:
        runs.append((None, neutral))
    elif runs:
        runs[-1][1].extend(neutral)
    return [ScriptRun(language, "".join(letters)) for language, letters in runs] or [ScriptRun(None, text)]


def _language(c: str, readable: frozenset[str], kana: bool) -> str | None:
    script = script_of(c)
    if script in readable or script not in _LANGUAGE_OF:
        known = script in readable or not script.isalpha() or c.isascii()
        return None if known else script.lower()
    if script == "CJK" and kana:
        return "ja"
    return _LANGUAGE_OF[script]


def first_kanji(text: str) -> str | None:
    """The first Chinese character of the text, or None."""
    return next((c for c in text if c.isalpha() and script_of(c) == "CJK"), None)
