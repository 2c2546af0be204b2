"""API keys: who may call, and how much. What is kept of a key is its SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from personare.errors import InvalidOption
from personare.media.local import read_at_most
from personare.studio.checked import CheckedModel

SHORTEST = 16
"""Characters of a key that is taken: what is shorter can be guessed."""
EVERYBODY = ""
"""The caller of a service without keys."""
_MOST_BYTES = 1 << 20
_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class ApiKey(CheckedModel):
    """One caller. The jobs, uploads and avatars of one are not seen by another."""

    WHAT: ClassVar[str] = "an API key"

    name: Annotated[str, Field(pattern=_NAME, description="of the caller, for logs and figures")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="of the key, 64 hex digits")]
    waiting: int | None = Field(
        None, ge=1, description="jobs that wait or are under way; none: as limits say"
    )
    kept_bytes: int | None = Field(None, ge=1024, description="uploads and clips, bytes; none: as limits say")
    jobs_a_day: int | None = Field(None, ge=1, description="jobs within 24 hours; none: any number")
    sessions: int | None = Field(None, ge=0, description="live sessions at a time; none: any number")


def api_key(name: str, key: str) -> ApiKey:
    """A caller of this key. Raises InvalidOption for a key that could be guessed, or cannot be
    sent in a header.
    """
    if len(key) < SHORTEST or not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InvalidOption(
            f"the API key of {name} is too short, or has characters that no header takes",
            hint=f"at least {SHORTEST} letters, digits and signs: python -c "
            f"'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return ApiKey(name=name, sha256=hashlib.sha256(key.encode()).hexdigest())


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The callers of a TOML file, a table each:

        [alice]
        key = "..."            # or sha256 = "..."
        waiting = 50           # kept_bytes, jobs_a_day, sessions: see ApiKey

    Raises UnreadableMedia, InvalidOption; neither quotes a key.
    """
    hint = "a table for each caller: [alice], then key = ..."
    try:
        tables = tomllib.loads(read_at_most(path, _MOST_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InvalidOption(f"{path} is not TOML", hint=hint) from None
    keys = []
    for name, table in tables.items():
        if not isinstance(table, dict) or ("key" in table) == ("sha256" in table):
            raise InvalidOption(f"{path}: {name} needs exactly one of key and sha256", hint=hint)
        fields: dict[str, Any] = {"name": name, **table}
        if (plain := fields.pop("key", None)) is not None:
            fields["sha256"] = api_key(name, str(plain)).sha256
        keys.append(ApiKey.model_validate(fields))
    if not keys:
        raise InvalidOption(f"{path} has no key in it", hint=hint)
    if len({key.sha256 for key in keys}) < len(keys):
        raise InvalidOption(f"{path}: two callers have the same key", hint="give each a key of its own")
    return tuple(keys)


def caller_of(given: str, keys: Iterable[ApiKey]) -> ApiKey | None:
    """Whose key this is. Takes as long whichever key is wrong, and however much of it."""
    digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found
