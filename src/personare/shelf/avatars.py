"""Avatars with names: a folder each, with a manifest and a copy of the portrait, so that
features can always be made again.

    SHELF/anna-1f0c...9e/avatar.json
    SHELF/anna-1f0c...9e/portrait-5b2d....jpg

The manifest is written last and deleted first: a folder without one is no avatar, whatever else
a killed process left in it.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3
from filelock import FileLock
from pydantic import JsonValue

from personare.cache.keys import canonical_json
from personare.cache.store import FeatureStore
from personare.errors import (
    CacheError,
    EngineError,
    InvalidOption,
    PersonareError,
    UnknownName,
    UnreadableMedia,
    UnwritableOutput,
)
from personare.ground.durable import replaced_when_complete
from personare.shelf.manifest import (
    MANIFEST,
    AvatarManifest,
    Consent,
    ShelfPins,
    checked_name,
    folder_name,
    manifest_text,
    manifests,
    read_manifest,
    with_digest,
)
from personare.types import Avatar

_AVATAR_FOLDER = re.compile(r".+-[0-9a-f]{16}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_BLOCK_BYTES = 1 << 20


class AvatarShelf:
    """The named avatars in `folder`; their features are pinned in `store`. Any number of
    processes may use it at once.
    """

    def __init__(self, folder: Path, store: FeatureStore) -> None:
        self.folder = folder.absolute()
        self._store = store
        store.follow_pins(ShelfPins(self.folder))

    def save(
        self,
        name: str,
        avatar: Avatar,
        portrait: Path,
        *,
        replace: bool = False,
        consent: Consent | None = None,
    ) -> AvatarManifest:
        """Keep an avatar under a name, with a copy of its portrait, and pin its features.

        portrait: the file that the avatar was prepared from.
        consent: of the person in it.

        Raises InvalidOption for a bad name or, without `replace`, one that is taken;
        UnreadableMedia if the portrait is not (or no longer) what the avatar was prepared from;
        UnwritableOutput if the shelf cannot be written.
        """
        name = checked_name(name)
        suffix = portrait.suffix.lower() if _SUFFIX.fullmatch(portrait.suffix.lower()) else ""
        manifest = with_digest(
            AvatarManifest(
                name=name,
                engine=avatar.engine,
                options=_json_options(avatar),
                portrait=avatar.portrait,
                portrait_file=f"portrait-{avatar.portrait[:16]}{suffix}",
                keys=dict(avatar.keys),
                created=datetime.now(UTC),
                consent=consent,
            )
        )
        folder = self.folder / folder_name(name)
        with self._writing(f"save avatar {name!r}"):
            if not replace and (folder / MANIFEST).exists():
                raise InvalidOption(
                    f"there is already an avatar named {name!r}", hint="choose another name or replace it"
                )
            self._sweep()
            folder.mkdir(exist_ok=True)
            _copy(portrait, folder / manifest.portrait_file, avatar.portrait)
            with replaced_when_complete(folder / MANIFEST) as part:
                part.write_text(manifest_text(manifest), encoding="utf-8")
            for path in folder.iterdir():
                if path.name not in (MANIFEST, manifest.portrait_file):
                    path.unlink()
            self._store.pin(name, manifest.keys.values(), self.folder)
        return manifest

    def load_manifest(self, name: str) -> AvatarManifest:
        """The avatar of this name. Raises UnknownName with similar names, CacheError if its
        manifest is damaged.
        """
        name = checked_name(name)
        try:
            return read_manifest(self.folder / folder_name(name))
        except (FileNotFoundError, NotADirectoryError):
            raise self._unknown(name) from None

    def portrait(self, manifest: AvatarManifest) -> Path:
        """The avatar's own copy of its portrait. Raises CacheError if it is missing or not the
        one that was saved.
        """
        path = self.folder / folder_name(manifest.name) / manifest.portrait_file
        hint = "create the avatar again from the photo"
        try:
            digest = self._store.file_digest(path)
        except UnreadableMedia as error:
            raise CacheError(
                f"the portrait of avatar {manifest.name!r} is lost: {error.message}", hint=hint
            ) from None
        if digest != manifest.portrait:
            raise CacheError(f"the portrait of avatar {manifest.name!r} is damaged: {path}", hint=hint)
        return path

    def list(self) -> list[AvatarManifest]:
        """Every avatar, by name; damaged ones are reported through logging and left out."""
        return sorted(manifests(self.folder), key=lambda manifest: manifest.name)

    def remove(self, name: str) -> None:
        """Delete an avatar, damaged or not, and leave its features to eviction. Raises
        UnknownName, UnwritableOutput.
        """
        name = checked_name(name)
        folder = self.folder / folder_name(name)
        if not (folder / MANIFEST).exists():
            raise self._unknown(name)
        with self._writing(f"remove avatar {name!r}"):
            (folder / MANIFEST).unlink(missing_ok=True)
            self._sweep()
        self._store.unpin(name, self.folder)

    def _unknown(self, name: str) -> UnknownName:
        names = {manifest.name.casefold(): manifest.name for manifest in manifests(self.folder)}
        close = [repr(names[match]) for match in difflib.get_close_matches(name.casefold(), names, n=3)]
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else "`personare avatar list` shows those there are"
        )
        return UnknownName(f"there is no avatar named {name!r}", hint=hint)

    def _sweep(self) -> None:
        """Delete the folders of avatars without a manifest. Only while writing: nobody else is
        between two steps then.
        """
        for folder in self.folder.iterdir():
            if _AVATAR_FOLDER.fullmatch(folder.name) and folder.is_dir() and not (folder / MANIFEST).exists():
                shutil.rmtree(folder)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                yield
        except PersonareError:
            raise
        except OSError as error:
            hint = "check the folder's permissions and the disk's free space, or set PERSONARE_HOME"
            raise UnwritableOutput(f"cannot {what} in {self.folder}: {error.strerror}", hint=hint) from None


def _json_options(avatar: Avatar) -> dict[str, JsonValue]:
    try:
        options: dict[str, JsonValue] = json.loads(canonical_json(avatar.options))
    except (TypeError, ValueError) as error:
        raise EngineError(f"an option of engine {avatar.engine} is not JSON: {error}") from None
    return options


def _copy(portrait: Path, target: Path, digest: str) -> None:
    """Copy a portrait, whole or not at all. Raises UnreadableMedia if its bytes do not have
    this digest.
    """
    hint = "prepare the avatar again"
    try:
        source = portrait.open("rb")
    except OSError as error:
        raise UnreadableMedia(f"cannot read {portrait}: {error.strerror}", hint=hint) from None
    hasher = blake3()
    with source, replaced_when_complete(target) as part, part.open("wb") as copy:
        while block := source.read(_BLOCK_BYTES):
            hasher.update(block)
            copy.write(block)
        if hasher.hexdigest() != digest:
            raise UnreadableMedia(f"{portrait} is not the file that the avatar was prepared from", hint=hint)
