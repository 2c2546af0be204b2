"""`personare avatar`: portraits that are prepared once and kept by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import (
    AsJson,
    CacheDir,
    CacheRemote,
    Debug,
    Device,
    EngineName,
    Setting,
    Verbose,
    WeightsDir,
    age_text,
    print_json,
    print_table,
    progress_bar,
    read_settings,
    say,
    size_text,
)
from personare.errors import InputError

if TYPE_CHECKING:
    from personare.cache.recipe import Recipe
    from personare.perception.photo_report import PhotoReport

app = typer.Typer(
    help="Portraits that are prepared once and kept by name.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(help="The avatar's name.")]


@app.command()
def create(
    name: Name,
    portrait: Annotated[
        Path | None,
        typer.Argument(help="A photo or a template video; none with --set look=mesh.", show_default=False),
    ] = None,
    engine: EngineName = None,
    settings: Setting = None,
    device: Device = None,
    weights: WeightsDir = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an avatar of the same name.")] = False,
    cache_dir: CacheDir = None,
    cache_remote: CacheRemote = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Prepare PORTRAIT and keep it as NAME; the cache never evicts it."""
    from personare.studio.studio import Studio

    studio = Studio(cache_dir, weights=weights, cache_remote=cache_remote)
    cast = studio.cast(portrait, engine, read_settings(settings, device=device))
    with progress_bar() as progress:
        preparation = studio.create(name, cast, replace=replace, progress=progress)
    photo = None if portrait is None else look_at(portrait)
    if as_json:
        seconds = {stage: round(value, 4) for stage, value in preparation.seconds.items()}
        made = {
            "avatar": name,
            "engine": cast.engine.name,
            "stages": preparation.outcome,
            "seconds": seconds,
            "photo": photo,
        }
        print_json(made)
    else:
        took = sum(preparation.seconds.values())
        if photo is not None:
            say(photo_lines(photo))
        say(
            f"{name}: ready for {cast.engine.name} in {took:.1f} s; try: personare speak {name!r} VOICE.wav "
            f"-o out.mp4"
        )


def look_at(portrait: Path) -> PhotoReport | None:
    """What the photo, or a video's first picture, is good for; None where no face is found
    (engines may see more than we do).
    """
    from personare.media.template import Template
    from personare.perception.photo_report import photo_report

    try:
        template = Template(portrait)
        return photo_report(next(iter(template)), portrait.name, moving=template.moving)
    except InputError:
        return None


def photo_lines(photo: PhotoReport) -> str:
    """What was seen of the photo, and advice, in lines for people."""
    mouth = f"open ({photo.mouth_open:.2f} of the eyes' distance)" if photo.is_open else "closed"
    lines = [
        f"photo: {photo.width}x{photo.height}, face {photo.face_height_px:.0f} px high, "
        f"{photo.eye_distance_px:.0f} px between the "
        f"eyes' outer corners; turned {photo.yaw:+.0f} aside, {photo.pitch:+.0f} up, leaning "
        f"{photo.roll:+.0f} degrees; "
        f"sharpness {photo.sharpness:.2f}; mouth {mouth}; "
        f"{'looks like glasses' if photo.glasses else 'no glasses seen'}"
    ]
    return "\n".join([*lines, *(f"  -> {line}" for line in photo.advice)])


@app.command("list")
def list_avatars(
    cache_dir: CacheDir = None, as_json: AsJson = False, verbose: Verbose = 0, debug: Debug = False
) -> None:
    """All named avatars."""
    from personare.studio.studio import Studio

    manifests = Studio(cache_dir).shelf.list()
    if as_json:
        print_json({"avatars": [manifest.model_dump(mode="json") for manifest in manifests]})
        return
    rows = [
        [m.name, m.engine, age_text(time.time() - m.created.timestamp()), m.portrait_file] for m in manifests
    ]
    print_table(
        ["avatar", "engine", "age", "portrait"],
        rows,
        empty="no avatars yet: personare avatar create NAME PHOTO",
    )


