"""An engine's options as widgets, from its JSON schema: what an engine declares is what the
program shows, with its bounds and its one-line explanation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personare.engines.engine import Engine

INT_MOST = 2**53 - 1
"""What a browser counts exactly."""


def widgets_of(engine: type[Engine]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """ComfyUI's INPUT_TYPES of an engine's options. Options that are paths have none: a
    workflow may come from anywhere.
    """
    properties = engine.Options.model_json_schema()["properties"]
    return {name: _widget(field) for name, field in properties.items() if not _is_path(field)}


def options_of(engine: type[Engine], values: Mapping[str, Any]) -> dict[str, Any]:
    """What widgets say, but for what they leave as it is."""
    properties = engine.Options.model_json_schema()["properties"]
    options = {}
    for name, value in values.items():
        field = properties[name]
        default = field.get("default")
        if _number(field) is None:
            is_default = str(value) == ("" if default is None else str(default))
        else:
            is_default = value == (_none(field) if default is None else float(default))
        if not is_default:
            options[name] = value
    return options


def _widget(field: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    extra: dict[str, Any] = {"tooltip": field.get("description", "")}
    default = field.get("default")
    if "enum" in field:
        return list(field["enum"]), {**extra, "default": default}
    if field.get("type") == "boolean":
        return "BOOLEAN", {**extra, "default": default}
    if (form := _number(field)) is None:  # text; an empty one is the engine's own choice
        return "STRING", {**extra, "default": "" if default is None else str(default)}
    whole = form["type"] == "integer"
    low = form.get("minimum", form.get("exclusiveMinimum", 0))
    high = form.get("maximum", form.get("exclusiveMaximum", INT_MOST if whole else 1e6))
    step = form.get("multipleOf", 1 if whole else 0.001 if field is not form else 0.01)
    if default is None:
        low = default = _none(field)
        extra["tooltip"] += f" ({low}: the engine's own choice)"
    shown = int(default) if whole else float(default)
    return ("INT" if whole else "FLOAT"), {
        **extra,
        "default": shown,
        "min": low,
        "max": min(high, INT_MOST),
        "step": step,
    }


def _number(field: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How a field is a number, also where it may be left open, or a fraction as text."""
    forms = (form for form in (field, *field.get("anyOf", ())) if "enum" not in form)
    return next((form for form in forms if form.get("type") in ("integer", "number")), None)


def _none(field: Mapping[str, Any]) -> int:
    """The number that leaves a field open, as node packs do it: below all that it takes."""
    form = _number(field)
    assert form is not None
    return 0 if form.get("minimum", 1) > 0 else -1


def _is_path(field: Mapping[str, Any]) -> bool:
    return any(form.get("format") == "path" for form in (field, *field.get("anyOf", ())))
