"""How this machine marks: the producer's name and, where clips are signed, with what. A file of
the user's own, `marks.toml`; it names keys and never holds one.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personare.errors import InvalidOption, UnreadableMedia, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.media.local import read_at_most
from personare.shelf.home import home

FILE = "marks.toml"
MAX_BYTES = 1 << 16
DEFAULT_PRODUCER = "personare"


class MarksSettings(BaseModel):
    """What `personare marks setup` keeps. Paths are absolute, or relative to the file.

    producer: who answers for the clips.
    certificate: PEM of the signer's certificate, its issuers behind it; none: not signed.
    key: PEM of its private key.
    signer_command: a program that signs instead: the bytes on stdin, the signature on stdout.
    time_stamps: URL of a time-stamping authority (RFC 3161), asked at every signature.
    trust: PEM files of roots that `verify` takes for known.
    development: whether the certificate is one that setup made for trials.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    producer: Annotated[str, Field(min_length=1, max_length=200)] = DEFAULT_PRODUCER
    certificate: str | None = None
    key: str | None = None
    signer_command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    time_stamps: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    trust: tuple[str, ...] = ()
    development: bool = False

    @property
    def signs(self) -> bool:
        return self.certificate is not None


def marks_folder() -> Path:
    """Where the file and the keys of a development chain are."""
    return home().marks


def read_marks_settings(folder: Path | None = None) -> MarksSettings:
    """The settings of this machine; the defaults where nobody set them. Raises InvalidOption
    with what is wrong.
    """
    path = (folder or marks_folder()) / FILE
    hint = "personare marks setup writes it anew"
    try:
        if not path.exists():
            return MarksSettings()
        text = read_at_most(path, MAX_BYTES).decode("utf-8")
        settings = MarksSettings.model_validate(tomllib.loads(text))
    except (UnreadableMedia, OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidOption(f"{path} cannot be read: {error}", hint=hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidOption(f"{path}: {where}: {first['msg']}", hint=hint) from None
    if settings.signs and (settings.key is None) == (not settings.signer_command):
        raise InvalidOption(f"{path}: a certificate needs a key or a signer_command", hint=hint)
    return settings


def write_marks_settings(settings: MarksSettings, folder: Path | None = None) -> Path:
    """Keep the settings; where. Raises UnwritableOutput."""
    folder = folder or marks_folder()
    lines = ["# How personare marks clips: docs/provenance.md. Keys stay in files of their own."]
    for name, value in settings.model_dump(mode="json", exclude_defaults=True).items():
        lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replaced_when_complete(folder / FILE) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise unwritable_folder(folder, error) from None
    return folder / FILE


def write_secret(path: Path, content: bytes) -> None:
    """A file that only its owner may read. Raises OSError."""
    with replaced_when_complete(path) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def unwritable_folder(folder: Path, error: OSError) -> UnwritableOutput:
    return UnwritableOutput(
        f"nothing can be written in {folder}: {error.strerror or error}",
        hint="check the folder's permissions, or set PERSONARE_HOME",
    )
