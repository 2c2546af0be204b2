"""What people write for the eye, taken out before it is spoken: markdown, HTML, links, emoji.

Everything here is local and linear in the text: a parser of markdown builds a tree, changes
plain text on the way (it eats backslashes and indented lines) and is slow on hostile text.
"""

from __future__ import annotations

import html
import logging
import re
from urllib.parse import urlsplit

_LOG = logging.getLogger(__name__)

_EMOJI = re.compile(
    "(?:[\U0001f000-\U0001f0ff\U0001f18e\U0001f191-\U0001f19a\U0001f1e6-\U0001f1ff\U0001f200-\U0001faff\U0001fb00-\U0001fbaf"
    "\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u25aa-\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2775\u2794-\u27bf"
    "\u2934\u2935\u2b00-\u2bff\u3030\u303d\U000e0020-\U000e007f\ufe0f\u20e3]"
    "|(?<=[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f])\u200d)+"
)
_KEYCAP = re.compile("([0-9#*])\ufe0f?\u20e3")
_HTML_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9:_-]*(?:\s[^<>]*|/)?>")
_BLOCK_TAG = re.compile(r"</?(?:p|br|div|h[1-6]|li|ul|ol|tr|table|blockquote|hr|pre|section)\b[^<>]*>", re.I)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_UNREAD = (("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>"))

_URL = re.compile(r"(?:https?|ftp)://[^\s<>\"'）】」]+|\bwww\.[^\s<>\"'）】」]+\.[^\s<>\"'）】」]+", re.I)
_IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,500})\](?:\([^()\s]{0,2000}(?:\s+\"[^\"\n]*\")?\)|\[[^\[\]\n]{0,200}\])"
)
_REFERENCE = re.compile(r"^ {0,3}\[[^\[\]\n]{1,200}\]:\s+\S.*$", re.M)
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,40}\]")
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*$")
_UNDERLINE = re.compile(r"^ {0,3}(?:=+|-{2,})\s*$")
_RULE = re.compile(r"^ {0,3}([-*_])(?:[ \t]*\1){2,}\s*$")
_QUOTE = re.compile(r"^ {0,3}(?:>\s?)+")
_BULLET = re.compile(r"^\s*[-*+•▪‣◦–]\s+(?:\[[ xX]\]\s+)?")
_NUMBERED = re.compile(r"^\s*[0-9]{1,3}[.)]\s+\S")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_CODE = re.compile(r"(`{1,3})([^`\n]+)\1")
# around a word: not the star of "5 * 3", the underscores of snake_case or __init__.py
_EMPHASIS = [
    re.compile(
        rf"(?<![\w\\{mark}]){mark}{{{n}}}(?=[^\s{mark}])([^{mark}\n]*[^\s{mark}]){mark}{{{n}}}(?![\w{mark}])"
    )
    for mark, n in ((r"\*", 1), (r"\*", 2), (r"\*", 3), ("_", 1), ("_", 2), ("_", 3), ("~", 2), ("=", 2))
]
_BOLD_IN_WORD = re.compile(r"\*\*(?=\S)([^*\n]*[^\s*])\*\*")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|~>-])")
_ENDS = frozenset(".!?…:;,。！？：；、，")


def without_markup(text: str) -> str:
    """The text that a reader would read aloud.

    Of links the words stay, of bare addresses the host; code blocks are left out, unless the
    text is nothing else. Headings and items of lists are sentences of their own.
    """
    text = _emoji_out(text)
    if "<" in text:
        text = _html_out(text)
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    if _URL.search(text) or "[" in text:
        text = _links_out(text)
    return _markdown_out(text)


def _emoji_out(text: str) -> str:
    if text.isascii():
        return text
    return _EMOJI.sub(" ", _KEYCAP.sub(r"\1", text))


def _html_out(text: str) -> str:
    for opens, closes in _UNREAD:
        text = _without_blocks(text, opens, closes)
    return _HTML_TAG.sub("", _BLOCK_TAG.sub("\n", text))


def _without_blocks(text: str, opens: str, closes: str) -> str:
    """Without what stands between the two marks; a mark that is not closed stays."""
    lower = text.lower()
    if len(lower) != len(text) or opens not in lower:
        return text
    kept, at = [], 0
    while (start := lower.find(opens, at)) >= 0 and (end := lower.find(closes, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(closes)
    return " ".join([*kept, text[at:]])


def _links_out(text: str) -> str:
    text = _FOOTNOTE.sub("", _REFERENCE.sub("", text))
    for _ in range(2):  # a picture may be the words of a link
        text = _IMAGE_OR_LINK.sub(r"\1", text)
    return _URL.sub(lambda found: _host(found[0]), text)


def _host(url: str) -> str:
    """ "https://www.example.com/a?b=c." -> "example.com." """
    body = url.rstrip(".,;:!?)…")
    try:
        host = urlsplit(body if "://" in body else f"//{body}").hostname or ""
    except ValueError:
        host = ""
    return host.removeprefix("www.") + url[len(body) :]


def _markdown_out(text: str) -> str:
    lines: list[str] = []
    code: list[str] = []
    fence = ""
    for line in text.split("\n"):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence):
                fence = ""
            else:
                code.append(line)
        elif opened:
            fence = opened[1]
        elif (read := _line(line, lines)) is not None:
            lines.append(read)
    plain = "\n".join(lines)
    if code:
        if not any(c.isalnum() for c in plain):
            return "\n".join(code)
        _LOG.warning("a block of code in the text is not spoken")
    return plain


def _line(line: str, before: list[str]) -> str | None:
    """One line without its marks; None if it was nothing but marks."""
    if _RULE.match(line) or (_UNDERLINE.match(line) and before and before[-1].strip()):
        if before and before[-1].strip():
            before[-1] = _sentence(before[-1])
        return "" if _RULE.match(line) else None
    if _TABLE_RULE.match(line) and "|" in line:
        return None
    line = _QUOTE.sub("", line)
    heading = _HEADING.match(line)
    if heading:
        return _sentence(_inline(heading[1]))
    if _BULLET.match(line) or _NUMBERED.match(line):
        # an item that goes on in the next line is cut there: a pause too many, no word too few
        return _sentence(_inline(_BULLET.sub("", line)))
    stripped = line.strip()
    if stripped.startswith("|") and stripped.endswith("|") and len(stripped) > 2:
        return _sentence(_inline(", ".join(cell.strip() for cell in stripped[1:-1].split("|"))))
    return _inline(line)


def _inline(line: str) -> str:
    line = _CODE.sub(r"\2", line)
    if any(mark in line for mark in "*_~="):
        for _ in range(2):  # bold in italics
            for emphasis in _EMPHASIS:
                line = emphasis.sub(r"\1", line)
        line = _BOLD_IN_WORD.sub(r"\1", line)
    return _ESCAPED.sub(r"\1", line) if "\\" in line else line


def _sentence(line: str) -> str:
    """The line with a full stop, so that a voice pauses after it."""
    line = line.rstrip()
    return line if not line or line[-1] in _ENDS or not line[-1].isalnum() else f"{line}."
