"""`personare avatar`: portraits that are prepared once and kept by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personare.cache.recipe import Show, show_nothing
from personare.cli.session import age_text, print_json, print_table, progress_bar, say, size_text
from personare.cli.switches import Given, switches
from personare.errors import InputError, one_line
from personare.ground.durable import replaced_when_complete
from personare.types import Image

if TYPE_CHECKING:
    from personare.perception.photo_report import PhotoReport
    from personare.studio.effects import Effect

app = typer.Typer(
    help="Portraits that are prepared once and kept by name.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(help="The avatar's name.")]


@app.command()
@switches("engine", "options", "weights", "cache_dir", "cache_remote")
def create(
    given: Given,
    name: Name,
    portrait: Annotated[
        Path | None,
        typer.Argument(
            help="A photo or a template video; none where the engine brings its own.", show_default=False
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an avatar of the same name.")] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            help="A folder for pictures to look at while it is prepared, of engines that show some.",
            show_default=False,
        ),
    ] = None,
    consent: Annotated[
        str | None,
        typer.Option("--consent", help="Who in the portrait consented, and to what.", show_default=False),
    ] = None,
    consent_until: Annotated[
        str | None,
        typer.Option(
            "--consent-until",
            metavar="DATE",
            help="The last day of it (2027-12-31); the avatar refuses to speak afterwards.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Prepare PORTRAIT and keep it as NAME; the cache never evicts it."""
    from personare.perception.photo_report import look_at
    from personare.shelf.manifest import consent_of

    agreed = consent_of(consent, consent_until)
    studio = given.studio()
    cast = studio.cast(portrait, given.engine, given.options)
    show = show_nothing if pictures is None else picture_folder(pictures)
    with progress_bar() as progress:
        preparation = studio.create(name, cast, replace=replace, consent=agreed, progress=progress, show=show)
    photo = None if portrait is None else look_at(portrait)
    if given.as_json:
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


def picture_folder(folder: Path) -> Show:
    """Puts each picture there as NAME.png, in place of the one before. Raises InputError."""
    import cv2

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made: {error.strerror}", hint="--pictures names a folder"
        ) from None

    def show(name: str, picture: Image) -> None:
        data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        with replaced_when_complete(folder / f"{name}.png") as part:
            part.write_bytes(data)

    return show


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
@switches("cache_dir")
def list_avatars(given: Given) -> None:
    """All named avatars."""
    manifests = given.studio().shelf.list()
    if given.as_json:
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
@switches("cache_dir")
def show(
    given: Given,
    name: Name,
) -> None:
    """What an avatar consists of."""
    studio = given.studio()
    manifest = studio.shelf.load_manifest(name)
    portrait = studio.shelf.portrait(manifest)
    if given.as_json:
        print_json({**manifest.model_dump(mode="json"), "portrait_path": str(portrait)})
        return
    say(f"{manifest.name}: engine {manifest.engine}, portrait {portrait}")
    if (agreed := manifest.consent) is None:
        say("consent: none is kept")
    else:
        until = agreed.until.isoformat() if agreed.until else "further notice"
        say(f"consent: {one_line(agreed.text)} (until {until})")
    print_table(["option", "value"], [[key, str(value)] for key, value in manifest.options.items()])
    print_table(["stage", "feature"], [[stage, key] for stage, key in manifest.keys.items()])


@app.command()
@switches("options", "weights", "cache_dir")
def status(
    given: Given,
    name: Name,
) -> None:
    """Which stages are cached, and what a change of one option would recompute (--set shows a
    certain change).
    """
    from personare.cache.run import explain
    from personare.studio.effects import effects

    studio = given.studio()
    manifest = studio.shelf.load_manifest(name)
    cast = studio.cast_of(manifest, given.options)
    recipe = cast.engine.recipe(cast.options).within("portrait")
    stages = explain(recipe, recipe.portrait_keys(manifest.portrait), studio.store)
    found = effects(cast.engine, cast.options, {"portrait": manifest.portrait})
    if given.as_json:
        print_json(
            {
                "avatar": name,
                "engine": cast.engine.name,
                "stages": stages,
                "recomputed_by": {option: effect.recomputes for option, effect in found.items()},
                "unknown": {option: effect.unknown for option, effect in found.items() if effect.unknown},
            }
        )
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
    print_table(["a change of", "recomputes"], [[option, _told(effect)] for option, effect in found.items()])


def _told(effect: Effect) -> str:
    unknown = ", ".join(map(str, effect.unknown))
    needs = f" ({unknown}: checkpoints are missing)" if unknown else ""
    return (", ".join(effect.recomputes) or "nothing") + needs


@app.command("rm")
@switches("cache_dir")
def remove(
    given: Given,
    name: Name,
) -> None:
    """Forget an avatar; its features stay cached until they are evicted."""
    given.studio().shelf.remove(name)
    if given.as_json:
        print_json({"removed": name})
    else:
        say(f"{name}: removed")


@app.command("export")
@switches("weights", "cache_dir")
def export(
    given: Given,
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file to write (.avatar).")],
) -> None:
    """Write an avatar into one file: manifest, portrait and features."""
    from personare.studio.transfer import export_avatar

    with progress_bar() as progress:
        size = export_avatar(given.studio(), name, file, progress)
    if given.as_json:
        print_json({"avatar": name, "file": file, "bytes": size})
    else:
        say(f"{file}: {name}, {size_text(size)}; try: personare avatar import {str(file)!r}")


@app.command("import")
@switches("weights", "cache_dir")
def import_file(
    given: Given,
    file: Annotated[Path, typer.Argument(help="A file that `personare avatar export` wrote.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Another name for it.", show_default=False)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an avatar of the same name.")] = False,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Take its features as they are, instead of computing them here."),
    ] = False,
) -> None:
    """Keep the avatar in FILE; every byte of it is checked first. Its features are computed
    here, unless you trust whoever made the file.
    """
    from personare.studio.transfer import import_avatar

    imported = import_avatar(given.studio(), file, name, replace=replace, trust=trust)
    if given.as_json:
        print_json(imported)
        return
    later = (
        f"; {', '.join(imported.missing)} will be computed when it first speaks" if imported.missing else ""
    )
    say(f"{imported.avatar}: ready for {imported.engine}{later}")
