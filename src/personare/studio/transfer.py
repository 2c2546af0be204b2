"""Avatars on their way to another machine: `personare avatar export | import`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from personare.errors import CacheError, InvalidOption, UnknownName
from personare.ground.outputs import check_apart
from personare.shelf.archive import opened_archive, write_archive
from personare.studio.studio import Studio
from personare.types import Avatar, Progress, no_progress


@dataclass(frozen=True, slots=True)
class Imported:
    """An avatar that came in. taken: stages whose features came with it; missing: those to be
    computed when it first speaks.
    """

    avatar: str
    engine: str
    taken: tuple[str, ...]
    missing: tuple[str, ...]


def export_avatar(studio: Studio, name: str, target: Path, progress: Progress = no_progress) -> int:
    """Write an avatar into one file, computing what is missing of it; the file's bytes. Raises
    UnknownName, UnwritableOutput.
    """
    manifest = studio.shelf.load_manifest(name)
    own = [("a file of the avatar itself", path) for path in studio.shelf.portrait(manifest).parent.iterdir()]
    check_apart([("the archive", target)], own)
    studio.warm(name, progress)
    manifest = studio.shelf.load_manifest(name)
    features = {key: path for key in manifest.keys.values() if (path := studio.store.file(key)) is not None}
    write_archive(target, manifest, studio.shelf.portrait(manifest), features)
    return target.stat().st_size


def import_avatar(studio: Studio, file: Path, name: str | None = None, *, replace: bool = False) -> Imported:
    """Keep the avatar in an archive, under its own name or another.

    The keys of its features are reckoned anew from its portrait and options by the engine that
    is installed here: features of other versions are left out, and computed when they are
    needed. Raises CacheError for an archive that is not sound in every byte (nothing is kept of
    it then), InvalidOption if the name is taken, UnknownName if its engine is not installed.
    """
    with opened_archive(file) as archive, tempfile.TemporaryDirectory(prefix="personare-import-") as folder:
        manifest = archive.manifest
        wanted_name = name or manifest.name
        if not replace and _exists(studio, wanted_name):
            raise InvalidOption(
                f"there is already an avatar named {wanted_name!r}", hint="give --name or --replace"
            )
        engine = studio.open(manifest.engine)
        options = engine.read_options(manifest.options)
        portrait = archive.take_portrait(Path(folder))
        keys = engine.recipe(options).portrait_keys(manifest.portrait)
        # What is here already was computed here: a stranger's word does not replace it.
        wanted = {key: stage for stage, key in keys.items() if studio.store.file(key) is None}
        taken = archive.features(wanted, studio.store.adopt)
        avatar = Avatar(engine.name, options.model_dump(mode="json"), manifest.portrait, keys, {})
        kept = studio.shelf.save(wanted_name, avatar, portrait, replace=replace)
    missing = tuple(stage for key, stage in wanted.items() if stage not in taken)
    return Imported(kept.name, engine.name, tuple(stage for stage in keys if stage in taken), missing)


def _exists(studio: Studio, name: str) -> bool:
    try:
        studio.shelf.load_manifest(name)
    except UnknownName:
        return False
    except CacheError:  # damaged, but there
        return True
    return True
