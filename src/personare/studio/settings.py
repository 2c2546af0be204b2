"""How a studio works: where things are kept and looked for. The same for every order it makes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from personare.cache.recipe import Recipe
from personare.errors import InvalidOption
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
    no_cache_of: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (), description="stages whose features are neither looked for nor kept: names, as reports tell them"
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


def check_stages(names: Collection[str], recipe: Recipe) -> None:
    """Raises InvalidOption for a name that none of the recipe's stages has, whole or without
    its engine.
    """
    known = [stage.name for stage in recipe.stages]
    short = [name.partition(".")[2] for name in known]
    for name in names:
        if name not in (*known, *short):
            raise InvalidOption(
                f"no stage is named {name!r}", hint=f"stages: {', '.join(short) or 'there are none'}"
            )
