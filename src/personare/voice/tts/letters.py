"""Letters as a reader sees them: look-alikes of other code points become the plain ones, and
what is invisible goes.

Unicode's compatibility forms (NFKC, UAX 15) are right for full-width letters, mathematical
alphabets, ligatures, circled figures and the like, and wrong for a few that a voice knows
better: fractions, the spacing accents, the punctuation of Chinese and Japanese, Thai's am.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_COMPATIBLE = frozenset(
    {"<wide>", "<narrow>", "<font>", "<circle>", "<square>", "<sub>", "<super>", "<compat>", "<noBreak>",
     "<vertical>", "<initial>", "<medial>", "<final>", "<isolated>"}
)  # fmt: skip
_KEPT = frozenset("ªº…™℠№ำຳ")
_CJK_MARKS = frozenset("！？，：；～｡､「」『』【】〔〕《》〈〉")
_SMALL_CAPITALS = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "ABCDEFGHIJKLMNOPQRSTUVWYZ", strict=True))

# Joiners inside a word of these scripts choose a letter's form; elsewhere they are stray.
_JOINING = re.compile(
    "[\u0600-\u08ff\ufb50-\ufdff\ufe70-\ufeff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18aa]"
)
_JOINERS = "\u200c\u200d"
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800")
_VARIATIONS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_OVERLAYS = re.compile("[\u0334-\u0338\u20d0-\u20ef]")
_STACKED = re.compile("([\u0300-\u036f]{2})[\u0300-\u036f]+")

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# letters of one script that are drawn as those of another (UTS 39, confusables)
_CYRILLIC = "АВЕКМНОРСТУХЅІЈԚԜаеорсухѕіјһԛԝ"
_LATIN_OF_CYRILLIC = "ABEKMHOPCTYXSIJQWaeopcyxsijhqw"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧον"
_LATIN_OF_GREEK = "ABEZHIKMNOPTYXov"
_LOOK_ALIKES = {
    "CYRILLIC": dict(zip(_CYRILLIC, _LATIN_OF_CYRILLIC, strict=True)),
    "GREEK": dict(zip(_GREEK, _LATIN_OF_GREEK, strict=True)),
}


def plain_letters(text: str) -> str:
    """The text in NFC with plain letters and figures, without what is invisible."""
    text = unicodedata.normalize("NFC", text)
    if text.isascii():
        return text
    text = _VARIATIONS.sub("", _without_formats(text))
    text = "".join(c if c.isascii() else _plain(c) for c in text)
    text = _wide_marks(text)
    text = _STACKED.sub(r"\1", _OVERLAYS.sub("", unicodedata.normalize("NFC", text)))
    return _WORD.sub(lambda word: _one_script(word[0]), text)


def _without_formats(text: str) -> str:
    """Without characters of format (Cf): zero-width spaces, soft hyphens, marks of direction."""
    kept = []
    for i, c in enumerate(text):
        if c.isascii() or (unicodedata.category(c) != "Cf" and c not in _INVISIBLE):
            kept.append(c)
        elif c in _JOINERS:
            if kept and _JOINING.match(kept[-1]) and _JOINING.match(text[i + 1 : i + 2]):
                kept.append(c)
        elif c in "\u3164\u2800":
            kept.append(" ")
    return "".join(kept)


@lru_cache(maxsize=4096)
def _plain(c: str) -> str:
    if c in _SMALL_CAPITALS:
        return _SMALL_CAPITALS[c]
    if c in _KEPT or c in _CJK_MARKS or "\u3131" <= c <= "\u318e":
        return c
    form = unicodedata.decomposition(c)
    if form.partition(" ")[0] not in _COMPATIBLE:
        return _figure(c)
    plain = unicodedata.normalize("NFKC", c)
    if form.startswith("<circle>") and plain.isdigit():
        return f" {plain} "  # two of them are two numbers
    # spacing accents become a space with an accent on it
    return c if plain[:1] == " " and len(plain) > 1 else plain


def _figure(c: str) -> str:
    """Circled figures and letters that have no compatibility form: ❶ -> 1, 🅐 -> A."""
    if 0x1F150 <= ord(c) <= 0x1F169:
        return chr(ord("A") + ord(c) - 0x1F150)
    if 0x1F170 <= ord(c) <= 0x1F189:
        return chr(ord("A") + ord(c) - 0x1F170)
    if unicodedata.category(c) == "No" and not unicodedata.decomposition(c):
        value = unicodedata.numeric(c)
        return f" {int(value)} " if value == int(value) else c
    return c


_NEXT_TO_CJK = re.compile("[\u2e80-\u303f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")


def _wide_marks(text: str) -> str:
    """Full-width punctuation stays where Chinese and Japanese have it: after their own letters."""
    if not _CJK_MARKS & set(text):
        return text
    kept: list[str] = []
    for i, c in enumerate(text):
        if c in "！？，：；～" and not _NEXT_TO_CJK.match(kept[-1] if kept else " "):
            plain = unicodedata.normalize("NFKC", c)
            following = text[i + 1 : i + 2]
            figures = c in "，：" and kept[-1:] and kept[-1].isdigit() and following.isdigit()
            kept.append(plain if not following.isalnum() or figures else f"{plain} ")
        else:
            kept.append(c)
    return "".join(kept)


def _one_script(word: str) -> str:
    """A word that mixes Latin letters with look-alikes of Cyrillic or Greek in one script."""
    if word.isascii():
        return word
    scripts = {script_of(c) for c in word if c.isalpha()}
    for script, latin in _LOOK_ALIKES.items():
        if scripts != {"LATIN", script}:
            continue
        theirs = [c for c in word if script_of(c) == script]
        if all(c in latin for c in theirs):
            return "".join(latin.get(c, c) for c in word)
        back = {ours: c for c, ours in latin.items()}
        if all(c in back for c in word if script_of(c) == "LATIN"):
            return "".join(back.get(c, c) for c in word)
    return word


@lru_cache(maxsize=65536)
def script_of(c: str) -> str:
    """The first word of a letter's Unicode name, which is its script: "LATIN", "CJK", ..."""
    name = unicodedata.name(c, "")
    first = name.partition(" ")[0].partition("-")[0]
    return {"KANGXI": "CJK", "IDEOGRAPHIC": "CJK", "HALFWIDTH": "KATAKANA"}.get(first, first)
