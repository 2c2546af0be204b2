"""Where things live on this machine."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from personare.cache.remote import RemoteTier
from personare.cache.store import DEFAULT_MAX_BYTES, FeatureStore, Mode
from personare.ground.paths import expanded
from personare.shelf.avatars import AvatarShelf
from personare.shelf.manifest import ShelfPins


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of features and of finished clips (may be deleted at any time) and the
    folders of avatars, styles and marks (the user's own).
    """

    features: Path
    avatars: Path
    clips: Path

    @property
    def styles(self) -> Path:
        """Where the user's own styles of moving are."""
        return self.avatars.parent / "styles"

    @property
    def marks(self) -> Path:
        """Where the settings of marks, and what clips were made, are kept."""
        return self.avatars.parent / "marks"

    def store(
        self,
        *,
        mode: Mode = "use",
        max_bytes: int = DEFAULT_MAX_BYTES,
        remote: str | None = None,
        not_of: Collection[str] = (),
    ) -> FeatureStore:
        """The feature store of this home, which knows what this home's avatars pin.

        remote: URL of the tier behind it; PERSONARE_CACHE_REMOTE by default. Raises
        InvalidOption if it is not usable.
        not_of: stages that are left out, see FeatureStore.
        """
        url = remote or os.environ.get("PERSONARE_CACHE_REMOTE")
        tier = RemoteTier(url) if url and mode != "off" else None
        store = FeatureStore(self.features, mode=mode, max_bytes=max_bytes, remote=tier, not_of=not_of)
        store.follow_pins(ShelfPins(self.avatars))
        return store

    def shelf(self, store: FeatureStore) -> AvatarShelf:
        """The avatars of this home, whose features are in `store`."""
        return AvatarShelf(self.avatars, store)


def home(cache_dir: Path | None = None) -> Home:
    """Where things live: below PERSONARE_HOME if it is set, else in the user's cache and data
    folders of the platform.

    cache_dir: another folder for the features (`--cache-dir`), with the finished clips in a
    folder inside it.
    """
    if place := os.environ.get("PERSONARE_HOME"):
        root = expanded(place).absolute()
        caches, avatars = root, root / "avatars"
    else:
        caches = user_cache_path("personare", appauthor=False)
        avatars = user_data_path("personare", appauthor=False) / "avatars"
    if cache_dir is None:
        return Home(caches / "features", avatars, caches / "clips")
    chosen = expanded(cache_dir).absolute()
    return Home(chosen, avatars, chosen / "clips")
