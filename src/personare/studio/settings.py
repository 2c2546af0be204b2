"""How a studio works: where things are kept and looked for. The same for every order it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from personare.studio.checked import CheckedModel

CacheMode = Literal["use", "refresh", "off"]


class Settings(CheckedModel):
    """How a studio works. A worker process, or another machine, opens the same studio from
    these.
    """

    WHAT: ClassVar[str] = "settings"

    cache_dir: Path | None = Field(
        None,
        description="folder of cached features; none: below PERSONARE_HOME, or the user's cache folder",
    )
    cache: CacheMode = Field(
        "use",
        description="use: features and clips are looked for and kept; refresh: made anew and kept; "
        "off: neither looked for nor kept",
    )
    weights: Path | None = Field(None, description="folder of checkpoints, searched before the usual places")
    keep_clips: bool = Field(
        True, description="whether finished clips are kept and given out again for the same order"
    )
    cache_remote: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        None,
        description="URL of features that several machines share (any that fsspec knows); none: "
        "PERSONARE_CACHE_REMOTE, if it is set",
    )
