"""An engine's options as widgets, from its JSON schema: what an engine declares is what the
program shows, with its bounds and its one-line explanation.
"""

from __future__ import annotations

import json
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
        if "anyOf" in field:
            value = _number_or_text(value) if value.strip() else field.get("default")
        if str(value) != str(field.get("default")):
            options[name] = value
    return options


def _widget(field: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    extra: dict[str, Any] = {"tooltip": field.get("description", "")}
    default = field.get("default")
    kind = field.get("type")
    if "enum" in field:
        return list(field["enum"]), {**extra, "default": default}
    if kind == "boolean":
        return "BOOLEAN", {**extra, "default": default}
    if kind in ("integer", "number"):
        whole = kind == "integer"
        low = field.get("minimum", field.get("exclusiveMinimum", 0))
        high = field.get("maximum", field.get("exclusiveMaximum", INT_MOST if whole else 1e6))
        step = field.get("multipleOf", 1 if whole else 0.01)
        bounds = {"min": low, "max": min(high, INT_MOST), "step": step}
        return ("INT" if whole else "FLOAT"), {**extra, "default": default, **bounds}
    # text, and what may be left open: an empty field is the engine's own choice
    return "STRING", {**extra, "default": "" if default is None else str(default)}


def _is_path(field: Mapping[str, Any]) -> bool:
    return any(form.get("format") == "path" for form in (field, *field.get("anyOf", ())))


def _number_or_text(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text.strip()
    return value if isinstance(value, int | float) else text.strip()
