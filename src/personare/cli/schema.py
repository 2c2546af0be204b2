"""`personare schema`: what an order, the settings and every engine's options are made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from personare.cli.session import print_json
from personare.cli.switches import Given, switches


class What(StrEnum):
    ORDER = "order"
    SETTINGS = "settings"
    ENGINE = "engine"


@switches()
def schema(
    given: Given,
    what: Annotated[What | None, typer.Argument(help="What to describe.", show_default="all of them")] = None,
    name: Annotated[
        str | None,
        typer.Argument(help="With engine: which one; see `personare engines`.", show_default="all of them"),
    ] = None,
) -> None:
    """Print the JSON schema (2020-12) of an order, of the settings, and of the options of the
    installed engines: fields, types, ranges, defaults, what they are for.
    """
    if name is not None and what is not What.ENGINE:
        raise typer.BadParameter("a name is for: personare schema engine NAME")
    print_json(_described(what, name))


def _described(what: What | None, name: str | None) -> dict[str, Any]:
    from personare.engines.engine import load_engine
    from personare.studio.installed import installed_engines
    from personare.studio.order import Order
    from personare.studio.settings import Settings

    if what is What.ORDER:
        return Order.model_json_schema()
    if what is What.SETTINGS:
        return Settings.model_json_schema()
    if name is not None:
        return load_engine(name).Options.model_json_schema()
    engines = {engine.name: engine.Options.model_json_schema() for engine in installed_engines()}
    if what is What.ENGINE:
        return engines
    return {
        "order": Order.model_json_schema(),
        "settings": Settings.model_json_schema(),
        "engines": engines,
    }
