"""The file that is an avatar: which engine, which options, which features, which portrait. It
is untrusted when it is read.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from blake3 import blake3
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from personare.cache.keys import Digest, canonical_json
from personare.errors import LONGEST_LINE, CacheError, ConsentExpired, InvalidOption, one_line

log = logging.getLogger(__name__)

MANIFEST = "avatar.json"
MAX_NAME_LENGTH = 4096
MAX_CONSENT_LENGTH = LONGEST_LINE
_MAX_MANIFEST_BYTES = 1 << 20
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}


class Consent(BaseModel):
    """What the person in a portrait consented to, as whoever made the avatar wrote it down.

    text: who, and to what. until: the last day that it holds (UTC); None without an end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Annotated[str, Field(min_length=1, max_length=MAX_CONSENT_LENGTH)]
    until: date | None = None

    @property
    def digest(self) -> str:
        """What marks tell of it: 64 hex digits."""
        return blake3(canonical_json(self.model_dump(mode="json")).encode("ascii")).hexdigest()


class AvatarManifest(BaseModel):
    """A named avatar as it is kept.

    portrait: digest of the portrait's bytes.
    portrait_file: its copy beside the manifest.
    consent: of the person in it, if anybody wrote it down.
    digest: of all the rest, see `manifest_digest`; "" in manifests of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    engine: Annotated[str, Field(min_length=1, max_length=100)]
    options: dict[str, JsonValue]
    portrait: Digest
    portrait_file: Annotated[str, Field(pattern=r"^portrait-[0-9a-f]{16}(\.[a-z0-9]{1,8})?$")]
    keys: dict[str, Digest]
    created: AwareDatetime
    consent: Consent | None = None
    digest: Digest | Literal[""] = ""


class DamagedManifest(Exception):
    """A text is no manifest, or not the one that was written; the message is the reason."""


def manifest_digest(manifest: AvatarManifest) -> str:
    """blake3 over the canonical JSON of everything but the digest itself: 64 hex digits."""
    content = _written(manifest)
    content.pop("digest")
    return blake3(canonical_json(content).encode("ascii")).hexdigest()


def with_digest(manifest: AvatarManifest) -> AvatarManifest:
    """The manifest, its digest that of its content."""
    return manifest.model_copy(update={"digest": manifest_digest(manifest)})


def manifest_text(manifest: AvatarManifest) -> str:
    """The manifest as it is written, with its digest."""
    return json.dumps(_written(with_digest(manifest)), indent=2, ensure_ascii=False)


def _written(manifest: AvatarManifest) -> dict[str, Any]:
    """As JSON values; without a consent where there is none, as earlier versions wrote it."""
    return manifest.model_dump(mode="json", exclude={"consent"} if manifest.consent is None else None)


def consent_of(text: str | None, until: str | None) -> Consent | None:
    """What `avatar create --consent TEXT --consent-until DATE` says. Raises InvalidOption."""
    if text is None and until is None:
        return None
    text = one_line(text) if text is not None and len(text) <= MAX_CONSENT_LENGTH else text
    if not text:
        raise InvalidOption("a consent needs a text", hint="--consent 'Anna Berg, for our product videos'")
    if len(text) > MAX_CONSENT_LENGTH:
        raise InvalidOption(f"the consent has more than {MAX_CONSENT_LENGTH} letters", hint="shorten it")
    try:
        return Consent(text=text, until=None if until is None else date.fromisoformat(until))
    except ValueError:
        raise InvalidOption(f"{until!r} is no date", hint="--consent-until 2027-12-31") from None


def check_consent(manifest: AvatarManifest) -> None:
    """Raises ConsentExpired on every day (UTC) after the last one of an avatar's consent."""
    until = None if manifest.consent is None else manifest.consent.until
    if until is not None and datetime.now(UTC).date() > until:
        raise ConsentExpired(
            f"the consent for avatar {manifest.name!r} held until {until.isoformat()}",
            hint="ask the person again, then: personare avatar create NAME PORTRAIT --replace --consent TEXT",
        )


def parse_manifest(text: bytes) -> AvatarManifest:
    """The manifest that was written. One without a digest, of an earlier version, is taken as
    it is. Raises DamagedManifest.
    """
    try:
        manifest = AvatarManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedManifest(f"{where + ': ' if where else ''}{first['msg']}") from None
    if manifest.digest and manifest.digest != manifest_digest(manifest):
        raise DamagedManifest("its digest does not match its content")
    return manifest


def checked_name(name: str) -> str:
    """A name in the one form in which it is kept: NFC, without white space around it.

    Raises InvalidOption for names that are empty, hold control characters or are longer than
    4096 characters.
    """
    kept = unicodedata.normalize("NFC", name).strip()
    if not kept:
        raise InvalidOption("an avatar's name cannot be empty", hint='give it a name, for example "anna"')
    if unseen := [c for c in kept if unicodedata.category(c) in _UNSEEN]:
        raise InvalidOption(
            f"the name {kept[:40]!r} holds the control character {unseen[0]!r}", hint="leave it out"
        )
    if len(kept) > MAX_NAME_LENGTH:
        raise InvalidOption(
            f"the name {kept[:40]!r}... is longer than {MAX_NAME_LENGTH} characters", hint="shorten it"
        )
    return kept


def folder_name(name: str) -> str:
    """The folder of an avatar: readable where the name allows, safe on every file system,
    different for every name.
    """
    name = checked_name(name)
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:40].strip("-")
    return f"{slug or 'avatar'}-{blake3(name.encode()).hexdigest(8)}"


def read_manifest(folder: Path) -> AvatarManifest:
    """The manifest in an avatar's folder.

    Raises FileNotFoundError or NotADirectoryError if there is none, CacheError naming the file
    if it is unreadable or no manifest.
    """
    path = folder / MANIFEST
    hint = "remove the avatar with `personare avatar rm` and create it again"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise CacheError(f"avatar {path} cannot be read: {error.strerror}", hint=hint) from None
    if len(text) > _MAX_MANIFEST_BYTES:
        raise CacheError(
            f"avatar {path} is damaged: it is larger than {_MAX_MANIFEST_BYTES} bytes", hint=hint
        )
    try:
        manifest = parse_manifest(text)
        belongs_here = folder_name(manifest.name) == folder.name
    except DamagedManifest as damage:
        raise CacheError(f"avatar {path} is damaged: {damage}", hint=hint) from None
    except InvalidOption as error:
        raise CacheError(f"avatar {path} is damaged: {error.message}", hint=hint) from None
    if not belongs_here:
        raise CacheError(
            f"avatar {path} is damaged: its name {manifest.name[:40]!r} is not that of its folder", hint=hint
        )
    return manifest


def manifests(shelf: Path) -> Iterator[AvatarManifest]:
    """Every sound manifest of a shelf, in the order of folders; damaged ones are reported and
    left out.
    """
    try:
        folders = sorted(shelf.iterdir())
    except OSError:
        return
    for folder in folders:
        try:
            yield read_manifest(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except CacheError as error:
            log.warning("%s", error.message)


class ShelfPins:
    """What the avatars of a shelf pin in a feature store (a `personare.cache.store.Shelf`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.place = str(self._folder)

    def pins(self) -> dict[str, tuple[str, ...]]:
        """Avatar -> the keys of its features; damaged manifests are left out."""
        return {manifest.name: tuple(manifest.keys.values()) for manifest in manifests(self._folder)}

    def has(self, avatar: str) -> bool:
        """Whether the avatar has a manifest, readable or not."""
        return (self._folder / folder_name(avatar) / MANIFEST).exists()
