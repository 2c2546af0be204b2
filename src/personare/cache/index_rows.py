"""The rows of the index, read as if anybody wrote them: a bad disk flips bits that SQLite does
not miss.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

_KEY = re.compile(rb"[0-9a-f]{64}")
_LONGEST_TEXT = 1 << 15
"""More than the longest name of an avatar takes."""


class DamagedRow(Exception):
    """A row that the index never wrote; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One feature in the index. Times are seconds since the epoch."""

    key: str
    stage: str
    bytes: int
    created: float
    last_used: float
    hits: int = 0


def read_row(values: Sequence[Any]) -> Row:
    """A row of `features`. Raises DamagedRow."""
    key, stage, size, created, last_used, hits = _of_length(values, 6)
    return Row(_key(key), _text(stage), _count(size), _time(created), _time(last_used), _count(hits))


def read_key(values: Sequence[Any]) -> str:
    """A row that is a key. Raises DamagedRow."""
    (key,) = _of_length(values, 1)
    return _key(key)


def read_pin(values: Sequence[Any]) -> tuple[str, str, str]:
    """A row of `pins`: shelf, avatar, key. Raises DamagedRow."""
    shelf, avatar, key = _of_length(values, 3)
    return _text(shelf), _text(avatar), _key(key)


def read_digest(values: Sequence[Any]) -> str:
    """A row of `file_digests`: the digest. Raises DamagedRow, also for one whose checksum is
    another: a wrong digest would key features by a photo that nobody gave.
    """
    path, stamp, digest, checksum = _of_length(values, 4)
    found = _key(digest)
    if not isinstance(path, bytes) or _text(checksum) != digest_checksum(path, _text(stamp), found):
        raise DamagedRow("a digest that is not the one that was written")
    return found


def digest_checksum(path: bytes, stamp: str, digest: str) -> str:
    """16 hex digits over a row of `file_digests`."""
    return blake3(b"\0".join((path, stamp.encode(), digest.encode()))).hexdigest(8)


def _of_length(values: Sequence[Any], count: int) -> Sequence[Any]:
    if len(values) != count:
        raise DamagedRow(f"a row of {len(values)} values instead of {count}")
    return values


def _key(value: Any) -> str:
    if not isinstance(value, bytes) or not _KEY.fullmatch(value):
        raise DamagedRow("a key that is not 64 hexadecimal digits")
    return value.decode("ascii")


def _text(value: Any) -> str:
    if not isinstance(value, bytes) or not 0 < len(value) <= _LONGEST_TEXT:
        raise DamagedRow("a text that is none")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DamagedRow("a text that is not UTF-8") from None


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise DamagedRow("a count that is none")
    return value


def _time(value: Any) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise DamagedRow("a time that is none")
    return value
