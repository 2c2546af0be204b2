"""The manifests of deploy/kubernetes: by the schemas of Kubernetes where the validator is
installed, and against the image, the command and the routes that they speak of.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
RESOURCES = [path.name for path in sorted(FOLDER.glob("*.yaml")) if path.name != "kustomization.yaml"]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture
def pod() -> dict[str, Any]:
    return read("statefulset.yaml")["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", RESOURCES)
def test_a_manifest_is_what_kubernetes_takes(name: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(read(name), validator.latest_version(), strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    assert sorted(read("kustomization.yaml")["resources"]) == RESOURCES


def test_the_pod_is_the_image_that_is_built_here(pod) -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    container = pod["containers"][0]
    assert container["ports"][0]["containerPort"] == int(re.search(r"EXPOSE (\d+)", dockerfile)[1])
    assert pod["securityContext"]["runAsUser"] == int(re.search(r"--uid (\d+)", dockerfile)[1])
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {re.search(r"PERSONARE_HOME=(\S+)", dockerfile)[1], "/tmp"}
    claims = {claim["metadata"]["name"] for claim in read("statefulset.yaml")["spec"]["volumeClaimTemplates"]}
    named = claims | {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == named


def test_its_command_and_its_probes_are_the_services_own(pod, cli) -> None:
    container = pod["containers"][0]
    program, command, *switches = container["args"]
    assert program == "personare"
    options = set(re.findall(r"--[a-z-]+", cli(command, "--help").out))
    assert {switch.partition("=")[0] for switch in switches} <= options
    routes = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]


def test_whoever_reaches_it_needs_the_key_and_one_port_is_open(pod) -> None:
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "personare-key"}}]
    assert "personare-key" in (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    assert read("network.yaml")["spec"]["ingress"] == [{"ports": [{"port": "http"}]}]
    backend = read("ingress.yaml")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    service = read("service.yaml")
    assert (backend["name"], backend["port"]["name"]) == (
        service["metadata"]["name"],
        service["spec"]["ports"][0]["name"],
    )
    labels = read("statefulset.yaml")["spec"]["template"]["metadata"]["labels"]
    for selector in (
        service["spec"]["selector"],
        read("network.yaml")["spec"]["podSelector"]["matchLabels"],
        read("statefulset.yaml")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
