"""Finished clips: made once, found again by everything that enters them.

    FOLDER/ab/abcd...cast/1234...speech.clip

The first digest is of who speaks and how (`cast_key`), the second of what is heard
(`SpeechDigest`). So a cast that was never filmed is known to be new before its speech is read,
and a speech is heard for its digest alone only where a clip may be found. A .clip file is one
line of JSON (facts and a checksum) and behind it the MP4's own bytes. It is never changed,
appears whole, and is compared with its checksum whenever it is given out; a damaged one is
deleted and the clip made again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from blake3 import blake3
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from personare.cache.keys import Digest, canonical_json
from personare.ground.durable import remove_abandoned_parts, replaced_when_complete
from personare.types import Speech, SpeechChunk

log = logging.getLogger(__name__)

CLIP_SCHEMA = 2
"""Raised when the recipe of the key or the file format changes, or the encoder's fixed settings
do.
"""

DEFAULT_MAX_BYTES = 2 * 10**9
_BLOCK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 4096
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ClipFacts(BaseModel):
    """What a report says of a clip, beside what making it cost; and what its marks say: when it
    was made, and the digest of its content. Clips are kept without marks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    frames: Annotated[int, Field(ge=0)]
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    audio_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    warnings: tuple[str, ...] = ()
    created: AwareDatetime | None = None
    content: Digest | Literal[""] = ""


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1]
    checksum: Digest
    bytes: Annotated[int, Field(ge=0)]
    facts: ClipFacts


def cast_key(
    *,
    engine: str,
    version: int,
    options: Mapping[str, Any],
    portrait: str,
    keys: Mapping[str, str],
    weights: tuple[str, ...],
    container: str,
    numerics: Mapping[str, Any],
    source: Sequence[str],
) -> str:
    """64 hex digits over everything that enters a clip but the speech.

    options: all in force, as JSON values.
    portrait: digest of its file.
    keys: those of its features.
    weights: sha256 of what a performance uses.
    container: the output's suffix.
    numerics: see `personare.machine.numerics`.
    source: digests of the code itself.
    """
    identity = {
        "schema": CLIP_SCHEMA,
        "engine": engine,
        "version": version,
        "options": options,
        "portrait": portrait,
        "keys": keys,
        "weights": list(weights),
        "container": container,
        "numerics": numerics,
        "source": list(source),
    }
    return blake3(canonical_json(identity).encode("ascii")).hexdigest()


class SpeechDigest:
    """The digest of a speech, chunk by chunk: what engines hear, the voice at its own rate, and
    the phones where the text is known.

    The cut into chunks counts as well: engines that do not stream exactly may depend on it.
    """

    def __init__(self, speech: Speech) -> None:
        self._hasher = blake3(struct.pack("<qq", speech.voice_rate, speech.voice_channels))

    def add(self, chunk: SpeechChunk) -> None:
        phones = (
            None
            if chunk.phones is None
            else [[phone.symbol, phone.start, phone.end] for phone in chunk.phones]
        )
        said = canonical_json(phones).encode("ascii")
        self._hasher.update(struct.pack("<qqqq", len(chunk.samples), *chunk.voice.shape, len(said)))
        for part in (chunk.samples, chunk.voice):
            self._hasher.update(np.ascontiguousarray(part, "<f4").reshape(-1).view(np.uint8).data)
        self._hasher.update(said)

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


@dataclass(frozen=True, slots=True)
class ClipsKept:
    """Finished clips in numbers, or what a cleaning removed of them."""

    clips: int
    bytes: int


