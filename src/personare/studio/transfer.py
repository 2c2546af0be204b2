"""Avatars on their way to another machine: `personare avatar export | import`."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from personare.cache.feature_file import read_feature
from personare.cache.recipe import Recipe
from personare.cache.run import inputs_of
from personare.cache.store import FeatureStore
from personare.errors import CacheError, InvalidOption, UnknownName, UnwritableOutput
from personare.ground.outputs import check_apart
from personare.shelf.archive import opened_archive, write_archive
from personare.studio.studio import Studio
from personare.types import Avatar, Feature, Progress, no_progress

log = logging.getLogger(__name__)

_PREFIX = "personare-import-"


@dataclass(frozen=True, slots=True)
class Imported:
    """An avatar that came in.

    taken: stages whose features came with it.
    missing: those to be computed when it first speaks.
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


def import_avatar(
    studio: Studio, file: Path, name: str | None = None, *, replace: bool = False, trust: bool = False
) -> Imported:
    """Keep the avatar in an archive, under its own name or another.

    Its features are computed anew when they are needed, unless `trust` takes them: whoever made
    the archive could have put anything in them, and the same features serve the same photo
    wherever it comes from. What is taken must have the form that its stage declares; keys are
    counted anew from portrait and options by the engine that is installed here, so features of
    other versions are left out.

    Raises CacheError for an archive that is not sound in every byte (nothing is kept of it
    then), InvalidOption if the name is taken, UnknownName if its engine is not installed,
    UnwritableOutput if there is no space.
    """
    with opened_archive(file) as archive, _temporary_folder() as folder:
        manifest = archive.manifest
        wanted_name = name or manifest.name
        if not replace and _exists(studio, wanted_name):
            raise InvalidOption(
                f"there is already an avatar named {wanted_name!r}", hint="give --name or --replace"
            )
        engine = studio.open(manifest.engine)
        options = engine.read_options(manifest.options)
        recipe = engine.recipe(options).within("portrait")
        keys = recipe.keys({"portrait": manifest.portrait})
        # What is here already was computed here: nobody else's word replaces it.
        missing = {key: stage for stage, key in keys.items() if studio.store.file(key) is None}
        portrait = archive.take_portrait(folder)
        files = archive.take_features(folder, missing if trust else {})
        taken = _adopted(studio.store, recipe, keys, files, portrait)
        avatar = Avatar(engine.name, options.model_dump(mode="json"), manifest.portrait, keys, {})
        kept = studio.shelf.save(wanted_name, avatar, portrait, replace=replace, consent=manifest.consent)
    left = tuple(stage for stage in missing.values() if stage not in taken)
    return Imported(kept.name, engine.name, tuple(stage for stage in keys if stage in taken), left)


def _adopted(
    store: FeatureStore, recipe: Recipe, keys: Mapping[str, str], files: Mapping[str, Path], portrait: Path
) -> set[str]:
    """Put those features into the store that have the form of their stages; the stages.

    In the order of the recipe, for a form may depend on the features that a stage needs: where
    one of them is not there, whatever was made of it is left out.
    """
    taken: set[str] = set()
    features: dict[str, Feature] = {}
    for stage in recipe.stages:
        key = keys[stage.name]
        if key in files and set(stage.needs) <= features.keys():
            with files[key].open("rb") as file:
                feature, _ = read_feature(file, key, verify=False)
            misfit = stage.misfit(inputs_of(stage, {"portrait": portrait}, features), feature)
            if misfit:
                log.warning("the archive's feature %s is not used: %s", stage.name, misfit)
            elif store.adopt(key, stage.name, partial(_copied, files[key])):
                taken.add(stage.name)
        if (known := store.get(key)) is not None:
            features[stage.name] = known
    return taken


def _copied(file: Path, part: Path) -> bool:
    shutil.copyfile(file, part)
    return True


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for an import, deleted at its end; so are those that killed imports left. Its
    lock tells that it is in use.
    """
    root = Path(tempfile.gettempdir())
    _sweep(root)
    folder = root / f"{_PREFIX}{secrets.token_hex(8)}"
    try:
        with FileLock(f"{folder}.lock"):
            try:
                folder.mkdir(mode=0o700)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                Path(f"{folder}.lock").unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            f"nothing can be unpacked in {root}: {error.strerror or error}",
            hint="make space, or name another folder with TMPDIR",
        ) from None


def _sweep(root: Path) -> None:
    """Delete folders of imports whose process no longer lives, and that are this user's."""
    for lock in root.glob(f"{_PREFIX}*.lock"):
        with suppress(OSError, Timeout):
            if lock.is_symlink() or (os.name == "posix" and lock.stat().st_uid != os.getuid()):
                continue
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)


def _exists(studio: Studio, name: str) -> bool:
    try:
        studio.shelf.load_manifest(name)
    except UnknownName:
        return False
    except CacheError:  # damaged, but there
        return True
    return True
