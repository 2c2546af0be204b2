"""What a text says when: the parts of subtitles (SRT, WebVTT) and of SSML, or plain text as one
part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from personare.errors import InputError
from personare.voice.tts.markup import without_markup

Timing = Literal["cues", "flow"]
"""Of subtitles: each cue at its time, or one after another as the voice speaks."""

LONGEST_SECONDS = 24 * 3600.0
"""A cue or a pause beyond it is refused."""

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_CUE_TIMES = re.compile(rf"^[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}[^\n]*$", re.M)
_VTT_HEADER = re.compile(r"^WEBVTT(?:[ \t][^\n]*)?(?:\n|$)")
_VTT_BLOCK = re.compile(r"^(?:NOTE|STYLE|REGION)(?:[ \t][^\n]*)?$")
_INLINE_TIME = re.compile(r"<(?:\d{1,3}:)?\d{1,2}:\d{1,2}\.\d{1,3}>")
_STYLE_OVERRIDE = re.compile(r"\{\\[^{}\n]*\}")
_SPEAK = re.compile(r"\s*(?:<[?!].{0,2000}?)?<speak[\s>/]", re.DOTALL)
_SECONDS = re.compile(r"\+?([0-9]{1,6}(?:\.[0-9]{1,6})?|\.[0-9]{1,6})(ms|s)")
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.8, "x-strong": 1.2}
_DEEPEST = 50
_SILENT = frozenset({"mark", "metadata", "meta", "desc", "bookmark"})
_TRANSPARENT = frozenset({"emphasis", "prosody", "phoneme", "w", "token", "lang", "say-as", "sub"})
_KNOWN = "speak, p, s, break, emphasis, prosody, say-as, sub, lang, phoneme, w, token, mark"


@dataclass(frozen=True, slots=True)
class TextPart:
    """Some text. start: the second at which it is said, or as soon after as the voice is free;
    None: after what is before it. pause: seconds of silence before it.
    """

    text: str
    start: float | None = None
    pause: float = 0.0


def parts_of(text: str, timing: Timing = "cues") -> list[TextPart]:
    """The parts of a text, without markup, in the order in which they are said.

    Raises InputError for SSML that cannot be read or asks for what cannot be done.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    if _SPEAK.match(text):
        return list(_ssml(text))
    if cues := _subtitles(text):
        return cues if timing == "cues" else [TextPart("\n".join(cue.text for cue in cues))]
    return [TextPart(without_markup(text))]


# ---------------------------------------------------------------- subtitles


def _subtitles(text: str) -> list[TextPart]:
    """Cues by their start; none if the text is no subtitles: it begins with a cue, with or
    without a number, or says WEBVTT.
    """
    times = list(_CUE_TIMES.finditer(text))
    header = _VTT_HEADER.match(text)
    if not times or not (header or re.fullmatch(r"\s*(?:\d+[ \t]*\n\s*)?", text[: times[0].start()])):
        return []
    cues = []
    for found, following in zip(times, [*times[1:], None], strict=True):
        body = text[found.end() : following.start() if following else len(text)]
        start = _seconds(found.groups()[:4])
        if start > LONGEST_SECONDS:
            raise InputError(
                f"a subtitle begins at {found[0].strip()[:12]}, after more than a day",
                hint="split the file, or speak it without its times (timing flow)",
            )
        said = without_markup(_STYLE_OVERRIDE.sub("", _INLINE_TIME.sub("", _words(body))))
        if any(c.isalnum() for c in said):
            cues.append(TextPart(" ".join(said.split()), start))
    return sorted(cues, key=lambda cue: cue.start or 0.0)


def _words(body: str) -> str:
    """The lines of a cue: up to its empty line. What comes after (a note, the next number) is
    not said.
    """
    lines = []
    for line in body.lstrip("\n").split("\n") if body.strip() else []:
        if not line.strip() or _VTT_BLOCK.match(line):
            break
        lines.append(re.sub(r"^\s*[-–—]\s*", "", line))
    # a file whose empty lines were lost: the number of the next cue ends the body
    if len(lines) > 1 and lines[-1].strip().isdigit() and len(lines) == len(body.strip("\n").split("\n")):
        lines.pop()
    return "\n".join(lines)


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(f"{seconds}.{fraction}")


# ---------------------------------------------------------------- SSML


def _ssml(text: str) -> Iterator[TextPart]:
    """W3C SSML 1.1, as far as a voice here can do it."""
    hint = f"known are {_KNOWN}; or give the text without tags"
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("SSML with a DOCTYPE or entities of its own is not read", hint=hint)
    try:
        root = ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(
            f"the SSML is not well-formed XML: {error}", hint="check its tags and &amp;"
        ) from None
    if _depth(root) > _DEEPEST:
        raise InputError(f"the SSML nests more than {_DEEPEST} tags", hint=hint)
    pause, words = 0.0, ""
    for item in _spoken(root, hint):
        if isinstance(item, str):
            words += item
            continue
        if any(c.isalnum() for c in words):
            yield TextPart(without_markup(words), pause=pause)
            pause, words = 0.0, ""
        pause = min(pause + item, LONGEST_SECONDS)
    yield TextPart(without_markup(words), pause=pause)


def _depth(root: ElementTree.Element) -> int:
    """How deep tags lie in each other, told without going down by recursion."""
    level, depth = [root], 0
    while level and depth <= _DEEPEST:
        level, depth = [child for element in level for child in element], depth + 1
    return depth


def _spoken(element: ElementTree.Element, hint: str) -> Iterator[str | float]:
    """Words, and seconds of pause, of an element and what follows it inside its parent."""
    tag = element.tag.rpartition("}")[2]
    if tag == "break":
        yield _break(element, hint)
    elif tag in _SILENT:
        pass
    elif tag == "sub":
        yield element.get("alias") or "".join(element.itertext())
    elif tag == "say-as":
        yield _said_as("".join(element.itertext()), element.get("interpret-as", ""))
    elif tag in _TRANSPARENT or tag in ("speak", "p", "s"):
        if tag == "p":
            yield "\n"
        yield element.text or ""
        for child in element:
            yield from _spoken(child, hint)
            yield child.tail or ""
        if tag in ("p", "s"):
            yield "\n"
    else:
        raise InputError(f"the SSML tag <{tag}> is not supported", hint=hint)


def _break(element: ElementTree.Element, hint: str) -> float:
    time, strength = element.get("time"), element.get("strength", "medium")
    if time is None:
        if strength not in _STRENGTHS:
            raise InputError(f"<break strength={strength!r}/> is not SSML", hint=hint)
        return _STRENGTHS[strength]
    found = _SECONDS.fullmatch(time.strip())
    if not found:
        raise InputError(
            f"<break time={time!r}/> is not SSML", hint='write for example <break time="500ms"/>'
        )
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
    if seconds > LONGEST_SECONDS:
        raise InputError(f"<break time={time!r}/> is longer than a day", hint="write a shorter one")
    return seconds


def _said_as(text: str, kind: str) -> str:
    if kind in ("characters", "spell-out", "verbatim", "letters"):
        return " " + ", ".join(c for c in text if not c.isspace()) + " "
    if kind in ("digits", "telephone"):
        return " " + " ".join(c for c in text if c.isalnum()) + " "
    if kind == "ordinal" and text.strip().isdigit():
        number = int(text.strip()[:9])
        last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
        return f"{number}{last}"
    if kind == "expletive":
        return " beep "
    return text
