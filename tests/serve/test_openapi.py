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


def test_every_operation_says_what_it_does_and_what_it_takes():
    paths = json.loads(TARGET.read_text(encoding="utf-8"))["paths"]
    assert {"/v1/jobs", "/v1/avatars", "/v1/files", "/v1/videos", "/v1/engines", "/healthz"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["description"], (path, method)
            bare = path.endswith(("/cancel", "/interrupt"))
            assert method != "post" or bare or "requestBody" in operation, path
