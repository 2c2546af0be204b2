"""What engines can do, asked of the engines themselves: for decisions, hints and lists that must
know no engine by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from personare.engines.engine import Engine, EngineOptions, engine_entry_points, load_engine
from personare.errors import EngineError, InvalidOption, PersonareError
from personare.studio.order import Order


def installed_engines() -> list[Engine]:
    """Every installed engine that can be imported, by name."""
    engines = []
    for name in engine_entry_points():
        try:
            engines.append(load_engine(name))
        except PersonareError:  # `personare engines` says what is wrong with it
            continue
    return engines


def engines_that(can: Callable[[Engine], bool]) -> str:
    """Their names, for a hint: "puppet, artalk", or "none is installed"."""
    return ", ".join(engine.name for engine in installed_engines() if can(engine)) or "none is installed"


def brought_portrait(engine: Engine, options: EngineOptions) -> Path | None:
    """The portrait that the engine brings along where these options ask for none."""
    return engine.carried_portrait(options)


def follows_guides(engine: Engine) -> bool:
    """Whether a guide can move the engine's portraits."""
    return "guide" in engine.driven_by


def has_curves(engine: Engine) -> bool:
    """Whether the engine tells the ARKit curves of its frames, and shows given ones."""
    return engine.curves


def check_can(engine: Engine, order: Order) -> None:
    """Raises InvalidOption or EngineError if the engine cannot do what the order asks for, with
    the engines that can.
    """
    if order.curves_out is not None and not has_curves(engine):
        raise InvalidOption(f"{engine.name} has no curves to write", hint=_can(has_curves))
    if order.motion is not None and not has_curves(engine):
        raise EngineError(f"{engine.name} does not follow curves", hint=_can(has_curves))
    if order.guide is not None and not follows_guides(engine):
        raise EngineError(f"{engine.name} cannot follow a guide", hint=_can(follows_guides))
    if order.moved_by is not None:
        mover = load_engine(order.moved_by)
        raise EngineError(
            f"{engine.name} cannot show the motion of {mover.name}", hint="leave --moved-by out"
        )
    if order.motion_out is not None:
        raise EngineError(
            f"{engine.name} has no motion of its own to write", hint="its curves: --curves FILE"
        )


def _can(can: Callable[[Engine], bool]) -> str:
    return f"engines that can: {engines_that(can)}"
