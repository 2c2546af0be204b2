"""One avatar as one file: a plain tar (USTAR, nothing compressed) of its manifest, its portrait
and its features.

    avatar.json                     the manifest
    portrait-5b2d....jpg            the portrait's own bytes
    features/abcd....safetensors    the features, in the order of their keys

`tar tf` lists it. It is read strictly and front to back, as if a stranger wrote it: these
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
from pydantic import ValidationError

from personare.cache.feature_file import DamagedFeature, check_feature
from personare.errors import CacheError, UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.shelf.manifest import MANIFEST, AvatarManifest

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
            text = manifest.model_dump_json(indent=2).encode()
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
    """An archive, its manifest read and checked. Raises UnreadableMedia if there is none,
    CacheError if it is no avatar.
    """
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableMedia(f"{path} cannot be read: {reason}", hint="check the path") from None
    with file:
        yield Archive(file, path.name)


class Archive:
    """An archive under way: call `take_portrait`, then read `features` to the end."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        member = self._next()
        if member is None or member.name != MANIFEST or member.size > _MAX_MANIFEST_BYTES:
            self._refuse("it does not begin with an avatar's manifest")
        text = io.BytesIO()
        self._copy(member.size, text.write)
        try:
            self.manifest = AvatarManifest.model_validate_json(text.getvalue())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            self._refuse(f"its manifest is damaged: {where}: {first['msg']}")

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

    def features(
        self, wanted: Mapping[str, str], adopt: Callable[[str, str, Callable[[Path], bool]], bool]
    ) -> list[str]:
        """Give the features that are wanted (key -> stage) to `adopt` (see FeatureStore.adopt);
        the stages that it took.

        Others are read over. Raises CacheError if the archive ends early or holds anything
        else.
        """
        taken, last, count = [], "", 0
        while (member := self._next()) is not None:
            match = _FEATURE.fullmatch(member.name)
            count += 1
            if match is None or member.name <= last or count > MAX_FEATURES:
                self._refuse(f"it holds {member.name[:80]!r}, which is no part of an avatar")
            if member.size > MAX_FEATURE_BYTES:
                self._refuse(f"a feature is larger than {MAX_FEATURE_BYTES} bytes")
            key, size, last = match[1], member.size, member.name
            if key not in wanted:
                self._copy(size, len)
                continue

            def write(part: Path, key: str = key, size: int = size) -> bool:
                with part.open("wb") as file:
                    self._copy(size, file.write)
                try:
                    check_feature(part, key, wanted[key])
                except DamagedFeature as damage:
                    self._refuse(f"feature {key[:16]}... is damaged: {damage}")
                return True

            if adopt(key, wanted[key], write):
                taken.append(wanted[key])
        return taken

    def _next(self) -> tarfile.TarInfo | None:
        """The next member's header, None at the end. Raises CacheError."""
        block = self._file.read(512)
        if block == bytes(512):
            rest = self._file.read(_MAX_END_BYTES + 1)
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

    def _copy(self, size: int, write: Callable[[bytes], object]) -> None:
        """The next `size` bytes and what pads them to whole blocks."""
        left = size
        while left:
            block = self._file.read(min(left, _BLOCK_BYTES))
            if not block:
                self._refuse("it is cut off")
            left -= len(block)
            write(block)
        padding = -size % 512
        if len(self._file.read(padding)) < padding:
            self._refuse("it is cut off")

    def _refuse(self, reason: str) -> NoReturn:
        raise CacheError(
            f"{self._name} is not a sound avatar: {reason}",
            hint="export it again with `personare avatar export`",
        )
