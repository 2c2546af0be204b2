"""What there is: engines, voices, styles."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from personare.engines.engine import engine_entry_points
from personare.errors import PersonareError
from personare.serve.house import house_of
from personare.serve.labels import labels_of
from personare.serve.problems import without_paths
from personare.studio.described import described_engine, unreadable_engine

router = APIRouter(prefix="/v1", tags=["what there is"])


@router.get("/engines")
def engines(request: Request) -> dict[str, list[dict[str, Any]]]:
    """Every engine: ready or what is missing, what drives it, its options as JSON schema, the
    options' names in other languages, and its styles.
    """
    studio = house_of(request).studio
    found = []
    for name in engine_entry_points():
        try:
            engine = studio.open(name)
            entry = described_engine(engine) | {"styles": list(engine.styles())}
        except PersonareError as error:
            entry = unreadable_engine(name, error) | {"styles": []}
        entry["labels"] = labels_of(entry.get("options", {}))
        entry["missing"] = [without_paths(line) for line in entry["missing"]]
        found.append(entry)
    return {"engines": found}


@router.get("/voices")
def voices() -> dict[str, list[dict[str, Any]]]:
    """The voices that can read a text, and what would be needed for more."""
    from personare.voice.tts import voices as all_voices

    return {
        "voices": [
            {
                "name": voice.name,
                "language": voice.language,
                "description": without_paths(voice.description),
                "backend": voice.backend,
                "ready": voice.available,
                "needed": voice.needed,
            }
            for voice in all_voices()
        ]
    }


@router.get("/styles")
def styles(request: Request) -> dict[str, list[dict[str, Any]]]:
    """Ways of moving that an engine's option chooses by name."""
    studio = house_of(request).studio
    found = []
    for name in engine_entry_points():
        try:
            engine = studio.open(name)
            found += [{"engine": name, "name": style} for style in engine.styles()]
        except PersonareError:  # /v1/engines says what is wrong with it
            continue
    return {"styles": found}
