"""The manifests of deploy/: by the schemas of Kubernetes, and against the image, the command
and the routes that they speak of.
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
RAY_CLUSTER = {
    "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
    "headGroupSpec", "headServiceAnnotations", "managedBy", "rayVersion", "suspend", "workerGroupSpecs",
}  # fmt: skip
AUTOSCALER = {
    "env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources",
    "securityContext", "upscalingMode", "version", "volumeMounts",
}  # fmt: skip
HEAD = {"enableIngress", "headService", "rayStartParams", "serviceType", "template"}
WORKERS = {
    "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams",
    "replicas", "scaleStrategy", "suspend", "template",
}  # fmt: skip
RESOURCES = [path.name for path in sorted(FOLDER.glob("*.yaml")) if path.name != "kustomization.yaml"]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture
def pod() -> dict[str, Any]:
    return read("statefulset.yaml")["spec"]["template"]["spec"]


def check(manifest: dict[str, Any]) -> None:
    """Raises ValidationError for what the newest Kubernetes does not take, unknown fields too.
    Skips where the validator is not installed, which is part of the extra dev.
    """
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(manifest, validator.latest_version(), strict=True)


@pytest.mark.parametrize("name", RESOURCES)
def test_a_manifest_is_what_kubernetes_takes(name: str) -> None:
    check(read(name))


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("startupProbe", "httpGet", "port"), []),
        (("livenessProbe", "periodSeconds"), "often"),
        (("readinessProbe", "httpGets"), {}),
        (("resources", "limits", "memory"), [6]),
        (("securityContext", "readOnlyRoot"), True),
    ],
)
def test_the_check_reaches_probes_limits_and_rights(path: tuple[str, ...], wrong: Any) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    manifest = read("statefulset.yaml")
    place = manifest["spec"]["template"]["spec"]["containers"][0]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = wrong
    with pytest.raises(validator.ValidationError):
        check(manifest)


def test_the_ray_service_has_the_operators_fields_and_pods_that_kubernetes_takes() -> None:
    """Its own schema is in no package: the names are those of KubeRay's reference, ray.io/v1."""
    claim, service = yaml.safe_load_all((ROOT / "deploy" / "rayservice.yaml").read_text(encoding="utf-8"))
    check(claim)
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    assert set(service["spec"]) == {"serveConfigV2", "rayClusterConfig"}
    assert isinstance(service["spec"]["serveConfigV2"], str)
    cluster = service["spec"]["rayClusterConfig"]
    assert set(cluster) <= RAY_CLUSTER
    assert set(cluster["autoscalerOptions"]) <= AUTOSCALER
    assert set(cluster["headGroupSpec"]) <= HEAD
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-a-group"}}
        check(pod | {"spec": group["template"]["spec"]})


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
