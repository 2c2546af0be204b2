"""Files that an engine's options name: on another machine there are none of that path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from personare.engines.engine import Engine
from personare.shelf.home import home

_MOTIONS = (".pt", ".npz")


def named_files(engine: Engine, options: Mapping[str, Any]) -> dict[str, Path]:
    """Option -> the file or folder that it names and that is there: of options that the
    engine's schema calls paths, and of ways of moving (`Engine.styles`) that are files or the
    user's own.
    """
    fields = engine.Options.model_json_schema()["properties"]
    words = {name: value for name, value in options.items() if isinstance(value, str) and name in fields}
    found = {name: Path(value) for name, value in words.items() if _is_path(fields[name])}
    if others := words.keys() - found.keys():
        own = {name: path for name, path in engine.styles().items() if path.parent == home().styles}
        for name in others:
            if words[name] in own:
                found[name] = own[words[name]]
            elif Path(words[name]).suffix.lower() in _MOTIONS:
                found[name] = Path(words[name])
    there = {name: path.expanduser() for name, path in found.items()}
    return {name: path for name, path in there.items() if path.exists()}


def _is_path(field: Mapping[str, Any]) -> bool:
    forms = (field, *field.get("anyOf", ()))
    return any(form.get("format") in ("path", "file-path", "directory-path") for form in forms)
