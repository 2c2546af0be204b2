"""What engines can do, asked of the engines themselves: for decisions, hints and lists that
must know no engine by name.
"""

from __future__ import annotations

from collections.abc import Callable

from personare.engines.engine import Engine, engine_entry_points, load_engine
from personare.errors import InvalidOption, PersonareError
from personare.motion import Motion
from personare.studio.order import Order
from personare.weights.finder import Weights


def installed_engines(weights: Weights | None = None) -> list[Engine]:
    """Every installed engine that can be imported, by name. weights: where they look for
    theirs.
    """
    engines = []
    for name in engine_entry_points():
        try:
            engines.append(load_engine(name, weights))
        except PersonareError:  # `personare engines` says what is wrong with it
            continue
    return engines


def engines_that(can: Callable[[Engine], bool]) -> str:
    """Their names, for a hint: "puppet, artalk", or "none is installed"."""
    return ", ".join(engine.name for engine in installed_engines() if can(engine)) or "none is installed"


def check_can(engine: Engine, order: Order, motion: Motion | None) -> None:
    """Raises InvalidOption, with the engines that can, if an engine cannot do what an order
    asks for. motion: that of the order's file.
    """
    if (order.curves_out or order.motion_out) and engine.moves is None:
        can = engines_that(lambda other: other.moves is not None)
        raise InvalidOption(f"{engine.name} has no motion to write", hint=f"engines that have: {can}")
    if order.curves_out and order.motion_out:
        raise InvalidOption("one run writes curves or motion, not both", hint="leave one of them out")
    if motion is not None:
        _check_shows(engine, motion.space.name, "of this file")
    mover = engine if order.moved_by is None else load_engine(order.moved_by)
    if order.guide is not None and "guide" not in mover.drives(mover.read_options({})):
        can = engines_that(lambda other: "guide" in other.drives(other.read_options({})))
        raise InvalidOption(f"{mover.name} cannot follow a guide", hint=f"engines that can: {can}")
    if order.kind in ("speech", "text") and "speech" not in mover.drives(mover.read_options({})):
        can = engines_that(lambda other: "speech" in other.drives(other.read_options({})))
        raise InvalidOption(
            f"{mover.name} is not moved by a voice: it follows a guide (personare follow)",
            hint=f"engines that a voice moves: {can}",
        )
    if order.moved_by is not None:
        if mover.moves is None:
            can = engines_that(lambda other: other.moves is not None)
            raise InvalidOption(
                f"{mover.name} makes no motion that others can show", hint=f"engines that do: {can}"
            )
        _check_shows(engine, mover.moves.name, f"of {mover.name}")


def _check_shows(engine: Engine, space: str, whose: str) -> None:
    from personare.heads.retarget import way

    if way(space, engine.shows) is None:
        can = engines_that(lambda other: way(space, other.shows) is not None)
        raise InvalidOption(
            f"{engine.name} cannot show the motion {whose}: {space}", hint=f"engines that can: {can}"
        )
