"""How bodies are described in the OpenAPI document, which are read by hand (uploads.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from personare.serve.files import Purpose
from personare.serve.jobs.placing import KEY_LENGTH
from personare.serve.problems import MEDIA_TYPE

_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH},
    "description": "asking again with it gives the first job again; with another request it is 422",
}


def body(model: type[BaseModel], names: Mapping[str, Purpose | None]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes JSON, or the same fields and files in a form."""
    schema = model.model_json_schema()
    properties = dict(schema["properties"])
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    for name in names:
        described = properties.get(name, {}).get("description", "a sound or a portrait")
        properties[name] = {**file, "description": f"{described}; the file itself, or the id of an upload"}
    form = {"type": "object", "properties": properties, "required": schema.get("required", [])}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    content["application/json"] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}, "parameters": [_KEY]}


def with_keys(document: dict[str, Any], without: re.Pattern[str]) -> dict[str, Any]:
    """An OpenAPI document that tells of API keys. without: paths that need none."""
    about = "a key of `personare serve --api-key` or `--api-keys`; a service without keys wants none"
    scheme = {"type": "http", "scheme": "bearer", "description": about}
    document.setdefault("components", {})["securitySchemes"] = {"key": scheme}
    document["security"] = [{"key": []}, {}]
    for path, operations in document["paths"].items():
        if without.fullmatch(re.sub(r"\{\w+\}", "x", path)):
            for operation in operations.values():
                operation["security"] = []
    return document


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may answer with problems."""
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "hint", "error"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "hint": {"type": "string"},
            "error": {
                "type": "object",
                "properties": {
                    name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")
                },
            },
        },
    }
    return {
        status: {"description": "a problem (RFC 9457)", "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
