"""`personare avatar`: portraits that are prepared once and kept by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cli.session import (
    AsJson,
    CacheDir,
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

if TYPE_CHECKING:
    from personare.cache.recipe import Recipe

app = typer.Typer(help="Portraits that are prepared once and kept by name.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The avatar's name.")]


@app.command()
def create(
    name: Name,
    portrait: Annotated[
        Path | None, typer.Argument(help="A photo or a template video; none with --set look=mesh.", show_default=False)
    ] = None,
    engine: EngineName = None,
    settings: Setting = None,
    device: Device = None,
    weights: WeightsDir = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an avatar of the same name.")] = False,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Prepare PORTRAIT and keep it as NAME; the cache never evicts it."""
    from personare.studio import Studio

    studio = Studio(cache_dir, weights=weights)
    cast = studio.cast(portrait, engine, read_settings(settings, device=device))
    with progress_bar() as progress:
        preparation = studio.create(name, cast, replace=replace, progress=progress)
    if as_json:
        seconds = {stage: round(value, 4) for stage, value in preparation.seconds.items()}
        print_json({"avatar": name, "engine": cast.engine.name, "stages": preparation.outcome, "seconds": seconds})
    else:
        took = sum(preparation.seconds.values())
        say(f"{name}: ready for {cast.engine.name} in {took:.1f} s; try: personare speak {name!r} VOICE.wav -o out.mp4")


@app.command("list")
def list_avatars(cache_dir: CacheDir = None, as_json: AsJson = False, verbose: Verbose = 0, debug: Debug = False) -> None:
    """All named avatars."""
    from personare.studio import Studio

    manifests = Studio(cache_dir).shelf.list()
    if as_json:
        print_json({"avatars": [manifest.model_dump(mode="json") for manifest in manifests]})
        return
    rows = [[m.name, m.engine, age_text(time.time() - m.created.timestamp()), m.portrait_file] for m in manifests]
    print_table(["avatar", "engine", "age", "portrait"], rows, empty="no avatars yet: personare avatar create NAME PHOTO")


@app.command()
def show(name: Name, cache_dir: CacheDir = None, as_json: AsJson = False, verbose: Verbose = 0, debug: Debug = False) -> None:
    """What an avatar consists of."""
    from personare.studio import Studio

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
    """Which stages are cached, and what a change of one option would recompute (--set shows a certain change)."""
    from personare.cache.prepare import explain
    from personare.studio import Studio

    studio = Studio(cache_dir, weights=weights)
    cast = studio.cast(name, None, read_settings(settings))
    manifest = studio.shelf.load_manifest(name)
    recipe = cast.engine.recipe(cast.options)
    stages = explain(recipe, recipe.keys(manifest.portrait), studio.store)
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
    print_table(["a change of", "recomputes"], [[o, ", ".join(hit) or "nothing"] for o, hit in effects.items()])


@app.command("rm")
def remove(name: Name, cache_dir: CacheDir = None, as_json: AsJson = False, verbose: Verbose = 0, debug: Debug = False) -> None:
    """Forget an avatar; its features stay cached until they are evicted."""
    from personare.studio import Studio

    Studio(cache_dir).shelf.remove(name)
    if as_json:
        print_json({"removed": name})
    else:
        say(f"{name}: removed")


def affected_stages(recipe: Recipe, option: str) -> list[str]:
    """The stages that a change of this option recomputes: those that read it and all that need them."""
    hit: list[str] = []
    for stage in recipe.stages:
        if option in stage.parameters or any(need in hit for need in stage.needs):
            hit.append(stage.name)
    return hit
