"""What a change of an option computes anew: found by changing it, never by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from personare.cache.run import changed_by
from personare.engines.engine import Engine, EngineOptions
from personare.errors import InvalidOption, WeightsError
from personare.types import Source

_RATES = ("24", "25", "30", "60")
"""Values of options that are written as text and named by no list: frame rates."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What changes of one option do.

    recomputes: stages of the portrait that some other value computes anew.
    unknown: values that need a checkpoint which is not on this machine.
    """

    recomputes: tuple[str, ...]
    unknown: tuple[Any, ...]


def effects(engine: Engine, options: EngineOptions, digests: Mapping[Source, str]) -> dict[str, Effect]:
    """Option -> what other values of it do: every one of a list, the other truth, numbers at
    both ends of the range, in the middle and beside the present one.

    digests: of the portrait. Raises WeightsError if a checkpoint of the present options is
    missing.
    """
    recipe = engine.recipe(options).within(*digests)
    order = [stage.name for stage in recipe.stages]
    values = options.model_dump(mode="json")
    found: dict[str, Effect] = {}
    for name, schema in _fields(engine).items():
        changed: set[str] = set()
        unknown: list[Any] = []
        for value in _others(schema, values[name]):
            try:
                changed.update(_changed(engine, options, {**values, name: value}, digests))
            except InvalidOption:  # not a value of this option
                continue
            except WeightsError:
                unknown.append(value)
        stages = [stage for stage in order if stage in changed] + sorted(changed.difference(order))
        found[name] = Effect(tuple(stages), tuple(unknown))
    return found


def without_portrait(engine: Engine) -> str:
    """A setting with which the engine brings its own portrait, as "look=mesh"; "" if there is
    none.
    """
    values = engine.read_options({}).model_dump(mode="json")
    for name, schema in _fields(engine).items():
        for value in _others(schema, values[name]):
            try:
                if engine.brings_portrait(engine.read_options({name: value})) is not None:
                    return f"{name}={value}"
            except InvalidOption:
                continue
    return ""


def _changed(
    engine: Engine, options: EngineOptions, values: Mapping[str, Any], digests: Mapping[Source, str]
) -> list[str]:
    other = engine.read_options(values)
    recipe = engine.recipe(other).within(*digests)
    if engine.brings_portrait(other) != engine.brings_portrait(options):  # another portrait altogether
        return [stage.name for stage in recipe.stages]
    return changed_by(engine.recipe(options).within(*digests), recipe, digests)


def _fields(engine: Engine) -> dict[str, Any]:
    """Option -> its JSON schema, with references resolved."""
    schema = engine.Options.model_json_schema(mode="validation")
    return {name: _resolved(field, schema) for name, field in schema["properties"].items()}


def _resolved(schema: Any, root: Mapping[str, Any]) -> Any:
    reference = schema.get("$ref", "")
    return root["$defs"][reference.rpartition("/")[2]] if reference else schema


def _others(schema: Mapping[str, Any], present: Any) -> Iterator[Any]:
    """Values that the option may have beside the present one; some may be refused."""
    for kind in schema.get("anyOf", [schema]):
        for value in _values(kind, present):
            if value != present or isinstance(value, bool) != isinstance(present, bool):
                yield value


def _values(schema: Mapping[str, Any], present: Any) -> Iterator[Any]:
    if "enum" in schema:
        yield from schema["enum"]
    elif "const" in schema:
        yield schema["const"]
    elif schema.get("type") == "boolean":
        yield from (True, False)
    elif schema.get("type") == "null":
        yield None
    elif schema.get("type") in ("integer", "number"):
        yield from _numbers(schema, present)
    else:
        yield from _RATES


def _numbers(schema: Mapping[str, Any], present: Any) -> Iterator[float]:
    step = schema.get("multipleOf", 1 if schema["type"] == "integer" else 0.1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", -100))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 100))
    middle = (low + high) // 2 if schema["type"] == "integer" else (low + high) / 2
    yield from (low, high, middle)
    if isinstance(present, int | float):
        yield from (present - step, present + step)