@app.command()
def show(
    name: Name,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """What an avatar consists of."""
    from personare.studio.studio import Studio

    studio = Studio(cache_dir)
    manifest = studio.shelf.load_manifest(name)
    portrait = studio.shelf.portrait(manifest)
    if as_json:
        print_json({**manifest.model_dump(mode="json"), "portrait_path": str(portrait)})
        return
    say(f"{manifest.name}: engine {manifest.engine}, portrait {portrait}")
    print_table(["option", "value"], [[key, str(value)] for key, value in manifest.options.items()])
    print_table(["stage", "feature"], [[stage, key] for stage, key in manifest.keys.items()])


@app.command()
def status(
    name: Name,
    settings: Setting = None,
    weights: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Which stages are cached, and what a change of one option would recompute (--set shows a
    certain change).
    """
    from personare.cache.run import explain
    from personare.studio.studio import Studio

    studio = Studio(cache_dir, weights=weights)
    cast = studio.cast(name, None, read_settings(settings))
    manifest = studio.shelf.load_manifest(name)
    recipe = cast.engine.recipe(cast.options).within("portrait")
    stages = explain(recipe, recipe.portrait_keys(manifest.portrait), studio.store)
    effects = {option: affected_stages(recipe, option) for option in type(cast.options).model_fields}
    if as_json:
        print_json({"avatar": name, "engine": cast.engine.name, "stages": stages, "recomputed_by": effects})
        return
    rows = [
        [
            s.stage,
            "cached" if s.cached else "missing",
            size_text(s.bytes) if s.cached else "",
            age_text(s.age_seconds) if s.cached else "",
        ]
        for s in stages
    ]
    print_table(["stage", "state", "size", "age"], rows, title=f"{name} ({cast.engine.name})")
    say("")
    print_table(
        ["a change of", "recomputes"], [[o, ", ".join(hit) or "nothing"] for o, hit in effects.items()]
    )


@app.command("rm")
def remove(
    name: Name,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Forget an avatar; its features stay cached until they are evicted."""
    from personare.studio.studio import Studio

    Studio(cache_dir).shelf.remove(name)
    if as_json:
        print_json({"removed": name})
    else:
        say(f"{name}: removed")


def affected_stages(recipe: Recipe, option: str) -> list[str]:
    """The stages that a change of this option recomputes: those that read it and all that need
    them.
    """
    hit: list[str] = []
    for stage in recipe.stages:
        if option in stage.parameters or any(need in hit for need in stage.needs):
            hit.append(stage.name)
    return hit


@app.command("export")
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file to write (.avatar).")],
    weights: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Write an avatar into one file: manifest, portrait and features."""
    from personare.studio.studio import Studio
    from personare.studio.transfer import export_avatar

    with progress_bar() as progress:
        size = export_avatar(Studio(cache_dir, weights=weights), name, file, progress)
    if as_json:
        print_json({"avatar": name, "file": file, "bytes": size})
    else:
        say(f"{file}: {name}, {size_text(size)}; try: personare avatar import {str(file)!r}")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A file that `personare avatar export` wrote.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Another name than its own.", show_default=False)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an avatar of the same name.")] = False,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Take its features as they are, instead of computing them here."),
    ] = False,
    weights: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Keep the avatar in FILE; every byte of it is checked first. Its features are computed
    here, unless you trust whoever made the file.
    """
    from personare.studio.studio import Studio
    from personare.studio.transfer import import_avatar

    imported = import_avatar(Studio(cache_dir, weights=weights), file, name, replace=replace, trust=trust)
    if as_json:
        print_json(imported)
        return
    later = (
        f"; {', '.join(imported.missing)} will be computed when it first speaks" if imported.missing else ""
    )
    say(f"{imported.avatar}: ready for {imported.engine}{later}")
