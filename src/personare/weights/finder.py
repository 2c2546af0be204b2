"""Where checkpoints are: a folder that was named, PERSONARE_WEIGHTS, the hub cache. Nothing is
ever fetched here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from personare.errors import WeightsMissing
from personare.types import Progress, no_progress
from personare.weights.catalogue import CatalogueFile, Component, component
from personare.weights.digests import remembered_sha256
from personare.weights.places import candidate_folders

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Located:
    """A component on this machine: all its files, side by side in `folder`."""

    component: Component
    folder: Path
    files: Mapping[CatalogueFile, Path]

    @property
    def path(self) -> Path:
        """The file of weights, or the folder for components in the layout of transformers and
        diffusers.
        """
        return self.folder if self.component.kind == "folder" else self.file("weights")

    def file(self, role: str) -> Path:
        """The file that fills a role: "weights" or "config"."""
        return next(path for entry, path in self.files.items() if entry.role == role)


class Weights:
    """Checkpoints by catalogue name, searched in `folder` (`--weights`), PERSONARE_WEIGHTS,
    then the hub cache.

    A component counts as there when every role of it is filled by a file in one and the same
    folder; what is in the files is looked at when they are loaded or verified.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def locate(self, name: str) -> Located | None:
        """A component with all its files, or None if it is not on this machine. Raises
        UnknownName.
        """
        entry = component(name)
        for folder in candidate_folders(entry, self.folder):
            present = {file: folder / file.name for file in entry.files if (folder / file.name).is_file()}
            filled: dict[CatalogueFile, Path] = {}
            for alternatives in entry.roles.values():
                filled.update([(file, present[file]) for file in alternatives if file in present][:1])
            if len(filled) == len(entry.roles):
                return Located(entry, folder, filled)
        return None

    def find(self, name: str) -> Path | None:
        """A component's file of weights, or its folder if it has the layout of transformers and
        diffusers. Raises UnknownName.
        """
        located = self.locate(name)
        return located.path if located else None

    def missing(self, *names: str) -> list[Component]:
        """Those of the named components that are not on this machine."""
        return [component(name) for name in names if self.locate(name) is None]

    def require(self, *names: str) -> dict[str, Path]:
        """Name -> path as `find` gives it. Raises WeightsMissing: what, how large, whose terms,
        how to get it.
        """
        if absent := self.missing(*names):
            raise WeightsMissing(_what_is_missing(absent), hint=how_to_get(absent, self.folder))
        return {name: located.path for name in names if (located := self.locate(name))}

    def sha256(self, name: str, progress: Progress = no_progress) -> str:
        """What names a component's content in keys: 64 hex digits. Raises WeightsMissing.

        The sha256 of its only file; for components of several files that of the lines that
        `sha256sum` would print for them, sorted by name. What the hub cache has named by its
        digest is not read; other files are read once while they stay unchanged.
        """
        self.require(name)
        located = self.locate(name)
        assert located is not None
        digests = {path.name: _content_sha256(path, progress) for path in located.files.values()}
        if len(digests) == 1:
            return next(iter(digests.values()))
        lines = "".join(f"{digest}  {file}\n" for file, digest in sorted(digests.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def size_of(entry: Component) -> str:
    """ "3.4 GB", "about 830 MB" or "size unknown"."""
    if entry.bytes is None:
        return "size unknown"
    value, unit = entry.bytes / 1e6, "MB"
    if value >= 1000:
        value, unit = value / 1000, "GB"
    return f"{'' if entry.is_size_exact else 'about '}{value:.3g} {unit}"


def how_to_get(absent: Sequence[Component], folder: Path | None = None) -> str:
    """One line: the command that fetches what the hub has, and where to fetch the rest by hand."""
    ways = []
    if pulled := [entry.name for entry in absent if entry.sources]:
        ways.append(f"personare weights pull {' '.join(pulled)}")
    target = folder or "WEIGHTS_FOLDER"
    ways += [
        f"fetch {entry.by_hand} and put it at {target}/{entry.path}" for entry in absent if not entry.sources
    ]
    if folder is None and any(not entry.sources for entry in absent):
        ways[-1] += " (--weights or PERSONARE_WEIGHTS names that folder)"
    return "; ".join(ways)


def _what_is_missing(absent: Sequence[Component]) -> str:
    parts = [f"{entry.name} ({entry.path}, {size_of(entry)}, licence: {entry.licence})" for entry in absent]
    return f"weights are missing: {'; '.join(parts)}"


def named_digest(path: Path) -> str | None:
    """The sha256 by which the hub cache names a file that is a link into it; None for all other
    files.
    """
    if not path.is_symlink():
        return None
    blob = path.readlink()
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else None


def _content_sha256(path: Path, progress: Progress) -> str:
    return named_digest(path) or remembered_sha256(path, progress)
