"""The OpenAPI document of docs/ is that of the code, and describes every route."""

from __future__ import annotations

import json

from tools.openapi import TARGET, document


def test_the_published_document_is_current():
    published = json.loads(TARGET.read_text(encoding="utf-8"))
    current = document()
    published["info"].pop("version")
    current["info"].pop("version")
    assert published == current, "python tools/openapi.py"


def test_keys_are_described_where_they_are_wanted():
    """The API key, and that of idempotency on every route that makes a job."""
    published = json.loads(TARGET.read_text(encoding="utf-8"))
    assert published["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert published["security"] == [{"key": []}, {}]
    paths = published["paths"]
    free = {path for path, operations in paths.items() if any("security" in o for o in operations.values())}
    assert {"/healthz", "/readyz", "/v1/sessions/{session_id}/whep"} <= free
    assert not {"/v1/jobs", "/v1/sessions", "/metrics"} & free
    takes_key = {
        path
        for path, operations in paths.items()
        for parameter in operations.get("post", {}).get("parameters", ())
        if (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
    }
    assert takes_key == {
        "/v1/jobs",
        "/v1/avatars",
        "/v1/photos",
        "/v1/videos",
        "/v1/videos/characters",
    }


def test_every_operation_says_what_it_does_and_what_it_takes():
    paths = json.loads(TARGET.read_text(encoding="utf-8"))["paths"]
    assert {"/v1/jobs", "/v1/avatars", "/v1/files", "/v1/videos", "/v1/engines", "/healthz"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["description"], (path, method)
            bare = path.endswith(("/cancel", "/interrupt"))
            assert method != "post" or bare or "requestBody" in operation, path
