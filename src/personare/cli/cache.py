"""`personare cache`: what is kept on disk, whether it is sound, and how to make it smaller."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import age_text, print_json, print_table, progress_bar, say, size_text
from personare.cli.switches import Given, switches
from personare.errors import CacheError, InvalidOption

if TYPE_CHECKING:
    from personare.cache.clips import ClipsKept
    from personare.cache.reports import PruneReport

app = typer.Typer(
    help="Cached features: what is kept, whether it is sound.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
@switches("cache_dir")
def stats(given: Given) -> None:
    """How much is kept, by stage."""
    studio = given.studio()
    numbers, clips = studio.store.stats(), studio.clips.stats()
    if given.as_json:
        print_json({**asdict(numbers), "clips": {**asdict(clips), "max_bytes": studio.clips.max_bytes}})
        return
    pinned = size_text(numbers.pinned_bytes)
    say(
        f"{numbers.folder}: {numbers.features} features, {size_text(numbers.bytes)}, of these pinned by "
        f"avatars {pinned}"
    )
    rows = [[name, str(s.features), size_text(s.bytes), str(s.hits)] for name, s in numbers.by_stage.items()]
    print_table(["stage", "features", "size", "hits"], rows, empty="the cache is empty")
    if clips.clips:
        say(f"{studio.clips.folder}: {clips.clips} finished clips, {size_text(clips.bytes)}")
    if numbers.workspaces:
        say(
            f"{numbers.workspaces} unfinished stages, {size_text(numbers.workspace_bytes)} of checkpoints: "
            "the commands that were interrupted go on from there"
        )
    if numbers.quarantined:
        say(f"{numbers.quarantined} damaged files in quarantine")


@app.command("list")
@switches("cache_dir")
def list_features(given: Given) -> None:
    """Every feature, last used first."""
    entries = sorted(given.studio().store.entries(), key=lambda entry: -entry.last_used)
    if given.as_json:
        print_json({"features": entries})
        return
    now = time.time()
    rows = [
        [
            e.key[:16],
            e.stage,
            size_text(e.bytes),
            age_text(now - e.last_used),
            str(e.hits),
            ", ".join(e.pinned_by),
        ]
        for e in entries
    ]
    print_table(["key", "stage", "size", "last used", "hits", "avatars"], rows, empty="the cache is empty")


@app.command()
@switches("cache_dir")
def verify(given: Given) -> None:
    """Check every file; damaged features go to quarantine and are recomputed when they are next
    needed, damaged checkpoints are deleted.
    """
    outcome = given.studio().store.verify()
    if given.as_json:
        print_json(outcome)
    else:
        checkpoints = f" features and {outcome.workspaces} checkpoints" if outcome.workspaces else ""
        say(f"{outcome.checked}{checkpoints} checked, {len(outcome.damaged)} damaged")
    if outcome.damaged and not given.as_json:
        lost = sum(damage.reason.startswith("checkpoint: ") for damage in outcome.damaged)
        found = [
            f"{count} damaged {what}"
            for count, what in (
                (len(outcome.damaged) - lost, "features were moved to quarantine"),
                (lost, "checkpoints were deleted"),
            )
            if count
        ]
        raise CacheError(
            ", ".join(found),
            hint="they are recomputed when they are next needed; check the disk if this happens again",
        )


@app.command()
@switches("cache_dir")
def prune(
    given: Given,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            help="What may stay, for example 20GB; by default what the cache may take anyway.",
            show_default=False,
        ),
    ] = None,
    workspace_days: Annotated[
        float,
        typer.Option(
            "--workspace-days",
            help="Remove checkpoints of unfinished stages that nobody touched for so many days.",
            min=0,
        ),
    ] = 30,
) -> None:
    """Remove the least recently used features, clips and checkpoints, until the rest of each
    fits; what named avatars need stays, and so does what is under way.
    """
    studio = given.studio()
    size = studio.store.max_bytes if max_size is None else read_size(max_size)
    clip_size = studio.clips.max_bytes if max_size is None else size
    features = studio.store.prune(size, workspace_days=workspace_days)
    _tell_removed(features, studio.clips.prune(clip_size), given.as_json)


@app.command()
@switches("cache_dir")
def clear(
    given: Given,
    everything: Annotated[bool, typer.Option("--all", help="Also what named avatars need.")] = False,
) -> None:
    """Remove all finished clips, all checkpoints of unfinished stages (but not of those under
    way), and all features but those that named avatars need.
    """
    studio = given.studio()
    _tell_removed(studio.store.clear(keep_pinned=not everything), studio.clips.prune(0), given.as_json)


def _tell_removed(features: PruneReport, clips: ClipsKept, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(features), "clips": clips})
        return
    say(
        f"removed {features.removed} features, {size_text(features.freed_bytes)}; kept "
        f"{size_text(features.kept_bytes)}"
    )
    if clips.clips:
        say(f"removed {clips.clips} finished clips, {size_text(clips.bytes)}")
    if features.workspaces:
        say(
            f"removed checkpoints of {features.workspaces} unfinished stages, "
            f"{size_text(features.workspace_bytes)}"
        )


@app.command()
@switches("weights", "cache_dir", "cache_remote")
def warm(
    given: Given,
    names: Annotated[list[str] | None, typer.Argument(help="Avatars.", show_default=False)] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every avatar there is.")] = False,
) -> None:
    """Compute every missing stage of avatars NAME..., so that they speak at once."""
    if everyone == bool(names):
        raise typer.BadParameter("give names of avatars, or --all")
    studio = given.studio()
    wanted = names or [manifest.name for manifest in studio.shelf.list()]
    for name in wanted:
        studio.shelf.load_manifest(name)
    done = {}
    with progress_bar() as progress:
        for name in wanted:
            done[name] = studio.warm(name, progress)
    if given.as_json:
        print_json(
            {
                "avatars": [
                    {"avatar": name, "stages": p.outcome, "seconds": p.seconds} for name, p in done.items()
                ]
            }
        )
        return
    rows = [
        [
            name,
            str(list(p.outcome.values()).count("miss")),
            str(list(p.outcome.values()).count("hit")),
            f"{sum(p.seconds.values()):.1f} s",
        ]
        for name, p in done.items()
    ]
    print_table(
        ["avatar", "computed", "were there", "took"],
        rows,
        empty="no avatars yet: personare avatar create NAME PHOTO",
    )


def read_size(text: str) -> int:
    """Bytes from "20GB", "512 MiB" or "1000". Raises InvalidOption."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise InvalidOption(
            f"--max-size {text!r} is not a size", hint="for example 20GB, 512MB or 0"
        ) from None
