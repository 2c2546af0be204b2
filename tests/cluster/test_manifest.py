"""deploy/rayservice.yaml by Ray's own schema of a Serve config. No cluster is started."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_serve_config_of_kubernetes_is_one():
    yaml = pytest.importorskip("yaml")
    from ray.serve.schema import ServeDeploySchema

    _, service = yaml.safe_load_all((ROOT / "deploy" / "rayservice.yaml").read_text(encoding="utf-8"))
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    read = ServeDeploySchema.model_validate(config).model_dump(mode="json", exclude_unset=True)
    assert read == config  # ray drops what it does not know