class ClipCache:
    """Clips in a folder of their own, least recently used first out above max_bytes. Any number
    of processes may share it.
    """

    def __init__(self, folder: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = folder.absolute()
        self.max_bytes = max_bytes

    def has_any(self, cast: str) -> bool:
        """Whether there may be clips of this cast."""
        return any(_clips_in(self._cast(cast)))

    def take(
        self,
        cast: str,
        speech: str,
        target: Path,
        when_complete: Callable[[Path, ClipFacts], None] | None = None,
    ) -> ClipFacts | None:
        """Write the clip to `target` (which appears whole) and tell its facts; None, and no
        file, if there is no sound one.

        when_complete: called with the complete file just before it gets its name.

        Raises OSError if the target cannot be written.
        """
        path = self._path(cast, speech)
        try:
            kept = path.open("rb")
        except OSError:
            return None
        with kept:
            try:
                header = _read_header(kept)
                with replaced_when_complete(target) as part:
                    with part.open("wb") as clip:
                        if _copy(kept, clip, header) != header.checksum:
                            raise _Damaged("its checksum does not match its content")
                    if when_complete is not None:
                        when_complete(part, header.facts)
            except _Damaged as damage:
                log.warning("finished clip %s is damaged (%s); it is made again", path, damage)
                with suppress(OSError):
                    path.unlink()
                return None
        with suppress(OSError):
            os.utime(path)  # the least recently used go first
        return header.facts

    def keep(self, cast: str, speech: str, clip: Path, facts: ClipFacts) -> bool:
        """Keep a copy of a finished clip, unless it alone is larger than the whole cache or the
        folder cannot be written.
        """
        path = self._path(cast, speech)
        try:
            size = clip.stat().st_size
            if size > self.max_bytes:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced_when_complete(path) as part, part.open("wb") as kept, clip.open("rb") as made:
                kept.write(_header_line("0" * 64, size, facts))
                checksum = _copy(made, kept, _Header(format=1, checksum="0" * 64, bytes=size, facts=facts))
                kept.seek(0)
                kept.write(_header_line(checksum, size, facts))
            self.prune(self.max_bytes, spare=path)
        except (OSError, _Damaged) as error:
            log.info("the finished clip is not kept in %s: %s", self.folder, error)
            return False
        return True

    def stats(self) -> ClipsKept:
        sizes = [status.st_size for _, status in self._all()]
        return ClipsKept(len(sizes), sum(sizes))

    def prune(self, max_bytes: int, spare: Path | None = None) -> ClipsKept:
        """Delete the least recently used clips until the rest fits; what was deleted."""
        clips = sorted(self._all(), key=lambda clip: clip[1].st_mtime_ns)
        excess = sum(status.st_size for _, status in clips) - max_bytes
        removed = freed = 0
        for path, status in clips:
            if excess <= 0:
                break
            if path == spare:
                continue
            with suppress(OSError):
                path.unlink()
                removed, freed, excess = removed + 1, freed + status.st_size, excess - status.st_size
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):
                    folder.rmdir()
        return ClipsKept(removed, freed)

    def _cast(self, cast: str) -> Path:
        if not _DIGEST.fullmatch(cast):
            raise ValueError(f"{cast!r} is not a digest")
        return self.folder / cast[:2] / cast

    def _path(self, cast: str, speech: str) -> Path:
        if not _DIGEST.fullmatch(speech):
            raise ValueError(f"{speech!r} is not a digest")
        return self._cast(cast) / f"{speech}.clip"

    def _all(self) -> Iterator[tuple[Path, os.stat_result]]:
        for shard in _entries(self.folder):
            for cast in _entries(shard):
                if _DIGEST.fullmatch(cast.name):
                    remove_abandoned_parts(cast)
                    for path in _clips_in(cast):
                        with suppress(OSError):
                            yield path, path.stat()


class _Damaged(Exception):
    pass


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _clips_in(folder: Path) -> Iterator[Path]:
    return (path for path in _entries(folder) if path.suffix == ".clip" and _DIGEST.fullmatch(path.stem))


def _header_line(checksum: str, size: int, facts: ClipFacts) -> bytes:
    header = {"format": 1, "checksum": checksum, "bytes": size, "facts": facts.model_dump(mode="json")}
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n"


def _read_header(file: BinaryIO) -> _Header:
    line = file.readline(_MAX_HEADER_BYTES)
    try:
        return _Header.model_validate_json(line)
    except ValidationError:
        raise _Damaged("its first line is no header") from None


def _copy(source: BinaryIO, target: BinaryIO, header: _Header) -> str:
    """Copy the clip's bytes; the checksum over facts and bytes. Raises _Damaged for another
    length than the header's.
    """
    hasher = blake3(canonical_json(header.facts.model_dump(mode="json")).encode("ascii"))
    left = header.bytes
    while block := source.read(min(_BLOCK_BYTES, left + 1)):
        left -= len(block)
        if left < 0:
            break
        hasher.update(block)
        target.write(block)
    if left:
        raise _Damaged("it is shorter or longer than its header says")
    return hasher.hexdigest()
