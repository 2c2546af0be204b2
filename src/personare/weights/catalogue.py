"""What released checkpoints there are: `catalog.toml`, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from personare.errors import UnknownName

ALWAYS = "always"

_Folder = Annotated[str, StringConstraints(pattern=r"^(\.|[\w-][\w.-]*(/[\w-][\w.-]*)*)$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CatalogueFile(_Entry):
    """One file of a component, and what is known of its bytes."""

    role: Literal["weights", "config"]
    name: _Name
    bytes: int | None = Field(None, gt=0)
    about_bytes: int | None = Field(None, gt=0)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    sha256_prefix: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,63}$")] | None = None

    @model_validator(mode="after")
    def _said_once(self) -> CatalogueFile:
        if self.bytes and self.about_bytes:
            raise ValueError(f"{self.name}: bytes and about_bytes exclude each other")
        if self.sha256 and self.sha256_prefix:
            raise ValueError(f"{self.name}: sha256 and sha256_prefix exclude each other")
        return self

    def is_genuine(self, sha256: str) -> bool | None:
        """Whether a file with this digest is the released one; None if the catalogue knows no
        digest.
        """
        known = self.sha256 or self.sha256_prefix
        return sha256.startswith(known) if known else None


class Source(_Entry):
    """A hub repository that holds a component, in `folder` of it ("." for its top)."""

    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    folder: _Folder = "."
    revision: str = "main"

    def path_of(self, file: CatalogueFile) -> str:
        """The file's path in the repository."""
        return str(PurePosixPath(self.folder) / file.name)


class Component(_Entry):
    """A released checkpoint with what belongs to it.

    kind: "file" if one file of weights is meant (its configuration lies beside it), "folder"
    for the layout of transformers and diffusers. gated: the hub wants an account that has
    accepted the terms.
    """

    name: _Name
    summary: str
    kind: Literal["file", "folder"]
    licence: str
    gated: bool = False
    places: tuple[_Folder, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = ()
    by_hand: str = ""
    files: tuple[CatalogueFile, ...]
    needed_by: Mapping[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_whole(self) -> Component:
        if "weights" not in self.roles:
            raise ValueError(f"{self.name} has no file of weights")
        if not self.sources and not self.by_hand:
            raise ValueError(f"{self.name} comes from nowhere")
        return self

    @property
    def roles(self) -> dict[str, tuple[CatalogueFile, ...]]:
        """Role -> the files that can fill it, the best first."""
        found: dict[str, tuple[CatalogueFile, ...]] = {}
        for file in self.files:
            found[file.role] = (*found.get(file.role, ()), file)
        return found

    @property
    def bytes(self) -> int | None:
        """The size of a download; None if nothing is recorded. `is_size_exact` tells whether it
        is to the byte.
        """
        first = [alternatives[0] for alternatives in self.roles.values()]
        sizes = [size for file in first if (size := file.bytes or file.about_bytes)]
        return sum(sizes) or None

    @property
    def is_size_exact(self) -> bool:
        return all(alternatives[0].bytes for alternatives in self.roles.values())

    @property
    def path(self) -> str:
        """Where it belongs below a weights folder: the file of weights, or the folder."""
        place = PurePosixPath(self.places[0])
        return str(place) if self.kind == "folder" else str(place / self.roles["weights"][0].name)

    def is_required_by(self, engine: str) -> bool:
        """Whether a run of an engine with its default options needs it."""
        when = self.needed_by.get(engine, "")
        return when == ALWAYS or when.startswith("unless ")


_CATALOGUE: TypeAdapter[dict[str, Component]] = TypeAdapter(dict[str, Component])


def read_catalogue(text: str) -> Mapping[str, Component]:
    """Components by name from the text of a catalogue. Raises pydantic.ValidationError (a
    ValueError) if it is wrong.
    """
    entries: dict[str, Any] = {name: {"name": name, **entry} for name, entry in tomllib.loads(text).items()}
    return MappingProxyType(_CATALOGUE.validate_python(entries))


@cache
def catalogue() -> Mapping[str, Component]:
    """The components that this version of personare knows, by name, in the catalogue's order."""
    return read_catalogue((files("personare.weights") / "catalog.toml").read_text(encoding="utf-8"))


def component(name: str) -> Component:
    """One component. Raises UnknownName with the names that exist."""
    known = catalogue()
    if name not in known:
        raise UnknownName(f"no weights named {name!r}", hint=f"there are: {', '.join(known)}")
    return known[name]


def components(names: Sequence[str] = (), engine: str | None = None) -> list[Component]:
    """The named components (all, if none is named), of these only what `engine` can use. Raises
    UnknownName.
    """
    chosen = [component(name) for name in dict.fromkeys(names)] if names else list(catalogue().values())
    if engine is None:
        return chosen
    served = sorted({name for entry in catalogue().values() for name in entry.needed_by})
    if engine not in served:
        raise UnknownName(
            f"no engine named {engine!r} uses weights", hint=f"engines with weights: {', '.join(served)}"
        )
    return [entry for entry in chosen if engine in entry.needed_by]
