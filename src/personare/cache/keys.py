"""Names of features: what a stage reads, hashed. A key is known before anything is computed."""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from blake3 import blake3
from pydantic import Field

from personare.errors import UnreadableMedia
from personare.types import Guide, Samples, Source

KEY_SCHEMA = 1
"""Raised when the recipe of the key itself changes; every feature is then computed anew."""

TRUSTED_AFTER_SECONDS = 2.0
"""A file younger than this may change again without its times showing it (FAT keeps times to 2
s).
"""

_BLOCK_BYTES = 1 << 20

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A digest or key as text: 64 hex digits."""


def canonical_json(value: Any) -> str:
    """The one ASCII text of a JSON value: equal values give equal text, different values
    different text.

    Objects are sorted by name and written without spaces; tuples are lists. Numbers are written
    by value: a float without fractional part as an integer (1 and 1.0 are one number, as are
    0.0 and -0.0), any other float in Python's shortest form that reads back the same. A
    Fraction is written as engine options serialise it: "30000/1001", "25". Raises TypeError for
    what is not JSON (numpy values, sets, paths, names that are not text), ValueError for NaN
    and inf.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r} is not text")
        return {name: _plain(item) for name, item in value.items()}
    raise TypeError(f"{value!r} ({type(value).__module__}.{type(value).__name__}) is not a JSON value")


def stage_key(
    *,
    name: str,
    version: int,
    parameters: Mapping[str, Any],
    needs: Mapping[str, str],
    sources: Mapping[Source, str],
    weights: Sequence[str],
    numeric_format: str,
) -> str:
    """The key of a stage's feature: 64 hex digits of blake3 over the canonical JSON of all that
    the stage reads.

    needs: stage name -> key.
    sources: digests of the portrait file, of the samples, of the guide: of those that the stage
        reads.
    weights: sha256 of each checkpoint, in any order.

    Raises TypeError or ValueError for parameters that are not JSON.
    """
    identity: dict[str, Any] = {
        "schema": KEY_SCHEMA,
        "name": name,
        "version": version,
        "parameters": parameters,
        "needs": needs,
        "portrait": sources.get("portrait"),
        "weights": sorted(weights),
        "numeric_format": numeric_format,
    }
    identity |= {source: digest for source, digest in sources.items() if source != "portrait"}
    return blake3(canonical_json(identity).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What the file system says about a file; while it stays the same, so does the content."""

    bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)

    def __str__(self) -> str:
        return ":".join(str(part) for part in astuple(self))


class DigestMemo(Protocol):
    """Remembers digests of files so that unchanged ones need not be read again."""

    def recall_digest(self, path: Path, stamp: FileStamp) -> str | None: ...

    def remember_digest(self, path: Path, stamp: FileStamp, digest: str) -> None: ...


def file_digest(path: Path, memo: DigestMemo | None = None) -> str:
    """The blake3 digest of a file's bytes, 64 hex digits; read in blocks, or recalled from
    `memo` if the file is unchanged.

    A file modified within the last 2 s is always read: it could be written once more in the
    same tick of the file system's clock. Raises UnreadableMedia if it is missing, not a regular
    file or cannot be read.
    """
    try:
        path = path.absolute()
        stamp = file_stamp(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise _unreadable(path, error) from None
    settled = stamp.modified_ns < time.time_ns() - TRUSTED_AFTER_SECONDS * 1e9
    if memo and settled and (known := memo.recall_digest(path, stamp)):
        return known
    hasher = blake3()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                hasher.update(block)
        is_unchanged = file_stamp(path) == stamp
    except OSError as error:
        raise _unreadable(path, error) from None
    digest = hasher.hexdigest()
    if memo and settled and is_unchanged:
        memo.remember_digest(path, stamp, digest)
    return digest


def _unreadable(path: Path, error: OSError | ValueError) -> UnreadableMedia:
    reason = getattr(error, "strerror", None) or str(error)
    return UnreadableMedia(f"cannot read {path}: {reason}", hint="check the path and its permissions")


def speech_digest(samples: Samples) -> str:
    """The blake3 digest of a speech: of its float32 samples at 16 kHz, whatever file they came
    from.
    """
    return blake3(np.ascontiguousarray(samples, dtype="<f4").view(np.uint8).data).hexdigest()


def guide_digest(guide: Guide, digest_of: Callable[[Path], str]) -> str:
    """The blake3 digest of a guide: of its files' content, in order, and of its rate.

    digest_of: 64 hex digits of a file's bytes, such as `FeatureStore.file_digest`.
    """
    content = {"files": [digest_of(path) for path in guide.files], "fps": guide.fps}
    return blake3(canonical_json(content).encode("ascii")).hexdigest()


def file_stamp(path: Path) -> FileStamp:
    """The stamp of a regular file. Raises UnreadableMedia for anything else (a pipe or a device
    may never end).
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnreadableMedia(
            f"cannot read {path}: it is {kind}", hint="give the path of a picture or video file"
        )
    return FileStamp.of(status)
