"""A JSON object that is read piece by piece: its arrays element by element, so that memory
does not grow with the file.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

_BLOCK_BYTES = 1 << 18
LONGEST_VALUE = 1 << 22
"""Characters of one value, or of one element of a long array."""
_SPACE = re.compile(r"[ \t\r\n]*")


def members(file: BinaryIO, whole: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """(key, index, value) of the object in a UTF-8 file: of an array each element with its
    index; of every other key, and of the arrays in `whole`, the value with index -1.

    Raises ValueError for what is no JSON object, NaN, and values longer than LONGEST_VALUE.
    """
    text = _Text(file)
    text.expect("{")
    if text.found("}"):
        return
    while True:
        key = text.value()
        if not isinstance(key, str):
            raise ValueError("a key that is no string")  # noqa: TRY004 - it is the file that is wrong
        text.expect(":")
        if key not in whole and text.found("["):
            index = 0
            if not text.found("]"):
                while True:
                    yield key, index, text.value()
                    index += 1
                    if not text.found(","):
                        break
                text.expect("]")
        else:
            yield key, -1, text.value()
        if not text.found(","):
            break
    text.expect("}")
    text.expect_end()


class _Text:
    """What has been read of the file and not been used yet."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._letters = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def found(self, mark: str) -> bool:
        """Whether the next character is that one, which is then used."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                break
        if self._text[self._at : self._at + 1] != mark:
            return False
        self._at += 1
        return True

    def expect(self, mark: str) -> None:
        if not self.found(mark):
            there = self._text[self._at : self._at + 20]
            raise ValueError(f"expected {mark!r} and found {there!r}" if there else "the file is cut off")

    def expect_end(self) -> None:
        self.found(" ")
        if self._at < len(self._text):
            raise ValueError(f"more after the object: {self._text[self._at : self._at + 20]!r}")

    def value(self) -> Any:
        self.found(" ")  # only to come to what is no space
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > LONGEST_VALUE:
                    raise ValueError("a value is too long") from None
                # it may go on in what is not read yet
                if not self._more():
                    cut = error.pos >= len(self._text)
                    raise ValueError("the file is cut off" if cut else error.msg) from None
                continue
            except RecursionError:
                raise ValueError("values are nested too deep") from None
            # a number at the end of what is read may have more digits
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        """Read on; at least as much as is there, so that a long value is not looked at often."""
        if self._ended:
            return False
        held = len(self._text) - self._at
        block = self._file.read(max(_BLOCK_BYTES, held))
        self._ended = not block
        self._text = self._text[self._at :] + self._letters.decode(block, final=self._ended)
        self._at = 0
        return bool(block)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON has")
