"""An engine as plain values: what the command line and HTTP tell about it."""

from __future__ import annotations

import math
from typing import Any

from personare.engines.engine import Engine
from personare.errors import PersonareError


def described_engine(engine: Engine) -> dict[str, Any]:
    """Ready or what is missing, what drives it, its latency floor, its options as JSON schema."""
    missing = engine.missing()
    usual = engine.read_options({})
    latency, drives = engine.latency(usual), sorted(engine.drives(usual))
    floor = latency.floor_seconds
    return {
        "engine": engine.name,
        "summary": engine.summary,
        "ready": not missing,
        "missing": missing,
        "driven_by": drives,
        "moves": engine.moves and engine.moves.name,
        "shows": sorted(engine.shows),
        "chunk_seconds": latency.chunk_seconds,
        # None: the whole speech
        "lookahead_seconds": None if math.isinf(floor) else latency.lookahead_seconds,
        "latency_floor_seconds": None if math.isinf(floor) else round(floor, 4),
        "exact_streaming": engine.exact_streaming,
        "licences": dict(engine.licences),
        "options": engine.Options.model_json_schema()["properties"],
    }


def unreadable_engine(name: str, error: PersonareError) -> dict[str, Any]:
    """The same of an engine that cannot be imported."""
    return {"engine": name, "ready": False, "missing": [error.message]}
