"""Named avatars: a folder each, with a manifest and a copy of the portrait.

    SHELF/anna-1f2e3d4c5b6a7988/avatar.json
    SHELF/anna-1f2e3d4c5b6a7988/portrait-0a1b2c3d4e5f6071.jpg

The copy is written before the manifest, and the manifest makes the avatar: a crash in between leaves nothing that counts.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from personare.cache.manifest import MANIFEST, AvatarManifest, checked_name, folder_name, manifests, read_manifest
from personare.cache.store import FeatureStore
from personare.durable import replaced_when_complete
from personare.errors import CacheError, InvalidOption, UnknownName
from personare.types import Avatar

__all__ = ["AvatarManifest", "AvatarShelf"]

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


class AvatarShelf:
    """The avatars in a folder; their features are pinned in a store."""

    def __init__(self, folder: Path, store: FeatureStore) -> None:
        self.folder = folder
        self._store = store

    def __contains__(self, name: str) -> bool:
        try:
            return (self._place(name) / MANIFEST).is_file()
        except InvalidOption:
            return False

    def save(self, name: str, avatar: Avatar, portrait: Path, *, replace: bool = False) -> AvatarManifest:
        """Keep an avatar under a name, with a copy of its portrait file, and pin its features.

        Raises InvalidOption for a bad name or one that is taken (unless `replace`), CacheError if it cannot be written.
        """
        name = checked_name(name)
        place = self._place(name)
        suffix = portrait.suffix.lower()
        manifest = AvatarManifest(
            name=name,
            engine=avatar.engine,
            options=dict(avatar.options),
            portrait=avatar.portrait,
            portrait_file=f"portrait-{avatar.portrait[:16]}{suffix if _SUFFIX.fullmatch(suffix) else ''}",
            keys=dict(avatar.keys),
            created=datetime.now(UTC),
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                if name in self and not replace:
                    raise InvalidOption(f"there is an avatar named {name!r} already", hint="replace it with --replace")
                place.mkdir(exist_ok=True)
                copy = place / manifest.portrait_file
                if not (copy.exists() and portrait.exists() and copy.samefile(portrait)):
                    with replaced_when_complete(copy) as part:
                        shutil.copyfile(portrait, part)
                with replaced_when_complete(place / MANIFEST) as part:
                    part.write_text(json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=1), "utf-8")
                for other in place.glob("portrait-*"):
                    if other.name != manifest.portrait_file:
                        other.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"avatar {name!r} cannot be kept in {self.folder}: {error.strerror or error}",
                hint="set PERSONARE_HOME to a folder that can be written",
            ) from None
        self._store.pin(self.folder, name, tuple(manifest.keys.values()))
        return manifest

    def load_manifest(self, name: str) -> AvatarManifest:
        """Raises UnknownName with names that are close, CacheError if the manifest is damaged."""
        if name in self:
            return read_manifest(self._place(name))
        known = [manifest.name for manifest in self.list()]
        close = difflib.get_close_matches(name, known, n=3) or known[:5]
        hint = f"there is: {', '.join(close)}" if close else "create one: personare avatar create NAME PHOTO"
        raise UnknownName(f"no avatar named {name!r}", hint=hint)

    def portrait(self, manifest: AvatarManifest) -> Path:
        """The avatar's own copy of its portrait."""
        return self._place(manifest.name) / manifest.portrait_file

    def list(self) -> list[AvatarManifest]:
        """All avatars, by name."""
        return sorted(manifests(self.folder), key=lambda manifest: manifest.name)

    def remove(self, name: str) -> None:
        """Forget an avatar; its features are pinned no more. Also removes one whose manifest is damaged. Raises UnknownName."""
        if name not in self:
            self.load_manifest(name)
        place = self._place(name)
        try:
            with FileLock(self.folder / ".lock"):
                (place / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(place)
        except OSError as error:
            raise CacheError(f"avatar {name!r} cannot be removed: {error.strerror or error}", hint=f"look at {place}") from None
        with suppress(InvalidOption):
            self._store.unpin(self.folder, checked_name(name))

    def _place(self, name: str) -> Path:
        return self.folder / folder_name(name)
