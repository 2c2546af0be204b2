"""Text files as other programs write them: UTF-8, UTF-16 and UTF-32 with or without their mark,
and the two old encodings that can be told from others.
"""

from __future__ import annotations

import codecs
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from personare.errors import UnreadableMedia
from personare.media.local import open_local, read_at_most, shown

_LOG = logging.getLogger(__name__)

MAX_BYTES = 1 << 24
"""A text file larger than this is not read: four bytes for each of four million characters."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_HINT = "save it as UTF-8: every editor can (in Notepad: Save as, Encoding)"

# GB 2312: two bytes from A1 on; its first 3755 characters, by use, begin with B0 to D7
_GB_PAIR = re.compile(rb"[\xa1-\xf7][\xa1-\xfe]")
_GB_COMMON = re.compile(rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]")
_GB_LEAST_SHARE = 0.95
_HIGH = re.compile(rb"[\x80-\xff]+")
_WESTERN_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿŒœŠšŸ"
_WESTERN = re.compile(
    f"[\\x00-\\x7f{_WESTERN_LETTERS}€‚„…‘’“”•–—™©®°²³´·§«»\\xa0£¥½¼¾×÷ªº]|(?<![A-Za-z{_WESTERN_LETTERS}])[¿¡]"
)
_WESTERN_MOST = 0.4
"""Of all letters, those beyond ASCII: more are another alphabet."""


def read_text_file(path: Path) -> str:
    """The text of a file of at most MAX_BYTES. Raises UnreadableMedia."""
    return decode_text(read_at_most(path, MAX_BYTES), shown(path))


def text_lines(path: Path, longest: int) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, one after another: UTF-8, or UTF-16 or UTF-32
    with their marks. A line of more than `longest` characters comes as its first longest + 1;
    bytes that are no letters come as lone surrogates, for the reader to say in which line.

    Raises UnreadableMedia.
    """
    with open_local(path) as file:
        try:
            start = file.read(4)
            mark, encoding = next(
                ((mark, encoding) for mark, encoding in _MARKS if start.startswith(mark)), (b"", "utf-8")
            )
            file.seek(len(mark))
            lines = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="\n")
            number = 0
            while line := lines.readline(longest + 1):
                number += 1
                yield number, line
        except UnicodeDecodeError:
            raise UnreadableMedia(f"{shown(path)} is not a UTF-8 text", hint=_HINT) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableMedia(f"{shown(path)} cannot be read: {reason}", hint="check the disk") from error


def decode_text(raw: bytes, name: str) -> str:
    """The text that some bytes are. name: for messages.

    A mark at the start decides, then UTF-8, then UTF-16 by its zeros. What is left is taken for
    Chinese (GBK) or Western European (Windows-1252) with a warning, where hardly anything else
    looks so. Raises UnreadableMedia.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _decoded(raw[len(mark) :], encoding, name)
    if (wide := _wide(raw)) is not None:
        return _decoded(raw, wide, name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for legacy, called, looks_so in _LEGACY:
        if looks_so(raw):
            _LOG.warning("%s is no UTF-8 text: it is read as %s", name, called)
            return raw.decode(legacy)
    raise UnreadableMedia(f"{name} is not a UTF-8 text, and its encoding cannot be told", hint=_HINT)


def _decoded(raw: bytes, encoding: str, name: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableMedia(
            f"{name} says that it is {encoding.upper()} and is not, at byte {error.start}", hint=_HINT
        ) from None


def _wide(raw: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of what is mostly ASCII is zero."""
    if len(raw) < 4 or len(raw) % 2:
        return None
    zeros = [raw[i::2][:4096].count(0) / len(raw[i::2][:4096]) for i in (0, 1)]
    if zeros[1] > 0.5 and zeros[0] < 0.05:
        return "utf-16-le"
    if zeros[0] > 0.5 and zeros[1] < 0.05:
        return "utf-16-be"
    return None


def _is_gbk(raw: bytes) -> bool:
    high = _HIGH.findall(raw)
    pairs = _GB_PAIR.findall(b" ".join(high))
    if sum(map(len, high)) != 2 * len(pairs) or len(pairs) < 4:
        return False
    common = sum(_GB_COMMON.fullmatch(pair) is not None for pair in pairs)
    # Korean (EUC-KR) has all its syllables between B0 and C8
    chinese = any(pair[0] > 0xC8 for pair in pairs)
    return chinese and common >= _GB_LEAST_SHARE * len(pairs)


def _is_western(raw: bytes) -> bool:
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        return False
    letters = sum(c.isalpha() for c in text)
    foreign = sum(c in _WESTERN_LETTERS for c in text)
    return _WESTERN.sub("", text) == "" and letters > 0 and foreign <= _WESTERN_MOST * letters


_LEGACY = (
    ("gbk", "Chinese (GBK)", _is_gbk),
    ("cp1252", "Western European (Windows-1252)", _is_western),
)
