"""How a service works: address, keys, limits, what it keeps."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from personare.errors import InvalidOption
from personare.media.local import read_at_most
from personare.serve.keys import ApiKey
from personare.shelf.home import home
from personare.studio.checked import CheckedModel
from personare.studio.settings import Settings

DEFAULT_PORT = 8765
MEBIBYTE = 1 << 20
_MOST_BYTES = 64 << 10


class Limits(CheckedModel):
    """What one request, one caller and one job may take."""

    WHAT: ClassVar[str] = "limits"

    json_bytes: int = Field(MEBIBYTE, ge=1024, description="a body that is no upload, bytes")
    portrait_bytes: int = Field(20 * MEBIBYTE, ge=1024, description="a picture as portrait, bytes")
    speech_bytes: int = Field(200 * MEBIBYTE, ge=1024, description="a voice or a sound, bytes")
    video_bytes: int = Field(500 * MEBIBYTE, ge=1024, description="a template video or a guide, bytes")
    motion_bytes: int = Field(64 * MEBIBYTE, ge=1024, description="a file of motion, bytes")
    text_characters: int = Field(5000, ge=1, description="a text to be spoken, characters")
    waiting: int = Field(100, ge=1, description="jobs that wait or are under way, all callers together")
    waiting_each: int = Field(20, ge=1, description="the same of one caller, unless its key says otherwise")
    kept_bytes_each: int = Field(
        4 << 30, ge=1024, description="uploads and clips of one caller, unless its key says otherwise, bytes"
    )
    free_bytes: int = Field(256 * MEBIBYTE, ge=0, description="of the disk, which uploads leave free, bytes")
    job_seconds: float = Field(3600.0, gt=0, description="one job; it is ended after so long")
    job_memory_bytes: int | None = Field(
        None, ge=1 << 28, description="memory of one worker, bytes; none: three quarters of the machine's"
    )
    paused_seconds: float = Field(
        1800.0, gt=0, description="a live session that is watched, but paused; it is ended after so long"
    )
    connections: int = Field(512, ge=8, description="connections at a time")
    head_seconds: float = Field(10.0, gt=0, description="until the head of a request has arrived")
    body_seconds: float = Field(20.0, gt=0, description="between two pieces of a body")
    body_bytes_a_second: int = Field(
        1024, ge=1, description="of a body, waited for longer than body_seconds in all"
    )

    @property
    def upload_bytes(self) -> int:
        """A whole multipart body: the largest file, another one, and the fields beside them."""
        return max(self.portrait_bytes, self.video_bytes) + self.speech_bytes + self.json_bytes


def read_limits(path: Path) -> Limits:
    """The limits of a TOML file: `waiting = 200`, one a line; those it does not name stay.

    Raises UnreadableMedia, InvalidOption.
    """
    try:
        fields = tomllib.loads(read_at_most(path, _MOST_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InvalidOption(f"{path} is not TOML", hint="one limit a line, as waiting = 200") from None
    return Limits.model_validate(fields)


class ServeSettings(CheckedModel):
    """How a service works. The defaults are safe: this machine alone can reach it."""

    WHAT: ClassVar[str] = "settings of a service"

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="address to listen on")
    port: int = Field(DEFAULT_PORT, ge=0, le=65535, description="port to listen on; 0: any free one")
    data: Path | None = Field(
        None, description="folder of jobs and uploads; none: below PERSONARE_HOME, or the user's data folder"
    )
    studio: Settings = Field(Settings(), description="the studio that makes the clips")
    workers: int = Field(0, ge=0, le=256, description="processes that make clips; 0: one for every core")
    network_workers: int = Field(
        1, ge=1, le=64, description="jobs at a time of engines with networks, which fill a machine each"
    )
    sessions: int | None = Field(
        None, ge=0, le=10_000, description="live sessions at a time; none: as many as the cores can draw"
    )
    badge: bool = Field(
        True, description="whether pictures of live sessions carry the sign that a machine made them"
    )
    ice_servers: tuple[str, ...] = Field(
        (), description="STUN and TURN servers for WebRTC, as turn:example.org:443?transport=tcp; none"
    )
    warm: tuple[str, ...] = Field((), description="avatars and engines to load before the first call")
    keys: tuple[ApiKey, ...] = Field((), description="who may call; none: everybody who can reach it")
    allow_hosts: tuple[str, ...] = Field(
        (), description="names under which it is reached (Host), beside localhost and addresses"
    )
    allow_origins: tuple[str, ...] = Field(
        (), description="pages of other sites that may call it, as https://example.org; none"
    )
    keep_hours: Annotated[float, Field(gt=0, le=24 * 366)] = Field(
        24.0, description="how long uploads and finished jobs are kept"
    )
    certfile: Path | None = Field(None, description="certificate chain (PEM), for HTTPS without a proxy")
    keyfile: Path | None = Field(None, description="private key (PEM) of the certificate")
    limits: Limits = Field(Limits(), description="what one request, one caller and one job may take")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not self.is_local and not self.keys:
            raise InvalidOption(
                f"{self.host} can be reached by others, and there is no API key",
                hint="give --api-key or --api-keys, or listen on 127.0.0.1",
            )
        if self.allow_hosts and not self.keys:
            raise InvalidOption(
                f"by the name {self.allow_hosts[0]} others can reach it, and there is no API key",
                hint="give --api-key or --api-keys, or leave --allow-host out",
            )
        for what, values in (
            ("name", [key.name for key in self.keys]),
            ("key", [key.sha256 for key in self.keys]),
        ):
            if len(set(values)) < len(values):
                raise InvalidOption(
                    f"two callers have the same {what}",
                    hint="give each one of their own; the key of --api-key is the caller default",
                )
        if self.keyfile is not None and self.certfile is None:
            raise InvalidOption("a keyfile needs a certfile", hint="give --certfile, or leave --keyfile out")
        if "*" in self.allow_origins:
            raise InvalidOption("allow_origins: name the sites, not *", hint="as https://example.org")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def data_folder(self) -> Path:
        """The folder of jobs and uploads."""
        return self.data.absolute() if self.data else home(self.studio.cache_dir).avatars.parent / "serve"
