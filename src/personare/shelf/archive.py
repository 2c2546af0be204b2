"""One avatar as one file: a plain tar (USTAR, nothing compressed) of its manifest, its portrait
and its features.

    avatar.json                     the manifest
    portrait-5b2d....jpg            the portrait's own bytes
    features/abcd....safetensors    the features, in the order of their keys

`tar tf` lists it. It is untrusted, and read strictly from front to back: these
members in this order and nothing else, regular files only (no links, no long names, no
extensions), sizes bounded before a byte is read. Names in the archive are never used as paths,
and since nothing is compressed, nothing in it can be larger than the file itself.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from blake3 import blake3

from personare.cache.feature_file import Checksum, DamagedFeature, check_feature
from personare.errors import CacheError, UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.local import open_local
from personare.shelf.manifest import (
    MANIFEST,
    AvatarManifest,
    DamagedManifest,
    manifest_text,
    parse_manifest,
)

SUFFIX = ".avatar"
MAX_PORTRAIT_BYTES = 4 * 10**9
MAX_FEATURE_BYTES = 4 * 10**9
MAX_FEATURES = 256
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_END_BYTES = 20 * 512
_BLOCK_BYTES = 1 << 20
_FEATURE = re.compile(r"features/([0-9a-f]{64})\.safetensors")


def write_archive(
    target: Path, manifest: AvatarManifest, portrait: Path, features: Mapping[str, Path]
) -> None:
    """Write an avatar's archive; the file appears when it is complete. features: key -> file.
    Same avatar, same bytes.

    Raises UnwritableOutput.
    """
    if target.suffix != SUFFIX:
        raise UnwritableOutput(f"{target} does not end in {SUFFIX}", hint="name it so")
    try:
        with (
            replaced_when_complete(target) as part,
            tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            text = manifest_text(manifest).encode()
            archive.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
            for name, path in [
                (manifest.portrait_file, portrait),
                *((f"features/{k}.safetensors", features[k]) for k in sorted(features)),
            ]:
                with path.open("rb") as file:
                    archive.addfile(_member(name, path.stat().st_size), file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnwritableOutput(
            f"{target} cannot be written: {reason}", hint="check the folder and the disk"
        ) from None


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """An archive, its manifest read and checked. Raises UnreadableMedia for what is no regular
    file or cannot be read, CacheError if it is no avatar.
    """
    with open_local(path) as file:
        yield Archive(file, path.name)


class Archive:
    """An archive under way: call `take_portrait`, then `take_features`."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        member = self._next()
        if member is None or member.name != MANIFEST or member.size > _MAX_MANIFEST_BYTES:
            self._refuse("it does not begin with an avatar's manifest")
        text = io.BytesIO()
        self._copy(member.size, text.write)
        try:
            self.manifest = parse_manifest(text.getvalue())
        except DamagedManifest as damage:
            self._refuse(f"its manifest is damaged: {damage}")

    def take_portrait(self, folder: Path) -> Path:
        """Write the portrait into a folder, under its own name (which the manifest's form keeps
        harmless).
        """
        member = self._next()
        if member is None or member.name != self.manifest.portrait_file:
            self._refuse("behind its manifest there is no portrait")
        if member.size > MAX_PORTRAIT_BYTES:
            self._refuse(f"its portrait is larger than {MAX_PORTRAIT_BYTES} bytes")
        path, hasher = folder / self.manifest.portrait_file, blake3()
        with path.open("wb") as portrait:

            def write(block: bytes) -> None:
                hasher.update(block)
                portrait.write(block)

            self._copy(member.size, write)
        if hasher.hexdigest() != self.manifest.portrait:
            self._refuse("its portrait is not the one that its manifest names")
        return path

    def take_features(self, folder: Path, wanted: Mapping[str, str]) -> dict[str, Path]:
        """Write the features that are wanted (key -> stage) into a folder; key -> file.

        All others are read over, their checksums compared. Raises CacheError if the archive
        ends early, or holds anything else or a feature that is not sound, OSError if the folder
        cannot be written.
        """
        taken: dict[str, Path] = {}
        last, count = "", 0
        while (member := self._next()) is not None:
            match = _FEATURE.fullmatch(member.name)
            count += 1
            if match is None or member.name <= last or count > MAX_FEATURES:
                self._refuse(f"it holds {member.name[:80]!r}, which is no part of an avatar")
            if member.size > MAX_FEATURE_BYTES:
                self._refuse(f"a feature is larger than {MAX_FEATURE_BYTES} bytes")
            key, last = match[1], member.name
            try:
                if key not in wanted:
                    checksum = Checksum()
                    self._copy(member.size, checksum.update)
                    checksum.compare()
                    continue
                taken[key] = folder / f"{key}.safetensors"
                with taken[key].open("wb") as file:
                    self._copy(member.size, file.write)
                check_feature(taken[key], key, wanted[key])
            except DamagedFeature as damage:
                self._refuse(f"feature {key[:16]}... is damaged: {damage}")
        return taken

    def _next(self) -> tarfile.TarInfo | None:
        """The next member's header, None at the end. Raises CacheError."""
        block = self._read(512)
        if block == bytes(512):
            rest = self._read(_MAX_END_BYTES + 1)
            if len(rest) < 512 or len(rest) > _MAX_END_BYTES or any(rest):
                self._refuse("it does not end like an archive")
            return None
        try:
            member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, ValueError):
            self._refuse("it is cut off or damaged")
        if member.type != tarfile.REGTYPE or member.size < 0 or member.linkname:
            self._refuse(f"{member.name[:80]!r} is no regular file")
        return member

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableMedia(f"{self._name} cannot be read: {reason}", hint="check the disk") from None

    def _copy(self, size: int, write: Callable[[bytes], object]) -> None:
        """The next `size` bytes and what pads them to whole blocks."""
        left = size
        while left:
            block = self._read(min(left, _BLOCK_BYTES))
            if not block:
                self._refuse("it is cut off")
            left -= len(block)
            write(block)
        padding = -size % 512
        if len(self._read(padding)) < padding:
            self._refuse("it is cut off")

    def _refuse(self, reason: str) -> NoReturn:
        raise CacheError(
            f"{self._name} is not a sound avatar: {reason}",
            hint="export it again with `personare avatar export`",
        )
