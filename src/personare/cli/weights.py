"""`personare weights`: which checkpoints there are, which are here, and how to get the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personare.cli.session import SESSION, print_json, print_table, progress_bar, say
from personare.cli.switches import Given, switches
from personare.errors import InvalidOption, PersonareError, WeightsMismatch, WeightsMissing

if TYPE_CHECKING:
    from personare.types import Progress
    from personare.weights.catalogue import Component
    from personare.weights.finder import Weights

app = typer.Typer(
    help="Released checkpoints: what is here, and how to get the rest.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Names as `personare weights list` shows them."),
]
ForEngine = Annotated[
    str | None, typer.Option("--engine", help="Only what this engine can use.", show_default=False)
]


@app.command("list")
@switches("weights")
def list_weights(
    given: Given,
    engine: ForEngine = None,
) -> None:
    """Every checkpoint: whether it is here, its size, its licence, and which engines use it."""
    from personare.weights.catalogue import components
    from personare.weights.finder import Weights, size_of

    finder = Weights(given.weights)
    chosen = components(engine=engine)
    if given.as_json:
        print_json({"weights": [_entry(component, finder) for component in chosen]})
        return
    rows = []
    for component in chosen:
        state = (
            "here"
            if finder.locate(component.name)
            else "missing"
            if component.sources
            else "missing (by hand)"
        )
        rows.append([component.name, state, size_of(component), _needed_by(component), component.licence])
    print_table(["name", "state", "size", "needed by", "licence"], rows)


@app.command()
@switches()
def pull(
    given: Given,
    names: Names = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="All that this engine needs.", show_default=False)
    ] = None,
    optional: Annotated[
        bool, typer.Option("--optional", help="With --engine: also what only some options need.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Check what is here, and fetch damaged files again.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="A weights folder instead of the hub cache.", show_default=False),
    ] = None,
) -> None:
    """Fetch checkpoints from the hub; an interrupted transfer goes on where it ended."""
    from personare.weights.catalogue import components
    from personare.weights.finder import Weights, how_to_get, size_of
    from personare.weights.hub import pull as fetch

    if not names and engine is None:
        raise InvalidOption(
            "nothing was named to pull", hint="personare weights pull NAME..., or --engine NAME"
        )
    chosen = components(names or (), engine)
    if engine is not None and not names and not optional:
        chosen = [component for component in chosen if component.is_required_by(engine)]
    here = Weights(to)
    by_hand = []
    done: list[dict[str, Any]] = []
    with progress_bar() as progress:
        for component in chosen:
            located = _in_folder(here, component.name, to) if to else here.locate(component.name)
            if (located is None or repair) and not component.sources:
                by_hand.append(component)
                continue
            fetched = located is None or repair
            if fetched:
                _tell(f"fetching {component.name}, {size_of(component)}; licence: {component.licence}")
                located = fetch(component, to, _megabytes(progress))
            assert located is not None
            done.append({"name": component.name, "path": located.path, "fetched": fetched})
    if given.as_json and not by_hand:
        print_json({"weights": done})
    elif not given.as_json:
        for entry in done:
            say(f"{entry['name']}: {'' if entry['fetched'] else 'already at '}{entry['path']}")
    if by_hand:
        raise WeightsMissing(
            f"{', '.join(component.name for component in by_hand)} cannot be fetched from the hub",
            hint=how_to_get(by_hand, to),
        )


@app.command()
@switches("weights")
def verify(
    given: Given,
    names: Names = None,
) -> None:
    """Read every byte of checkpoints that are here, and compare with what is on record."""
    from personare.weights.catalogue import components
    from personare.weights.finder import Weights
    from personare.weights.verify import verify as check

    finder = Weights(given.weights)
    if names:
        finder.require(*(component.name for component in components(names)))
    found = []
    with progress_bar() as progress:
        for component in components(names or ()):
            if located := finder.locate(component.name):
                found += check(located, _megabytes(progress))
    wrong = [finding for finding in found if finding.state == "wrong"]
    if given.as_json:
        print_json({"files": found, "well": not wrong})
    else:
        rows = [[f.component, f.file.name, f.state, f.sha256[:16], f.explanation] for f in found]
        print_table(["name", "file", "state", "sha256", ""], rows, empty="no weights are on this machine")
    if wrong:
        raise _quiet_with_json(
            WeightsMismatch(
                f"{wrong[0].file}: {wrong[0].explanation}"
                + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
                hint=f"personare weights pull {wrong[0].component} --repair; delete the file if it lies in a "
                f"folder of your own",
            )
        )


@app.command()
@switches("weights")
def where(
    given: Given,
    name: Annotated[str, typer.Argument(help="A name as `personare weights list` shows it.")],
) -> None:
    """The path of a checkpoint on this machine, and nothing else."""
    from personare.weights.catalogue import component
    from personare.weights.finder import Weights

    finder = Weights(given.weights)
    path = finder.require(name)[name]
    if given.as_json:
        print_json(_entry(component(name), finder))
    else:
        say(str(path))


def _entry(component: Component, finder: Weights) -> dict[str, Any]:
    located = finder.locate(component.name)
    return {
        "name": component.name,
        "summary": component.summary,
        "here": located is not None,
        "path": located.path if located else None,
        "bytes": component.bytes,
        "is_size_exact": component.is_size_exact,
        "licence": component.licence,
        "gated": component.gated,
        "needed_by": dict(component.needed_by),
        "sources": [source.repo for source in component.sources],
        "by_hand": component.by_hand,
    }


def _needed_by(component: Component) -> str:
    return ", ".join(
        engine if when == "always" else f"{engine} ({when})" for engine, when in component.needed_by.items()
    )


def _in_folder(finder: Weights, name: str, folder: Path) -> Any:
    """A component if it is in that very folder."""
    from personare.ground.paths import expanded

    located = finder.locate(name)
    return located if located and located.folder.is_relative_to(expanded(folder).absolute()) else None


def _megabytes(progress: Progress) -> Progress:
    """Told in bytes, shown in megabytes."""
    return lambda what, done, total: progress(
        f"{what} (MB)", done // 1_000_000, (total or 0) // 1_000_000 or None
    )


def _tell(line: str) -> None:
    if not SESSION.as_json:
        typer.echo(line, err=True)


def _quiet_with_json(error: PersonareError) -> Exception:
    """The error, or only its exit code where the one JSON object has been printed already."""
    return typer.Exit(error.exit_code) if SESSION.as_json else error
